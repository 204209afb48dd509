"""Rows of `load_run`: one for each load, whoever it asks for whatever."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, literal, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from src.shared.infra.database.tables import load_run

_LOST = "it began and was never heard of again: its process was killed"


def begin_run(connection: Connection, run_id: Callable[[int], UUID], **values: Any) -> UUID:
    """Write a row in state running, under the id of the first attempt (1, 2, …) that is free, and return that id."""
    row = values | {"state": "running", "started_at": func.clock_timestamp()}
    for attempt in count(1):
        identity = run_id(attempt)
        statement = insert(load_run).values(row | {"load_run_id": identity}).on_conflict_do_nothing()
        if connection.execute(statement.returning(load_run.c.load_run_id)).first() is not None:
            return identity
    raise AssertionError("attempts never end")


def close_lost_runs(connection: Connection) -> int:
    """Say of loads that began a day ago and never ended that they failed, and return how many: they were killed."""
    lost = update(load_run).where(
        load_run.c.state == "running", load_run.c.started_at < func.clock_timestamp() - text("interval '1 day'")
    )
    values = {"state": "failed", "problems": literal([_LOST], JSONB), "finished_at": func.clock_timestamp()}
    return connection.execute(lost.values(values)).rowcount


def finish_run(connection: Connection, run_id: UUID, **values: Any) -> None:
    """Write how a load went, and that it is over."""
    connection.execute(
        update(load_run).where(load_run.c.load_run_id == run_id).values(finished_at=func.clock_timestamp(), **values)
    )
