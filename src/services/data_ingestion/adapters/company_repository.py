"""Company data in PostgreSQL: said again as it is, it writes nothing; what differs leaves its earlier row behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, and_, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from src.services.data_ingestion.adapters.company_history import keep_earlier
from src.services.data_ingestion.adapters.load_runs import begin_run, finish_run
from src.services.data_ingestion.adapters.quarantine import keep_aside
from src.services.data_ingestion.domain.company import (
    KEY_OF,
    Answer,
    CompanyDataset,
    CompanyLoad,
    CompanyRow,
    EarningsDay,
    EarningsTold,
    KeyStatistics,
    Outcome,
    Stored,
    Unread,
    is_taken_back,
    key_of,
)
from src.shared.domain.ids import derived_id
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.tables import (
    company_info,
    company_load,
    company_officers,
    dividends,
    earnings_dates,
    financial_statements,
    institutional_holders,
    key_statistics,
    stock_splits,
)

TABLES: Mapping[CompanyDataset, Table] = {
    CompanyDataset.INFORMATION: company_info,
    CompanyDataset.OFFICERS: company_officers,
    CompanyDataset.STATISTICS: key_statistics,
    CompanyDataset.STATEMENTS: financial_statements,
    CompanyDataset.HOLDERS: institutional_holders,
    CompanyDataset.DIVIDENDS: dividends,
    CompanyDataset.SPLITS: stock_splits,
    CompanyDataset.EARNINGS: earnings_dates,
}
"""Where each dataset is kept."""

_PROBLEMS_KEPT = 200

_EARNINGS = text("""
    SELECT symbol, vendor, first_day, last_day, is_estimate, recorded_at, CAST(NULL AS timestamptz) AS superseded_at
      FROM data_ingestion.earnings_dates
     WHERE last_day >= :since
       AND (symbol = ANY (CAST(:symbols AS text[])) OR cardinality(CAST(:symbols AS text[])) = 0)
     UNION ALL
    SELECT symbol, vendor, CAST(earlier->>'first_day' AS date), CAST(earlier->>'last_day' AS date),
           CAST(earlier->>'is_estimate' AS boolean), recorded_at, superseded_at
      FROM data_ingestion.company_history
     WHERE dataset = 'earnings' AND CAST(earlier->>'last_day' AS date) >= :since
       AND (symbol = ANY (CAST(:symbols AS text[])) OR cardinality(CAST(:symbols AS text[])) = 0)
     ORDER BY symbol, superseded_at NULLS LAST, first_day
""")

Key = tuple[Any, ...]
Values = dict[str, Any]


class SqlCompanyRepository:
    """`CompanyRepository` on an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def loaded_at(self, vendor: str, dataset: CompanyDataset, symbols: Sequence[str]) -> dict[str, datetime]:
        """Say when each symbol's dataset came last."""
        c = company_load.c
        wanted = select(c.symbol, c.loaded_at).where(
            c.vendor == vendor, c.dataset == dataset.value, c.symbol.in_(symbols)
        )
        return {row.symbol: row.loaded_at for row in self._connection.execute(wanted)}

    def begin_load(
        self, vendor: str, client: str, dataset: CompanyDataset, symbols: Sequence[str], now: datetime
    ) -> UUID:
        """Write a load's row in state running, under the first of its ids that is free."""
        today = datetime.combine(now.date(), time(), now.tzinfo)
        key = ("company-load", vendor, dataset, str(now.date()), ",".join(symbols))
        return begin_run(
            self._connection,
            lambda attempt: derived_id(*key, str(attempt)),
            vendor=vendor,
            client=client,
            dataset=dataset.value,
            timeframe="",
            symbols=list(symbols),
            window_start=today,
            window_end=today + timedelta(days=1),
        )

    def store(self, vendor: str, dataset: CompanyDataset, symbol: str, answer: Answer, load_run_id: UUID) -> Stored:
        """Write what is new or differs."""
        self._set_aside(vendor, answer.unread, load_run_id)
        if not answer.rows:
            return Stored()
        # Two loads of one company would both find a row missing.
        self._connection.execute(select(func.pg_advisory_xact_lock(lock_key("company", vendor, dataset, symbol))))
        table = TABLES[dataset]
        said = {key_of(dataset, row): asdict(row) for row in answer.rows}
        about = _about(table, vendor, symbol)
        known = self._known(table, dataset, about, answer.rows)
        new = [values for key, values in said.items() if key not in known]
        differing = {key: values for key, values in said.items() if key in known and not _same(values, known[key])}
        gone = [key for key in known if key not in said and is_taken_back(dataset, key, answer)]
        restated, withdrawn = [known[key] for key in differing], [known[key] for key in gone]
        keep_earlier(self._connection, vendor, dataset, restated, load_run_id, "restated")
        keep_earlier(self._connection, vendor, dataset, withdrawn, load_run_id, "withdrawn")
        self._write(table, dataset, about, new, differing, gone, load_run_id)
        return Stored(len(new), len(differing), len(gone), len(said) - len(new) - len(differing))

    def note_loaded(
        self,
        vendor: str,
        dataset: CompanyDataset,
        symbol: str,
        outcome: Outcome,
        reason: str,
        load_run_id: UUID,
        now: datetime,
    ) -> None:
        """Remember that a symbol's dataset came."""
        new = insert(company_load).values(
            vendor=vendor,
            symbol=symbol,
            dataset=dataset.value,
            loaded_at=now,
            outcome=outcome,
            reason=reason,
            load_run_id=load_run_id,
        )
        kept = {name: new.excluded[name] for name in ("loaded_at", "outcome", "reason", "load_run_id")}
        self._connection.execute(new.on_conflict_do_update(index_elements=["vendor", "symbol", "dataset"], set_=kept))

    def finish_load(self, load_run_id: UUID, load: CompanyLoad) -> None:
        """Write how a load went into its row."""
        asked, failed = load.asked, load.failed
        state = "complete" if not failed else "failed" if len(failed) == len(asked) else "partial"
        finish_run(
            self._connection,
            load_run_id,
            state=state,
            rows_written=load.rows_changed,
            rows_rejected=sum(each.unread for each in asked),
            problems=[f"{each.symbol}: {each.reason}" for each in asked if each.reason][:_PROBLEMS_KEPT],
        )

    def earnings(self, symbols: Sequence[str], since: date) -> list[EarningsTold]:
        """List what stands and what was said before."""
        found = self._connection.execute(_EARNINGS, {"symbols": list(symbols), "since": since})
        return [
            EarningsTold(
                row.symbol,
                row.vendor,
                EarningsDay(row.first_day, row.last_day, row.is_estimate),
                row.recorded_at,
                row.superseded_at,
            )
            for row in found
        ]

    def _known(
        self, table: Table, dataset: CompanyDataset, about: Values, rows: Sequence[CompanyRow]
    ) -> dict[Key, Mapping[str, Any]]:
        """Read the stored rows that an answer may be about, by their keys."""
        wanted = select(table).where(_is(table, about))
        if dataset is CompanyDataset.STATISTICS:
            wanted = wanted.where(table.c.as_of.in_([row.as_of for row in rows if isinstance(row, KeyStatistics)]))
        found = self._connection.execute(wanted).mappings()
        return {tuple(row[name] for name in KEY_OF[dataset]): dict(row) for row in found}

    def _write(
        self,
        table: Table,
        dataset: CompanyDataset,
        about: Values,
        new: Sequence[Values],
        differing: Mapping[Key, Values],
        gone: Sequence[Key],
        load_run_id: UUID,
    ) -> None:
        written = about | {"load_run_id": load_run_id}
        if new:
            self._connection.execute(insert(table), [values | written for values in new])
        for key, values in differing.items():
            changed = values | {"load_run_id": load_run_id, "recorded_at": func.clock_timestamp()}
            self._connection.execute(update(table).where(_is(table, about, dataset, key)).values(changed))
        for key in gone:
            self._connection.execute(delete(table).where(_is(table, about, dataset, key)))

    def _set_aside(self, vendor: str, unread: Sequence[Unread], load_run_id: UUID) -> None:
        rows = {
            each.identity(vendor): {
                "quarantine_id": each.identity(vendor),
                "load_run_id": load_run_id,
                "vendor": vendor,
                "dataset": each.dataset.value,
                "symbol": each.symbol,
                "rule": each.rule,
                "reason": each.reason,
                "raw": dict(each.raw),
            }
            for each in unread
        }
        keep_aside(self._connection, list(rows.values()))


def _about(table: Table, vendor: str, symbol: str) -> Values:
    """Say whose rows they are; some tables keep those of several vendors."""
    return {"symbol": symbol} | ({"vendor": vendor} if "vendor" in table.c else {})


def _is(table: Table, about: Values, dataset: CompanyDataset | None = None, key: Key = ()) -> Any:
    named = about | (dict(zip(KEY_OF[dataset], key, strict=True)) if dataset else {})
    return and_(*(table.c[name] == value for name, value in named.items()))


def _same(values: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    return all(stored[name] == value for name, value in values.items())
