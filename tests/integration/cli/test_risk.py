"""`tradewinds risk` and what doctor says of limits, typed, on a real PostgreSQL and a twin."""

from __future__ import annotations

import json

from src.config.settings import load_settings
from src.services.cli.diagnosis import differing_limits
from src.shared.domain.risk_limits import LIMIT_BOUNDS
from src.shared.prefect.tasks.wiring import services
from tests.fakes.desk import Installation

LIMIT = "max_net_fraction"


def test_a_changed_limit_is_shown_audited_and_remembered(desk: Installation) -> None:
    before = desk.tradewinds("risk", "show")
    said = desk.tradewinds("risk", "set", LIMIT, "40%", "--why", "less [net]", "--who", "ada")
    again = desk.tradewinds("risk", "set", LIMIT, "0.4", "--why", "same", "--who", "bob")

    assert (before.code, said.code, again.code) == (0, 0, 0)
    assert said.out == f"{LIMIT}: 0.5 → 0.4 (of equity), version 2\n"
    assert again.out == f"{LIMIT} is 0.4 already, set by ada: less [net]\n"
    assert desk.audits()[1:] == [("ada", "risk limit changed", LIMIT, "less [net]")]
    rows = {row["name"]: row for row in json.loads(desk.tradewinds("risk", "show", "--json").out)}
    assert list(rows) == list(LIMIT_BOUNDS)
    assert (rows[LIMIT]["value"], rows[LIMIT]["setting"], rows[LIMIT]["who"]) == ("0.4", "0.5", "ada")
    history = desk.tradewinds("risk", "show", "--history", LIMIT)
    assert "less [net]" in history.out
    values = json.loads(desk.tradewinds("risk", "show", "--history", LIMIT, "--json").out)
    assert [(each["version"], each["value"]) for each in values] == [(1, "0.5"), (2, "0.4")]


def test_use_is_shown_and_unknown_while_the_broker_is_away(desk: Installation) -> None:
    desk.open_trade()
    with_broker = desk.tradewinds("risk", "show")
    desk.monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", "http://127.0.0.1:1")
    desk.services.engine.dispose()
    services.cache_clear()
    without = desk.tradewinds("risk", "show")

    assert "1 of 10" in with_broker.out
    assert "2 of 60" in with_broker.out
    assert without.code == 0
    assert "unknown" in without.out
    assert "The broker is away" in without.out


MISTAKES = [
    (["set", "max_open_pears", "2", "--why", "x"], "did you mean max_open_pairs"),
    (["set", "max_open_pairs", "0", "--why", "x"], "must be 1 to 1000 (pairs)"),
    (["set", "max_open_pairs", "2.5", "--why", "x"], "no whole number"),
    (["set", LIMIT, "lots", "--why", "x"], "is no value of"),
    (["set", LIMIT, "2", "--why", "x"], "must not be above max_gross_fraction (1.5)"),
    (["set", LIMIT, "0.4"], "(--why)"),
    (["set", LIMIT, "0.4", "--why", "x", "--who", "settings"], "the system itself"),
    (["show", "--history", "nope"], "There is no limit 'nope'"),
]


def test_a_mistake_is_one_line_and_changes_nothing(desk: Installation) -> None:
    shown = desk.tradewinds("risk", "show", "--json").out

    for words, told in MISTAKES:
        said = desk.tradewinds("risk", *words)
        assert (said.code, said.err.count("\n"), told in said.err) == (2, 1, True), said
    assert desk.tradewinds("risk", "show", "--json").out == shown


def test_doctor_warns_of_a_setting_that_a_changed_limit_overrules(desk: Installation) -> None:
    assert list(differing_limits(load_settings())) == []
    desk.tradewinds("risk", "set", LIMIT, "0.4", "--why", "less")

    (finding,) = differing_limits(load_settings())

    assert (finding.name, finding.verdict) == (f"limit {LIMIT}", "warning")
    assert finding.detail == "in force is 0.4, the setting TRADEWINDS_RISK_MAX_NET_FRACTION says 0.5."
    assert finding.mend == f"See `tradewinds risk show --history {LIMIT}`."
