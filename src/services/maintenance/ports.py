"""What maintenance needs from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

import pyarrow as pa

from src.services.maintenance.domain.archive import ArchiveFile, SeriesMonth
from src.services.maintenance.domain.backups import Drill, Facts, Manifest, What
from src.services.maintenance.domain.upkeep import CleanUp, TableState
from src.shared.messages.ops import AlertRaised

Tell = Callable[[str], object]
"""Hears what is being done, in a few words."""

BooksCheck = Callable[[str], Sequence[str]]
"""Takes a database's URL and says what breaks the invariants that need no broker."""


WriterLock = Callable[[str], AbstractContextManager[object]]
"""Holds the place of the one writer in the trading database at a URL; NotTheWriter while somebody trades there."""


@dataclass(frozen=True)
class Source:
    """A database to back up; the URL may hold a password."""

    what: What
    name: str
    url: str = field(repr=False)


@dataclass(frozen=True)
class Target:
    """A database to restore into: whether it exists, how many tables it has, and whether the suite lives in it."""

    name: str
    url: str = field(repr=False)
    exists: bool
    tables: int
    live: What | None
    server_version: int


class BarArchive(Protocol):
    """Bars in the table and what is known of their files, within one transaction."""

    def newest(self) -> Mapping[tuple[str, str], datetime]:
        """The newest bar of each vendor and time frame."""
        ...

    def months(self, vendor: str, timeframe: str, before: datetime) -> list[SeriesMonth]:
        """The months that hold bars that end before a time, oldest first."""
        ...

    def lock(self, series: SeriesMonth) -> None:
        """Keep others from writing bars of the month until the transaction ends; they may read. Raises Transient."""
        ...

    def files(self, series: SeriesMonth | None = None, month: date | None = None) -> list[ArchiveFile]:
        """The files on record: of one series, of one month, or all; in the order of months and parts."""
        ...

    def stage(self, rows: pa.Table, part: int) -> None:
        """Lay rows of a file beside the table."""
        ...

    def unarchived(self, series: SeriesMonth) -> pa.Table:
        """Read, in the order of their key, the bars of the series that no staged row equals in every column."""
        ...

    def remove(self, series: SeriesMonth) -> int:
        """Delete the bars of the series; return how many."""
        ...

    def add(self, file: ArchiveFile) -> None:
        """Record a file."""
        ...

    def count(self, series: SeriesMonth) -> int:
        """Count the bars of the series."""
        ...

    def put_back(self, month: date) -> tuple[int, int, int]:
        """Insert staged bars that the table lacks, of each key the newest part's.

        Return how many keys could go in, how many did, and how many rows were left out because their series was put
        on another price basis since. Raises InputInvalid where the loads that brought them are not in this database.
        """
        ...

    def note_restored(self, files: Iterable[ArchiveFile], at: datetime) -> None:
        """Write down that a person put these back."""
        ...


class ArchiveFolder(Protocol):
    """The Parquet files."""

    def write(self, series: SeriesMonth, rows: pa.Table, taken: Sequence[str]) -> ArchiveFile:
        """Write rows to a file that is whole and read back, or has no name; a file of a killed run is used again."""
        ...

    def fault(self, file: ArchiveFile) -> str:
        """Say what is wrong with a file, nothing where it is whole."""
        ...

    def read(self, file: ArchiveFile) -> pa.Table:
        """Read a file's rows."""
        ...

    def strangers(self, known: Iterable[ArchiveFile]) -> list[str]:
        """List files that no record names."""
        ...


class Dumps(Protocol):
    """PostgreSQL's own programs. Each raises BackupFailed or a UserError with one line."""

    def dump(self, source: Source, to: Path) -> tuple[Facts, str]:
        """Write all of a database to a file; return what it held in that very snapshot, and the program's version."""
        ...

    def size(self, source: Source) -> int:
        """Ask how many bytes a database has on its server, once a program is found that can dump it."""
        ...

    def look_into(self, file: Path) -> None:
        """Read a dump's table of contents."""
        ...

    def restore(self, file: Path, url: str) -> None:
        """Restore into an empty database, all of it or nothing."""
        ...

    def facts(self, url: str) -> Facts:
        """Count what a database holds."""
        ...


class BackupFolder(Protocol):
    """A folder of dumps with their manifests."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    def claimed(self) -> AbstractContextManager[None]:
        """Hold the folder; what a killed run left half-made goes. Raises FolderLocked while another holds it."""
        ...

    def passing(self, name: str) -> Path:
        """Where a dump is written before it has its name."""
        ...

    def measure(self, file: Path) -> tuple[int, str]:
        """Return a file's bytes and SHA-256, after it was forced to disk."""
        ...

    def keep(self, name: str, manifest: Manifest) -> None:
        """Give the dump written under the passing name its own, with its manifest beside it."""
        ...

    def rewrite(self, name: str, manifest: Manifest) -> None:
        """Replace a manifest."""
        ...

    def all(self) -> dict[str, Manifest]:
        """The dumps that are whole by name, with what their manifests say."""
        ...

    def manifest(self, file: Path) -> Manifest:
        """Read the manifest beside a dump. Raises InputInvalid."""
        ...

    def remove(self, name: str) -> None:
        """Remove a dump and its manifest."""
        ...

    def drop_passing(self, name: str) -> None:
        """Remove what was written of a dump that failed."""
        ...

    def write_document(self, stem: str, at: datetime, text: str, keep: int) -> Path:
        """Keep a document under its time, and the newest `keep` of its kind."""
        ...


class Servers(Protocol):
    """Databases as such: made, dropped, renamed."""

    def source(self, what: What) -> Source:
        """Where the suite keeps this. Raises InputInvalid where it lives elsewhere."""
        ...

    def scratch(self, what: What) -> AbstractContextManager[str]:
        """Make an empty database on the same server and drop it afterwards; yield its URL."""
        ...

    def target(self, into: str, what: What) -> Target:
        """Look at a database named by a URL, or by a name on the server where the suite keeps what is to come in."""
        ...

    def create(self, target: Target, what: What) -> None:
        """Make the database."""
        ...

    def beside(self, target: Target, what: What) -> Target:
        """Make an empty database beside it."""
        ...

    def drop(self, target: Target) -> None:
        """Drop a database."""
        ...

    def others(self, target: Target) -> list[str]:
        """Say who else is connected to it."""
        ...

    def swap(self, target: Target, restored: Target) -> str:
        """Give the restored database the target's name; return the name under which the one before is kept."""
        ...

    def hand_over(self, target: Target, what: What) -> None:
        """Renew the rights of the suite's roles in a restored database."""
        ...


class BackupRuns(Protocol):
    """The record of backups, within one transaction."""

    def begin(self, run_id: UUID, what: What, file: str, at: datetime) -> None:
        """Write down that a backup begins; those in its folder that never ended have ended now."""
        ...

    def made(self, run_id: UUID, size: int, sha256: str, at: datetime) -> None:
        """Write down that it was made."""
        ...

    def judged(self, file: str, drill: Drill, error: str, at: datetime) -> None:
        """Write down what a trial restore of the file found."""
        ...

    def failed(self, run_id: UUID, error: str, at: datetime) -> None:
        """Write down that it was not made."""
        ...

    def add_alert(self, alert: AlertRaised) -> None:
        """Keep an alert."""
        ...


class Logs(Protocol):
    """The folder of log files."""

    def remove_old(self, today: date, keep_days: int) -> CleanUp:
        """Remove the days' logs that are older."""
        ...


class Upkeep(Protocol):
    """The trading database as its owner sees it."""

    def tables(self) -> list[TableState]:
        """Every table and partition of the suite, the largest first."""
        ...

    def treat(self, table: str, vacuum: bool) -> str:
        """Analyse, and vacuum where asked; return why the server would not, or nothing."""
        ...

    def add_months(self, first: datetime, last: datetime) -> int:
        """Make room for bars; return how many months were new."""
        ...
