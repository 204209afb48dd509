"""The wire against a server that says what no twin says, and what it is made from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from polygon import RESTClient

from src.config.settings import load_settings
from src.services.data_ingestion.adapters.polygon.factory import is_set_up
from src.services.data_ingestion.adapters.polygon.factory import make_wire as make_from_settings
from src.services.data_ingestion.adapters.polygon.history import PolygonHistory
from src.services.data_ingestion.adapters.polygon.wire import ATTEMPTS
from src.shared.domain.errors import Refused, SettingsInvalid, Transient
from src.shared.infra.redaction import redactor_for
from tests.contract.polygon.conftest import KEY, MakeWire
from tests.contract.polygon.test_history import CLOSE, OPEN
from tests.fakes.scripted_http import Answer, ScriptedServer, as_html, as_json

NOTHING = as_json({"ticker": "KELV", "queryCount": 0, "resultsCount": 0, "results": None, "status": "OK"})
A_TICKER = as_json({"results": [{"ticker": "KELV", "active": True}], "status": "OK", "count": 1})


def read(history: PolygonHistory) -> list[object]:
    return list(history.history("KELV", OPEN, CLOSE, "30Min", "split"))


def test_a_body_that_trickles_for_ever_is_cut_off(server: ScriptedServer, make_wire: MakeWire) -> None:
    server.answers(Answer(200, b"{}", {"Content-Type": "application/json"}, trickle=True, promised_length=10**6))

    with pytest.raises(Transient):
        read(PolygonHistory(make_wire(server.url, read_seconds=0.15)))

    assert len(server.asked) == ATTEMPTS


def test_the_clients_own_repetitions_are_off(server: ScriptedServer, make_wire: MakeWire) -> None:
    server.answers(as_json({"status": "ERROR", "error": "later"}, 503))

    with pytest.raises(Transient, match="HTTP 503 later"):
        read(PolygonHistory(make_wire(server.url)))

    assert len(server.asked) == ATTEMPTS


def test_nothing_with_a_count_of_zero_is_nothing(server: ScriptedServer, make_wire: MakeWire) -> None:
    server.answers(NOTHING, A_TICKER)

    assert read(PolygonHistory(make_wire(server.url))) == []


def test_a_known_symbol_is_asked_about_once(server: ScriptedServer, make_wire: MakeWire) -> None:
    history = PolygonHistory(make_wire(server.url))
    server.answers(NOTHING, A_TICKER, NOTHING)

    assert [read(history), read(history)] == [[], []]

    assert [each.path for each in server.asked].count("/v3/reference/tickers") == 1


def test_pages_may_lead_to_the_vendors_other_name(server: ScriptedServer, make_wire: MakeWire) -> None:
    wire = make_wire("https://api.polygon.io")

    assert wire._checked_next("bars", "https://api.massive.com/v2/aggs?cursor=1")
    with pytest.raises(Transient, match="said to be on"):
        wire._checked_next("bars", "https://api.massive.com.evil.example/v2/aggs?cursor=1")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_no_of_the_vendor_is_refused_at_once(server: ScriptedServer, make_wire: MakeWire, status: int) -> None:
    server.answers(as_json({"status": "ERROR", "error": f"no, {KEY}"}, status))

    with pytest.raises(Refused) as refusal:
        read(PolygonHistory(make_wire(server.url)))

    assert refusal.value.code == str(status)
    assert KEY not in str(refusal.value)
    assert len(server.asked) == 1


def test_a_gatekeepers_page_is_refused_for_its_status(server: ScriptedServer, make_wire: MakeWire) -> None:
    server.answers(as_html(403))

    with pytest.raises(Refused, match="plan of the key"):
        read(PolygonHistory(make_wire(server.url)))


def test_a_server_that_is_not_there_is_transient(make_wire: MakeWire) -> None:
    with pytest.raises(Transient, match="KELV"):
        read(PolygonHistory(make_wire("http://127.0.0.1:9")))


def test_the_key_is_sent_as_a_bearers(server: ScriptedServer, make_wire: MakeWire) -> None:
    server.answers(NOTHING, A_TICKER)

    read(PolygonHistory(make_wire(server.url)))

    assert {each.headers["Authorization"] for each in server.asked} == {f"Bearer {KEY}"}


def test_a_key_of_the_environment_that_is_not_ours_does_not_count(
    server: ScriptedServer, make_wire: MakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "somebody-elses")
    server.answers(NOTHING, A_TICKER)

    read(PolygonHistory(make_wire(server.url)))

    assert all("somebody" not in json.dumps(each.headers) for each in server.asked)


def test_in_the_twin_environment_no_key_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))
    settings = load_settings()

    assert is_set_up(settings)
    assert settings.polygon_url == settings.twin_url
    make_from_settings(settings)


@pytest.mark.parametrize("environment", ["paper", "live"])
def test_elsewhere_a_missing_key_is_one_line_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: str
) -> None:
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", environment)
    settings = load_settings()

    assert not is_set_up(settings)
    with pytest.raises(SettingsInvalid, match="TRADEWINDS_POLYGON_API_KEY"):
        make_from_settings(settings)
    assert settings.polygon_url == "https://api.polygon.io"


def test_the_key_is_a_secret_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_POLYGON_API_KEY", KEY)

    assert redactor_for(load_settings())(f"sent {KEY}") == "sent ***"


def test_the_seam_of_the_client_is_where_it_was() -> None:
    client = RESTClient(api_key="any")

    assert callable(client.client.request)
    assert client.headers["Authorization"] == "Bearer any"
    assert callable(client._get)
