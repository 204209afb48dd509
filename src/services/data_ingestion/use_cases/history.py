"""Bring in past bars of any vendor: judged, once, resumable by symbol and month."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import get_args
from uuid import UUID

import numpy as np

from src.services.data_ingestion.domain.differences import Written
from src.services.data_ingestion.domain.grid import TIMEFRAMES, Grid, make_grid, parts_of
from src.services.data_ingestion.domain.history import (
    Brought,
    HistoryResult,
    Piece,
    SymbolOutcome,
    Window,
    done_spans,
    judge_piece,
    pieces,
    wanted_windows,
)
from src.services.data_ingestion.domain.plan import REASKED_BARS
from src.services.data_ingestion.ports import HistoryRepository
from src.shared.domain.bars import DAILY, HOURLY, Series, as_datetime
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.domain.ids import parse_symbol, slot_key
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.messages.market_data import MarketDataStored
from src.shared.ports.broker import MarketClockSource
from src.shared.ports.market_data import Adjustment, BarSource
from src.shared.ports.unit_of_work import UnitOfWork

SPIKE_RATIO = 10.0
WORKERS = 4

Progress = Callable[[SymbolOutcome], None]

# A day that is given as the end of a window may be today.
_NEAR_FUTURE = timedelta(days=1)
_REASKED = {HOURLY: REASKED_BARS, DAILY: 2}


@dataclass(frozen=True)
class HistoryLoad:
    """Long loads with their ports plugged in."""

    work: UnitOfWork[HistoryRepository]
    clock: MarketClockSource
    calendar: TradingCalendar
    spike_ratio: float = SPIKE_RATIO

    def run(
        self,
        source: BarSource,
        symbols: Sequence[str],
        start: datetime,
        end: datetime,
        timeframe: str = HOURLY,
        adjustment: Adjustment = "split",
        *,
        only_missing: bool = True,
        progress: Progress | None = None,
        workers: int = WORKERS,
    ) -> HistoryResult:
        """Bring the bars of `symbols` that lie in [start, end] into the table.

        `only_missing` leaves out what is stored and what a finished load has asked for: a load that was killed goes
        on where it was. Otherwise everything is asked for again and what has changed is restated. At most `workers`
        symbols are loaded at once, on one connection each; `progress` is called in the caller's thread whenever one
        is done. A symbol that breaks off does not keep the others from coming.

        Raises:
            InputInvalid: the symbols, the window, the timeframe or the adjustment are wrong; nothing was written.
            Transient: no symbol could be loaded, and for one of them a retry may help.
            Refused: no symbol could be loaded: the vendor said no.
        """
        now = self.clock.clock().now
        job = self._job(source, symbols, (start, end), timeframe, adjustment, now)
        job = replace(job, only_missing=only_missing)
        outcomes, errors = _in_parallel(job, self._load, workers, progress)
        if outcomes and len(errors) == len(outcomes):
            raise next((error for error in errors if isinstance(error, Transient)), errors[0])
        return HistoryResult(tuple(sorted(outcomes, key=lambda each: each.symbol)))

    def _job(
        self,
        source: BarSource,
        symbols: Sequence[str],
        window: tuple[datetime, datetime],
        timeframe: str,
        adjustment: Adjustment,
        now: datetime,
    ) -> _Job:
        names = tuple(sorted({parse_symbol(symbol) for symbol in symbols}))
        if not names:
            raise InputInvalid("name at least one symbol to load.")
        if timeframe not in TIMEFRAMES or timeframe not in source.made_from:
            there = ", ".join(each for each in TIMEFRAMES if each in source.made_from)
            raise InputInvalid(f"{source.vendor} has no bars of {timeframe!r}: there are {there}.")
        if adjustment not in get_args(Adjustment):
            raise InputInvalid(f"{adjustment!r} is no adjustment: there are {', '.join(get_args(Adjustment))}.")
        start, end = window
        if start >= end:
            raise InputInvalid(
                f"the window from {start:%Y-%m-%d} to {end:%Y-%m-%d} has no length: its end comes first."
            )
        if start >= now or end > now + _NEAR_FUTURE:
            raise InputInvalid(f"the window to {end:%Y-%m-%d} reaches into the future: it is {now:%Y-%m-%d %H:%MZ}.")
        grid = make_grid(self.calendar, timeframe, start, min(end, now))
        return _Job(source, names, timeframe, adjustment, grid, now, only_missing=True)

    def _load(self, job: _Job, symbol: str) -> SymbolOutcome:
        series = Series(symbol, job.timeframe, job.source.vendor, job.adjustment)
        outcome = SymbolOutcome(symbol)
        for window in self._windows(series, job):
            outcome = self._bring(window, job, outcome)
        return outcome

    def _windows(self, series: Series, job: _Job) -> list[Window]:
        grid = job.grid
        if not len(grid):
            return []
        done = np.zeros(len(grid), dtype=bool)
        if job.only_missing:
            first, last = as_datetime(grid.end[0]), as_datetime(grid.end[-1])
            recent_from = as_datetime(grid.start[-_REASKED[job.timeframe] :][0])
            with self.work() as work:
                stored = work.repo.stored_ends(series, first, last)
                asked = work.repo.asked(series, as_datetime(grid.start[0]))
            done = done_spans(grid, stored, asked, recent_from)
        return wanted_windows(series, grid, done)

    def _bring(self, window: Window, job: _Job, outcome: SymbolOutcome) -> SymbolOutcome:
        rows_are = job.source.made_from[job.timeframe]
        run_id = self._begin(window, job)
        failpoint("data_ingestion.history_begun")
        try:
            # A day's row may be stamped with its midnight, hours before the session.
            first = as_datetime(parts_of(window.grid, rows_are).begin[0])
            asked = window.series.symbol, first, window.end
            for piece in pieces(job.source.history(*asked, rows_are, job.adjustment), window):
                brought = judge_piece(piece, window, rows_are, job.now, self.spike_ratio)
                run_id, outcome = self._store(piece, brought, window, job, run_id, outcome)
        except (Transient, Refused) as error:
            self._fail(run_id, error)
            raise
        return outcome

    def _store(
        self, piece: Piece, brought: Brought, window: Window, job: _Job, run_id: UUID, outcome: SymbolOutcome
    ) -> tuple[UUID, SymbolOutcome]:
        series, until = window.series, as_datetime(piece.until)
        with self.work() as work:
            work.repo.lock(series)
            written = work.repo.put(series, brought.accepted, run_id)
            work.repo.finish_run(run_id, until, brought, written)
            work.repo.quarantine(series, run_id, brought.rejected)
            if written.rows:
                work.record(_stored(series, run_id, until, brought, written))
            if until < window.end:
                run_id = work.repo.begin_run(series, job.source.client, until, window.end)
            failpoint("data_ingestion.before_history")
            work.commit()
        failpoint("data_ingestion.history_stored")
        return run_id, outcome.plus(
            new=written.new,
            unchanged=written.unchanged,
            restated=written.restated,
            rejected=len(brought.rejected),
            missing=len(brought.missing),
        )

    def _begin(self, window: Window, job: _Job) -> UUID:
        with self.work() as work:
            run_id = work.repo.begin_run(window.series, job.source.client, window.start, window.end)
            work.commit()
        return run_id

    def _fail(self, run_id: UUID, error: Exception) -> None:
        with self.work() as work:
            work.repo.fail_run(run_id, f"{type(error).__name__}: {error}")
            work.commit()


@dataclass(frozen=True, eq=False)
class _Job:
    """One call: whom to ask, for which bars of which symbols."""

    source: BarSource
    symbols: tuple[str, ...]
    timeframe: str
    adjustment: Adjustment
    grid: Grid
    now: datetime
    only_missing: bool


def _in_parallel(
    job: _Job, load: Callable[[_Job, str], SymbolOutcome], workers: int, progress: Progress | None
) -> tuple[list[SymbolOutcome], list[Transient | Refused]]:
    """Load every symbol; one that breaks off is an outcome, anything else that is raised ends the whole."""
    outcomes: list[SymbolOutcome] = []
    errors: list[Transient | Refused] = []
    pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="history")
    try:
        waiting = {pool.submit(load, job, symbol): symbol for symbol in job.symbols}
        for future in as_completed(waiting):
            try:
                outcome = future.result()
            except (Transient, Refused) as error:
                errors.append(error)
                outcome = SymbolOutcome(waiting[future], failure=f"{type(error).__name__}: {error}")
            outcomes.append(outcome)
            if progress is not None:
                progress(outcome)
    finally:
        pool.shutdown(cancel_futures=True)
    return outcomes, errors


def _stored(series: Series, run_id: UUID, until: datetime, brought: Brought, written: Written) -> MarketDataStored:
    return MarketDataStored.of(
        run_id,
        1,
        until,
        slot_key(until),
        vendor=series.vendor,
        symbols=(series.symbol,),
        rows=written.rows,
        rejected=len(brought.rejected),
        complete=brought.state == "complete",
    )
