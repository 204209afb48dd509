"""What was known of companies before a load said otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from src.services.data_ingestion.domain.company import CompanyDataset
from src.shared.infra.database.tables import company_history

_TOLD_APART = {"symbol", "vendor", "load_run_id", "recorded_at"}


def keep_earlier(
    connection: Connection,
    vendor: str,
    dataset: CompanyDataset,
    rows: Sequence[Mapping[str, Any]],
    load_run_id: UUID,
    reason: Literal["restated", "withdrawn"],
) -> None:
    """Keep rows as they are stored, before the load of that id replaces or removes them."""
    if not rows:
        return
    earlier = [
        {
            "history_id": uuid4(),
            "vendor": vendor,
            "dataset": dataset.value,
            "symbol": row["symbol"],
            "earlier": {name: _plain(value) for name, value in row.items() if name not in _TOLD_APART},
            "load_run_id": row["load_run_id"],
            "recorded_at": row["recorded_at"],
            "superseded_by": load_run_id,
            "reason": reason,
        }
        for row in rows
    ]
    connection.execute(insert(company_history), earlier)


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
