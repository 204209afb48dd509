"""Which keys go to which environment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from src.config.settings import load_settings
from src.shared.domain.errors import EnvironmentMismatch, SettingsInvalid
from src.shared.domain.ids import client_order_prefix
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.alpaca.keys import broker_keys
from tests.fakes.scripted_http import ScriptedServer, as_json
from tests.unit.alpaca.answers import CLOCK


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", f"{tmp_path}/none")
    for name in ("ENVIRONMENT", "API_KEY", "SECRET_KEY", "BASE_URL", "DATA_URL"):
        monkeypatch.delenv(f"TRADEWINDS_ALPACA_{name}", raising=False)


def keys(monkeypatch: pytest.MonkeyPatch, environment: str, key: str) -> None:
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", environment)
    monkeypatch.setenv("TRADEWINDS_ALPACA_API_KEY", key)
    monkeypatch.setenv("TRADEWINDS_ALPACA_SECRET_KEY", "canary")


def test_the_twin_needs_no_keys(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> None:
    monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", server.url + "/")
    server.answers(as_json(CLOCK))

    make_alpaca_client(load_settings()).clock()

    asked = server.asked[0]
    assert asked.path == "/v2/clock"
    assert (asked.headers["APCA-API-KEY-ID"], asked.headers["APCA-API-SECRET-KEY"]) == (
        "TWIN-KEY",
        "twin-has-no-secret",
    )


@pytest.mark.parametrize("environment", ["paper", "live"])
def test_a_real_account_needs_keys(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", environment)

    with pytest.raises(SettingsInvalid, match="TRADEWINDS_ALPACA_API_KEY"):
        make_alpaca_client(load_settings())


@pytest.mark.parametrize(("environment", "key"), [("paper", "AKCANARY"), ("live", "PKCANARY")])
def test_keys_of_the_other_environment_are_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, environment: str, key: str
) -> None:
    keys(monkeypatch, environment, key)

    with pytest.raises(EnvironmentMismatch) as caught:
        make_alpaca_client(load_settings())

    assert "CANARY" not in str(caught.value)


def test_making_a_client_does_not_load_the_sdk() -> None:
    code = (
        "import sys\n"
        "from src.config.settings import load_settings\n"
        "from src.shared.infra.alpaca.factory import make_alpaca_client\n"
        "make_alpaca_client(load_settings())\n"
        "sys.exit('alpaca' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_keys_of_the_twin_hide_nothing_of_an_order_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line about a failed request has the keys taken out of it: it must still name the order."""
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", "twin")

    for key in broker_keys(load_settings()):
        assert key.get_secret_value() not in client_order_prefix("twin")
