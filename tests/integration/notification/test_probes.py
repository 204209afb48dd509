"""The probes against what they ask, running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from src.config.settings import Settings, load_settings
from src.services.notification.bootstrap import build_probes
from src.services.notification.use_cases import check_system_health
from src.shared.infra.embedded.redis import EmbeddedRedis
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import running_twin

MakeSettings = Callable[[str], Settings]


@pytest.fixture
def make_settings(
    trading_database: TradingDatabase,
    embedded_redis: EmbeddedRedis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> MakeSettings:
    def make(broker_url: str) -> Settings:
        chosen = {
            "ENV_FILE": str(tmp_path / "none"),
            "HOME": str(tmp_path),
            "DATABASE_URL": trading_database.url(driver="libpq"),
            "REDIS_URL": embedded_redis.url(),
            "ALPACA_BASE_URL": broker_url,
        }
        for name, value in chosen.items():
            monkeypatch.setenv(f"TRADEWINDS_{name}", value)
        return load_settings()

    return make


def test_a_running_suite_without_keys_is_well(make_settings: MakeSettings) -> None:
    with running_twin() as twin:
        said = _ask(make_settings(twin.url))

    assert {name: said[name] for name in ("PostgreSQL", "Redis", "Broker clock")} == {
        "PostgreSQL": (True, "answers"),
        "Redis": (True, "answers"),
        "Broker clock": (True, "answers 200"),
    }


def test_keys_the_broker_refuses_are_one_finding_and_not_shown(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", "twin")
    monkeypatch.setenv("TRADEWINDS_ALPACA_API_KEY", "BADKEY")
    monkeypatch.setenv("TRADEWINDS_ALPACA_SECRET_KEY", "hush")
    with running_twin() as twin:
        said = _ask(make_settings(twin.url))

    healthy, detail = said["Broker clock"]
    assert not healthy
    assert "401" in detail
    assert "hush" not in detail
    assert said["PostgreSQL"][0]


def test_missing_keys_are_a_finding_and_the_rest_is_still_asked(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", "paper")
    said = _ask(make_settings("http://127.0.0.1:1"))

    healthy, detail = said["Broker clock"]
    assert not healthy
    assert "TRADEWINDS_ALPACA_API_KEY" in detail
    assert said["Redis"][0]


def _ask(settings: Settings) -> dict[str, tuple[bool, str]]:
    report = asyncio.run(check_system_health(build_probes(settings), timeout_seconds=30))
    return {each.name: (each.healthy, each.detail) for each in report.results}
