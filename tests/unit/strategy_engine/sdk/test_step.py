"""One step of a strategy: what it may see, what it may do, and that it is a function of what it was given."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel

from src.services.strategy_engine.domain.evaluation import SlotTime, UnfinishedTrade, WatchedPair
from src.services.strategy_engine.domain.rehearsal import made_up_bars
from src.services.strategy_engine.sdk import (
    Context,
    Direction,
    EnterPair,
    ExitPair,
    Line,
    LineChart,
    Metric,
    SlotBar,
    Strategy,
    Target,
    Text,
    Tick,
)
from src.services.strategy_engine.sdk.context import Trades
from src.services.strategy_engine.sdk.slot import Held, SlotData
from src.services.strategy_engine.sdk.step import draw, initialise, step
from src.services.strategy_engine.sdk.strategy import StrategyType
from src.services.strategy_engine.sdk.wishes import WISHES
from src.shared.domain.bars import CloseSeries
from src.shared.domain.errors import StrategyFault
from src.shared.domain.pairs import PairTradeState
from tests.unit.strategy_engine.builders import make_pair
from tests.unit.strategy_engine.sdk.scene import SLOT, kind_of, slot_of, taken

Act = Callable[[Context], object]
CLOSES = {"KO": [60.0, 61.0, 62.0], "PEP": [170.0, 171.0, math.nan], "SPY": [500.0, 501.0, 502.0]}
TRADE = UnfinishedTrade(Direction.LONG_SPREAD, PairTradeState.OPEN, SLOT - timedelta(hours=2))


def doing(act: Act, trades: Trades = "symbols", warmup: int = 3, *, whole: bool = False) -> StrategyType:
    """Make a strategy that does one thing on each bar."""

    class Mine(Strategy):
        CONFIG_SCHEMA = {  # noqa: RUF012
            "symbols": {"type": "symbols", "default": ["KO", "PEP"]},
            "pairs": {"type": "pairs", "default": "all"},
        }
        STATE = {"count": 0, "seen": []}  # noqa: RUF012
        WARMUP_BARS = warmup

        def on_bar(self, context: Context, bar: SlotBar) -> None:
            act(context)

    Mine.TRADES = trades
    Mine.WHOLE_BARS = whole
    return kind_of(Mine)


def wishes_of(act: Act, trades: Trades = "symbols", pairs: tuple[WatchedPair, ...] = ()) -> tuple[Any, ...]:
    return taken(doing(act, trades), {}, slot_of(CLOSES, pairs=pairs)).wishes


def fault_of(act: Act, trades: Trades = "symbols", pairs: tuple[WatchedPair, ...] = ()) -> str:
    with pytest.raises(StrategyFault) as fault:
        wishes_of(act, trades, pairs)
    assert "\n" not in str(fault.value)
    return str(fault.value)


def seen_by(look: Callable[[Context], Any], slot: SlotData, held: Held | None = None) -> Any:
    found = []
    taken(doing(lambda context: found.append(look(context))), {}, slot, held=held)
    return found[0]


def test_history_is_the_newest_closes_oldest_first_with_gaps_where_there_is_no_bar() -> None:
    slot = slot_of(CLOSES)

    assert seen_by(lambda context: context.history("KO", 2).tolist(), slot) == [61.0, 62.0]
    assert seen_by(lambda context: np.isnan(context.history("PEP", 3)).tolist(), slot) == [False, False, True]


def test_history_has_the_length_that_was_asked_for_however_long_the_market_is_known() -> None:
    kind = doing(
        lambda context: context.note(
            length=len(context.history("KO", 10)), ends=len(context.closes(("KO", "PEP"), 10).ends)
        ),
        warmup=10,
    )

    assert taken(kind, {}, slot_of(CLOSES)).numbers == {"length": 10, "ends": 3}


def test_what_is_read_cannot_be_written_and_does_not_lead_to_the_market_itself() -> None:
    slot = slot_of(CLOSES)

    def write(context: Context) -> None:
        context.history("KO", 2)[0] = 1.0

    assert "ValueError: assignment destination is read-only" in fault_of(write)
    assert seen_by(lambda context: context.history("KO", 2).base, slot) is None
    assert not seen_by(lambda context: np.shares_memory(context.history("KO", 2), slot.series.closes), slot)
    assert not seen_by(lambda context: context.closes(("KO",), 2).closes.flags.writeable, slot)


def test_whole_bars_are_given_to_who_says_that_it_reads_them_and_can_t_be_written() -> None:
    slot = slot_of(CLOSES)
    slot = replace(slot, whole=made_up_bars(slot.series))
    seen: list[Any] = []

    class Mine(Strategy):
        CONFIG_SCHEMA = {"symbols": {"type": "symbols", "default": ["KO", "PEP"]}}  # noqa: RUF012
        WARMUP_BARS = 5
        WHOLE_BARS = True

        def on_bar(self, context: Context, bar: SlotBar) -> None:
            seen.extend((bar, context.bars("KO", 4), context.bars("PEP", 2), context.history("KO", 4)))

    taken(kind_of(Mine), {}, slot)

    bar, ko, pep, closes = seen
    assert slot.whole is not None
    assert list(bar.bars) == ["KO"]
    assert (bar.bars["KO"].close, bar.bars["KO"].open) == (62.0, 61.0)
    assert bar.bars["KO"].volume == slot.whole.volume[-1, 0]
    np.testing.assert_array_equal(ko.close, closes)
    np.testing.assert_array_equal(ko.high, [math.nan, *slot.whole.high[:, 0]])
    assert (ko.low <= ko.open)[1:].all()
    assert math.isnan(pep.volume[1])
    assert not math.isnan(pep.volume[0])
    for values in (ko.open, ko.high, ko.low, ko.close, ko.volume):
        assert not values.flags.writeable
        assert values.base is None


def test_whole_bars_are_refused_to_who_does_not_say_so() -> None:
    said = fault_of(lambda context: context.bars("KO", 1))
    kind = doing(lambda context: context.bars("SPY", 1), whole=True)

    assert "read whole bars of KO; it needs WHOLE_BARS = True to be given them" in said
    with pytest.raises(StrategyFault, match="read SPY, which is not among its symbols"):
        taken(kind, {}, slot_of(CLOSES))


def test_prices_are_those_of_its_own_symbols_that_have_a_bar_at_the_slot() -> None:
    assert seen_by(lambda context: dict(context.prices), slot_of(CLOSES)) == {"KO": 62.0}


def test_bars_that_end_before_the_slot_give_no_price() -> None:
    series = slot_of(CLOSES).series
    later = SLOT + timedelta(hours=1)
    slot = SlotData(SlotTime(later, later, later + timedelta(hours=2)), series)

    assert seen_by(lambda context: dict(context.prices), slot) == {}


def test_no_slot_holds_a_bar_after_it() -> None:
    series = slot_of(CLOSES).series
    earlier = SlotTime(series.ends[1], series.ends[1], SLOT)

    with pytest.raises(ValueError, match="after the slot"):
        SlotData(earlier, series)
    cut = SlotData.at(series, earlier)
    assert cut.series.ends == series.ends[:2]
    assert seen_by(lambda context: context.history("KO", 3).tolist()[1:], cut) == [60.0, 61.0]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda context: context.history("SPY", 2), "read SPY, which is not among its symbols KO, PEP"),
        (lambda context: context.history("KO", 4), "read 4 bars of KO; it says that it needs 3"),
        (lambda context: context.history("KO", 0), "read 0 bars of KO"),
        (lambda context: context.orders.target("SPY", 0.1), "asked for SPY, which is not among its symbols"),
        (lambda context: context.orders.target("KO", math.nan), "asked to hold nan of its capital in KO"),
        (lambda context: context.orders.target("KO", 1e9), "a fraction is between −1 and 1"),
        (lambda context: context.orders.enter_pair("KO/PEP", Direction.LONG_SPREAD), 'its TRADES is "symbols"'),
        (lambda context: context.note(z=[1.0]), "noted z as list"),
        (lambda context: context.note(**{str(i): i for i in range(501)}), "more than 500 figures"),
        (lambda context: setattr(context, "config", 3), "AttributeError"),
        (lambda context: setattr(context.config, "symbols", ("SPY",)), "frozen"),
        (lambda context: context.prices.update(KO=1.0), "AttributeError"),
        (lambda _: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda context: context.state.update(more=1), "STATE declares other names (more)"),
        (lambda context: context.state.update(count=math.inf), "state.count is inf, which is not finite"),
    ],
)
def test_what_a_strategy_may_not_do_is_its_fault_in_one_line(act: Act, said: str) -> None:
    assert said in fault_of(act)


def test_a_fault_names_the_strategy_the_call_and_the_line() -> None:
    said = fault_of(lambda _: [].pop())

    assert re.fullmatch(r"mine: on_bar: IndexError: pop from empty list \(test_step.py, line \d+\)", said)


def test_a_later_target_of_a_symbol_replaces_an_earlier_one() -> None:
    def act(context: Context) -> None:
        context.orders.target("KO", 0.5)
        context.orders.target("PEP", -0.25, reason="HEDGE")
        context.orders.target("KO", np.float64(0.0))

    assert wishes_of(act) == (
        Target(symbol="KO", fraction=0.0),
        Target(symbol="PEP", fraction=-0.25, reason="HEDGE"),
    )


PAIRS = (WatchedPair(make_pair("KO", "PEP")), WatchedPair(make_pair("SPY", "KO"), trade=TRADE))


def test_pairs_are_entered_and_left_by_name() -> None:
    def act(context: Context) -> None:
        context.orders.enter_pair("KO/PEP", Direction.SHORT_SPREAD, "ENTRY_Z")
        context.orders.exit_pair("SPY/KO")

    asked = wishes_of(act, "pairs", PAIRS)

    assert asked == (
        EnterPair(pair_id="KO/PEP", direction=Direction.SHORT_SPREAD, reason="ENTRY_Z"),
        ExitPair(pair_id="SPY/KO"),
    )
    plain = WISHES.dump_python(asked, mode="json")
    assert plain[0] == {
        "kind": "enter_pair",
        "pair_id": "KO/PEP",
        "direction": "short_spread",
        "reason": "ENTRY_Z",
    }
    assert WISHES.validate_python(plain) == asked


def test_a_pair_of_nobody_is_not_traded_nor_entered_and_left_at_once() -> None:
    def both(context: Context) -> None:
        context.orders.enter_pair("KO/PEP", Direction.LONG_SPREAD)
        context.orders.exit_pair("KO/PEP")

    assert "asked for A/B, which is not among its pairs" in fault_of(
        lambda context: context.orders.exit_pair("A/B"), "pairs", PAIRS
    )
    assert "asked to enter and to exit KO/PEP in one call" in fault_of(both, "pairs", PAIRS)
    assert 'its TRADES is "pairs"' in fault_of(lambda context: context.orders.target("KO", 0.1), "pairs", PAIRS)


def test_the_pairs_of_an_instance_are_those_it_names_with_the_trades_that_it_holds() -> None:
    seen: list[Any] = []
    kind = doing(lambda context: seen.append(context.pairs), "pairs")
    slot = slot_of(CLOSES, pairs=PAIRS)

    taken(kind, {"pairs": ["SPY/KO"]}, slot)
    taken(kind, {"pairs": ["SPY/KO"]}, slot, held=Held.of_pairs(PAIRS))
    taken(kind, {}, slot, held=Held.of_pairs(PAIRS))

    assert [[(each.pair.id, each.trade) for each in pairs] for pairs in seen] == [
        [("SPY/KO", None)],
        [("SPY/KO", TRADE)],
        [("KO/PEP", None), ("SPY/KO", TRADE)],
    ]


def test_the_legs_of_its_pairs_can_be_read_over_their_whole_window() -> None:
    kind = doing(lambda context: context.note(legs=len(context.history("SPY", 10))), "pairs", warmup=1)

    assert taken(kind, {}, slot_of(CLOSES, pairs=PAIRS)).numbers == {"legs": 10}


def test_holdings_follow_from_what_was_asked_for() -> None:
    held = Held().after(
        [
            Target(symbol="KO", fraction=0.5),
            Target(symbol="PEP", fraction=-0.5),
            EnterPair(pair_id="A/B", direction=Direction.LONG_SPREAD),
        ],
        SLOT,
    )
    later = held.after([Target(symbol="KO", fraction=0.0), ExitPair(pair_id="A/B")], SLOT)
    again = held.after([EnterPair(pair_id="A/B", direction=Direction.SHORT_SPREAD)], SLOT + timedelta(hours=1))

    assert dict(held.fractions) == {"KO": 0.5, "PEP": -0.5}
    assert dict(held.trades) == {"A/B": UnfinishedTrade(Direction.LONG_SPREAD, PairTradeState.OPEN, SLOT)}
    assert (dict(later.fractions), dict(later.trades)) == ({"PEP": -0.5}, {})
    assert again.trades == held.trades
    assert seen_by(lambda context: context.position.fraction("PEP"), slot_of(CLOSES), later) == -0.5


def test_the_clock_knows_the_slot_and_nothing_later() -> None:
    slot = slot_of(CLOSES)

    assert seen_by(lambda context: context.clock.slot, slot) == SLOT
    assert seen_by(lambda context: context.clock.now, slot) == SLOT + timedelta(seconds=5)
    assert seen_by(lambda context: context.clock.bars_since(slot.series.ends[0]), slot) == 2


def test_figures_and_lines_are_cut_to_what_can_be_stored() -> None:
    def act(context: Context) -> None:
        context.note(z=np.float64(1.5), flag=np.bool_(True), none=math.nan, text="a\x00b")
        for i in range(150):
            context.log(f"line {i} {'x' * 600}")

    result = taken(doing(act), {}, slot_of(CLOSES))

    assert dict(result.numbers) == {"z": 1.5, "flag": True, "none": None, "text": "a�b"}
    assert len(result.log) == 100
    assert {len(line) for line in result.log} == {500}


class Counting(Strategy):
    """Counts its bars, and remembers what its init saw."""

    CONFIG_SCHEMA: ClassVar[Any] = {"symbol": {"type": "symbol"}, "start": {"type": "int", "default": 0}}
    STATE = {"count": 0, "closes": []}  # noqa: RUF012

    def init(self, context: Context) -> None:
        """Start where the config says."""
        context.state["count"] = context.config.start
        context.log(f"begins at {context.clock.slot:%H:%M}")

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Count."""
        context.state["count"] += 1
        context.state["closes"].append(bar.closes[context.config.symbol])
        self.count = getattr(self, "count", 0) + 1
        context.note(count=context.state["count"], of_the_object=self.count)

    def on_tick(self, context: Context, tick: Tick) -> None:
        """Note the price."""
        context.note(tick=tick.price, price=context.prices["KO"])

    def render(self, context: Context) -> list[Any]:
        """Show the count, and spoil the state, which must not matter."""
        context.state["count"] += 100
        return [Metric(label="count", value=context.state["count"])]


def test_a_new_instance_is_initialised_and_a_known_one_goes_on_from_its_state() -> None:
    kind, slot = kind_of(Counting), slot_of(CLOSES)

    first = taken(kind, {"symbol": "KO", "start": 5}, slot)
    second = taken(kind, {"symbol": "KO", "start": 5}, slot, state=first.state)

    assert first.log == ("begins at 17:30",)
    assert second.log == ()
    assert first.state == {"count": 6, "closes": [62.0]}
    assert second.state == {"count": 7, "closes": [62.0, 62.0]}


def test_the_same_is_decided_from_the_same_and_no_argument_changes() -> None:
    kind, slot = kind_of(Counting), slot_of(CLOSES)
    config = kind.config.validate({"symbol": "KO"})
    before = initialise(kind, config, slot).state
    kept = {"count": 0, "closes": []}

    results = [step(kind, config, before, slot) for _ in range(3)]

    assert results[0] == results[1] == results[2]
    assert before == kept
    # An object lives for one call: what it keeps in itself is gone.
    assert results[2].numbers["of_the_object"] == 1


def test_a_tick_is_looked_at_with_the_state_and_gives_the_newest_price() -> None:
    kind, slot = kind_of(Counting), slot_of(CLOSES)
    config = kind.config.validate({"symbol": "KO"})
    live = SlotData(slot.time, slot.series, ticks={"KO": 62.5})

    result = step(kind, config, {"count": 3, "closes": []}, live, tick=Tick("KO", 62.5, SLOT))

    assert kind.has_ticks
    assert not doing(lambda _: None).has_ticks
    assert result.numbers == {"tick": 62.5, "price": 62.5}
    assert result.state["count"] == 3


def test_drawing_changes_nothing() -> None:
    kind, slot = kind_of(Counting), slot_of(CLOSES)
    config = kind.config.validate({"symbol": "KO"})
    state: dict[str, Any] = {"count": 3, "closes": []}

    assert draw(kind, config, state, slot) == (Metric(label="count", value=103),)
    assert draw(kind, config, state, slot) == (Metric(label="count", value=103),)


WIDE = LineChart(title="a", x=range(5_000), lines=[Line(name="a", values=range(5_000))] * 7)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (["<b>html</b>"], "render: ValidationError|render: tuple"),
        ([Text(text="a")] * 31, "render: "),
        (None, "render: TypeError"),
        ([WIDE] * 3, "render: ValueError: its widgets hold 120000 values; 100000 at most"),
    ],
)
def test_what_is_no_widget_is_not_shown(shown: Any, said: str) -> None:
    class Showing(Counting):
        def render(self, context: Context) -> Any:
            return shown

    kind = kind_of(Showing)

    with pytest.raises(StrategyFault, match=said):
        draw(kind, kind.config.validate({"symbol": "KO"}), {}, slot_of(CLOSES))


@pytest.mark.parametrize("call", ["init", "render"])
def test_nothing_can_be_asked_for_where_nothing_is_decided(call: str) -> None:
    def ask(self: Strategy, context: Context) -> list[Any]:
        context.orders.target("KO", 0.1)
        return []

    kind = kind_of(type("Asking", (Counting,), {call: ask}))
    config = kind.config.validate({"symbol": "KO"})

    with pytest.raises(StrategyFault, match=rf"mine: {call}: asked to hold KO outside of on_bar and on_tick"):
        if call == "init":
            initialise(kind, config, slot_of(CLOSES))
        else:
            draw(kind, config, {}, slot_of(CLOSES))


def test_a_config_that_could_be_changed_is_there_unchanged_in_the_next_call() -> None:
    class Config(BaseModel):
        symbols: list[str] = ["KO"]

    class Changing(Counting):
        CONFIG_SCHEMA = Config

        def on_bar(self, context: Context, bar: SlotBar) -> None:
            context.note(symbols=",".join(context.config.symbols))
            context.config.symbols.append("PEP")

    kind, slot = kind_of(Changing), slot_of(CLOSES)
    config = kind.config.validate({"symbols": ["KO"]})

    results = [step(kind, config, {}, slot) for _ in range(2)]

    assert [result.numbers for result in results] == [{"symbols": "KO"}] * 2


def test_a_reason_is_cut_to_what_can_be_stored() -> None:
    (asked,) = wishes_of(lambda context: context.orders.target("KO", 0.1, reason="a\x00" * 200))

    assert len(asked.reason) == 200
    assert "\x00" not in asked.reason


@pytest.mark.parametrize("bars", [0, 5_001])
def test_history_has_a_bound(bars: int) -> None:
    kind = doing(lambda _: None, warmup=bars)

    with pytest.raises(StrategyFault, match=f"it needs {bars} bars of history; between 1 and 5000 can be had"):
        taken(kind, {}, slot_of(CLOSES))


def test_the_ends_of_bars_stand_beside_the_closes() -> None:
    series: CloseSeries = seen_by(lambda context: context.closes(("PEP", "KO"), 2), slot_of(CLOSES))

    ends: tuple[datetime, ...] = slot_of(CLOSES).series.ends
    assert series.symbols == ("PEP", "KO")
    assert series.ends == ends[-2:]
    assert series.closes[0].tolist() == [171.0, 61.0]
