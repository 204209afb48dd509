"""Restore a backup into a database, beside what is there and never over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.services.maintenance.domain.backups import Manifest, check_restorable, differences, shortened
from src.services.maintenance.ports import BackupFolder, BooksCheck, Dumps, Servers, Target, Tell, WriterLock
from src.services.maintenance.use_cases.backups import altered
from src.shared.domain.errors import InputInvalid, NotTheWriter, Terminal
from src.shared.failpoints import failpoint


@dataclass(frozen=True)
class Restoration:
    """The restored database's name, its tables and rows, and the name of the one before, if there was one."""

    database: str
    tables: int
    rows: int
    kept_as: str


@dataclass(frozen=True)
class Restore:
    """A dump is checked before anything is made; what it made is compared with its manifest before it counts."""

    servers: Servers
    dumps: Dumps
    folder: BackupFolder
    books: BooksCheck
    writer: WriterLock
    check_schema: Callable[[str], None]
    tell: Tell

    def run(self, file: Path, into: str, *, confirm: bool = False) -> Restoration:
        """Restore a dump into a database that is empty or not there; with `confirm`, in place of one that is not.

        That one is not touched until the restored one was compared with the manifest; then it gets another name.

        Raises:
            InputInvalid: the file is not whole or does not fit the server, or the database holds tables or is used.
            SchemaMismatch: the dump's schema is newer than this code.
            Terminal: what came back is not what the manifest says; the database before is as it was.
        """
        manifest = self._checked(file)
        target = self.servers.target(into, manifest.what)
        check_restorable(manifest, target.server_version)
        _refuse_unless(confirm, manifest, target)
        kept_as = self._replace(file, manifest, target) if target.tables else self._make(file, manifest, target)
        self.servers.hand_over(target, manifest.what)
        return Restoration(target.name, len(manifest.facts.tables), manifest.facts.rows, kept_as)

    def _checked(self, file: Path) -> Manifest:
        manifest = self.folder.manifest(file)
        self.tell(f"checking {file.name}")
        if fault := altered(self.folder, file, manifest):
            raise InputInvalid(f"{file.name} can't be restored: {fault}.")
        self.dumps.look_into(file)
        if manifest.what == "trading":
            self.check_schema(manifest.facts.schema_version)
        return manifest

    def _make(self, file: Path, manifest: Manifest, target: Target) -> str:
        """Fill a database that holds nothing."""
        if not target.exists:
            self.servers.create(target, manifest.what)
        try:
            self._fill(file, manifest, target)
        except BaseException:
            if not target.exists:
                self.servers.drop(target)
            raise
        return ""

    def _replace(self, file: Path, manifest: Manifest, target: Target) -> str:
        """Fill one beside it, then let them change names."""
        with self._claimed(target):
            made = self.servers.beside(target, manifest.what)
            try:
                self._fill(file, manifest, made)
            except BaseException:
                self.servers.drop(made)
                raise
        failpoint("maintenance.before_swap")
        try:
            # Nobody may be connected for that, not even the writer's lock: the server sees to it.
            return self.servers.swap(target, made)
        except BaseException:
            self.servers.drop(made)
            raise

    @contextmanager
    def _claimed(self, target: Target) -> Iterator[None]:
        if others := self.servers.others(target):
            raise InputInvalid(f"{target.name} is in use ({', '.join(others)}): run `tradewinds down` first.")
        with ExitStack() as held:
            if target.live == "trading":
                try:
                    held.enter_context(self.writer(target.url))
                except NotTheWriter:
                    raise InputInvalid(f"{target.name} is being traded on: run `tradewinds down` first.") from None
            yield

    def _fill(self, file: Path, manifest: Manifest, made: Target) -> None:
        self.tell(f"restoring into {made.name}")
        self.dumps.restore(file, made.url)
        self.tell("counting what came back")
        problems = differences(manifest.facts, self.dumps.facts(made.url))
        if problems:
            raise Terminal(f"What came back is not what the manifest says: {shortened(problems)}")
        if manifest.what == "trading" and (broken := list(self.books(made.url))):
            self.tell(f"restored as it was backed up, and that breaks invariants: {shortened(broken)}")


def _refuse_unless(confirm: bool, manifest: Manifest, target: Target) -> None:
    if target.live not in (None, manifest.what):
        raise InputInvalid(f"{target.name} is the {target.live} database, the file a backup of {manifest.what}.")
    if confirm or not (target.tables or target.live):
        return
    why = "is the one in use" if target.live else f"holds {target.tables} tables"
    raise InputInvalid(f"{target.name} {why}: --confirm restores in its place, and keeps it under another name.")
