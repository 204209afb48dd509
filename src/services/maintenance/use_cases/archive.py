"""Move old bars from the table into files, look at the files, and put a month back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from src.services.maintenance.domain.archive import ArchiveFile, Moved, Retention, SeriesMonth, Verdict
from src.services.maintenance.ports import ArchiveFolder, BarArchive
from src.shared.domain.errors import InputInvalid, Terminal
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork, Work


@dataclass(frozen=True)
class Restored:
    """What came back of a month: files read, bars by key that fit, how many of these the table lacked.

    `left_out` are bars whose series was put on another price basis since they were stored.
    """

    month: date
    files: int
    rows: int
    inserted: int
    left_out: int


@dataclass(frozen=True)
class Archive:
    """Bars leave the table in the transaction that records their file, which was read back before."""

    store: UnitOfWork[BarArchive]
    folder: ArchiveFolder
    retention: Retention

    def move_old_bars(self, now: datetime) -> list[Moved]:
        """Archive every whole month that is older than the retention; a second run finds nothing to do.

        Raises:
            Transient: the database went away, or somebody holds the bars; what was moved until then is moved.
            Terminal: a file could not be written as it should be; its bars stay.
        """
        return [moved for series in self._due(now) if (moved := self._move(series, now)) is not None]

    def verify(self, month: date | None = None) -> list[Verdict]:
        """Read every file on record, or those of a month, and name the files that no record knows."""
        with self.store() as work:
            files = work.repo.files(month=month)
        found = [Verdict(each.file, each.rows, self.folder.fault(each)) for each in files]
        if month is None:
            found += [Verdict(name, 0, "no record knows this file") for name in self.folder.strangers(files)]
        return found

    def files(self) -> list[ArchiveFile]:
        """List the files on record."""
        with self.store() as work:
            return work.repo.files()

    def put_back(self, month: date, now: datetime) -> Restored:
        """Insert what the table lacks of a month's bars; those that it has stay as they are.

        Raises:
            InputInvalid: nothing of the month is archived, a file is not whole, or the loads that brought the bars
                are not in this database. Nothing is inserted.
        """
        with self.store() as work:
            files = work.repo.files(month=month)
            self._refuse_broken(files, month)
            for each in files:
                work.repo.stage(self.folder.read(each), each.part)
            rows, inserted, left_out = work.repo.put_back(month)
            work.repo.note_restored(files, now)
            work.commit()
        return Restored(month, len(files), rows, inserted, left_out)

    def _due(self, now: datetime) -> Iterator[SeriesMonth]:
        with self.store() as work:
            newest = work.repo.newest()
            for (vendor, timeframe), moment in sorted(newest.items()):
                before = self.retention.first_kept_month(timeframe, moment, now)
                if before is not None:
                    yield from work.repo.months(vendor, timeframe, before)

    def _move(self, series: SeriesMonth, now: datetime) -> Moved | None:
        with self.store() as work:
            work.repo.lock(series)
            files = work.repo.files(series)
            if any(self.retention.is_put_back(each.restored_at, now) for each in files):
                return None
            present = work.repo.count(series)
            if not present:
                return None
            written = self._write_what_is_new(work, series, files)
            removed = work.repo.remove(series)
            if removed != present:
                raise Terminal(f"{series}: {present} bars were read and {removed} would be removed; all stay.")
            failpoint("maintenance.before_removal")
            work.commit()
        failpoint("maintenance.bars_archived")
        return Moved(series, removed, written)

    def _write_what_is_new(
        self, work: Work[BarArchive], series: SeriesMonth, files: list[ArchiveFile]
    ) -> ArchiveFile | None:
        for each in files:
            # What a broken file should hold is written again, should the table have it.
            if not self.folder.fault(each):
                work.repo.stage(self.folder.read(each), each.part)
        rows = work.repo.unarchived(series)
        if rows.num_rows == 0:
            return None
        failpoint("maintenance.before_file")
        written = self.folder.write(series, rows, [each.file for each in files])
        failpoint("maintenance.file_kept")
        work.repo.add(written)
        return written

    def _refuse_broken(self, files: list[ArchiveFile], month: date) -> None:
        if not files:
            raise InputInvalid(f"Nothing of {month:%Y-%m} is archived: `tradewinds archive list` shows what is.")
        for each in files:
            if fault := self.folder.fault(each):
                raise InputInvalid(f"{each.file} can't be restored: {fault}. Nothing was inserted.")
