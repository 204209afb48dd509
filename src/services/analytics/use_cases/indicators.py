"""Work technical indicators out and store them: what is missing, or everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from src.services.analytics.domain.indicators import (
    BARS_PER_SESSION,
    IndicatorParameters,
    IndicatorRows,
    IndicatorSet,
    LatestIndicators,
    indicator_set,
    values,
)
from src.services.analytics.domain.staleness import Mode, Plan, StandingRows, plan
from src.services.analytics.ports import IndicatorRepository
from src.shared.domain.bars import BarKind, StoredBars
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_symbol
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork, Work


@dataclass(frozen=True)
class Batch:
    """Series of one kind that are worked out together, in one transaction."""

    kind: BarKind
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Computed:
    """What became of a batch, or would: rows written, series of which rows were replaced, series left alone."""

    batch: Batch
    bars: int
    written: int
    replaced_series: int
    untouched_series: int


@dataclass(frozen=True)
class Indicators:
    """Computes indicators and reads them. It is the only writer of `analytics.technical_indicators`."""

    store: UnitOfWork[IndicatorRepository]
    parameters: IndicatorParameters
    batch_symbols: int = 50

    def batches(
        self,
        timeframes: Iterable[str] = (),
        symbols: Iterable[str] = (),
        vendor: str | None = None,
        adjustment: str | None = None,
    ) -> list[Batch]:
        """List the series of which bars are stored, in batches of one kind; what is left open matches everything.

        Raises:
            InputInvalid: a timeframe has no indicators, a symbol is none, or no bars of it are stored.
        """
        lengths = sorted(set(timeframes)) or sorted(BARS_PER_SESSION)
        for timeframe in lengths:
            indicator_set(self.parameters, timeframe)
        wanted = {parse_symbol(symbol) for symbol in symbols}
        with self.store() as work:
            stored = work.repo.stored_series()
        found = {
            kind: [symbol for symbol in names if not wanted or symbol in wanted]
            for kind, names in stored.items()
            if kind.timeframe in lengths and vendor in (None, kind.vendor) and adjustment in (None, kind.adjustment)
        }
        if unknown := sorted(wanted.difference(*found.values())):
            raise InputInvalid(f"no bars ({', '.join(lengths)}) are stored of {', '.join(unknown)}: load them first.")
        return [batch for kind in sorted(found) for batch in self._cut(kind, found[kind])]

    def compute(
        self,
        batch: Batch,
        mode: Mode = "missing",
        first: date | None = None,
        last: date | None = None,
        *,
        dry_run: bool = False,
    ) -> Computed:
        """Bring a batch's rows up to its bars, all in one transaction.

        Values are those of the whole series, whatever part of them is written. `missing` writes from the first bar
        on whose row is missing or stale, `all` from the first bar; `first` and `last` (days in UTC, both included)
        bound the bars whose rows are looked at. A dry run says what would be written. Safe to repeat, also at once.

        Raises:
            InputInvalid: `first` is later than `last`.
            Transient: the database rolled it back; nothing was written.
        """
        begin, end = _bounds(first, last)
        indicators = indicator_set(self.parameters, batch.kind.timeframe)
        with self.store() as work:
            if not dry_run:
                work.repo.hold(batch.kind, batch.symbols)
            done = work.repo.up_to_date(batch.kind, batch.symbols, indicators.set_id) if mode == "missing" else {}
            rest = [symbol for symbol in batch.symbols if symbol not in done]
            bars = work.repo.bars(batch.kind, rest) if rest else {}
            standing = work.repo.standing(batch.kind, rest, indicators.set_id) if rest else {}
            plans = {
                symbol: plan(series, standing.get(symbol, _NO_ROWS), mode, begin, end)
                for symbol, series in bars.items()
            }
            if not dry_run and not all(each.is_idle for each in plans.values()):
                self._write(work, batch.kind, indicators, bars, plans)
        return _computed(batch, done, bars, plans)

    def latest(self, symbol: str) -> list[LatestIndicators]:
        """Read the newest values of every series of a symbol.

        Raises:
            InputInvalid: it is no symbol, or nothing is stored of it.
        """
        with self.store() as work:
            found = work.repo.latest(parse_symbol(symbol))
        if not found:
            raise InputInvalid(
                f"no indicators of {symbol} are stored: `tradewinds run indicators-missing` makes them."
            )
        return found

    def _cut(self, kind: BarKind, symbols: Sequence[str]) -> Iterable[Batch]:
        for begin in range(0, len(symbols), self.batch_symbols):
            yield Batch(kind, tuple(symbols[begin : begin + self.batch_symbols]))

    def _write(
        self,
        work: Work[IndicatorRepository],
        kind: BarKind,
        indicators: IndicatorSet,
        bars: dict[str, StoredBars],
        plans: dict[str, Plan],
    ) -> None:
        gone = {symbol: each.remove_from for symbol, each in plans.items() if each.remove_from is not None}
        work.repo.remove(kind, gone)
        rows = [_rows(symbol, indicators, bars[symbol], each) for symbol, each in sorted(plans.items()) if each.rows]
        work.repo.add(kind, indicators, rows)
        failpoint("analytics.before_indicators")
        work.commit()
        failpoint("analytics.indicators_stored")


_NO_TIMES = np.empty(0, dtype="M8[us]")
_NO_ROWS = StandingRows(_NO_TIMES, _NO_TIMES, np.empty(0, dtype=bool), np.empty(0))


def _rows(symbol: str, indicators: IndicatorSet, bars: StoredBars, planned: Plan) -> IndicatorRows:
    part = slice(planned.start, planned.stop)
    whole = values(indicators, bars, planned.obv_at_first)
    return IndicatorRows(
        symbol, bars.end[part], bars.recorded_at[part], {name: column[part] for name, column in whole.items()}
    )


def _computed(batch: Batch, done: Mapping[str, int], bars: dict[str, StoredBars], plans: dict[str, Plan]) -> Computed:
    return Computed(
        batch=batch,
        bars=sum(done.values()) + sum(map(len, bars.values())),
        written=sum(each.rows for each in plans.values()),
        replaced_series=sum(each.remove_from is not None for each in plans.values()),
        untouched_series=len(done) + sum(each.is_idle for each in plans.values()),
    )


def _bounds(first: date | None, last: date | None) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    if first is not None and last is not None and first > last:
        raise InputInvalid(f"{first} is later than {last}: name the earlier day first.")
    begin = None if first is None else np.datetime64(first, "us")
    end = None if last is None else np.datetime64(last + timedelta(days=1), "us") - np.timedelta64(1, "us")
    return begin, end
