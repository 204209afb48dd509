"""Bring in what is known of companies: only what is due, symbol by symbol, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from src.services.data_ingestion.domain.company import (
    Answer,
    CompanyDataset,
    CompanyLoad,
    CompanyOutcome,
    EarningsTold,
    Outcome,
    is_due,
)
from src.services.data_ingestion.ports import CompanyRepository, CompanySource
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.domain.ids import parse_symbol
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork

GIVE_UP_AFTER = 10
"""So many symbols in a row without an answer, and the vendor is taken to be away: the rest is not asked for."""

Progress = Callable[[int, int, CompanyOutcome], None]


@dataclass
class _Course:
    """What the workers of one load share: its id, and how long nobody has had an answer."""

    run_id: UUID
    silent: int = 0
    errors: list[Exception] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_hopeless(self) -> bool:
        return self.silent >= GIVE_UP_AFTER

    def note(self, outcome: CompanyOutcome, error: Exception | None = None) -> CompanyOutcome:
        with self.lock:
            self.silent = self.silent + 1 if isinstance(error, Transient) else 0
            if error is not None:
                self.errors.append(error)
        return outcome


@dataclass(frozen=True)
class CompanyData:
    """Company data with its ports plugged in. `due_days` says after how many days each dataset is asked for again."""

    work: UnitOfWork[CompanyRepository]
    source: CompanySource
    now: Callable[[], datetime]
    due_days: Mapping[CompanyDataset, float]
    workers: int = 4

    def load(
        self,
        dataset: CompanyDataset,
        symbols: Sequence[str],
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> CompanyLoad:
        """Ask for one dataset of those symbols where it is due (all with `force`), and store what has changed.

        A symbol that fails leaves the others alone; each is stored in a transaction of its own. Safe to repeat.
        `progress` is called in the caller's thread whenever one is done.

        Raises:
            InputInvalid: a symbol is wrong, or none is named; nothing was asked for.
            Transient: nothing that was due came; the load is recorded as failed.
            Refused: the vendor knows none of the symbols; likewise.
        """
        names = sorted({parse_symbol(symbol) for symbol in symbols})
        if not names:
            raise InputInvalid("name at least one symbol.")
        now = self.now()
        due = names if force else self.due(dataset, names, now)
        rested = [CompanyOutcome(name, dataset, "not due") for name in names if name not in due]
        if not due:
            return CompanyLoad(tuple(rested))
        course = _Course(self._begin(dataset, due, now))
        asked: list[CompanyOutcome] = []
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="companies")
        try:
            for future in as_completed([pool.submit(self._one, dataset, name, now, course) for name in due]):
                asked.append(future.result())
                if progress is not None:
                    # Here, in the caller's thread: those of the pool know nothing of the run that is shown.
                    progress(len(asked), len(due), asked[-1])
        finally:
            pool.shutdown(cancel_futures=True)
        load = CompanyLoad(tuple(sorted([*asked, *rested], key=lambda each: each.symbol)))
        self._finish(course.run_id, load)
        if len(load.failed) == len(due):
            raise next((e for e in course.errors if isinstance(e, Transient)), course.errors[0])
        return load

    def due(self, dataset: CompanyDataset, symbols: Sequence[str], now: datetime | None = None) -> list[str]:
        """Name the symbols whose dataset is to be asked for (again)."""
        at = now or self.now()
        with self.work() as work:
            loaded = work.repo.loaded_at(self.source.vendor, dataset, symbols)
        return [name for name in symbols if is_due(loaded.get(name), at, self.due_days[dataset])]

    def earnings(self, symbols: Sequence[str], since: date) -> list[EarningsTold]:
        """List days of earnings that are not over before a day, those that were moved too; of all without a symbol.

        Raises:
            InputInvalid: a name is no symbol.
        """
        names = [parse_symbol(symbol) for symbol in symbols]
        with self.work() as work:
            return work.repo.earnings(names, since)

    def _begin(self, dataset: CompanyDataset, symbols: Sequence[str], now: datetime) -> UUID:
        with self.work() as work:
            run_id = work.repo.begin_load(self.source.vendor, self.source.client, dataset, symbols, now)
            work.commit()
        failpoint("data_ingestion.company_load_begun")
        return run_id

    def _one(self, dataset: CompanyDataset, symbol: str, now: datetime, course: _Course) -> CompanyOutcome:
        if course.is_hopeless:
            reason = f"not asked for: {GIVE_UP_AFTER} symbols in a row had no answer"
            return course.note(CompanyOutcome(symbol, dataset, "failed", reason=reason), Transient(reason))
        try:
            answer = self._ask(dataset, symbol, now)
            return course.note(self._store(dataset, symbol, answer, course.run_id, now))
        except (Transient, Refused) as error:
            return course.note(CompanyOutcome(symbol, dataset, "failed", reason=str(error)), error)

    def _ask(self, dataset: CompanyDataset, symbol: str, now: datetime) -> Answer:
        try:
            return self.source.ask(dataset, symbol, now.date())
        except Transient:
            # Once more: most of what goes wrong on the way is gone a moment later.
            return self.source.ask(dataset, symbol, now.date())

    def _store(
        self, dataset: CompanyDataset, symbol: str, answer: Answer, run_id: UUID, now: datetime
    ) -> CompanyOutcome:
        with self.work() as work:
            stored = work.repo.store(self.source.vendor, dataset, symbol, answer, run_id)
            outcome: Outcome = "stored" if stored.changed else "unchanged" if answer.rows else "empty"
            work.repo.note_loaded(self.source.vendor, dataset, symbol, outcome, answer.empty_because, run_id, now)
            failpoint("data_ingestion.before_company")
            work.commit()
        return CompanyOutcome(symbol, dataset, outcome, stored, len(answer.unread), answer.empty_because)

    def _finish(self, run_id: UUID, load: CompanyLoad) -> None:
        with self.work() as work:
            work.repo.finish_load(run_id, load)
            work.commit()
