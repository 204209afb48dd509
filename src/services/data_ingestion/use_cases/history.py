"""Bring in past bars of any vendor: judged, once, resumable by symbol and month."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import get_args
from uuid import UUID

import numpy as np

from src.services.data_ingestion.domain.basis import (
    LATE_DAYS,
    OVERLAP_BARS,
    OVERLAP_DIFFERS,
    OtherBasis,
    Overtaken,
)
from src.services.data_ingestion.domain.differences import Written
from src.services.data_ingestion.domain.grid import TIMEFRAMES, Grid, Span, make_grid, parts_of
from src.services.data_ingestion.domain.history import (
    Brought,
    HistoryResult,
    Piece,
    SymbolOutcome,
    Window,
    done_spans,
    judge_piece,
    pieces,
    windows_with_overlap,
)
from src.services.data_ingestion.domain.plan import REASKED_BARS
from src.services.data_ingestion.ports import HistoryRepository
from src.services.data_ingestion.use_cases.telling import series_rebased
from src.shared.domain.bars import DAILY, HOURLY, Series, as_datetime
from src.shared.domain.errors import InputInvalid, Refused, TradewindsError, Transient, UnknownSymbol
from src.shared.domain.ids import parse_symbol, slot_key
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.vendor_data import VendorBars
from src.shared.failpoints import failpoint
from src.shared.messages.market_data import MarketDataStored
from src.shared.ports.broker import MarketClockSource
from src.shared.ports.market_data import Adjustment, BarSource
from src.shared.ports.unit_of_work import UnitOfWork, Work

SPIKE_RATIO = 10.0
WORKERS = 4
ROWS_AT_ONCE = 20_000

Progress = Callable[[SymbolOutcome], None]

# A day that is given as the end of a window may be today.
_NEAR_FUTURE = timedelta(days=1)
_ATTEMPTS = 3
_REASKED = {HOURLY: REASKED_BARS, DAILY: 2}


@dataclass(frozen=True)
class HistoryLoad:
    """Long loads with their ports plugged in. What is held of a symbol is stored once it has `rows_at_once`."""

    work: UnitOfWork[HistoryRepository]
    clock: MarketClockSource
    calendar: TradingCalendar
    spike_ratio: float = SPIKE_RATIO
    rows_at_once: int = ROWS_AT_ONCE

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
            InputInvalid: the symbols, the window, the timeframe or the adjustment are wrong, or the vendor knows none
                of the symbols; no bar was written.
            Transient: no symbol could be loaded, and for one of them a retry may help.
            Refused: no symbol could be loaded: the vendor said no.
        """
        job = self._job(source, symbols, (start, end), timeframe, adjustment)
        outcomes = _in_parallel(lambda symbol: self._load(job, symbol, only_missing), job.symbols, workers, progress)
        errors = [each.error for each in outcomes if each.error is not None]
        if len(errors) == len(outcomes):
            raise _nothing_came(outcomes, errors, source)
        told = [replace(each, error=None) for each in outcomes]
        return HistoryResult(tuple(sorted(told, key=lambda each: each.symbol)))

    def plan(
        self,
        source: BarSource,
        symbols: Sequence[str],
        start: datetime,
        end: datetime,
        timeframe: str = HOURLY,
        adjustment: Adjustment = "split",
        *,
        only_missing: bool = True,
    ) -> dict[str, list[Span]]:
        """Say what `run` would ask for: the windows of each symbol, some stored bars among them. Nothing is asked.

        Raises:
            InputInvalid: as `run`.
        """
        job = self._job(source, symbols, (start, end), timeframe, adjustment)
        windows = {symbol: _SymbolLoad(self, job, symbol).windows(only_missing) for symbol in job.symbols}
        return {symbol: [(each.start, each.end) for each in found] for symbol, found in windows.items()}

    def _job(
        self,
        source: BarSource,
        symbols: Sequence[str],
        window: tuple[datetime, datetime],
        timeframe: str,
        adjustment: Adjustment,
    ) -> _Job:
        names = tuple(sorted({parse_symbol(symbol) for symbol in symbols}))
        if not names:
            raise InputInvalid("name at least one symbol to load.")
        if timeframe not in TIMEFRAMES or timeframe not in source.made_from:
            there = ", ".join(each for each in TIMEFRAMES if each in source.made_from)
            raise InputInvalid(f"{source.vendor} has no bars of {timeframe!r}: there are {there}.")
        if adjustment not in get_args(Adjustment):
            raise InputInvalid(f"{adjustment!r} is no adjustment: there are {', '.join(get_args(Adjustment))}.")
        now = self.clock.clock().now
        start, end = window
        if start < self.calendar.first:
            raise InputInvalid(f"bars before {self.calendar.first:%Y-%m-%d} are not kept: begin then or later.")
        if start >= now or end > now + _NEAR_FUTURE:
            raise InputInvalid(
                f"the window {start:%Y-%m-%d} to {end:%Y-%m-%d} reaches into the future: it is {now:%Y-%m-%d %H:%MZ}."
            )
        if start >= end:
            raise InputInvalid(
                f"the window from {start:%Y-%m-%d} to {end:%Y-%m-%d} has no length: its end comes first."
            )
        grid = make_grid(self.calendar, timeframe, start, min(end, now))
        return _Job(source, names, timeframe, adjustment, grid, now)

    def _load(self, job: _Job, symbol: str, only_missing: bool) -> SymbolOutcome:
        load = _SymbolLoad(self, job, symbol)
        try:
            load.run(only_missing)
        except (Transient, Refused) as error:
            return replace(load.outcome, failure=f"{type(error).__name__}: {error}", error=error)
        return load.outcome


@dataclass(frozen=True, eq=False)
class _Job:
    """One call: whom to ask, for which bars of which symbols."""

    source: BarSource
    symbols: tuple[str, ...]
    timeframe: str
    adjustment: Adjustment
    grid: Grid
    now: datetime

    @property
    def rows_are(self) -> str:
        """The timeframe of the vendor's rows."""
        return self.source.made_from[self.timeframe]


class _SymbolLoad:
    """The load of one symbol; what it has brought so far is kept whatever happens."""

    def __init__(self, load: HistoryLoad, job: _Job, symbol: str) -> None:
        self._work, self._calendar, self._spike_ratio = load.work, load.calendar, load.spike_ratio
        self._rows_at_once = load.rows_at_once
        self._job, self._series = job, Series(symbol, job.timeframe, job.source.vendor, job.adjustment)
        self._rebases = 0
        self.outcome = SymbolOutcome(symbol)

    def run(self, only_missing: bool) -> None:
        """Bring in what is wanted; a series that proves to be on another basis is read anew first."""
        for _ in range(_ATTEMPTS):
            try:
                for window in self.windows(only_missing):
                    self._bring(window)
            except Overtaken:
                continue
            except OtherBasis:
                self._read_anew()
                only_missing = True
                continue
            return
        raise Transient(f"{self._series.symbol}: its price basis keeps changing while it is loaded")

    def windows(self, only_missing: bool) -> list[Window]:
        """Choose what to ask for, and how often the series was put on another basis up to now."""
        job, grid, series = self._job, self._job.grid, self._series
        if not len(grid):
            return []
        first, last = as_datetime(grid.end[0]), as_datetime(grid.end[-1])
        done = np.zeros(len(grid), dtype=bool)
        with self._work() as work:
            self._rebases = work.repo.rebases(series)
            is_new = work.repo.edges(series) is None
            if only_missing:
                stored = grid.end[:0] if is_new else work.repo.stored_ends(series, first, last)
                recent_from = as_datetime(grid.start[-_REASKED[job.timeframe] :][0])
                done = done_spans(grid, stored, work.repo.asked(series, first), recent_from)
            wanted = grid.take(~done)
            if not len(wanted):
                return []
            overlap = [] if is_new else self._overlap(work.repo, as_datetime(wanted.start[0]))
        return windows_with_overlap(series, self._calendar, wanted, overlap)

    def _overlap(self, repo: HistoryRepository, start: datetime) -> list[list[Span]]:
        """Choose stored bars to ask for again, to see on which basis the vendor's prices are now."""
        series, now = self._series, self._job.now
        overlaps = [repo.stored_before(series, start, OVERLAP_BARS)]
        if not overlaps[0]:
            after = repo.stored_after(series, start, OVERLAP_BARS)
            # Where the first bar that is wanted is stored itself, the first piece overlaps.
            overlaps = [after] if after and after[0][0] != start else []
        # Bars that were stored before the vendor got round to a split may all lie after it: look before it as well.
        days = repo.ex_days(series, (now - timedelta(days=LATE_DAYS)).date(), now.date())
        for session in self._calendar.sessions(days[0], now.date())[:1] if days else ():
            overlaps.append(repo.stored_before(series, session.open, 1))
        return [overlap for overlap in overlaps if overlap]

    def _bring(self, window: Window) -> None:
        run_id = self._begin(window)
        failpoint("data_ingestion.history_begun")
        try:
            for piece in pieces(self._pages(window), window, self._rows_at_once):
                brought = judge_piece(piece, window, self._job.rows_are, self._job.now, self._spike_ratio)
                run_id = self._store(piece, brought, window, run_id)
        except TradewindsError as error:
            self._fail(run_id, error)
            raise

    def _pages(self, window: Window) -> Iterator[VendorBars]:
        job = self._job
        # A day's row may be stamped with its midnight, hours before the session.
        first = as_datetime(parts_of(window.grid, job.rows_are).begin[0])
        return job.source.history(self._series.symbol, first, window.end, job.rows_are, job.adjustment)

    def _store(self, piece: Piece, brought: Brought, window: Window, run_id: UUID) -> UUID:
        series, until = self._series, as_datetime(piece.until)
        with self._work() as work:
            work.repo.lock(series)
            if work.repo.rebases(series) != self._rebases:
                raise Overtaken.of(series)
            written = work.repo.put(series, brought.accepted, run_id)
            self._close(work, run_id, until, brought, written)
            following = run_id
            if until < window.end:
                following = work.repo.begin_run(series, self._job.source.client, until, window.end)
            failpoint("data_ingestion.before_history")
            work.commit()
        failpoint("data_ingestion.history_stored")
        self._count(brought, written)
        return following

    def _read_anew(self) -> None:
        """Replace the whole series in one transaction: never two bases in it."""
        with self._work() as work:
            edges = work.repo.edges(self._series)
        if edges is None:
            return
        end = max(edges[1], as_datetime(self._job.grid.end[-1]))
        window = Window(self._series, make_grid(self._calendar, self._series.timeframe, edges[0], end))
        run_id = self._begin(window)
        try:
            rows = VendorBars.joined(self._series.symbol, list(self._pages(window)))
            piece = Piece(rows, window.grid.start[0], window.grid.end[-1])
            brought = judge_piece(piece, window, self._job.rows_are, self._job.now, self._spike_ratio)
            self._replace(window, brought, run_id)
        except TradewindsError as error:
            self._fail(run_id, error)
            raise

    def _replace(self, window: Window, brought: Brought, run_id: UUID) -> None:
        with self._work() as work:
            work.repo.lock(self._series)
            replaced = work.repo.replace(self._series, brought.accepted, run_id, OVERLAP_DIFFERS)
            if replaced is None:
                raise Transient("its price basis changed, but the new history is too short to be used")
            self._close(work, run_id, window.end, brought, replaced.written)
            if replaced.rebase is not None:
                work.record(series_rebased(replaced.rebase))
            failpoint("data_ingestion.before_rebase")
            work.commit()
        failpoint("data_ingestion.rebased")
        self._count(brought, replaced.written)
        if replaced.rebase is not None:
            self.outcome = replace(self.outcome, rebased=replaced.rebase.factor)

    def _close(
        self, work: Work[HistoryRepository], run_id: UUID, until: datetime, brought: Brought, written: Written
    ) -> None:
        work.repo.finish_run(run_id, until, brought, written)
        work.repo.quarantine(self._series, run_id, brought.rejected)
        if written.rows:
            work.record(_stored(self._series, run_id, until, brought, written))

    def _count(self, brought: Brought, written: Written) -> None:
        self.outcome = self.outcome.plus(
            new=written.new,
            unchanged=written.unchanged,
            restated=written.restated,
            rejected=len(brought.rejected),
            missing=len(brought.missing),
        )

    def _begin(self, window: Window) -> UUID:
        with self._work() as work:
            run_id = work.repo.begin_run(self._series, self._job.source.client, window.start, window.end)
            work.commit()
        return run_id

    def _fail(self, run_id: UUID, error: Exception) -> None:
        with self._work() as work:
            work.repo.fail_run(run_id, f"{type(error).__name__}: {error}")
            work.commit()


def _nothing_came(
    outcomes: Sequence[SymbolOutcome], errors: Sequence[Transient | Refused], source: BarSource
) -> Exception:
    if all(isinstance(error, UnknownSymbol) for error in errors):
        return InputInvalid(f"{source.vendor} does not know {', '.join(sorted(each.symbol for each in outcomes))}.")
    return next((error for error in errors if isinstance(error, Transient)), errors[0])


def _in_parallel(
    load: Callable[[str], SymbolOutcome], symbols: Sequence[str], workers: int, progress: Progress | None
) -> list[SymbolOutcome]:
    """Load every symbol; an error that is no outcome ends the whole, once the loads under way have come to an end."""
    outcomes: list[SymbolOutcome] = []
    pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="history")
    try:
        for future in as_completed([pool.submit(load, symbol) for symbol in symbols]):
            outcomes.append(future.result())
            if progress is not None:
                progress(outcomes[-1])
    finally:
        pool.shutdown(cancel_futures=True)
    return outcomes


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
