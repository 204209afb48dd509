"""`ArchiveFolder`: Parquet files that have their name only when they are whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from src.services.maintenance.adapters.backup_folder import sync_folder
from src.services.maintenance.domain.archive import ArchiveFile, SeriesMonth, next_part, part_of
from src.services.maintenance.domain.bar_rows import content_digest
from src.shared.domain.errors import InputInvalid, Terminal
from src.shared.failpoints import failpoint
from src.shared.infra.embedded.files import StateFolderUnusable, make_folder

_PASSING = ".part"


@dataclass(frozen=True)
class ParquetFolder:
    """`<vendor>/<timeframe>/<month>.<part>.parquet` below a folder."""

    path: Path

    def write(self, series: SeriesMonth, rows: pa.Table, taken: Sequence[str]) -> ArchiveFile:
        """Write, force to disk, name, read back, compare.

        A file of the same rows that has a name and no record is what a killed run left: it is taken as it is. One
        with other rows is left alone.

        Raises:
            Terminal: what is read is not what was written, or the disk is full.
        """
        folder = self._made(series)
        digest = content_digest(rows)
        found = sorted(f"{series.folder}/{each.name}" for each in folder.glob(f"{series.month:%Y-%m}.*.parquet"))
        for name in found:
            if name not in taken and self._digest_or_none(name) == digest:
                return self._recorded(series, name, rows.num_rows, digest)
        name = series.file(next_part([*taken, *found]))
        try:
            self._write(name, rows)
        except OSError as error:
            raise Terminal(f"{self.path / name} can't be written ({error.strerror}); the bars stay.") from error
        return self._recorded(series, name, rows.num_rows, digest)

    def fault(self, file: ArchiveFile) -> str:
        """Compare bytes, digests and rows with the record."""
        path = self.path / file.file
        try:
            if path.stat().st_size != file.bytes:
                return f"it has {path.stat().st_size} bytes instead of {file.bytes}"
            if _file_digest(path) != file.file_sha256:
                return "its SHA-256 is another one"
            rows = _read(path)
        except FileNotFoundError:
            return "it is not there"
        except (OSError, pa.ArrowException) as error:
            return f"it can't be read ({type(error).__name__})"
        if rows.num_rows != file.rows or content_digest(rows) != file.content_sha256:
            return "its rows are not those that were archived"
        return ""

    def read(self, file: ArchiveFile) -> pa.Table:
        """Read the rows."""
        return _read(self.path / file.file)

    def strangers(self, known: Iterable[ArchiveFile]) -> list[str]:
        """List files by their names below the folder."""
        names = {each.file for each in known}
        found = (path.relative_to(self.path).as_posix() for path in self.path.glob("*/*/*.parquet"))
        return sorted(name for name in found if name not in names and part_of(name) is not None)

    def _made(self, series: SeriesMonth) -> Path:
        try:
            return make_folder(self.path / series.folder)
        except StateFolderUnusable:
            raise InputInvalid(
                f"The folder {self.path} can't be written: correct TRADEWINDS_MAINTENANCE_ARCHIVE_FOLDER."
            ) from None

    def _write(self, name: str, rows: pa.Table) -> None:
        path = self.path / name
        passing = path.with_name(f"{path.name}{_PASSING}")
        handle = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as opened:
            pq.write_table(rows, opened, compression="zstd")
            opened.flush()
            os.fsync(opened.fileno())
        failpoint("maintenance.file_unnamed")
        passing.rename(path)
        # Also the folders above: a new one is lost with its files where its own name is.
        for folder in (path.parent, path.parent.parent, self.path):
            sync_folder(folder)

    def _recorded(self, series: SeriesMonth, name: str, rows: int, digest: str) -> ArchiveFile:
        path = self.path / name
        now = datetime.now(UTC)
        part = part_of(name) or 1
        size, sha256 = path.stat().st_size, _file_digest(path)
        file = ArchiveFile(name, series, part, rows, size, sha256, digest, now, now)
        if fault := self.fault(file):
            raise Terminal(f"{name} was written and {fault}; the bars stay in the table.")
        return file

    def _digest_or_none(self, name: str) -> str | None:
        try:
            return content_digest(_read(self.path / name))
        except (OSError, pa.ArrowException):
            return None


def _read(path: Path) -> pa.Table:
    # As one file: its folders' names are no columns.
    return pq.ParquetFile(path).read()


def _file_digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
