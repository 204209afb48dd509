"""Long loads in PostgreSQL: their rows in `load_run`, their bars, what was rejected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from src.services.data_ingestion.adapters.bar_table import BarTable
from src.services.data_ingestion.domain.differences import Written
from src.services.data_ingestion.domain.gate import Rejection
from src.services.data_ingestion.domain.grid import Span
from src.services.data_ingestion.domain.history import Brought
from src.shared.domain.bars import BarColumns, Moments, Series
from src.shared.domain.ids import derived_id, slot_key
from src.shared.infra.database.tables import data_quarantine, load_run

_DATASET = "bars"


class SqlHistoryRepository:
    """`HistoryRepository` on an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bars = BarTable(connection)

    def stored_ends(self, series: Series, first: datetime, last: datetime) -> Moments:
        """List the ends of stored bars."""
        bars = self._bars.stored([series], first, last).get(series)
        return bars.end if bars is not None else np.empty(0, dtype="datetime64[us]")

    def asked(self, series: Series, since: datetime) -> list[Span]:
        """List the windows of finished loads."""
        run = load_run.c
        query = select(run.window_start, run.window_end).where(
            run.symbols.any(series.symbol),
            run.vendor == series.vendor,
            run.timeframe == series.timeframe,
            run.adjustment == series.adjustment,
            run.state.in_(["complete", "partial"]),
            run.window_end > since,
        )
        return [(start, end) for start, end in self._connection.execute(query)]

    def begin_run(self, series: Series, client: str, start: datetime, end: datetime) -> UUID:
        """Write a row in state running."""
        key = (series.vendor, series.timeframe, series.adjustment, series.symbol, slot_key(start), slot_key(end))
        for attempt in count(1):
            row = {
                "load_run_id": derived_id("history", *key, str(attempt)),
                "vendor": series.vendor,
                "timeframe": series.timeframe,
                "adjustment": series.adjustment,
                "symbols": [series.symbol],
                "window_start": start,
                "window_end": end,
                "state": "running",
                "client": client,
                "started_at": func.clock_timestamp(),
            }
            statement = insert(load_run).values(row).on_conflict_do_nothing().returning(load_run.c.load_run_id)
            if (run_id := self._connection.execute(statement).scalar()) is not None:
                return UUID(str(run_id))
        raise AssertionError("attempts never end")

    def finish_run(self, run_id: UUID, until: datetime, brought: Brought, written: Written) -> None:
        """Write how a load went."""
        self._close(
            run_id,
            window_end=until,
            state=brought.state,
            rows_written=written.rows,
            rows_rejected=len(brought.rejected),
            rows_missing=len(brought.missing),
            problems=brought.problems,
            digest=written.digest,
        )

    def fail_run(self, run_id: UUID, problem: str) -> None:
        """Write that a load broke off."""
        self._close(run_id, state="failed", problems=[problem])

    def lock(self, series: Series) -> None:
        """Take the lock of a series."""
        self._bars.lock([series])

    def put(self, series: Series, bars: BarColumns, run_id: UUID) -> Written:
        """Write bars."""
        return self._bars.put({series: bars}, run_id).get(series, Written(0, 0, 0))

    def quarantine(self, series: Series, run_id: UUID, rejected: Sequence[Rejection]) -> None:
        """Keep rejected rows, each once."""
        if not rejected:
            return
        rows = [_quarantine_row(series, run_id, each) for each in rejected]
        self._connection.execute(insert(data_quarantine).on_conflict_do_nothing(), rows)

    def _close(self, run_id: UUID, **values: object) -> None:
        self._connection.execute(
            update(load_run)
            .where(load_run.c.load_run_id == run_id)
            .values(finished_at=func.clock_timestamp(), **values)
        )


def _quarantine_row(series: Series, run_id: UUID, rejection: Rejection) -> dict[str, object]:
    raw = [dict(row) for row in rejection.raw]
    name = (series.vendor, _DATASET, series.symbol, series.timeframe, series.adjustment)
    words = (slot_key(rejection.end), rejection.flaw.rule, json.dumps(raw, sort_keys=True))
    return {
        "quarantine_id": derived_id("quarantine", *name, *words),
        "load_run_id": run_id,
        "vendor": series.vendor,
        "dataset": _DATASET,
        "symbol": series.symbol,
        "timeframe": series.timeframe,
        "bar_end": rejection.end,
        "rule": rejection.flaw.rule,
        "reason": rejection.reason,
        "raw": raw,
    }
