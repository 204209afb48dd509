"""Bars, loads and symbols in PostgreSQL. Rows go and come as arrays: one statement whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import insert

from src.services.data_ingestion.adapters.bar_table import FIRST_MOMENT, BarTable
from src.services.data_ingestion.adapters.load_runs import begin_run, finish_run
from src.services.data_ingestion.adapters.quarantine import keep_rejected
from src.services.data_ingestion.domain.basis import Replaced
from src.services.data_ingestion.domain.differences import Written
from src.services.data_ingestion.domain.gate import Rejection
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
from src.shared.infra.database.tables import symbol

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


# What the broker called inactive it may call active again; what a vendor said of a symbol is for that vendor to take
# back.
_STATUS = text("""
    UPDATE data_ingestion.symbol AS known
    SET status = said.status, status_since = :as_of, status_reason = said.reason,
        tradable = known.tradable AND said.status = 'active', shortable = known.shortable AND said.status = 'active',
        easy_to_borrow = known.easy_to_borrow AND said.status = 'active'
    FROM (
        SELECT unnest(CAST(:active AS text[])) AS symbol, 'active' AS status, '' AS reason
        UNION ALL SELECT unnest(CAST(:inactive AS text[])), 'inactive', 'broker: not active'
        UNION ALL SELECT unnest(CAST(:unknown AS text[])), 'inactive', 'broker: not listed'
    ) AS said
    WHERE known.symbol = said.symbol AND known.status <> said.status
        AND (known.status = 'active' OR known.status_reason LIKE 'broker: %')
""")


_CLOSES_BEFORE_SPLITS = text("""
    SELECT split.symbol, last.bar_start, last.bar_end, last.close
    FROM (
        SELECT symbol, min(ex_date) AS day FROM (
            SELECT symbol, ex_date FROM data_ingestion.corporate_action WHERE kind = 'split'
            UNION ALL SELECT symbol, ex_date FROM data_ingestion.stock_splits
        ) AS told
        WHERE symbol = ANY (CAST(:symbols AS text[])) AND ex_date BETWEEN :first AND :last
        GROUP BY symbol
    ) AS split
    CROSS JOIN LATERAL (
        SELECT bar_start, bar_end, close
        FROM data_ingestion.market_data AS bar
        WHERE bar.symbol = split.symbol AND bar.bar_end < split.day AT TIME ZONE 'America/New_York'
            AND bar.timeframe = :timeframe AND bar.vendor = :vendor AND bar.adjustment = :adjustment
        ORDER BY bar_end DESC LIMIT 1
    ) AS last
""")


class SqlMarketRepository:
    """`MarketRepository` on an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bars = BarTable(connection)

    def begin_load(self, request: LoadRequest) -> UUID:
        """Write a load's row in state running, under the first of its ids that is free."""
        return begin_run(
            self._connection,
            request.run_id,
            vendor=VENDOR,
            timeframe=HOURLY,
            symbols=list(request.symbols),
            window_start=request.spans[0][0],
            window_end=request.slot,
            client=request.client,
        )

    def finish_load(self, result: LoadResult, state: LoadState) -> None:
        """Write how a load went into its row."""
        finish_run(
            self._connection,
            result.load_run_id,
            state=state,
            rows_written=result.rows_written,
            rows_rejected=result.rows_rejected,
            rows_missing=result.rows_missing,
            problems=list(result.problems),
            digest=result.digest,
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

    def closes_before_splits(self, symbols: Sequence[str], first: date, last: date) -> dict[str, StoredClose]:
        """Read the last closes before recent splits."""
        asked = {**_SERIES, "symbols": list(symbols), "first": first, "last": last}
        rows = self._connection.execute(_CLOSES_BEFORE_SPLITS, asked)
        return {name: StoredClose(start, end, close) for name, start, end, close in rows}

    def lock(self, symbols: Iterable[str]) -> None:
        """Take the locks of the series of symbols."""
        self._bars.lock(_series(symbol) for symbol in symbols)

    def store(self, bars: Mapping[str, BarColumns], load_run_id: UUID) -> dict[str, Written]:
        """Write bars by symbol."""
        written = self._bars.put({_series(symbol): columns for symbol, columns in bars.items()}, load_run_id)
        return {series.symbol: each for series, each in written.items()}

    def first_start(self, symbol: str) -> datetime | None:
        """Read the start of the oldest stored bar."""
        first = self._bars.spans_after(_series(symbol), FIRST_MOMENT, 1)
        return first[0][0] if first else None

    def replace(self, symbol: str, bars: BarColumns, load_run_id: UUID, why: str) -> Replaced | None:
        """Put the whole series of a symbol in the place of the stored one."""
        return self._bars.replace(_series(symbol), bars, load_run_id, why)

    def quarantine(self, rejected: Sequence[Rejection], load_run_id: UUID) -> None:
        """Keep rejected rows, each once."""
        keep_rejected(self._connection, [(_series(each.symbol), each) for each in rejected], load_run_id)

    def store_symbols(self, assets: Sequence[AssetReport], unknown: Sequence[str], as_of: datetime) -> int:
        """Write what the broker says of symbols; return how many it knows."""
        rows = [_symbol_row(asset, as_of) for asset in assets]
        if rows:
            new = insert(symbol)
            changed = {name: new.excluded[name] for name in rows[0] if name != "symbol"}
            self._connection.execute(new.values(rows).on_conflict_do_update(index_elements=["symbol"], set_=changed))
        asked = {
            "active": [asset.symbol for asset in assets if asset.active],
            "inactive": [asset.symbol for asset in assets if not asset.active],
            "unknown": list(unknown),
        }
        self._connection.execute(_STATUS, {**asked, "as_of": as_of})
        return len(rows)


def _series(symbol: str) -> Series:
    return Series(symbol, HOURLY, VENDOR, ADJUSTMENT)


def _symbol_row(asset: AssetReport, as_of: datetime) -> dict[str, object]:
    return {
        "symbol": asset.symbol,
        "name": asset.name,
        "exchange": asset.exchange[:16],
        "tradable": asset.tradable,
        "shortable": asset.shortable,
        "easy_to_borrow": asset.easy_to_borrow,
        "updated_at": as_of,
    }
