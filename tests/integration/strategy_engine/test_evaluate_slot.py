from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.use_cases.slots import SlotEvaluation, StrategyEngine
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import Direction, Pair, PairMode, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import Signal, SignalAction
from tests.fakes.stored_market import store_closes, store_pairs, store_trade
from tests.unit.strategy_engine.builders import make_pair

CALENDAR = TradingCalendar()
SLOT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
NEXT_SLOT = SLOT + timedelta(hours=1)
CLOSE = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
SOON = timedelta(seconds=20)
WINDOW = 20
CALM = 0.01 * np.cos(np.pi * np.arange(40))

# The last spread of a window of 20 whose other spreads swing by ±0.01, and the z that it has.
AT_Z = {"-3.7": -0.08, "-2.5": -0.0325, "0": 0.0005, "+2.5": 0.0325}


def closes_with(last: float) -> Floats:
    """Closes of two legs over 40 bars whose log spread is calm and ends at `last`."""
    spread = np.append(CALM[:-1], last)
    return np.column_stack([100 * np.exp(spread), np.full(40, 100.0)])


def ends_to(slot: datetime) -> list[datetime]:
    return [end for _, end in CALENDAR.last_spans(slot, 40)]


def put(engine: Engine, pair: Pair, z: str, slot: datetime = SLOT) -> None:
    store_closes(engine, [pair.symbol_1, pair.symbol_2], ends_to(slot), closes_with(AT_Z[z]))


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(query)).mappings())


def evaluate(strategy: StrategyEngine, slot: datetime = SLOT, after: timedelta = SOON) -> SlotEvaluation:
    return strategy.evaluate_slot(slot, slot + after, CLOSE)


def decisions(found: SlotEvaluation) -> dict[str, tuple[SignalAction, str]]:
    return {signal.pair_id: (signal.action, signal.reason) for signal in found.signals}


def only(found: SlotEvaluation) -> Signal:
    assert len(found.signals) == 1
    return found.signals[0]


def test_a_slot_is_decided_and_stored_with_its_numbers_and_events(strategy: StrategyEngine, engine: Engine) -> None:
    active, observed = (
        make_pair("KO", "PEP", window=WINDOW),
        make_pair("V", "MA", window=WINDOW, mode=PairMode.OBSERVE),
    )
    store_pairs(engine, [active, observed])
    put(engine, active, "-2.5")
    put(engine, observed, "+2.5")

    found = evaluate(strategy)

    assert decisions(found) == {
        "KO/PEP": (SignalAction.ENTER_LONG, Reason.ENTRY_Z),
        "V/MA": (SignalAction.ENTER_SHORT, Reason.OBSERVED_ENTRY_Z),
    }
    assert not found.already_done
    assert found.entries == found.signals
    stored = rows(engine, "SELECT * FROM strategy.pair_signal ORDER BY pair_id")
    assert [row["pair_mode"] for row in stored] == ["active", "observe"]
    numbers = stored[0]["numbers"]
    spread = rows(engine, "SELECT * FROM strategy.pair_spread ORDER BY pair_id")[0]
    reading = found.signals[0].reading
    assert reading is not None
    assert numbers["z"] == spread["z"] == reading.z == pytest.approx(-2.5, abs=0.1)
    assert (numbers["entry_z"], numbers["window_bars"], numbers["slot_age_seconds"]) == (2.0, 20, 20.0)
    assert numbers["last_bar_end"] == SLOT.isoformat()
    events = rows(engine, "SELECT * FROM ops.outbox ORDER BY payload->>'pair_id'")
    assert [event["channel"] for event in events] == ["tradewinds.signals.SignalRaised"] * 2
    assert events[0]["aggregate_id"] == str(found.signals[0].id)
    assert events[0]["correlation_id"] == "2026-03-10T15:30Z"


def test_a_second_run_returns_what_is_stored_though_bars_and_time_have_changed(
    strategy: StrategyEngine, engine: Engine
) -> None:
    pair = make_pair(window=WINDOW)
    store_pairs(engine, [pair])
    put(engine, pair, "-2.5")
    first = evaluate(strategy)
    put(engine, pair, "0")

    again = evaluate(strategy, after=timedelta(hours=3))

    assert again.signals == first.signals
    assert again.already_done
    assert len(rows(engine, "SELECT 1 FROM ops.outbox")) == 1


def test_two_runs_at_once_store_one_set_of_signals_and_both_return_it(
    strategy: StrategyEngine, engine: Engine
) -> None:
    pairs = [make_pair(f"A{i}", f"B{i}", window=WINDOW) for i in range(30)]
    store_pairs(engine, pairs)
    for pair in pairs:
        put(engine, pair, "-2.5")
    start = threading.Barrier(3)

    def run(seconds: int) -> SlotEvaluation:
        start.wait(timeout=30)
        return evaluate(strategy, after=timedelta(seconds=seconds))

    # One of them is too late for entries: were the sets mixed, it would show.
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run, [20, 2000, 20]))

    assert found[0].signals == found[1].signals == found[2].signals
    assert len({signal.reason for signal in found[0].signals}) == 1
    assert sorted(each.already_done for each in found) == [False, True, True]
    assert len(rows(engine, "SELECT 1 FROM strategy.pair_signal")) == 30
    assert len(rows(engine, "SELECT 1 FROM ops.outbox")) == 30


@pytest.mark.parametrize(
    ("hole", "reason"), [(39, Reason.STALE_BAR), (25, Reason.MISSING_BARS), (20, Reason.MISSING_BARS)]
)
def test_a_hole_in_the_window_gives_no_decision_and_no_spread(
    strategy: StrategyEngine, engine: Engine, hole: int, reason: Reason
) -> None:
    pair = make_pair(window=WINDOW)
    store_pairs(engine, [pair])
    closes = closes_with(AT_Z["-2.5"])
    closes[hole, 1] = np.nan
    store_closes(engine, ["KO", "PEP"], ends_to(SLOT), closes)

    signal = only(evaluate(strategy))

    assert (signal.action, signal.reason, signal.reading) == (SignalAction.NO_DECISION, reason, None)
    assert rows(engine, "SELECT 1 FROM strategy.pair_spread") == []


def test_a_hole_before_the_window_does_not_matter(strategy: StrategyEngine, engine: Engine) -> None:
    pair = make_pair(window=WINDOW)
    store_pairs(engine, [pair])
    closes = closes_with(AT_Z["-2.5"])
    closes[19, 1] = np.nan
    store_closes(engine, ["KO", "PEP"], ends_to(SLOT), closes)

    assert only(evaluate(strategy)).action is SignalAction.ENTER_LONG


@pytest.mark.parametrize("mode", PairMode)
def test_an_open_trade_is_managed_whatever_the_mode_of_its_pair(
    strategy: StrategyEngine, engine: Engine, mode: PairMode
) -> None:
    pair = make_pair(window=WINDOW, mode=mode)
    store_pairs(engine, [pair])
    put(engine, pair, "-3.7")
    store_trade(engine, pair, Direction.LONG_SPREAD, CALENDAR.last_spans(SLOT, 4)[0][1])

    found = evaluate(strategy, after=timedelta(hours=4))

    assert only(found).action is SignalAction.STOP
    assert only(found).held_bars == 3
    assert found.exits == found.signals


@pytest.mark.parametrize("mode", [PairMode.CANDIDATE, PairMode.RETIRED])
def test_a_pair_out_of_use_without_a_trade_is_left_alone(
    strategy: StrategyEngine, engine: Engine, mode: PairMode
) -> None:
    pair = make_pair(window=WINDOW, mode=mode)
    store_pairs(engine, [pair])
    put(engine, pair, "-2.5")
    store_trade(engine, pair, Direction.LONG_SPREAD, SLOT - timedelta(days=1), PairTradeState.CLOSED)

    assert evaluate(strategy).signals == ()
    assert strategy.symbols_to_watch() == []


def test_a_trade_expires_after_its_bars_of_session_time(strategy: StrategyEngine, engine: Engine) -> None:
    pair = make_pair(window=WINDOW, time_stop=15)
    store_pairs(engine, [pair])
    put(engine, pair, "-2.5")
    store_trade(engine, pair, Direction.LONG_SPREAD, CALENDAR.last_spans(SLOT, 16)[0][1])

    assert decisions(evaluate(strategy))[pair.id] == (SignalAction.EXPIRE, Reason.TIME_STOP)


def test_a_stop_is_followed_by_a_cool_down(strategy: StrategyEngine, engine: Engine) -> None:
    pair = make_pair(window=WINDOW, half_life=1.5)
    store_pairs(engine, [pair])
    put(engine, pair, "-3.7")
    trade = store_trade(engine, pair, Direction.LONG_SPREAD, SLOT - timedelta(days=1))
    assert only(evaluate(strategy)).action is SignalAction.STOP
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE execution.pair_trade SET state = 'closed' WHERE pair_trade_id = :id"), {"id": trade}
        )

    reasons = []
    for slot in (NEXT_SLOT, NEXT_SLOT + timedelta(hours=1)):
        put(engine, pair, "-2.5", slot)
        reasons.append(only(evaluate(strategy, slot)).reason)

    assert reasons == [Reason.COOL_DOWN, Reason.ENTRY_Z]


def test_a_late_cycle_takes_no_entry(strategy: StrategyEngine, engine: Engine) -> None:
    pair = make_pair(window=WINDOW)
    store_pairs(engine, [pair])
    put(engine, pair, "-2.5")

    assert only(evaluate(strategy, after=timedelta(seconds=901))).reason == Reason.LATE_SLOT


def test_the_last_slot_of_a_day_takes_no_entry_though_the_next_close_is_a_day_away(
    strategy: StrategyEngine, engine: Engine
) -> None:
    pair = make_pair(window=WINDOW)
    store_pairs(engine, [pair])
    put(engine, pair, "-2.5", CLOSE)

    found = strategy.evaluate_slot(CLOSE, CLOSE + SOON, CLOSE + timedelta(days=1))

    assert only(found).reason == Reason.LAST_HOUR


def test_the_brokers_early_close_counts_when_the_calendar_does_not_know_it(
    strategy: StrategyEngine, engine: Engine
) -> None:
    pair = make_pair(window=WINDOW)
    store_pairs(engine, [pair])
    put(engine, pair, "-2.5")

    found = strategy.evaluate_slot(SLOT, SLOT + SOON, SLOT + timedelta(minutes=30))

    assert only(found).reason == Reason.LAST_HOUR


@pytest.mark.parametrize(
    ("slot", "now", "words"),
    [
        (SLOT, SLOT - timedelta(seconds=1), "not finished"),
        (SLOT + timedelta(minutes=7), CLOSE, "not the end of an hourly bar"),
        (datetime(2026, 3, 8, 15, 30, tzinfo=UTC), CLOSE, "not the end of an hourly bar"),
    ],
)
def test_what_is_no_finished_slot_is_refused(
    strategy: StrategyEngine, slot: datetime, now: datetime, words: str
) -> None:
    with pytest.raises(InputInvalid, match=words):
        strategy.evaluate_slot(slot, now, CLOSE)


def test_without_pairs_a_slot_has_no_signals(strategy: StrategyEngine) -> None:
    found = evaluate(strategy)

    assert (found.signals, found.already_done) == ((), False)


def test_the_symbols_to_watch_are_those_of_watched_pairs(strategy: StrategyEngine, engine: Engine) -> None:
    retired = make_pair("XOM", "CVX", mode=PairMode.RETIRED)
    store_pairs(engine, [make_pair("V", "MA"), make_pair("V", "AXP", mode=PairMode.CLOSING), retired])
    assert strategy.symbols_to_watch() == ["AXP", "MA", "V"]

    store_trade(engine, retired, Direction.SHORT_SPREAD, SLOT)

    assert strategy.symbols_to_watch() == ["AXP", "CVX", "MA", "V", "XOM"]
