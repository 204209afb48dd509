"""Bars, loads and symbols in PostgreSQL. Rows go and come as arrays: one statement whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, func, text, update
from sqlalchemy.dialects.postgresql import insert

from src.services.data_ingestion.adapters.bar_table import BarTable
from src.services.data_ingestion.domain.grid import Span
from src.services.data_ingestion.domain.loads import (
    ADJUSTMENT,
    VENDOR,
    LoadRequest,
    LoadResult,
    LoadState,
    StoredClose,
)
from src.shared.domain.bars import HOURLY, BarColumns, Series
from src.shared.domain.orders import AssetReport
from src.shared.infra.database.moments import server_microseconds
from src.shared.infra.database.tables import load_run, symbol

_SERIES = {"timeframe": HOURLY, "vendor": VENDOR, "adjustment": ADJUSTMENT}

_STORED_ENDS = text("""
    SELECT symbol, string_agg(timestamptz_send(bar_end), '') AS ends
    FROM data_ingestion.market_data
    WHERE symbol = ANY (CAST(:symbols AS text[])) AND bar_end BETWEEN :first AND :last
        AND timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment
    GROUP BY symbol
""")

_ASKED = text("""
    SELECT DISTINCT s.symbol, run.window_start, run.window_end
    FROM data_ingestion.load_run AS run
    JOIN unnest(CAST(:symbols AS text[])) AS s (symbol) ON s.symbol = ANY (run.symbols)
    WHERE run.vendor = :vendor AND run.timeframe = :timeframe AND run.state IN ('complete', 'partial')
        AND run.window_end > :since
""")

_CLOSES_BEFORE = text("""
    SELECT wanted.symbol, last.bar_start, last.bar_end, last.close
    FROM unnest(CAST(:symbols AS text[]), CAST(:firsts AS timestamptz[])) AS wanted (symbol, first)
    CROSS JOIN LATERAL (
        SELECT bar_start, bar_end, close
        FROM data_ingestion.market_data AS bar
        WHERE bar.symbol = wanted.symbol AND bar.bar_end <= wanted.first AND bar.bar_start >= :since
            AND bar.timeframe = :timeframe AND bar.vendor = :vendor AND bar.adjustment = :adjustment
        ORDER BY bar_end DESC LIMIT 3
    ) AS last
    ORDER BY wanted.symbol, last.bar_end
""")


class SqlMarketRepository:
    """`MarketRepository` on an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bars = BarTable(connection)

    def begin_load(self, request: LoadRequest) -> UUID:
        """Write a load's row in state running, under the first of its ids that is free."""
        for attempt in count(1):
            run_id = request.run_id(attempt)
            row = {
                "load_run_id": run_id,
                "vendor": VENDOR,
                "timeframe": HOURLY,
                "symbols": list(request.symbols),
                "window_start": request.spans[0][0],
                "window_end": request.slot,
                "state": "running",
                "started_at": func.clock_timestamp(),
            }
            statement = insert(load_run).values(row).on_conflict_do_nothing().returning(load_run.c.load_run_id)
            if self._connection.execute(statement).first() is not None:
                return run_id
        raise AssertionError("attempts never end")

    def finish_load(self, result: LoadResult, state: LoadState) -> None:
        """Write how a load went into its row."""
        self._connection.execute(
            update(load_run)
            .where(load_run.c.load_run_id == result.load_run_id)
            .values(
                state=state,
                rows_written=result.rows_written,
                rows_rejected=result.rows_rejected,
                rows_missing=result.rows_missing,
                problems=list(result.problems),
                finished_at=func.clock_timestamp(),
            )
        )

    def missing(self, request: LoadRequest) -> dict[str, list[Span]]:
        """List per symbol the spans without a bar, in order."""
        grid = server_microseconds([end for _, end in request.spans])
        asked = {**_SERIES, "symbols": list(request.symbols), "first": request.spans[0][1], "last": request.slot}
        packed = {str(row.symbol): bytes(row.ends) for row in self._connection.execute(_STORED_ENDS, asked)}
        found = {
            name: np.flatnonzero(~np.isin(grid, np.frombuffer(packed.get(name, b""), dtype=">i8")))
            for name in request.symbols
        }
        return {name: [request.spans[i] for i in places] for name, places in found.items() if len(places)}

    def asked_before(self, symbols: Sequence[str], since: datetime) -> dict[str, list[Span]]:
        """List per symbol the windows that finished loads have covered."""
        rows = self._connection.execute(
            _ASKED, {"vendor": VENDOR, "timeframe": HOURLY, "symbols": list(symbols), "since": since}
        )
        found: dict[str, list[Span]] = {}
        for name, start, end in rows:
            found.setdefault(name, []).append((start, end))
        return found

    def closes_before(self, firsts: Mapping[str, datetime], since: datetime) -> dict[str, list[StoredClose]]:
        """Read per symbol the last three closes before a moment, oldest first."""
        asked = {**_SERIES, "symbols": list(firsts), "firsts": list(firsts.values()), "since": since}
        found: dict[str, list[StoredClose]] = {}
        for name, start, end, close in self._connection.execute(_CLOSES_BEFORE, asked):
            found.setdefault(name, []).append(StoredClose(start, end, close))
        return found

    def store(self, bars: Mapping[str, BarColumns], load_run_id: UUID) -> None:
        """Write bars under the locks of their series."""
        wanted = {_series(symbol): columns for symbol, columns in bars.items() if len(columns)}
        if wanted:
            self._bars.lock(wanted)
            self._bars.put(wanted, load_run_id)

    def forget(self, symbols: Sequence[str], by: UUID) -> None:
        """Move all bars of symbols whose price basis has changed to the history."""
        series = [_series(symbol) for symbol in symbols]
        if series:
            self._bars.lock(series)
        for each in series:
            self._bars.supersede_all(each, by, "rebased")

    def store_symbols(self, assets: Iterable[AssetReport], as_of: datetime) -> int:
        """Write what the broker says of symbols; return how many."""
        rows = [
            {
                "symbol": asset.symbol,
                "name": asset.name,
                "exchange": asset.exchange[:16],
                "tradable": asset.tradable,
                "shortable": asset.shortable,
                "easy_to_borrow": asset.easy_to_borrow,
                "updated_at": as_of,
            }
            for asset in assets
        ]
        if not rows:
            return 0
        new = insert(symbol)
        changed = {column.name: new.excluded[column.name] for column in symbol.c if not column.primary_key}
        self._connection.execute(new.values(rows).on_conflict_do_update(index_elements=["symbol"], set_=changed))
        return len(rows)


def _series(symbol: str) -> Series:
    return Series(symbol, HOURLY, VENDOR, ADJUSTMENT)
