"""Pairs as a strategy asks for what the rules of pairs decide, and for nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.strategy_engine.domain.decision import Freeze, Thresholds
from src.services.strategy_engine.domain.evaluation import (
    SlotTime,
    UnfinishedTrade,
    WatchedPair,
    evaluate_pairs,
)
from src.services.strategy_engine.sdk import Direction, EnterPair, ExitPair, LineChart, Metric, Table, Text, Wish
from src.services.strategy_engine.sdk.loader import Loader
from src.services.strategy_engine.sdk.slot import Held, SlotData
from src.services.strategy_engine.sdk.step import draw, step
from src.shared.domain.bars import CloseSeries
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import PairMode, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from tests.unit.strategy_engine.builders import make_pair

KIND = Loader().catalogue().get("pairs")
CALENDAR = TradingCalendar()
LAST = datetime(2026, 3, 10, 17, 30, tzinfo=CALENDAR.first.tzinfo)
ENDS = tuple(end for _, end in CALENDAR.last_spans(LAST, 60))
SYMBOLS = ("KO", "PEP", "SPY", "QQQ")
NAMES = (("KO", "PEP"), ("SPY", "QQQ"), ("KO", "SPY"), ("QQQ", "NONE"))


def time_of(slot: datetime, age_seconds: float = 5.0) -> SlotTime:
    session = CALENDAR.session_at(slot - timedelta(microseconds=1))
    assert session is not None
    return SlotTime(slot, slot + timedelta(seconds=age_seconds), session.close)


def expected(pairs: tuple[WatchedPair, ...], series: CloseSeries, time: SlotTime, over: Thresholds) -> list[Wish]:
    """Say what the rules decide, in the words of a wish."""
    asked: list[Wish] = []
    for signal in (each.signal for each in evaluate_pairs(pairs, series, time, over, CALENDAR)):
        if signal.action.is_entry:
            asked.append(EnterPair(pair_id=signal.pair_id, direction=signal.action.direction, reason=signal.reason))
        elif signal.action.is_exit:
            asked.append(ExitPair(pair_id=signal.pair_id, reason=signal.reason))
    return asked


@st.composite
def markets(draw: st.DrawFn) -> CloseSeries:
    """Random walks that swing, some with a hole."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    logs = 0.02 * generator.standard_normal((len(ENDS), len(SYMBOLS))) + 4.0
    logs[-1] += draw(st.sampled_from([0.0, 0.03, -0.03])) * generator.standard_normal(len(SYMBOLS))
    closes = np.exp(logs)
    if draw(st.booleans()):
        closes[draw(st.integers(0, len(ENDS) - 1)), draw(st.integers(0, 3))] = np.nan
    return CloseSeries(SYMBOLS, ENDS, closes)


TRADES = st.builds(
    UnfinishedTrade,
    st.sampled_from(Direction),
    st.sampled_from([PairTradeState.OPEN, PairTradeState.OPEN, PairTradeState.CLOSING]),
    st.sampled_from(ENDS[-20:]),
)


@st.composite
def watched(draw: st.DrawFn) -> tuple[WatchedPair, ...]:
    """Registered pairs in any state."""
    return tuple(
        WatchedPair(
            make_pair(
                *names,
                window=draw(st.integers(3, 30)),
                beta=draw(st.floats(0.5, 1.5)),
                time_stop=draw(st.integers(5, 30)),
                mode=draw(st.sampled_from([PairMode.ACTIVE, PairMode.OBSERVE, PairMode.CLOSING])),
            ),
            trade=draw(st.none() | TRADES),
            last_stop=draw(st.none() | st.sampled_from(ENDS[-10:])),
            freeze=draw(st.sampled_from([Freeze.NONE, Freeze.NONE, Freeze.NO_ENTRY, Freeze.BASIS_LOST])),
        )
        for names in NAMES
        if draw(st.integers(0, 3))
    )


@st.composite
def thresholds(draw: st.DrawFn) -> dict[str, Any]:
    entry = draw(st.floats(0.5, 2.5))
    return {
        "entry_z": entry,
        "exit_z": entry * draw(st.floats(0.1, 0.9)),
        "stop_z": entry + draw(st.floats(0.1, 3.0)),
        "max_slot_age_seconds": draw(st.sampled_from([60.0, 900.0])),
        "overnight": draw(st.booleans()),
    }


@settings(max_examples=150, deadline=None)
@given(markets(), watched(), thresholds(), st.sampled_from([5.0, 300.0]))
def test_it_asks_for_what_the_rules_of_pairs_decide(
    series: CloseSeries, pairs: tuple[WatchedPair, ...], values: dict[str, Any], age: float
) -> None:
    time = time_of(LAST, age)
    config: Any = KIND.config.validate(values)
    over = Thresholds(
        values["entry_z"],
        values["exit_z"],
        values["stop_z"],
        timedelta(seconds=values["max_slot_age_seconds"]),
        values["overnight"],
    )

    result = step(KIND, config, {}, SlotData(time, series, pairs), Held.of_pairs(pairs))

    assert config.thresholds() == over
    assert list(result.wishes) == expected(pairs, series, time, over)


def test_it_opens_and_closes_trades_over_many_slots_as_the_rules_do() -> None:
    """Follow both over a stretch in which there are entries, exits and stops."""
    generator = np.random.default_rng(11)
    noise = np.zeros(len(ENDS))
    for i in range(1, len(ENDS)):
        noise[i] = 0.6 * noise[i - 1] + 0.02 * generator.standard_normal()
    common = np.cumsum(0.005 * generator.standard_normal(len(ENDS))) + 4.0
    series = CloseSeries(("KO", "PEP"), ENDS, np.exp(np.column_stack([common + noise, common])))
    pairs = (WatchedPair(make_pair(window=12, half_life=1.0)),)
    config: Any = KIND.config.validate({"entry_z": 1.2, "stop_z": 2.2})
    held, seen = Held(), set()

    for slot in ENDS[20:]:
        data = SlotData.at(series, time_of(slot), pairs)
        by_hand = tuple(
            WatchedPair(each.pair, trade=held.trades.get(each.pair.id), last_stop=each.last_stop) for each in pairs
        )
        result = step(KIND, config, {}, data, held)
        assert list(result.wishes) == expected(by_hand, data.series, data.time, config.thresholds())
        held = held.after(result.wishes, slot)
        seen |= {wish.reason for wish in result.wishes}

    assert {"ENTRY_Z", "EXIT_Z"} <= seen


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"entry_z": 0}, "entry_z = 0: should be greater than or equal to 0.1"),
        ({"entry_z": 3.0}, "exit_z, entry_z and stop_z must rise in this order; they are 0.5, 3.0, 3.0"),
        ({"pairs": ["KO/KO"]}, "pairs a symbol with itself"),
        ({"pairs": []}, "at least 1 item"),
        ({"leverage": 1e9}, "leverage is no field of it"),
    ],
)
def test_a_poisoned_config_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        KIND.config.validate(values)

    assert said in str(refused.value)


def test_only_the_pairs_it_names_are_its_own() -> None:
    rows = np.column_stack([np.linspace(4.0, 4.01, 12), np.full(12, 4.0)])
    rows[-1] = 4.5, 4.0
    series = CloseSeries(("KO", "PEP"), ENDS[-12:], np.exp(rows))
    pairs = (WatchedPair(make_pair("KO", "PEP")), WatchedPair(make_pair("PEP", "KO")))
    slot = SlotData(time_of(LAST), series, pairs)

    config = KIND.config.validate({"pairs": ["PEP/KO"], "stop_z": 20.0})
    result = step(KIND, config, {}, slot)

    assert [wish.model_dump()["pair_id"] for wish in result.wishes] == ["PEP/KO"]
    assert result.numbers["pairs"] == 1
    assert KIND.pairs(config) == ("PEP/KO",)
    assert KIND.trades == "pairs"


def test_it_shows_its_pairs_the_farthest_from_the_mean_first() -> None:
    flat = 4.0 + 0.001 * np.arange(12) % 0.003
    rows = np.column_stack([flat, np.full(12, 4.0), flat[::-1], np.full(12, 4.0)])
    rows[-1, 2] = 4.2
    series = CloseSeries(SYMBOLS, ENDS[-12:], np.exp(rows))
    pairs = (WatchedPair(make_pair("KO", "PEP")), WatchedPair(make_pair("SPY", "QQQ")))

    config = KIND.config.validate({})
    shown = draw(KIND, config, {}, SlotData(time_of(LAST), series, pairs))

    table = next(each for each in shown if isinstance(each, Table))
    chart = next(each for each in shown if isinstance(each, LineChart))
    assert [each.value for each in shown if isinstance(each, Metric)] == [2, 0]
    assert [row[0] for row in table.rows] == ["SPY/QQQ", "KO/PEP"]
    assert table.rows[0][2] == pytest.approx(chart.lines[0].values[-1])
    assert len(chart.x) == 10
    assert isinstance(draw(KIND, config, {}, SlotData(time_of(LAST), series))[0], Text)
