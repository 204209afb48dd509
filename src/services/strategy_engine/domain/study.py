"""A strategy over past bars: which bars, whether the newest is fresh, and what a holding would have come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from src.services.strategy_engine.domain.evaluation import UnfinishedTrade
from src.shared.domain.bars import DAILY, CloseSeries
from src.shared.domain.pairs import Pair
from src.shared.domain.sessions import Session, TradingCalendar

_HOURS = {"1Hour": 1, "2Hour": 2, "3Hour": 3, "4Hour": 4}
_SPARE_DAYS = 21


def bar_ends(session: Session, bar_length: str) -> list[datetime]:
    """List where the bars of a session end: groups of hours from the open, the last one ending with the session."""
    hours = [end for _, end in session.bar_spans()]
    if bar_length == DAILY:
        return hours[-1:]
    size = _HOURS[bar_length]
    return [hours[min(first + size, len(hours)) - 1] for first in range(0, len(hours), size)]


@dataclass(frozen=True)
class Grid:
    """The ends of the bars of a study, oldest first: `before` of them only lead up to the first decision."""

    ends: tuple[datetime, ...]
    before: int
    first_start: datetime

    @property
    def decided(self) -> tuple[datetime, ...]:
        """The bars that are decided about."""
        return self.ends[self.before :]


def study_grid(
    calendar: TradingCalendar, bar_length: str, until: datetime, records: int, since: date | None, before: int
) -> Grid | None:
    """Choose the last `records` bars that end by `until`, none before the day `since`, and `before` earlier ones.

    None where there is no such bar.
    """
    most = records + before
    first_day = until.date() - timedelta(days=2 * most + _SPARE_DAYS)
    sessions = calendar.sessions(first_day, until.date())
    ends = [end for session in sessions for end in bar_ends(session, bar_length) if end <= until]
    wanted = [end for end in ends[-records:] if since is None or end.date() >= since]
    if not wanted:
        return None
    place = ends.index(wanted[0])
    chosen = ends[max(0, place - before) :]
    opened = next(session.open for session in sessions if session.close >= chosen[0])
    return Grid(tuple(chosen), min(before, place), opened)


def why_not_fresh(
    series: CloseSeries, symbols: Sequence[str], expected: datetime, now: datetime, max_buffer: timedelta
) -> str | None:
    """Say why nothing may be decided now on these bars; None where they are whole and new enough.

    `expected` is the end of the newest bar that is finished `now`. A bar counts as fresh for `max_buffer` after its
    end.
    """
    newest = series.ends[-1]
    age = now - newest
    if newest < expected or age > max_buffer:
        return (
            f"STALE_BAR: the newest bar ended {newest:%Y-%m-%d %H:%M}Z, {age.total_seconds():.0f} s ago; "
            f"more than {max_buffer.total_seconds():.0f} s is too old"
        )
    missing = [symbol for symbol in symbols if math.isnan(series.column(symbol)[-1])]
    if missing:
        return f"STALE_BAR: no bar of {', '.join(missing)} that ended {newest:%Y-%m-%d %H:%M}Z"
    return None


@dataclass
class Purse:
    """What one dollar would have become by what was held from bar to bar, before costs.

    A symbol counts with its fraction, a pair's trade with its gross as an equal share of the dollar: 1 : |β| between
    the legs. A bar that is missing moves nothing until the next one is there.
    """

    value: float = 1.0
    _last: dict[str, float] = field(default_factory=dict)

    def move(
        self,
        closes: Mapping[str, float],
        fractions: Mapping[str, float],
        trades: Mapping[str, UnfinishedTrade],
        pairs: Mapping[str, Pair],
    ) -> None:
        """Take in the closes of a bar, with what was held up to it."""
        returns = {
            symbol: close / self._last[symbol] - 1.0 for symbol, close in closes.items() if symbol in self._last
        }
        growth = sum(fraction * returns.get(symbol, 0.0) for symbol, fraction in fractions.items())
        for name, trade in trades.items():
            pair = pairs[name]
            legs = returns.get(pair.symbol_1, 0.0) - pair.beta * returns.get(pair.symbol_2, 0.0)
            growth += trade.direction.sign * legs / (1 + abs(pair.beta)) / len(pairs)
        self.value *= 1.0 + growth
        self._last.update(closes)
