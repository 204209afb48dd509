"""Keys, URL, arming and environment: what fits together, and what each misfit says."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.config.settings import LIVE_ARMING_PHRASE, load_settings
from src.shared.domain.errors import EnvironmentMismatch
from src.shared.infra.environment import check_settings

PAPER = {"API_KEY": "PK" + "A" * 18, "SECRET_KEY": "canary-secret"}
LIVE = {"API_KEY": "AK" + "A" * 18, "SECRET_KEY": "canary-secret", "ENVIRONMENT": "live"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        PAPER,
        {**PAPER, "ENVIRONMENT": "twin"},
        {**PAPER, "BASE_URL": "https://paper-api.alpaca.markets"},
        {**PAPER, "BASE_URL": "http://127.0.0.1:4100"},
        {**LIVE, "LIVE_ARMED": LIVE_ARMING_PHRASE},
    ],
)
def test_settings_that_agree_pass(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, variables)

    check_settings(load_settings())


@pytest.mark.parametrize("variables", [PAPER, {**LIVE, "LIVE_ARMED": LIVE_ARMING_PHRASE}])
def test_only_the_twin_is_asked_for_an_unknown_order_for_less_than_half_a_minute(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_EXECUTION_UNKNOWN_WINDOW_SECONDS", "29.9")
    _set(monkeypatch, {})
    check_settings(load_settings())

    _set(monkeypatch, variables)
    with pytest.raises(EnvironmentMismatch, match=r"UNKNOWN_WINDOW_SECONDS is 29\.9: .* Set 30 or more\.$"):
        check_settings(load_settings())


def test_live_refuses_to_start_with_a_failpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, {**LIVE, "LIVE_ARMED": LIVE_ARMING_PHRASE})
    monkeypatch.setenv("FAILPOINT", "execution.before_post:kill")

    with pytest.raises(EnvironmentMismatch, match="FAILPOINT is set"):
        check_settings(load_settings())


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"ENVIRONMENT": "paper"}, "there are no keys"),
        ({"ENVIRONMENT": "live"}, "there are no keys"),
        ({**LIVE, "ENVIRONMENT": "paper"}, "does not begin with PK"),
        ({**PAPER, "ENVIRONMENT": "live", "LIVE_ARMED": LIVE_ARMING_PHRASE}, "does not begin with AK"),
        ({**PAPER, "BASE_URL": "https://api.alpaca.markets"}, "names api.alpaca.markets"),
        ({**PAPER, "BASE_URL": "https://paper-api.alpaca.markets.evil.example"}, "evil.example"),
        ({**PAPER, "BASE_URL": "http://paper-api.alpaca.markets"}, "BASE_URL"),
        (
            {**LIVE, "LIVE_ARMED": LIVE_ARMING_PHRASE, "BASE_URL": "https://paper-api.alpaca.markets"},
            "names paper-api.alpaca.markets",
        ),
        ({**LIVE, "LIVE_ARMED": LIVE_ARMING_PHRASE, "BASE_URL": "http://127.0.0.1:1"}, "names 127.0.0.1"),
        ({"ENVIRONMENT": "twin", "BASE_URL": "https://api.alpaca.markets"}, "environment is twin"),
        (LIVE, "not armed"),
        ({**LIVE, "LIVE_ARMED": "yes"}, "not armed"),
    ],
)
def test_settings_that_disagree_are_refused_in_one_line_without_secrets(
    variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, variables)

    with pytest.raises(EnvironmentMismatch, match=says) as caught:
        check_settings(load_settings())

    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "A" * 18 not in str(caught.value)


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", str(Path("/dev/null")))
    for name, value in variables.items():
        monkeypatch.setenv(f"TRADEWINDS_ALPACA_{name}", value)
