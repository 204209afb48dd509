"""Stored series, verdicts and rejected rows in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, cast

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from src.services.data_ingestion.adapters.bar_table import BarTable
from src.services.data_ingestion.adapters.load_runs import close_lost_runs
from src.services.data_ingestion.domain.rules.series import Split
from src.services.data_ingestion.domain.rules.verdict import Severity, Verdict
from src.services.data_ingestion.ports import KeptVerdict, RejectedRow, RepairRun, Shelf, Verdicts
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import BarColumns, Series
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.infra.database.alerts import write_alert
from src.shared.infra.database.audit import write_note
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.tables import (
    corporate_action,
    data_quality,
    data_quarantine,
    load_run,
    quality_look,
    stock_splits,
    symbol,
)
from src.shared.infra.database.verdicts import verdicts_in_force
from src.shared.messages.ops import AlertRaised

_FAR = datetime(2100, 1, 1, tzinfo=UTC)

_SYMBOLS = text("""
    SELECT DISTINCT symbol FROM data_ingestion.market_data WHERE bar_end > :since ORDER BY symbol
""")

# For each series that there is: from when on it is judged, and has it a bar before that? What came back from the
# archive does not count: months between it and those that were kept may be there still.
_SERIES = text("""
    WITH restored AS (
        SELECT vendor, timeframe, (max(month) + interval '1 month') AT TIME ZONE 'UTC' AS until
        FROM ops.archive_file WHERE restored_at IS NOT NULL GROUP BY 1, 2
    ), found AS (
        SELECT DISTINCT symbol, timeframe, vendor, adjustment FROM data_ingestion.market_data
        WHERE symbol = ANY (CAST(:symbols AS text[])) AND timeframe = ANY (CAST(:timeframes AS text[]))
    )
    SELECT found.*, greatest(CAST(:since AS timestamptz), restored.until) AS since, EXISTS (
        SELECT FROM data_ingestion.market_data AS bar
        WHERE bar.symbol = found.symbol AND bar.timeframe = found.timeframe AND bar.vendor = found.vendor
            AND bar.adjustment = found.adjustment AND bar.bar_end <= :since
            AND (restored.until IS NULL OR bar.bar_end > restored.until)
    ) AS begins_earlier
    FROM found LEFT JOIN restored USING (vendor, timeframe)
""")

_REPAIRED = text("""
    SELECT bar.symbol, bar.timeframe, bar.vendor, bar.adjustment, count(*) AS bars
    FROM data_ingestion.market_data AS bar JOIN data_ingestion.load_run AS run USING (load_run_id)
    WHERE bar.symbol = ANY (CAST(:symbols AS text[])) AND bar.bar_end > :since AND run.vendor <> bar.vendor
    GROUP BY 1, 2, 3, 4
""")


class SqlQualityRepository:
    """`QualityRepository` on an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bars = BarTable(connection)

    def lock(self) -> None:
        """Take the one lock of those who judge."""
        self._connection.execute(select(func.pg_advisory_xact_lock(lock_key("data-quality"))))

    def close_lost_loads(self) -> int:
        """End the loads that were killed."""
        return close_lost_runs(self._connection)

    def lock_series(self, series: Series) -> None:
        """Take the lock of those who write bars."""
        self._bars.lock([series])

    def symbols(self, since: datetime) -> list[str]:
        """List the symbols with bars."""
        return list(self._connection.execute(_SYMBOLS, {"since": since}).scalars())

    def stored(
        self, symbols: Sequence[str], timeframes: Sequence[str], since: datetime
    ) -> dict[Series, tuple[BarColumns, bool]]:
        """Read series in columns, one statement for those of one vendor, time frame and adjustment."""
        asked = {"symbols": list(symbols), "timeframes": list(timeframes), "since": since}
        earlier: dict[Series, bool] = {}
        groups: dict[tuple[str, str, str, datetime], list[Series]] = {}
        for row in self._connection.execute(_SERIES, asked):
            earlier[_series(row)] = row.begins_earlier
            groups.setdefault((row.timeframe, row.vendor, row.adjustment, row.since), []).append(_series(row))
        found = {}
        for (*_, begin), group in groups.items():
            bars = self._bars.stored(group, begin, _FAR)
            for series in group:
                if series in bars or earlier[series]:
                    found[series] = bars.get(series, BarColumns.of(series.symbol, ())), earlier[series]
        return found

    def splits(self, symbols: Sequence[str]) -> dict[str, list[Split]]:
        """Read what the broker announced and what other vendors list; of a day with both, the vendors' word."""
        a, s = corporate_action.c, stock_splits.c
        announced = select(a.symbol, a.ex_date, a.old_rate.label("old"), a.new_rate.label("new"))
        announced = announced.where(a.symbol.in_(symbols), a.kind == CorporateActionKind.SPLIT.value)
        listed = select(s.symbol, s.ex_date, s.old_shares, s.new_shares).where(s.symbol.in_(symbols))
        found: dict[str, dict[date, Split]] = {}
        for rows in (announced, listed):
            for row in self._connection.execute(rows):
                found.setdefault(row.symbol, {})[row.ex_date] = Split(row.ex_date, float(row[3] / row[2]))
        return {name: [by_day[day] for day in sorted(by_day)] for name, by_day in found.items()}

    def listings(self, symbols: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Read what is known of the symbols."""
        query = select(symbol.c.symbol, symbol.c.status, symbol.c.status_reason).where(symbol.c.symbol.in_(symbols))
        return {row.symbol: (row.status, row.status_reason) for row in self._connection.execute(query)}

    def in_force(self, symbols: Sequence[str]) -> Verdicts:
        """Read the newest verdicts."""
        found: dict[Series, dict[str, KeptVerdict]] = {}
        for row in verdicts_in_force(self._connection, symbols):
            verdict = Verdict(row.rule, cast("Severity", row.severity), row.passed, row.reason, row.numbers)
            found.setdefault(row.series, {})[row.rule] = KeptVerdict(row.id, verdict)
        return found

    def add_verdicts(
        self, series: Series, verdicts: Sequence[KeptVerdict], window: tuple[datetime, datetime]
    ) -> None:
        """Add rows."""
        if verdicts:
            rows = [_verdict_row(series, each, window) for each in verdicts]
            self._connection.execute(insert(data_quality), rows)

    def note_looks(self, series: Sequence[Series], at: datetime) -> None:
        """Write the time over the one that was there."""
        if series:
            new = insert(quality_look)
            key = [column.name for column in quality_look.primary_key]
            statement = new.on_conflict_do_update(index_elements=key, set_={"looked_at": new.excluded.looked_at})
            self._connection.execute(statement, [{**_key(each), "looked_at": at} for each in series])

    def shelf(self, symbols: Sequence[str], since: datetime) -> Shelf:
        """Read verdicts, looks and counts."""
        looks = self._connection.execute(select(quality_look).where(quality_look.c.symbol.in_(symbols)))
        q = data_quarantine.c
        counts = select(q.symbol, q.vendor, q.timeframe, func.count().label("rows")).where(q.symbol.in_(symbols))
        rejected = self._connection.execute(counts.group_by(q.symbol, q.vendor, q.timeframe))
        repaired = self._connection.execute(_REPAIRED, {"symbols": list(symbols), "since": since})
        return Shelf(
            in_force=self.in_force(symbols),
            looks={_series(row): row.looked_at for row in looks},
            quarantined={(row.symbol, row.vendor, row.timeframe): row.rows for row in rejected},
            repaired={_series(row): row.bars for row in repaired},
        )

    def rejected(self, symbols: Sequence[str], vendor: str | None, newest: int) -> list[RejectedRow]:
        """Read rejected rows."""
        q = data_quarantine.c
        query = select(
            q.symbol, q.vendor, q.dataset, q.timeframe, q.bar_end, q.rule, q.reason, q.raw, q.recorded_at
        ).order_by(q.recorded_at.desc(), q.quarantine_id)
        if symbols:
            query = query.where(q.symbol.in_(symbols))
        if vendor is not None:
            query = query.where(q.vendor == vendor)
        return [RejectedRow(*row) for row in self._connection.execute(query.limit(newest))]

    def fill(self, run: RepairRun, bars: BarColumns) -> None:
        """Write the run before its bars; the run's vendor is the one that they are from."""
        at = func.clock_timestamp()
        row = {
            "load_run_id": run.id,
            "vendor": run.vendor,
            "timeframe": run.series.timeframe,
            "adjustment": run.series.adjustment,
            "symbols": [run.series.symbol],
            "window_start": run.start,
            "window_end": run.end,
            "state": "repaired",
            "rows_written": len(bars),
            "rows_missing": run.missing,
            "problems": [run.told],
            "client": f"repair of {run.series.vendor} from {run.vendor}",
            "started_at": at,
            "finished_at": at,
        }
        self._connection.execute(insert(load_run).values(row))
        written = self._bars.put({run.series: bars}, run.id)[run.series]
        done = load_run.update().where(load_run.c.load_run_id == run.id).values(digest=written.digest)
        self._connection.execute(done)

    def add_alert(self, alert: AlertRaised) -> bool:
        """Store an alert."""
        return write_alert(self._connection, alert)

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        write_note(self._connection, note)


def _series(row: Any) -> Series:
    return Series(row.symbol, row.timeframe, row.vendor, row.adjustment)


def _key(series: Series) -> dict[str, str]:
    return {
        "symbol": series.symbol,
        "timeframe": series.timeframe,
        "vendor": series.vendor,
        "adjustment": series.adjustment,
    }


def _verdict_row(series: Series, kept: KeptVerdict, window: tuple[datetime, datetime]) -> Mapping[str, Any]:
    verdict = kept.verdict
    return {
        "verdict_id": kept.id,
        **_key(series),
        "rule": verdict.rule,
        "severity": verdict.severity,
        "passed": verdict.passed,
        "reason": verdict.reason,
        "numbers": dict(verdict.numbers),
        "window_start": window[0],
        "window_end": window[1],
        "judged_at": window[1],
    }
