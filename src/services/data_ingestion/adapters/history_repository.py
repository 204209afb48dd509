"""Long loads in PostgreSQL: their rows in `load_run`, their bars, what was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, select, text

from src.services.data_ingestion.adapters.bar_table import FIRST_MOMENT, LAST_MOMENT, BarTable
from src.services.data_ingestion.adapters.load_runs import begin_run, finish_run
from src.services.data_ingestion.adapters.quarantine import keep_rejected
from src.services.data_ingestion.domain.basis import Replaced, adjusted_for
from src.services.data_ingestion.domain.differences import Written
from src.services.data_ingestion.domain.gate import Rejection
from src.services.data_ingestion.domain.grid import Span
from src.services.data_ingestion.domain.history import Brought
from src.shared.domain.bars import BarColumns, Moments, Series
from src.shared.domain.ids import derived_id, slot_key
from src.shared.infra.database.tables import load_run

# Whoever has told us of an action: which vendor adjusts for it when is another matter.
_EX_DAYS = text("""
    SELECT ex_date FROM (
        SELECT symbol, ex_date, kind FROM data_ingestion.corporate_action
        UNION ALL SELECT symbol, ex_date, 'split' FROM data_ingestion.stock_splits
        UNION ALL SELECT symbol, ex_date, 'cash_dividend' FROM data_ingestion.dividends
    ) AS told
    WHERE symbol = :symbol AND kind = ANY (CAST(:kinds AS text[])) AND ex_date BETWEEN :first AND :last
    GROUP BY ex_date ORDER BY ex_date
""")


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
            run.symbols.contains([series.symbol]),
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
        return begin_run(
            self._connection,
            lambda attempt: derived_id("history", *key, str(attempt)),
            vendor=series.vendor,
            timeframe=series.timeframe,
            adjustment=series.adjustment,
            symbols=[series.symbol],
            window_start=start,
            window_end=end,
            client=client,
        )

    def finish_run(self, run_id: UUID, until: datetime, brought: Brought, written: Written) -> None:
        """Write how a load went."""
        finish_run(
            self._connection,
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
        finish_run(self._connection, run_id, state="failed", problems=[problem])

    def lock(self, series: Series) -> None:
        """Take the lock of a series."""
        self._bars.lock([series])

    def put(self, series: Series, bars: BarColumns, run_id: UUID) -> Written:
        """Write bars."""
        return self._bars.put({series: bars}, run_id).get(series, Written(0, 0, 0))

    def stored_before(self, series: Series, moment: datetime, count: int) -> list[Span]:
        """List the last stored bars before a moment."""
        return self._bars.spans_before(series, moment, count)

    def stored_after(self, series: Series, moment: datetime, count: int) -> list[Span]:
        """List the first stored bars after a moment."""
        return self._bars.spans_after(series, moment, count)

    def ex_days(self, series: Series, first: date, last: date) -> list[date]:
        """List the days of the company's actions that the prices are adjusted for."""
        kinds = [kind.value for kind in adjusted_for(series.adjustment)]
        asked = {"symbol": series.symbol, "kinds": kinds, "first": first, "last": last}
        return list(self._connection.execute(_EX_DAYS, asked).scalars())

    def rebases(self, series: Series) -> int:
        """Count the changes of basis."""
        return self._bars.rebases(series)

    def edges(self, series: Series) -> Span | None:
        """Read where a series begins and ends."""
        last = self._bars.spans_before(series, LAST_MOMENT, 1)
        return (self._bars.spans_after(series, FIRST_MOMENT, 1)[0][0], last[0][1]) if last else None

    def replace(self, series: Series, bars: BarColumns, run_id: UUID, why: str) -> Replaced | None:
        """Replace a whole series."""
        return self._bars.replace(series, bars, run_id, why)

    def quarantine(self, series: Series, run_id: UUID, rejected: Sequence[Rejection]) -> None:
        """Keep rejected rows, each once."""
        keep_rejected(self._connection, [(series, each) for each in rejected], run_id)
