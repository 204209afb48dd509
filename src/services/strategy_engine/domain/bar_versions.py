"""What a bar was at an earlier time: every value that was stored of it, and from when to when."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from math import nan

import numpy as np

from src.shared.domain.bars import BarSeries, CloseSeries, Floats

_NAMES = ("open", "high", "low", "close", "volume")


class BarChangeKind(StrEnum):
    """What happened to a stored bar after somebody had read it."""

    ARRIVED = "arrived"
    RESTATED = "restated"
    REBASED = "rebased"
    REPAIRED = "repaired"


@dataclass(frozen=True)
class BarVersion:
    """One value of a bar, in the table from `since` to before `until`; None where it is there still.

    `ended_by` says why it went; `others` are open, high, low and volume.
    """

    symbol: str
    end: datetime
    close: float
    since: datetime
    until: datetime | None = None
    ended_by: BarChangeKind | None = None
    others: tuple[float, float, float, float] = (nan, nan, nan, nan)

    @property
    def values(self) -> tuple[float, float, float, float, float]:
        """Open, high, low, close and volume."""
        first, high, low, volume = self.others
        return first, high, low, self.close, volume

    def holds(self, moment: datetime) -> bool:
        """Say whether the table held it at a moment."""
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True)
class BarChange:
    """A bar that differs from what it was: its closes (None where there was no bar), since when, and why.

    `what` is the value that is told where it is not the close.
    """

    symbol: str
    end: datetime
    old: float | None
    new: float | None
    kind: BarChangeKind
    at: datetime
    what: str = "close"


def closes_at(
    now: CloseSeries, versions: Sequence[BarVersion], symbols: Collection[str], at: datetime
) -> CloseSeries:
    """Put the closes of `symbols` as the table held them `at` in the place of those of now; NaN where none was."""
    closes = now.closes.copy()
    _put_back(closes, now, versions, symbols, at, lambda version: version.close)
    return replace(now, closes=closes)


def bars_at(now: BarSeries, versions: Sequence[BarVersion], symbols: Collection[str], at: datetime) -> BarSeries:
    """Do with whole bars what `closes_at` does with closes."""
    values = np.stack(now.values)
    _put_back(values, now, versions, symbols, at, lambda version: version.values)
    return BarSeries(now.symbols, now.ends, *values)


def _put_back(
    values: Floats,
    now: CloseSeries | BarSeries,
    versions: Sequence[BarVersion],
    symbols: Collection[str],
    at: datetime,
    value_of: Callable[[BarVersion], float | tuple[float, ...]],
) -> None:
    """Change `values`, shape (…, T, S) on the grid of `now`, to those of `symbols` as they were `at`."""
    columns = {symbol: column for column, symbol in enumerate(now.symbols) if symbol in symbols}
    values[..., list(columns.values())] = nan
    rows = {end: row for row, end in enumerate(now.ends)}
    for each in versions:
        if each.symbol in columns and each.end in rows and each.holds(at):
            values[..., rows[each.end], columns[each.symbol]] = value_of(each)


def changes_since(
    versions: Sequence[BarVersion],
    symbols: Collection[str],
    ends: Collection[datetime],
    at: datetime,
    *,
    whole: bool = False,
) -> list[BarChange]:
    """List the bars of `symbols` and `ends` whose close, or any value of the `whole` bar, is another now than `at`.

    They come by symbol and time.
    """
    by_bar: dict[tuple[str, datetime], list[BarVersion]] = {}
    for each in sorted(versions, key=lambda version: version.since):
        if each.symbol in symbols and each.end in ends:
            by_bar.setdefault((each.symbol, each.end), []).append(each)
    found = [_change(kept, at, whole=whole) for _, kept in sorted(by_bar.items())]
    return [change for change in found if change is not None]


def change_times(versions: Sequence[BarVersion], after: datetime, until: datetime) -> list[datetime]:
    """List when one of the bars came or went within (after, until], the latest first."""
    times = {each.since for each in versions} | {each.until for each in versions if each.until is not None}
    return sorted((time for time in times if after < time <= until), reverse=True)


def _change(kept: Sequence[BarVersion], at: datetime, *, whole: bool) -> BarChange | None:
    then = next((each for each in kept if each.holds(at)), None)
    now = next((each for each in kept if each.until is None), None)
    if then is now:
        return None
    what, old, gone_to = "close", then.close if then else None, now.close if now else None
    if then is not None and now is not None and then.close == now.close:
        differing = [place for place in range(len(_NAMES)) if then.values[place] != now.values[place]]
        if not (whole and differing):
            return None
        what, old, gone_to = _NAMES[differing[0]], then.values[differing[0]], now.values[differing[0]]
    last = now or kept[-1]
    if then is None:
        return BarChange(last.symbol, last.end, None, gone_to, BarChangeKind.ARRIVED, kept[0].since)
    kind, moment = then.ended_by or BarChangeKind.RESTATED, then.until or last.since
    return BarChange(then.symbol, then.end, old, gone_to, kind, moment, what)
