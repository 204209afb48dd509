"""Bring in what a vendor knows of listings, splits and dividends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TypeVar
from uuid import UUID

from src.services.data_ingestion.domain.grid import Span
from src.services.data_ingestion.domain.loads import LoadState
from src.services.data_ingestion.domain.reference import (
    Dataset,
    DatasetOutcome,
    Found,
    Kept,
    Listing,
    ReferenceResult,
)
from src.services.data_ingestion.ports import ReferenceRepository, ReferenceSource
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.domain.ids import parse_symbol
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork

BEGINNING = date(1970, 1, 1)
PROBLEMS_KEPT = 200

V = TypeVar("V")
Broken = Transient | Refused


@dataclass(frozen=True)
class ReferenceLoad:
    """Loads of reference data with their ports plugged in."""

    work: UnitOfWork[ReferenceRepository]

    def run(self, source: ReferenceSource, symbols: Sequence[str], since: date | None = None) -> ReferenceResult:
        """Bring listings, and splits and dividends (all, or those from `since` on), of `symbols` into the tables.

        The same again changes nothing. A dataset that breaks off does not keep the others from coming.

        Raises:
            InputInvalid: no symbols, or what is none; nothing was written.
            Transient: no dataset could be loaded, and for one of them a retry may help.
            Refused: no dataset could be loaded: the vendor said no.
        """
        names = tuple(sorted({parse_symbol(symbol) for symbol in symbols}))
        if not names:
            raise InputInvalid("name at least one symbol.")
        now = source.market_status().at
        job = _Job(source, names, since, now)
        found: list[Found[Listing]] = []
        tries = (
            self._listings(job, found),
            self._try(
                job, "split", lambda: source.splits(names, since), lambda repo, rows, run: repo.keep_splits(rows, run)
            ),
            self._try(
                job,
                "dividend",
                lambda: source.dividends(names, since),
                lambda repo, rows, run: repo.keep_dividends(rows, run),
            ),
        )
        errors = [error for _, error in tries if error is not None]
        if len(errors) == len(tries):
            raise next((error for error in errors if isinstance(error, Transient)), errors[0])
        known = {name for one in found for name in _named(one)}
        unknown = tuple(name for name in names if found and name not in known)
        return ReferenceResult(tuple(outcome for outcome, _ in tries), unknown)

    def _listings(self, job: _Job, found: list[Found[Listing]]) -> tuple[DatasetOutcome, Broken | None]:
        def read() -> Found[Listing]:
            found.append(job.source.listings(job.symbols))
            return found[-1]

        def keep(repo: ReferenceRepository, rows: Sequence[Listing], _run_id: UUID) -> Kept:
            return repo.keep_listings(rows, job.source.vendor, job.now)

        return self._try(job, "listing", read, keep)

    def _try(
        self,
        job: _Job,
        dataset: Dataset,
        read: Callable[[], Found[V]],
        keep: Callable[[ReferenceRepository, Sequence[V], UUID], Kept],
    ) -> tuple[DatasetOutcome, Broken | None]:
        run_id = self._begin(job, dataset)
        try:
            found = read()
        except (Transient, Refused) as error:
            line = f"{type(error).__name__}: {error}"
            self._fail(run_id, line)
            return DatasetOutcome(dataset, failure=line), error
        with self.work() as work:
            kept = keep(work.repo, found.rows, run_id)
            work.repo.quarantine(job.source.vendor, dataset, run_id, found.rejected)
            problems = [f"{each.symbol}: {each.reason}" for each in found.rejected]
            state: LoadState = "partial" if found.rejected else "complete"
            work.repo.finish(run_id, state, kept, len(found.rejected), problems[:PROBLEMS_KEPT])
            failpoint("data_ingestion.before_reference")
            work.commit()
        failpoint("data_ingestion.reference_stored")
        return DatasetOutcome(dataset, kept, len(found.rejected)), None

    def _begin(self, job: _Job, dataset: Dataset) -> UUID:
        with self.work() as work:
            run_id = work.repo.begin(job.source, dataset, job.symbols, job.window)
            work.commit()
        return run_id

    def _fail(self, run_id: UUID, line: str) -> None:
        with self.work() as work:
            work.repo.finish(run_id, "failed", Kept(), 0, [line])
            work.commit()


def _named(found: Found[Listing]) -> set[str]:
    return {each.symbol for each in found.rows} | {each.symbol for each in found.rejected}


@dataclass(frozen=True)
class _Job:
    """One call: whom to ask, for which symbols, from which day on, and when."""

    source: ReferenceSource
    symbols: tuple[str, ...]
    since: date | None
    now: datetime

    @property
    def window(self) -> Span:
        """What the load covers: up to now, or the whole of a day that is still to come."""
        first = datetime.combine(self.since or BEGINNING, time(), UTC)
        return first, max(self.now, datetime.combine(first.date(), time.max, UTC))
