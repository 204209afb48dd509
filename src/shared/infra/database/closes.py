"""Closes of many symbols as one array."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from src.shared.domain.bars import HOURLY, BarKind, CloseSeries, Floats
from src.shared.infra.database.moments import server_microseconds
from src.shared.infra.database.packed_rows import BAR_END, Packed, read_packed

VENDOR = "alpaca"
ADJUSTMENT = "split"
TRADED_SERIES = {"timeframe": HOURLY, "vendor": VENDOR, "adjustment": ADJUSTMENT}
"""What names, beside the symbol, the series that decisions are made from."""

_KIND = BarKind(**TRADED_SERIES)
_COLUMNS = (BAR_END, Packed("close", "close"))


def read_closes(
    connection: Connection, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind = _KIND
) -> CloseSeries:
    """Read the closes of `symbols` at the slots `ends` (UTC, oldest first); NaN where there is no bar.

    Without `kind` they are those that decisions are made from.
    """
    closes = np.full((len(ends), len(symbols)), np.nan)
    if len(ends) and len(symbols):
        _fill(connection, symbols, ends, kind, closes)
    return CloseSeries(tuple(symbols), tuple(ends), closes)


def _fill(
    connection: Connection, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind, closes: Floats
) -> None:
    grid = server_microseconds(ends)
    columns = {symbol: column for column, symbol in enumerate(symbols)}
    window = (ends[0], ends[-1])
    for symbol, rows in read_packed(connection, "data_ingestion.market_data", kind, list(columns), _COLUMNS, window):
        slots = np.searchsorted(grid, rows["bar_end"])
        on_grid = grid[slots] == rows["bar_end"]
        closes[slots[on_grid], columns[symbol]] = rows["close"][on_grid]
