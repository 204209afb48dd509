"""`tradewinds pairs discover` and `pairs why`, typed, on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.tables import discovery_result, discovery_run, pair_registry
from tests.fakes.desk import SLOT, Installation
from tests.fakes.markets import TWIN_SYMBOLS, twin_closes
from tests.fakes.stored_market import store_closes

ENDS = TradingCalendar().slots_between(SLOT - timedelta(days=252), SLOT)


@pytest.fixture
def market(desk: Installation) -> Installation:
    store_closes(desk.services.engine, TWIN_SYMBOLS, ENDS, twin_closes(ENDS))
    return desk


def searches(desk: Installation) -> dict[str, int]:
    r = discovery_run.c
    with desk.services.engine.connect() as connection:
        rows = connection.execute(select(r.state, func.count()).group_by(r.state))
        return dict(rows.tuples().all())


def test_a_search_shows_its_steps_and_its_pairs_and_watches_the_best(market: Installation) -> None:
    dry = market.tradewinds("pairs", "discover", "--dry-run", "--top", "2")
    assert searches(market) == {}

    said = market.tradewinds("pairs", "discover", "--top", "2", "--who", "ann")
    again = market.tradewinds("pairs", "discover", "--top", "2")
    machine = json.loads(market.tradewinds("pairs", "discover", "--top", "2", "--json").out)

    assert (dry.code, said.code, again.code) == (0, 0, 0)
    assert "would be watched" in dry.out and "A dry run: nothing is stored" in dry.out
    [steps] = [line for line in said.out.splitlines() if "correlation" in line and "corr " not in line]
    assert " 91 " in steps
    assert "watched from now on" in said.out and "registered before" in said.out
    assert "Watched from the next hour on: " in said.out
    assert "This search was done before; nothing was changed." in again.out
    assert machine["already_done"] is True
    outcomes = [each["outcome"] for each in machine["found"]]
    assert outcomes.count("observe") + outcomes.count("known") == 2 and "candidate" in outcomes
    assert {who for who, what, *_ in market.audits() if what == "pair registered"} == {"ann"}


def test_why_a_pair_fell_is_said_whichever_leg_comes_first(market: Installation, tmp_path: Path) -> None:
    listed = tmp_path / "some.txt"
    listed.write_text("KELV  # a remark\nKYLO\n\nJOVA\n")
    assert market.tradewinds("pairs", "discover", "--symbols-file", str(listed), "--symbols", "JARQ").code == 0

    fell = market.tradewinds("pairs", "why", "KYLO/JOVA")
    passed = market.tradewinds("pairs", "why", "KYLO/KELV")
    numbers = json.loads(market.tradewinds("pairs", "why", "JOVA/KYLO", "--json").out)

    assert "KYLO/JOVA fell at the step 'correlation'" in fell.out and "LOW_CORRELATION" in fell.out
    assert "KYLO/KELV passed every step" in passed.out and "half life bars" in passed.out
    assert numbers["numbers"]["correlation"] < 0.7
    for words, said in (
        (["KELV/ZORN"], "No search has looked at KELV/ZORN"),
        (["KELV"], "is not a pair"),
    ):
        refused = market.tradewinds("pairs", "why", *words)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert said in refused.err


def test_a_mistake_is_one_line(market: Installation) -> None:
    for words, said in (
        (["--symbols", "KELV"], "KELV alone makes no pair: name at least two symbols."),
        (["--symbols", "KELV,NOPE"], "load_historical_data.py --vendor alpaca --from DAY --symbols NOPE` loads them"),
        (["--symbols", "kelv,KYLO"], "'kelv' is not a symbol"),
        (["--symbols-file", "/no/such"], "--symbols-file /no/such can't be read"),
        (["--from", "March"], "--from 'March' is no day"),
        (["--from", "2025-02-01", "--until", "2025-01-01"], "--from 2025-02-01 is not before 2025-01-01"),
        (["--top", "-1"], "'--top'"),
    ):
        ended = market.tradewinds("pairs", "discover", *words)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), words
        assert said in ended.err
    assert searches(market) == {}


def test_a_search_that_is_killed_with_its_results_stored_is_carried_on(market: Installation) -> None:
    command = [sys.executable, "-m", "src.services.cli.main", "pairs", "discover"]
    place = {"FAILPOINT": "strategy_engine.search_stored:kill"}

    killed = subprocess.run(command, env={**os.environ, **place}, capture_output=True, timeout=120, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert searches(market) == {"stored": 1}
    with market.services.engine.connect() as connection:
        stored = connection.execute(select(func.count()).select_from(discovery_result)).scalar_one()
        registered = connection.execute(select(func.count()).select_from(pair_registry)).scalar_one()
    assert (stored > 0, registered) == (True, 1)
    carried_on = market.tradewinds("pairs", "discover")
    assert "Watched from the next hour on: " in carried_on.out
    assert searches(market) == {"complete": 1}
