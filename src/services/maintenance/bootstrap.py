"""Wire maintenance. Tasks, commands and tests call `build`; nothing connects before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from loguru import logger
from sqlalchemy import Engine

from src.config.settings import Settings
from src.services.maintenance.adapters.backup_folder import DumpFolder
from src.services.maintenance.adapters.log_folder import LogFolder
from src.services.maintenance.adapters.parquet_folder import ParquetFolder
from src.services.maintenance.adapters.pg_dumps import PostgresDumps
from src.services.maintenance.adapters.pg_servers import SuiteServers
from src.services.maintenance.adapters.sql_archive import SqlBarArchive
from src.services.maintenance.adapters.sql_backup_runs import SqlBackupRuns
from src.services.maintenance.adapters.sql_upkeep import SqlUpkeep
from src.services.maintenance.domain.archive import Retention
from src.services.maintenance.domain.backups import What
from src.services.maintenance.domain.upkeep import CleanUp
from src.services.maintenance.ports import BooksCheck, Tell, WriterLock
from src.services.maintenance.use_cases.archive import Archive
from src.services.maintenance.use_cases.backups import Backup, Backups, listed
from src.services.maintenance.use_cases.restore import Restore
from src.services.maintenance.use_cases.upkeep import Optimisation, clean_logs, optimise
from src.shared.domain.errors import InputInvalid
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.revisions import check_revision
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url


@dataclass(frozen=True)
class Maintenance:
    """The wired service."""

    settings: Settings
    engine: Engine
    books: BooksCheck

    @cached_property
    def owner(self) -> Engine:
        """The owner's connections: the application's role may neither vacuum nor make temporary tables."""
        return make_engine(trading_database_url(self.settings, "owner"), self.settings.database)

    @property
    def archive(self) -> Archive:
        """Old bars."""
        chosen = self.settings.maintenance
        retention = Retention(
            self.settings.intraday_retention_days, chosen.daily_retention_days, chosen.restored_month_days
        )
        folder = ParquetFolder(self.settings.archive_folder)
        return Archive(SqlUnitOfWork(self.owner, SqlBarArchive), folder, retention)

    def backups(self, folder: Path | None = None, tell: Tell = logger.info) -> Backups:
        """Backups in the folder of the settings, or in another one."""
        chosen = DumpFolder((folder or self.settings.backup_folder).expanduser().resolve())
        dumps = PostgresDumps(self.settings.maintenance.backup_timeout_seconds)
        runs = SqlUnitOfWork(self.engine, SqlBackupRuns)
        return Backups(SuiteServers(self.settings), dumps, chosen, runs, self.books, _now, tell)

    def out_of_reach(self, what: What) -> str:
        """Say why a database can't be backed up from here, nothing where it can."""
        try:
            SuiteServers(self.settings).source(what)
        except InputInvalid as elsewhere:
            return str(elsewhere)
        return ""

    def clean_logs(self) -> CleanUp:
        """Remove old logs."""
        return clean_logs(LogFolder(self.settings.home), _now(), self.settings.logging.retention_days)

    def optimise(self) -> Optimisation:
        """Keep the database in order."""
        upkeep = SqlUpkeep(self.engine, trading_database_url(self.settings, "owner"))
        return optimise(upkeep, _now(), self.settings.maintenance.months_ahead)


def build(settings: Settings, engine: Engine, books: BooksCheck) -> Maintenance:
    """Wire the service on an engine (role of the application) and the check of a restored database's books."""
    return Maintenance(settings, engine, books)


def list_backups(folder: Path) -> list[Backup]:
    """List what a folder holds, newest first, without any database."""
    return listed(DumpFolder(folder.expanduser().resolve()))


def build_restore(settings: Settings, folder: Path, books: BooksCheck, writer: WriterLock, tell: Tell) -> Restore:
    """Wire what restores: it needs no database of ours to be there."""
    dumps = PostgresDumps(settings.maintenance.backup_timeout_seconds)
    return Restore(SuiteServers(settings), dumps, DumpFolder(folder), books, writer, check_revision, tell)


def _now() -> datetime:
    return datetime.now(UTC)
