"""Listings, splits and dividends in PostgreSQL: what is there already is not written again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Label, Table, case, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import Insert, insert

from src.services.data_ingestion.adapters.company_history import keep_earlier
from src.services.data_ingestion.adapters.load_runs import begin_run, finish_run
from src.services.data_ingestion.adapters.quarantine import keep_aside
from src.services.data_ingestion.domain.company import CompanyDataset
from src.services.data_ingestion.domain.grid import Span
from src.services.data_ingestion.domain.loads import LoadState
from src.services.data_ingestion.domain.reference import (
    Dataset,
    Dividend,
    Kept,
    Listing,
    SetAside,
    StockSplit,
)
from src.services.data_ingestion.ports import ReferenceSource
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import derived_id, parse_symbol, slot_key
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.tables import dividends, stock_splits, symbol

_RULE = "unreadable"
# A row that an upsert has just inserted was never locked by anybody.
_IS_NEW: Label[bool] = literal_column("(xmax = 0)").label("is_new")
_ACTIVE = "active"
_NAMES = ("name", "exchange")
_STATUS = ("status", "status_since", "status_reason")
_LONGEST_EXCHANGE = 16


class SqlReferenceRepository:
    """`ReferenceRepository` on an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, source: ReferenceSource, dataset: Dataset, symbols: Sequence[str], window: Span) -> UUID:
        """Write a row in state running."""
        start, end = window
        key = (source.vendor, dataset, ",".join(symbols), slot_key(start), slot_key(end))
        return begin_run(
            self._connection,
            lambda attempt: derived_id("reference", *key, str(attempt)),
            vendor=source.vendor,
            dataset=dataset,
            timeframe="",
            adjustment="",
            symbols=list(symbols),
            window_start=start,
            window_end=end,
            client=source.client,
        )

    def finish(self, run_id: UUID, state: LoadState, kept: Kept, rejected: int, problems: Sequence[str]) -> None:
        """Write how a load went."""
        finish_run(
            self._connection,
            run_id,
            state=state,
            rows_written=kept.written,
            rows_rejected=rejected,
            problems=list(problems),
        )

    def keep_listings(self, rows: Sequence[Listing], vendor: str, as_of: datetime) -> Kept:
        """Write what has changed of symbols.

        What the broker says of a symbol stands: only what it left empty is filled in, and a symbol that it does not
        know is not tradable. A vendor can delist a symbol, and take back no more than its own word.
        """
        new, old = insert(symbol), symbol.c
        said = new.excluded
        is_ours = old.status_reason.startswith(_reason(vendor), autoescape=True)
        other_status = (old.status != said.status) & ((said.status != _ACTIVE) | is_ours)
        changes: dict[str, Any] = {name: func.coalesce(func.nullif(old[name], ""), said[name]) for name in _NAMES}
        changes |= {name: case((other_status, said[name]), else_=old[name]) for name in _STATUS}
        fills = [(old[name] == "") & (said[name] != "") for name in _NAMES]
        statement = new.on_conflict_do_update(
            index_elements=[old.symbol],
            set_=changes | {"updated_at": said.updated_at},
            where=or_(other_status, *fills),
        )
        return self._keep(statement, [_symbol_row(row, vendor, as_of) for row in rows])

    def keep_splits(self, rows: Sequence[StockSplit], run_id: UUID) -> Kept:
        """Write splits."""
        return self._keep_in(stock_splits, CompanyDataset.SPLITS, rows, run_id)

    def keep_dividends(self, rows: Sequence[Dividend], run_id: UUID) -> Kept:
        """Write dividends."""
        return self._keep_in(dividends, CompanyDataset.DIVIDENDS, rows, run_id)

    def quarantine(self, vendor: str, dataset: Dataset, run_id: UUID, rejected: Sequence[SetAside]) -> int:
        """Keep the rows that were set aside."""
        rows = [_quarantine_row(vendor, dataset, run_id, each) for each in rejected if _is_symbol(each.symbol)]
        return keep_aside(self._connection, rows)

    def _keep_in(
        self, table: Table, dataset: CompanyDataset, rows: Sequence[StockSplit] | Sequence[Dividend], run_id: UUID
    ) -> Kept:
        if not rows:
            return Kept()
        new = insert(table)
        keys = [column.name for column in table.primary_key]
        told = [column.name for column in table.c if column.name not in {*keys, "load_run_id", "recorded_at"}]
        self._keep_restated(table, dataset, {tuple(getattr(row, name) for name in keys): row for row in rows}, run_id)
        changes: dict[str, Any] = {name: new.excluded[name] for name in (*told, "load_run_id")}
        statement = new.on_conflict_do_update(
            index_elements=keys,
            set_=changes | {"recorded_at": func.clock_timestamp()},
            where=or_(*(table.c[name].is_distinct_from(new.excluded[name]) for name in told)),
        )
        return self._keep(statement, [asdict(row) | {"load_run_id": run_id} for row in rows])

    def _keep_restated(
        self,
        table: Table,
        dataset: CompanyDataset,
        said: Mapping[tuple[Any, ...], StockSplit | Dividend],
        run_id: UUID,
    ) -> None:
        (vendor,) = {row.vendor for row in said.values()}
        # Two loads at once would both keep the same row.
        self._connection.execute(select(func.pg_advisory_xact_lock(lock_key("company", vendor, dataset))))
        symbols = sorted({row.symbol for row in said.values()})
        stored = select(table).where(table.c.vendor == vendor, table.c.symbol.in_(symbols))
        restated = []
        for known in self._connection.execute(stored).mappings():
            row = said.get(tuple(known[column.name] for column in table.primary_key))
            if row is not None and any(known[name] != value for name, value in asdict(row).items()):
                restated.append(dict(known))
        keep_earlier(self._connection, vendor, dataset, restated, run_id, "restated")

    def _keep(self, statement: Insert, rows: list[dict[str, Any]]) -> Kept:
        if not rows:
            return Kept()
        written = [bool(row.is_new) for row in self._connection.execute(statement.returning(_IS_NEW), rows)]
        return Kept(new=sum(written), changed=len(written) - sum(written), unchanged=len(rows) - len(written))


def _symbol_row(row: Listing, vendor: str, as_of: datetime) -> dict[str, Any]:
    gone = None if row.delisted_on is None else datetime.combine(row.delisted_on, time(), UTC)
    status = {"status": _ACTIVE if row.active else "delisted", "status_since": None if row.active else gone or as_of}
    return {
        "symbol": row.symbol,
        "name": row.name,
        "exchange": row.exchange[:_LONGEST_EXCHANGE],
        "tradable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "updated_at": as_of,
        "status_reason": "" if row.active else f"{_reason(vendor)} delisted",
        **status,
    }


def _reason(vendor: str) -> str:
    return f"{vendor}:"


def _is_symbol(name: str) -> bool:
    try:
        parse_symbol(name)
    except InputInvalid:
        return False
    return True


def _quarantine_row(vendor: str, dataset: Dataset, run_id: UUID, row: SetAside) -> dict[str, Any]:
    # PostgreSQL's JSON holds no NUL.
    words = json.dumps(row.raw, sort_keys=True, default=str).replace("\\u0000", "")
    return {
        "quarantine_id": derived_id("quarantine", vendor, dataset, row.symbol, row.reason, words),
        "load_run_id": run_id,
        "vendor": vendor,
        "dataset": dataset,
        "symbol": row.symbol,
        "rule": _RULE,
        "reason": row.reason.replace("\0", ""),
        "raw": json.loads(words),
    }
