"""Closes of many symbols as one array, read in one statement and without a Python object per price."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, text

from src.shared.domain.bars import HOURLY, CloseSeries, Floats
from src.shared.infra.database.moments import server_microseconds

VENDOR = "alpaca"
ADJUSTMENT = "split"
TRADED_SERIES = {"timeframe": HOURLY, "vendor": VENDOR, "adjustment": ADJUSTMENT}
"""What names, beside the symbol, the series that decisions are made from."""

_ROW = np.dtype([("end", ">i8"), ("close", ">f8")])

# Per symbol one run of bytes: end, close, end, close, … in the server's binary form.
_CLOSES = text("""
    SELECT symbol, string_agg(timestamptz_send(bar_end) || float8send(close), '')
    FROM data_ingestion.market_data
    WHERE symbol = ANY (CAST(:symbols AS text[])) AND bar_end BETWEEN :first AND :last
        AND timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment
    GROUP BY symbol
""")


def read_closes(connection: Connection, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
    """Read the hourly closes of `symbols` at the slots `ends` (UTC, oldest first); NaN where there is no bar."""
    closes = np.full((len(ends), len(symbols)), np.nan)
    if len(ends) and len(symbols):
        _fill(connection, symbols, ends, closes)
    return CloseSeries(tuple(symbols), tuple(ends), closes)


def _fill(connection: Connection, symbols: Sequence[str], ends: Sequence[datetime], closes: Floats) -> None:
    grid = server_microseconds(ends)
    columns = {symbol: column for column, symbol in enumerate(symbols)}
    asked = {
        "symbols": list(columns),
        "first": ends[0],
        "last": ends[-1],
        **TRADED_SERIES,
    }
    for symbol, packed in connection.execute(_CLOSES, asked):
        rows = np.frombuffer(packed, dtype=_ROW)
        slots = np.searchsorted(grid, rows["end"])
        on_grid = grid[slots] == rows["end"]
        closes[slots[on_grid], columns[symbol]] = rows["close"][on_grid]
