"""The demo as a person runs it: every part of the suite, in processes of its own."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Prompt
from tests.shared_data import shared_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


# A session in which two pairs are opened and closed again.
SESSION = ("--start", "2025-10-21", "--slots", "6")


def test_a_session_trades_through_workers_and_the_same_in_one_process(prompt: Prompt) -> None:
    by_worker = prompt.demo(*SESSION)

    assert by_worker["slots"] == 6
    assert by_worker["pair_trades"]["closed"] >= 2
    # The pairs that the market was made with pass the gate; those that only look like one do not.
    assert {pair["pair_id"] for pair in by_worker["pairs"] if not pair["traded"]} == {"XEBO/XULA", "YORB/YVEN"}
    assert by_worker["flow_runs"] == {"Completed": 6}
    assert [i["name"] for i in by_worker["invariants"]] == [f"I{n}" for n in range(1, 9)]
    assert all(i["breaches"] == [] for i in by_worker["invariants"])
    assert by_worker["events"]["recorded"] == by_worker["events"]["published"] == by_worker["events"]["consumed"]
    assert prompt.processes() == []

    inline = prompt.demo("--runner", "inline", *SESSION)

    for told in ("pairs", "signals", "decisions", "orders", "fills", "trades", "pair_trades"):
        assert inline[told] == by_worker[told]


def test_a_persons_own_bars_are_replayed_and_no_trade_would_be_no_error(prompt: Prompt) -> None:
    bars = shared_file("data/mit_polygon_1h.parquet")

    summary = prompt.demo("--data", str(bars), "--pairs", "SPY/QQQ,QQQ/XLK", "--runner", "inline", "--slots", "8")

    assert summary["ok"]
    assert summary["slots"] == 8
    assert [pair["pair_id"] for pair in summary["pairs"]] == ["SPY/QQQ", "QQQ/XLK"]
    assert sum(summary["flow_runs"].values()) == 8
    assert all(i["breaches"] == [] for i in summary["invariants"])
