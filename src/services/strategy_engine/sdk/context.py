"""The only door of a strategy to the world: it reads the slot, changes its state, and asks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from src.services.strategy_engine.domain.evaluation import SlotTime, UnfinishedTrade, WatchedPair
from src.services.strategy_engine.sdk.plain import storable
from src.services.strategy_engine.sdk.slot import Bars, Held, SlotData, exchange_calendar
from src.services.strategy_engine.sdk.wishes import EnterPair, ExitPair, Target, Wish
from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.errors import StrategyFault
from src.shared.domain.pairs import Direction
from src.shared.domain.sessions import TradingCalendar

Trades = Literal["pairs", "symbols", "basket"]
Number = float | int | str | bool | None

MOST_LOG_LINES = 100
MOST_LINE_LETTERS = 500
MOST_NUMBERS = 500
MOST_NAME_LETTERS = 100
MOST_REASON_LETTERS = 200
MOST_FRACTION = 1.0


@dataclass
class Collected:
    """What was asked, noted and logged in one call. Orders are refused where the call may not act."""

    wishes: dict[str, Wish] = field(default_factory=dict)
    numbers: dict[str, Number] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    may_act: bool = True


@dataclass(frozen=True)
class Scope:
    """What an instance may see and trade, by its config."""

    trades: Trades
    symbols: tuple[str, ...]
    pairs: tuple[WatchedPair, ...]
    warmup_bars: int
    whole_bars: bool = False

    @cached_property
    def pair_ids(self) -> frozenset[str]:
        """The ids of its pairs."""
        return frozenset(each.pair.id for each in self.pairs)

    @cached_property
    def seen(self) -> frozenset[str]:
        """The symbols that it may read: its own and the legs of its pairs."""
        legs = {leg for each in self.pairs for leg in (each.pair.symbol_1, each.pair.symbol_2)}
        return frozenset(legs.union(self.symbols))


class Clock:
    """The time of the slot, which is all the time a strategy may know."""

    __slots__ = ("_time",)

    def __init__(self, time: SlotTime) -> None:
        self._time = time

    @property
    def slot(self) -> datetime:
        """The end of the last finished bar (UTC)."""
        return self._time.slot

    @property
    def now(self) -> datetime:
        """The broker's time at which the slot is evaluated (UTC)."""
        return self._time.now

    @property
    def market_close(self) -> datetime:
        """When the session ends (UTC)."""
        return self._time.close

    @property
    def time(self) -> SlotTime:
        """Slot, now and close in one value, as the rules of pairs take it."""
        return self._time

    @property
    def calendar(self) -> TradingCalendar:
        """Sessions and slots of the exchange."""
        return exchange_calendar()

    def bars_since(self, earlier: datetime) -> int:
        """Count the bars of session time from an earlier slot to this one."""
        return self.calendar.bars_between_slots(earlier, self.slot)


class Position:
    """What the instance holds; in observe, what it would hold."""

    __slots__ = ("_held",)

    def __init__(self, held: Held) -> None:
        self._held = held

    def fraction(self, symbol: str) -> float:
        """Return the fraction of the capital that is held in a symbol, negative when short."""
        return self._held.fractions.get(symbol, 0.0)

    def trade(self, pair_id: str) -> UnfinishedTrade | None:
        """Return the unfinished trade of a pair, with direction, state and entry slot."""
        return self._held.trades.get(pair_id)

    @property
    def fractions(self) -> Mapping[str, float]:
        """Every fraction that is not zero, by symbol."""
        return MappingProxyType(dict(self._held.fractions))


class Orders:
    """Where a strategy asks. A later target of a symbol replaces an earlier one of the same call."""

    __slots__ = ("_collected", "_scope")

    def __init__(self, scope: Scope, collected: Collected) -> None:
        self._scope = scope
        self._collected = collected

    def enter_pair(self, pair_id: str, direction: Direction, reason: str = "") -> None:
        """Ask to open a trade of one of the instance's pairs.

        Raises:
            StrategyFault: it is no pair of the instance, or its exit was asked for in the same call.
        """
        self._refuse_unless("pairs", f"enter {pair_id}")
        self._ask(
            pair_id, EnterPair(pair_id=self._own(pair_id), direction=Direction(direction), reason=_reason(reason))
        )

    def exit_pair(self, pair_id: str, reason: str = "") -> None:
        """Ask to close the trade of one of the instance's pairs.

        Raises:
            StrategyFault: it is no pair of the instance, or its entry was asked for in the same call.
        """
        self._refuse_unless("pairs", f"exit {pair_id}")
        self._ask(pair_id, ExitPair(pair_id=self._own(pair_id), reason=_reason(reason)))

    def target(self, symbol: str, fraction: float, reason: str = "") -> None:
        """Ask to hold a symbol for a fraction of the instance's capital, between −1 and 1; negative is short.

        Raises:
            StrategyFault: it is no symbol of the instance, or the fraction is not finite or out of bounds.
        """
        self._refuse_unless(("symbols", "basket"), f"hold {symbol}")
        if symbol not in self._scope.symbols:
            raise StrategyFault(f"asked for {symbol}, which is not among its symbols {_listed(self._scope.symbols)}")
        wanted = float(fraction)
        # NaN is not within any bound either.
        if not abs(wanted) <= MOST_FRACTION:
            raise StrategyFault(f"asked to hold {wanted} of its capital in {symbol}; a fraction is between −1 and 1")
        self._collected.wishes[symbol] = Target(symbol=symbol, fraction=wanted, reason=_reason(reason))

    def _refuse_unless(self, trades: str | tuple[str, ...], what: str) -> None:
        if not self._collected.may_act:
            raise StrategyFault(f"asked to {what} outside of on_bar and on_tick")
        if self._scope.trades not in trades:
            raise StrategyFault(f'asked to {what}, but its TRADES is "{self._scope.trades}"')

    def _own(self, pair_id: str) -> str:
        if pair_id not in self._scope.pair_ids:
            raise StrategyFault(f"asked for {pair_id}, which is not among its pairs")
        return pair_id

    def _ask(self, about: str, wish: EnterPair | ExitPair) -> None:
        before = self._collected.wishes.get(about)
        if before is not None and before.kind != wish.kind:
            raise StrategyFault(f"asked to enter and to exit {about} in one call")
        self._collected.wishes[about] = wish


class Context:
    """What a strategy sees in one call. Nothing here can be replaced; `state` can be changed from within."""

    __slots__ = ("_collected", "_config", "_held", "_scope", "_slot", "_state")

    def __init__(
        self, config: Any, state: Any, slot: SlotData, held: Held, scope: Scope, collected: Collected
    ) -> None:
        self._config = config
        self._state = state
        self._slot = slot
        self._held = held
        self._scope = scope
        self._collected = collected

    @property
    def config(self) -> Any:
        """The validated config: a field is an attribute."""
        return self._config

    @property
    def state(self) -> Any:
        """The declared state: change it in place, it is stored after the call."""
        return self._state

    @property
    def clock(self) -> Clock:
        """The time of the slot."""
        return Clock(self._slot.time)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that the strategy named for its config."""
        return self._scope.symbols

    @property
    def pairs(self) -> tuple[WatchedPair, ...]:
        """The registered pairs of the instance, each with the trade that the instance holds of it."""
        return self._scope.pairs

    @property
    def prices(self) -> Mapping[str, float]:
        """The last price of each symbol that has a bar at the slot or a tick since."""
        known = {symbol: self._slot.price(symbol) for symbol in sorted(self._scope.seen)}
        return MappingProxyType({symbol: price for symbol, price in known.items() if price is not None})

    @property
    def position(self) -> Position:
        """What the instance holds."""
        return Position(self._held)

    @property
    def orders(self) -> Orders:
        """Where to ask for trades."""
        return Orders(self._scope, self._collected)

    def history(self, symbol: str, bars: int) -> Floats:
        """Return the last `bars` closes up to the slot, shape (bars,), oldest first; NaN where there is none.

        Raises:
            StrategyFault: the symbol is not one of the instance's, or more bars are asked for than the strategy
                said it needs.
        """
        self._refuse_unread(symbol, bars)
        return self._slot.closes(symbol, bars)

    def bars(self, symbol: str, bars: int) -> Bars:
        """Return the last `bars` whole bars: open, high, low, close and volume, each as `history` has closes.

        Raises:
            StrategyFault: as `history`, or the strategy does not say that it reads whole bars.
        """
        if not self._scope.whole_bars:
            raise StrategyFault(f"read whole bars of {symbol}; it needs WHOLE_BARS = True to be given them")
        self._refuse_unread(symbol, bars)
        return self._slot.bars(symbol, bars)

    def closes(self, symbols: Sequence[str], bars: int) -> CloseSeries:
        """Return the closes of several symbols side by side, with the ends of their bars.

        There are fewer rows than `bars` where the market is known for a shorter time.

        Raises:
            StrategyFault: as `history`.
        """
        columns = [self.history(symbol, bars) for symbol in symbols]
        ends = self._slot.series.ends[-bars:]
        matrix = np.column_stack(columns)[bars - len(ends) :] if columns else np.empty((len(ends), 0))
        matrix.setflags(write=False)
        return CloseSeries(tuple(symbols), ends, matrix)

    def log(self, text: str) -> None:
        """Add a line to the decision's log; a long one is cut, and so are too many."""
        if len(self._collected.log) < MOST_LOG_LINES:
            self._collected.log.append(storable(str(text), MOST_LINE_LETTERS))

    def note(self, **numbers: Any) -> None:
        """Store figures with the decision; one that is not finite is stored as None.

        Raises:
            StrategyFault: there are more than 500, or one is neither a number nor text, bool or None.
        """
        for name, value in numbers.items():
            self._collected.numbers[storable(name, MOST_NAME_LETTERS)] = _number(name, value)
        if len(self._collected.numbers) > MOST_NUMBERS:
            raise StrategyFault(f"noted more than {MOST_NUMBERS} figures in one call")

    def _refuse_unread(self, symbol: str, bars: int) -> None:
        if symbol not in self._scope.seen:
            raise StrategyFault(f"read {symbol}, which is not among its symbols {_listed(self._scope.symbols)}")
        if not 0 < bars <= self._scope.warmup_bars:
            raise StrategyFault(f"read {bars} bars of {symbol}; it says that it needs {self._scope.warmup_bars}")


def _reason(text: str) -> str:
    return storable(str(text), MOST_REASON_LETTERS)


def _number(name: str, value: Any) -> Number:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return storable(value, MOST_LINE_LETTERS)
    if value is None or isinstance(value, int | bool):
        return value
    raise StrategyFault(f"noted {name} as {type(value).__name__}; a figure is a number, text, bool or None")


def _listed(symbols: Sequence[str]) -> str:
    return ", ".join(symbols) or "(none)"
