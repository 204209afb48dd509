"""Remove old logs; keep the database's statistics, dead rows and months in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from src.services.maintenance.domain.archive import month_start
from src.services.maintenance.domain.upkeep import CleanUp, TableState, Treatment
from src.services.maintenance.ports import Logs, Upkeep


@dataclass(frozen=True)
class Optimisation:
    """What was done: every table with what it was and is, the largest first, and how many months are new."""

    tables: tuple[Treatment, ...]
    months_added: int


def clean_logs(logs: Logs, now: datetime, keep_days: int) -> CleanUp:
    """Remove the days' logs that are older than they are kept."""
    return logs.remove_old(now.date(), keep_days)


def optimise(database: Upkeep, now: datetime, months_ahead: int) -> Optimisation:
    """Make the next months' room, analyse every table, vacuum those with many dead rows.

    Raises:
        Transient: the database went away.
    """
    added = database.add_months(now, month_start(now, later=months_ahead))
    before = database.tables()
    refused = {table.name: database.treat(table.name, table.wants_vacuum) for table in before}
    after = {table.name: table for table in database.tables()}
    return Optimisation(tuple(_treatment(table, after.get(table.name, table), refused) for table in before), added)


def _treatment(before: TableState, after: TableState, refused: dict[str, str]) -> Treatment:
    why_not = refused[before.name]
    return Treatment(before, after, before.wants_vacuum and not why_not, why_not)
