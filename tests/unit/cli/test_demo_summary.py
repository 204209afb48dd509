"""When a demo is a success, and what it says when it is not."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from src.services.analytics.domain.activity import Activity, TradeLine
from src.services.cli.demo.replay import SlotRun
from src.services.cli.demo.summary import Summary, show
from src.services.cli.pair_fits import FittedPair
from src.services.execution.domain.invariants import Invariant

SLOT = datetime(2025, 10, 20, 14, 30, tzinfo=UTC)
TRADE = TradeLine("AAA/BBB", "long_spread", "closed", SLOT, SLOT, Decimal(40), Decimal(-30), "exit", Decimal("12.5"))
ACTIVITY = Activity(
    signals={"enter_long": 1},
    approvals=2,
    denials={"LAST_HOUR": 1},
    orders={"filled": 4},
    fills=4,
    trades=(TRADE,),
    outbox={"recorded": 9, "published": 9, "consumed": 9},
    alerts=0,
)
GOOD = Summary(
    pairs=[FittedPair("AAA/BBB", True, "", 0.9, 8.0, 16, 0.9, 2.0, 0.6, 0.01, 12)],
    runs=[SlotRun(SLOT, "Completed", True, 1.0, "")],
    flow_runs={"Completed": 1},
    activity=ACTIVITY,
    invariants=[Invariant("I4", "the ledger sums to zero", 4, ())],
    own_data=False,
    runner="worker",
    seconds=10.0,
)


def test_a_closed_trade_and_whole_invariants_are_a_success() -> None:
    assert GOOD.failures == []
    assert GOOD.as_dict()["ok"]
    assert GOOD.as_dict()["pair_trades"]["realized_pnl"] == "12.5"


@pytest.mark.parametrize(
    ("summary", "says"),
    [
        (replace(GOOD, invariants=[Invariant("I4", "…", 4, ("entry 1: USD sums to 3",))]), "I4 is broken: entry 1"),
        (replace(GOOD, runs=[SlotRun(SLOT, "Failed", False, 1.0, "no answer")]), "ended Failed: no answer"),
        (replace(GOOD, activity=replace(ACTIVITY, trades=())), "no pair trade was opened and closed"),
        (
            replace(GOOD, activity=replace(ACTIVITY, outbox={"recorded": 9, "published": 8, "consumed": 8})),
            "not every event was published",
        ),
    ],
)
def test_each_way_to_fail_is_said(summary: Summary, says: str) -> None:
    assert [failure for failure in summary.failures if says in failure]
    assert not summary.as_dict()["ok"]


def test_no_trade_in_a_persons_own_bars_is_an_honest_result() -> None:
    summary = replace(GOOD, own_data=True, activity=replace(ACTIVITY, trades=()))
    console = Console(record=True, width=120, file=io.StringIO())

    show(summary, console)

    assert summary.failures == []
    assert "honest result" in console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_bars_too_few_for_the_gate_are_said_to_be_with_the_number_that_is_missing(width: int) -> None:
    watched = FittedPair("AAA/BBB", False, "0 round trips, 10 needed", 0.9, 8.0, 16, 0.9, 0.0, 0.0, 0.0, 0)
    unfit = FittedPair("AAA/CCC", False, "AAA/CCC is no pair: its spread does not revert in the fitted bars.")
    summary = replace(GOOD, pairs=[watched, unfit], own_data=True, activity=replace(ACTIVITY, trades=()))
    console = Console(record=True, width=width, file=io.StringIO())

    show(summary, console)

    said = " ".join(console.export_text().split())
    assert summary.failures == []
    assert "AAA/BBB is only watched: 0 round trips, 10 needed" in said
    assert "AAA/CCC is left out: AAA/CCC is no pair" in said
    assert "No pair passed the gate, so all of them were only watched" in said


def test_quantities_are_written_as_people_write_them() -> None:
    console = Console(record=True, width=120, file=io.StringIO())

    show(GOOD, console)

    text = console.export_text()
    assert " 40 " in text
    assert " -30 " in text
