"""Back databases up, restore each backup for trial, and let the old ones go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from src.services.maintenance.domain.backups import (
    BackupFailed,
    Drill,
    Facts,
    Manifest,
    What,
    differences,
    file_name,
    shortened,
    superseded,
)
from src.services.maintenance.ports import BackupFolder, BackupRuns, BooksCheck, Dumps, Servers, Source, Tell
from src.shared.domain.errors import TradewindsError, UserError
from src.shared.domain.ids import derived_id
from src.shared.failpoints import failpoint
from src.shared.messages.ops import AlertRaised
from src.shared.ports.unit_of_work import UnitOfWork, Work


@dataclass(frozen=True)
class Backup:
    """A dump by its name in the folder, and what is known of it."""

    file: Path
    manifest: Manifest


@dataclass(frozen=True)
class Plan:
    """What a backup would do: the database, its bytes on the server, the folder, and what would go if it held."""

    database: str
    bytes: int
    folder: Path
    gone: tuple[str, ...]


@dataclass(frozen=True)
class Backups:
    """The folder is held by one at a time; what fails is written down, told, and raised."""

    servers: Servers
    dumps: Dumps
    folder: BackupFolder
    runs: UnitOfWork[BackupRuns]
    books: BooksCheck
    now: Callable[[], datetime]
    tell: Tell

    def back_up(self, what: What, keep: int, *, drill: bool = True) -> tuple[Backup, list[str]]:
        """Dump, restore for trial, let old ones go; without a trial nothing goes. Return the dump and what went.

        Raises:
            BackupFailed: it was not made, or it failed its trial; what was there before is kept.
        """
        made = self.dump(what)
        if not drill:
            return made, []
        return self.drill(made.file), self.retire(what, keep)

    def plan(self, what: What, keep: int, *, drill: bool = True) -> Plan:
        """Say what `back_up` would do; nothing is written.

        Raises:
            UserError: the server does not answer, or no program fits it.
        """
        source, now = self.servers.source(what), self.now()
        size = self.dumps.size(source)
        found = {name: each for name, each in self.folder.all().items() if each.what == what}
        new = Manifest(what, now, size, "", "", Facts(0, "", {}), "passed" if drill else "not_run")
        gone = superseded({**found, file_name(what, now): new}, keep) if drill else []
        return Plan(source.name, size, self.folder.path, tuple(gone))

    def dump(self, what: What) -> Backup:
        """Write a dump of the whole database, and beside it what it held in the same snapshot.

        Raises:
            BackupFailed: it was not made.
            UserError: another one is under way, the server does not answer, or no program fits it.
        """
        source = self.servers.source(what)
        with self.folder.claimed():
            started, there = self.now(), self.folder.all()
            while (name := file_name(what, started)) in there:
                # A backup was made in this very second.
                started += timedelta(seconds=1)
            run = uuid4()
            with self.runs() as work:
                work.repo.begin(run, what, str(self.folder.path / name), started)
                work.commit()
            failpoint("maintenance.before_dump")
            try:
                return self._dump(source, name, run, started)
            except (TradewindsError, OSError) as error:
                self.folder.drop_passing(name)
                self._note_failure(run, source, error)
                if isinstance(error, UserError):
                    raise
                raise BackupFailed(f"No backup of {source.name}: {_line(error)}") from error

    def drill(self, file: Path) -> Backup:
        """Restore a dump into a database made for that, and compare rows, ledger and invariants with its manifest.

        Raises:
            BackupFailed: it does not hold what it should. Its manifest says so from now on.
            TradewindsError: it could not be tried, which says nothing about it.
        """
        with self.folder.claimed():
            manifest = self.folder.manifest(file)
            self.tell(f"restoring {file.name} for trial")
            try:
                problems = self._problems(file, manifest)
            except TradewindsError as error:
                self._note_verdict(file, "not_run", _line(error), f"Backup {file.name} could not be tried")
                raise
            failpoint("maintenance.before_drill_ends")
            judged = manifest.judged(problems, self.now())
            self.folder.rewrite(file.name, judged)
            failed = f"Backup {file.name} failed its trial restore" if problems else ""
            self._note_verdict(file, judged.drill, shortened(problems), failed)
            if problems:
                raise BackupFailed(f"{file.name} failed its trial restore: {shortened(problems)}")
        return Backup(file, judged)

    def retire(self, what: What, keep: int) -> list[str]:
        """Remove what newer good backups have made needless; return the names."""
        with self.folder.claimed():
            found = {name: each for name, each in self.folder.all().items() if each.what == what}
            gone = superseded(found, keep)
            for name in gone:
                self.folder.remove(name)
        return gone

    def keep_document(self, stem: str, text: str, keep: int) -> Path:
        """Keep a text beside the dumps."""
        with self.folder.claimed():
            return self.folder.write_document(stem, self.now(), text, keep)

    def _dump(self, source: Source, name: str, run: UUID, started: datetime) -> Backup:
        passing = self.folder.passing(name)
        self.tell(f"dumping {source.name}")
        facts, tool = self.dumps.dump(source, passing)
        self.dumps.look_into(passing)
        size, sha256 = self.folder.measure(passing)
        failpoint("maintenance.dump_unnamed")
        manifest = Manifest(source.what, started, size, sha256, tool, facts)
        self.folder.keep(name, manifest)
        failpoint("maintenance.dump_kept")
        with self.runs() as work:
            work.repo.made(run, size, sha256, self.now())
            work.commit()
        return Backup(self.folder.path / name, manifest)

    def _problems(self, file: Path, manifest: Manifest) -> list[str]:
        try:
            if fault := altered(self.folder, file, manifest):
                return [fault]
            with self.servers.scratch(manifest.what) as url:
                self.dumps.restore(file, url)
                self.tell("counting what came back")
                found = differences(manifest.facts, self.dumps.facts(url))
                return found + (list(self.books(url)) if manifest.what == "trading" else [])
        except BackupFailed as error:
            return [_line(error)]

    def _note_verdict(self, file: Path, drill: Drill, error: str, alert: str) -> None:
        at = self.now()
        with self.runs() as work:
            work.repo.judged(str(file), drill, error, at)
            if alert:
                _alert(work, derived_id("alert", str(file), drill, at.isoformat()), alert, error, at)
            work.commit()

    def _note_failure(self, run: UUID, source: Source, error: Exception) -> None:
        at = self.now()
        try:
            with self.runs() as work:
                work.repo.failed(run, _line(error), at)
                title = f"The backup of {source.name} failed"
                _alert(work, derived_id("alert", str(run)), title, _line(error), at)
                work.commit()
        except TradewindsError as second:
            # The database that is to be told may be the one that is away; the run's end says it all the same.
            self.tell(f"the failure could not be written down: {_line(second)}")


def _alert(work: Work[BackupRuns], alert_id: UUID, title: str, detail: str, at: datetime) -> None:
    alert = AlertRaised.of(alert_id, 1, at, "backup", severity="error", title=title, detail=detail)
    work.repo.add_alert(alert)
    work.record(alert)


def listed(folder: BackupFolder) -> list[Backup]:
    """List a folder's backups, newest first."""
    found = [Backup(folder.path / name, manifest) for name, manifest in folder.all().items()]
    return sorted(found, key=lambda each: (each.manifest.created_at, each.file.name), reverse=True)


def altered(folder: BackupFolder, file: Path, manifest: Manifest) -> str:
    """Say that a dump is not the one its manifest was written for, nothing where it is."""
    size, sha256 = folder.measure(file)
    if size != manifest.bytes:
        return f"the file has {size} bytes instead of {manifest.bytes}: it is cut, or another one"
    return "" if sha256 == manifest.sha256 else "the file's SHA-256 is not the manifest's: it is corrupt"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
