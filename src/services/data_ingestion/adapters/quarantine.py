"""Rows of vendors that were not let in, each kept once with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from src.services.data_ingestion.domain.gate import Rejection
from src.shared.domain.bars import Series
from src.shared.domain.ids import derived_id, slot_key
from src.shared.infra.database.tables import data_quarantine

DATASET = "bars"


def keep_rejected(connection: Connection, rejected: Sequence[tuple[Series, Rejection]], run_id: UUID) -> None:
    """Keep rejected rows of series; the same row, rejected by the same rule again, adds nothing."""
    keep_aside(connection, [_row(series, each, run_id) for series, each in rejected])


def keep_aside(connection: Connection, rows: Sequence[Mapping[str, object]]) -> int:
    """Write rows of the quarantine, and return how many were not there yet; their ids say what is the same."""
    if not rows:
        return 0
    statement = insert(data_quarantine).on_conflict_do_nothing().returning(data_quarantine.c.quarantine_id)
    return len(connection.execute(statement, [dict(row) for row in rows]).all())


def _row(series: Series, rejection: Rejection, run_id: UUID) -> dict[str, object]:
    raw = [dict(row) for row in rejection.raw]
    name = (series.vendor, DATASET, series.symbol, series.timeframe, series.adjustment)
    words = (slot_key(rejection.end), rejection.flaw.rule, json.dumps(raw, sort_keys=True))
    return {
        "quarantine_id": derived_id("quarantine", *name, *words),
        "load_run_id": run_id,
        "vendor": series.vendor,
        "dataset": DATASET,
        "symbol": series.symbol,
        "timeframe": series.timeframe,
        "bar_end": rejection.end,
        "rule": rejection.flaw.rule,
        "reason": rejection.reason,
        "raw": raw,
    }
