"""The out-of-sample trial: the rules of every slot, replayed with costs over bars that the fit never saw.

The decisions are those of `decide` on the readings of `read_history`: there is no second set of rules. What a trial
adds is a conservative idea of how they are carried out:

- An order is filled at the close of the *next* bar, though in truth it goes out seconds after its slot.
- Both legs pay commission and half the spread at entry and at exit, the short leg a borrow fee for each day.
- At the close of a session nobody is there to act: that slot decides nothing.
- A trade that is open at the end is closed at the last prices: its result counts, but it is no round trip.

Each trade stakes the same gross, split 1 : |beta| between the legs. Results are fractions of it, not compounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from src.services.strategy_engine.domain.decision import Context, Thresholds, TradeInHand, TradeState, decide
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.domain.spread import read_history
from src.shared.domain.bars import Floats
from src.shared.domain.pairs import Direction, Pair, PairMode, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SignalAction, SpreadReading

SESSIONS_A_YEAR = 252
_DAYS_A_YEAR = 365.0
_BPS = 1e-4
_NO_TIME = timedelta(0)


@dataclass(frozen=True)
class Costs:
    """What trading costs: basis points of each leg's value at a fill, and the short leg's yearly fee (fraction)."""

    commission_bps: float = 0.5
    half_spread_bps: float = 2.0
    borrow_per_year: float = 0.01

    @property
    def per_fill(self) -> float:
        """The fraction of a leg's value that a fill costs."""
        return (self.commission_bps + self.half_spread_bps) * _BPS


@dataclass(frozen=True)
class TrialTrade:
    """One trade of a trial: the slots whose decisions opened and closed it, the prices it got, and what it made.

    `gross_return` and `costs` are fractions of the gross that was staked. `exit_reason` is None where the trial's end
    closed it.
    """

    direction: Direction
    entry_slot: datetime
    exit_slot: datetime
    entry_prices: tuple[float, float]
    exit_prices: tuple[float, float]
    exit_reason: Reason | None
    gross_return: float
    costs: float

    @property
    def net_return(self) -> float:
        """What is left after costs."""
        return self.gross_return - self.costs


@dataclass(frozen=True)
class TrialDecision:
    """What was decided in one slot of a trial."""

    slot: datetime
    action: SignalAction
    reason: Reason


@dataclass(frozen=True)
class Trial:
    """How a fit did on bars that it never saw.

    `sharpe` is the mean of the daily results over their standard deviation (ddof = 1), times √252; every session of
    the unseen part counts, those without a trade as 0. It is 0 where the results never differ. `max_drawdown` is the
    deepest fall of 1 + the sum of results below its peak, as a fraction of the peak, looked at in every bar.
    `win_rate` is over all trades, 0 where there is none.
    """

    begins: datetime
    ends: datetime
    bars: int
    sessions: int
    sharpe: float
    win_rate: float
    max_drawdown: float
    net_return: float
    trades: tuple[TrialTrade, ...]
    decisions: tuple[TrialDecision, ...]

    @property
    def round_trips(self) -> int:
        """Count the trades that the rules themselves closed."""
        return sum(trade.exit_reason is not None for trade in self.trades)

    @property
    def open_at_end(self) -> bool:
        """Say whether the trial's end closed a trade."""
        return self.round_trips < len(self.trades)


def run_trial(
    closes_1: Floats,
    closes_2: Floats,
    ends: Sequence[datetime],
    pair: Pair,
    thresholds: Thresholds,
    calendar: TradingCalendar,
    costs: Costs,
    *,
    first: int,
) -> Trial:
    """Trade a pair by the rules from row `first` to the last; the rows before only fill the first windows.

    `closes_1` and `closes_2` have shape (T,) with NaN where there is no bar, `ends` are their T slots, oldest first.
    `pair` carries the parameters of a fit on rows before `first`; its mode does not matter.

    Raises:
        ValueError: nothing is unseen, or an end is no slot of the calendar.
    """
    if not 0 <= first < len(ends):
        raise ValueError(f"{len(ends)} bars have no unseen part from row {first} on")
    moments = _moments(ends[first:], calendar)
    readings = read_history(closes_1, closes_2, pair, first)
    prices = np.column_stack([closes_1, closes_2])[first:]
    desk = _Desk(replace(pair, mode=PairMode.ACTIVE), thresholds, moments, prices)
    for row, reading in enumerate(readings):
        desk.live_through(row, reading)
    desk.close_at_end()
    return _judged(desk, _known_prices(prices), costs)


@dataclass(frozen=True)
class _Moments:
    """Of every row: its slot, how many slots of the calendar lie before it, what is left of the session, its day."""

    slots: Sequence[datetime]
    ordinals: list[int]
    left: list[timedelta]
    days: list[int]

    @property
    def sessions(self) -> int:
        return self.days[-1] + 1


@dataclass
class _Position:
    """A trade under way, by the rows of its decisions and fills; a row is -1 until there is one."""

    direction: Direction
    entered: int
    filled: int = -1
    left: int = -1
    closed: int = -1
    reason: Reason | None = None

    @property
    def state(self) -> PairTradeState:
        if self.filled < 0:
            return PairTradeState.OPENING
        return PairTradeState.OPEN if self.left < 0 else PairTradeState.CLOSING


@dataclass
class _Desk:
    """Carries decisions out bar by bar: at any row it knows nothing of later ones."""

    pair: Pair
    thresholds: Thresholds
    moments: _Moments
    prices: Floats
    position: _Position | None = None
    stopped: int | None = None
    finished: list[_Position] = field(default_factory=list)
    decisions: list[TrialDecision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._priced: list[bool] = np.isfinite(self.prices.sum(axis=1)).tolist()

    def live_through(self, row: int, reading: SpreadReading | Reason) -> None:
        """Fill what was ordered earlier, then decide."""
        if self._priced[row]:
            self._fill(row)
        if self.moments.left[row] <= _NO_TIME:
            return
        action, reason = decide(reading, self._state(row), self.thresholds, self._context(row))
        self.decisions.append(TrialDecision(self.moments.slots[row], action, reason))
        if action.is_entry:
            self.position = _Position(action.direction, row)
        elif action.is_exit and self.position is not None:
            self.position.left, self.position.reason = row, reason
            if action is SignalAction.STOP:
                self.stopped = row

    def close_at_end(self) -> None:
        """Close what is held at the last prices; an entry that was never filled is no trade."""
        position, last = self.position, len(self._priced) - 1
        if position is not None and position.filled >= 0:
            position.left = last if position.left < 0 else position.left
            position.closed, position.reason = last, None
            self.finished.append(position)

    def _fill(self, row: int) -> None:
        position = self.position
        if position is None:
            return
        if position.filled < 0:
            position.filled = row
        elif position.left >= 0:
            position.closed = row
            self.finished.append(position)
            self.position = None

    def _state(self, row: int) -> TradeState:
        trade, position = None, self.position
        if position is not None:
            trade = TradeInHand(position.direction, position.state, self._bars(position.entered, row))
        return TradeState(trade, None if self.stopped is None else self._bars(self.stopped, row))

    def _bars(self, earlier: int, later: int) -> int:
        return self.moments.ordinals[later] - self.moments.ordinals[earlier]

    def _context(self, row: int) -> Context:
        return Context(self.pair, _NO_TIME, self.moments.left[row])


def _moments(slots: Sequence[datetime], calendar: TradingCalendar) -> _Moments:
    ordinals: dict[datetime, int] = {}
    closes: list[datetime] = []
    days: list[int] = []
    for day, session in enumerate(calendar.sessions(slots[0].date() - timedelta(days=1), slots[-1].date())):
        for _, end in session.bar_spans():
            ordinals[end] = len(closes)
            closes.append(session.close)
            days.append(day)
    try:
        places = [ordinals[slot] for slot in slots]
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is not the end of an hourly bar") from None
    first_day = days[places[0]]
    left = [closes[place] - slot for place, slot in zip(places, slots, strict=True)]
    return _Moments(slots, places, left, [days[place] - first_day for place in places])


def _known_prices(prices: Floats) -> Floats:
    """Carry the last known price over holes."""
    rows = np.where(np.isnan(prices), 0, np.arange(len(prices))[:, None])
    held: Floats = np.take_along_axis(prices, np.maximum.accumulate(rows, axis=0), axis=0)
    return held


def _judged(desk: _Desk, prices: Floats, costs: Costs) -> Trial:
    moments = desk.moments
    results: Floats = np.zeros(len(prices))  # (N,) what each bar made, costs included, in fractions of gross
    trades = tuple(_book(position, desk, prices, costs, results) for position in desk.finished)
    wins = sum(trade.net_return > 0 for trade in trades)
    daily = np.bincount(moments.days, weights=results, minlength=moments.sessions).astype(np.float64)
    return Trial(
        begins=moments.slots[0],
        ends=moments.slots[-1],
        bars=len(prices),
        sessions=moments.sessions,
        sharpe=_sharpe(daily),
        win_rate=wins / len(trades) if trades else 0.0,
        max_drawdown=_max_drawdown(results),
        net_return=float(results.sum()),
        trades=trades,
        decisions=tuple(desk.decisions),
    )


def _book(position: _Position, desk: _Desk, prices: Floats, costs: Costs, results: Floats) -> TrialTrade:
    """Add a trade's results to those of its bars."""
    share = np.array([1.0, -desk.pair.beta]) / (1 + abs(desk.pair.beta)) * position.direction.sign  # (2,) of gross
    held = prices[position.filled : position.closed + 1]
    worth = share * held / held[0]  # (H, 2) signed value of each leg
    made = np.diff(worth.sum(axis=1))
    entry_cost, exit_cost = costs.per_fill * np.abs(worth[[0, -1]]).sum(axis=1)
    slots = desk.moments.slots
    days = (slots[position.closed] - slots[position.filled]) / timedelta(days=1)
    borrow = costs.borrow_per_year * float(np.abs(share[share < 0]).sum()) * days / _DAYS_A_YEAR
    results[position.filled + 1 : position.closed + 1] += made
    results[position.filled] -= entry_cost
    results[position.closed] -= exit_cost + borrow
    return TrialTrade(
        direction=position.direction,
        entry_slot=slots[position.entered],
        exit_slot=slots[position.left],
        entry_prices=(float(held[0, 0]), float(held[0, 1])),
        exit_prices=(float(held[-1, 0]), float(held[-1, 1])),
        exit_reason=position.reason,
        gross_return=float(made.sum()),
        costs=float(entry_cost + exit_cost + borrow),
    )


def _sharpe(daily: Floats) -> float:
    if len(daily) < 2:
        return 0.0
    deviation = float(daily.std(ddof=1))
    return float(daily.mean()) / deviation * math.sqrt(SESSIONS_A_YEAR) if deviation > 0 else 0.0


def _max_drawdown(results: Floats) -> float:
    worth = np.concatenate([[1.0], 1.0 + results.cumsum()])
    peak = np.maximum.accumulate(worth)
    return float(((peak - worth) / peak).max())
