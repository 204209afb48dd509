"""`BackupRuns` on PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePath
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update

from src.services.maintenance.domain.backups import Drill, What
from src.shared.infra.database.alerts import write_alert
from src.shared.infra.database.tables import backup_run
from src.shared.messages.ops import AlertRaised

_B = backup_run.c
_NO_WORD = "the process ended without a word"


class SqlBackupRuns:
    """Implements `BackupRuns` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, run_id: UUID, what: What, file: str, at: datetime) -> None:
        """Begin a run. Whoever begins holds the folder: nobody else is at work there."""
        folder = f"{PurePath(file).parent}/"
        given_up = update(backup_run).where(_B.finished_at.is_(None), func.starts_with(_B.file, folder))
        self._connection.execute(given_up.values(finished_at=at, error=_NO_WORD))
        values = {"backup_run_id": run_id, "what": what, "file": file, "started_at": at}
        self._connection.execute(insert(backup_run).values(values))

    def made(self, run_id: UUID, size: int, sha256: str, at: datetime) -> None:
        """End a run well."""
        self._end(run_id, bytes=size, sha256=sha256, finished_at=at)

    def judged(self, file: str, drill: Drill, error: str, at: datetime) -> None:
        """Add the verdict to the run that made the file, if it is on record here."""
        # One that was killed in the same second had the same name in mind.
        newest = select(_B.backup_run_id).where(_B.file == file).order_by(_B.started_at.desc()).limit(1)
        which = update(backup_run).where(_B.backup_run_id == newest.scalar_subquery())
        self._connection.execute(which.values(drill=drill, error=error, finished_at=at))

    def failed(self, run_id: UUID, error: str, at: datetime) -> None:
        """End a run that brought nothing."""
        self._end(run_id, error=error, finished_at=at)

    def add_alert(self, alert: AlertRaised) -> None:
        """Keep an alert."""
        write_alert(self._connection, alert)

    def _end(self, run_id: UUID, **values: object) -> None:
        self._connection.execute(update(backup_run).where(_B.backup_run_id == run_id).values(**values))
