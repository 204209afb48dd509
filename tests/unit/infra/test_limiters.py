"""Who shares a request limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.config.settings import Settings, load_settings
from src.shared.infra.limiters import make_limiter
from src.shared.infra.rate_limit import MinuteLimiter
from src.shared.infra.shared_limit import SharedLimiter


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", "redis://127.0.0.1:1/0")
    return load_settings()


def places(settings: Settings, url: str, key: str) -> list[str]:
    limiter = make_limiter(settings, url, key, 5)
    assert isinstance(limiter, SharedLimiter)
    return limiter._keys


def test_the_same_key_at_the_same_vendor_draws_on_one_limit(settings: Settings) -> None:
    assert places(settings, "https://one", "key") == places(settings, "https://one", "key")


@pytest.mark.parametrize("other", [("https://two", "key"), ("https://one", "another")])
def test_another_vendor_or_key_has_a_limit_of_its_own(settings: Settings, other: tuple[str, str]) -> None:
    assert not set(places(settings, "https://one", "key")) & set(places(settings, *other))


def test_redis_does_not_learn_the_key(settings: Settings) -> None:
    assert all("canary" not in place for place in places(settings, "https://one", "canary"))


def test_where_no_redis_ever_was_a_process_counts_for_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))

    assert isinstance(make_limiter(load_settings(), "https://one", "key", 5), MinuteLimiter)
