"""Where a setting's value comes from, and what a bad one says."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from src.config.settings import SettingOrigin, describe, load_settings
from src.shared.domain.errors import SettingsInvalid

TIMES = {
    "timeout",
    "wait",
    "deadline",
    "age",
    "poll",
    "query",
    "retention",
    "latency",
    "window",
    "life",
    "stop",
    "lookback",
}
UNITS = {"seconds", "minutes", "days", "bars", "lives", "trades", "z"}


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings.env"
    path.write_text("")
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", str(path))
    return path


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("TRADEWINDS_REDIS_PORT=7001\nTRADEWINDS_TWIN_PORT=7002\n")
    monkeypatch.setenv("TRADEWINDS_REDIS_PORT", "8001")

    settings = load_settings()

    assert (settings.stack.redis_port, settings.stack.twin_port, settings.stack.prefect_port) == (
        8001,
        7002,
        4200,
    )
    assert _origin("TRADEWINDS_REDIS_PORT").source == "environment"
    assert _origin("TRADEWINDS_TWIN_PORT").source == "env file"
    assert _origin("TRADEWINDS_PREFECT_PORT").source == "default"


def test_secrets_are_not_shown(env_file: Path) -> None:
    env_file.write_text("TRADEWINDS_ALPACA_API_KEY=PKcanary\nTRADEWINDS_ALPACA_SECRET_KEY=canary\n")

    shown = list(describe(load_settings()))

    assert "canary" not in str(shown)
    assert _origin("TRADEWINDS_ALPACA_SECRET_KEY") == SettingOrigin(
        "TRADEWINDS_ALPACA_SECRET_KEY", "set (hidden)", "env file", "Alpaca secret key."
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRADEWINDS_REDIS_PORT", "99999"),
        ("TRADEWINDS_RISK_MAX_DRAWDOWN_FRACTION", "nan"),
        ("TRADEWINDS_STRATEGY_ENTRY_Z", "-2"),
        ("TRADEWINDS_ALPACA_ENVIRONMENT", "prod"),
        ("TRADEWINDS_TWIN_EQUITY_DOLLARS", "lots"),
        ("TRADEWINDS_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_bad_value_is_one_line_that_names_its_variable(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsInvalid, match=f"^{variable}: ") as caught:
        load_settings()

    assert "\n" not in str(caught.value)


def test_one_key_without_the_other_is_refused(env_file: Path) -> None:
    env_file.write_text("TRADEWINDS_ALPACA_API_KEY=PKonly\n")

    with pytest.raises(SettingsInvalid, match="both"):
        load_settings()


def _settings_fields() -> list[str]:
    settings = load_settings()
    return [name for part in fields(settings) for name in type(getattr(settings, part.name)).model_fields]


def test_every_setting_says_what_it_means(env_file: Path) -> None:
    assert len(list(describe(load_settings()))) == len(_settings_fields()) > 50
    assert [origin.variable for origin in describe(load_settings()) if not origin.meaning.strip()] == []


def test_a_setting_that_is_a_time_ends_with_its_unit(env_file: Path) -> None:
    times = [name for name in _settings_fields() if TIMES & set(name.split("_"))]

    assert {"poll_seconds", "max_half_life_bars", "retention_days"} <= set(times)
    assert [name for name in times if name.split("_")[-1] not in UNITS] == []


def _origin(variable: str) -> SettingOrigin:
    return next(origin for origin in describe(load_settings()) if origin.variable == variable)


def test_the_retention_of_bars_follows_what_decisions_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_STRATEGY_HISTORY_BARS", "100")
    few = load_settings().intraday_retention_days
    monkeypatch.setenv("TRADEWINDS_STRATEGY_HISTORY_BARS", "500")
    many = load_settings().intraday_retention_days
    monkeypatch.setenv("TRADEWINDS_MAINTENANCE_INTRADAY_RETENTION_DAYS", "200")

    assert (few, many, load_settings().intraday_retention_days) == (90, 113, 200)


def test_a_retention_below_what_decisions_read_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_MAINTENANCE_INTRADAY_RETENTION_DAYS", "100")

    with pytest.raises(
        SettingsInvalid, match=r"=100 is less than decisions read: 500 hourly bars .* 113 days"
    ) as told:
        load_settings()
    assert "\n" not in str(told.value)
