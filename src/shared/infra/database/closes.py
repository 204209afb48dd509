"""Closes of many symbols as one array, and whole bars as five."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from src.shared.domain.bars import HOURLY, BarKind, BarSeries, CloseSeries, Floats
from src.shared.infra.database.moments import server_microseconds
from src.shared.infra.database.packed_rows import BAR_END, Packed, read_packed

VENDOR = "alpaca"
ADJUSTMENT = "split"
TRADED_SERIES = {"timeframe": HOURLY, "vendor": VENDOR, "adjustment": ADJUSTMENT}
"""What names, beside the symbol, the series that decisions are made from."""

_KIND = BarKind(**TRADED_SERIES)
_VALUES = ("open", "high", "low", "close", "volume")


def read_closes(
    connection: Connection, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind = _KIND
) -> CloseSeries:
    """Read the closes of `symbols` at the slots `ends` (UTC, oldest first); NaN where there is no bar.

    Without `kind` they are those that decisions are made from.
    """
    found = _read(connection, symbols, ends, kind, ["close"])
    return CloseSeries(tuple(symbols), tuple(ends), found["close"])


def read_whole_bars(
    connection: Connection, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind = _KIND
) -> BarSeries:
    """Read whole bars as `read_closes` reads closes."""
    found = _read(connection, symbols, ends, kind, _VALUES)
    return BarSeries(tuple(symbols), tuple(ends), *(found[name] for name in _VALUES))


def _read(
    connection: Connection, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind, names: Sequence[str]
) -> Mapping[str, Floats]:
    found = {name: np.full((len(ends), len(symbols)), np.nan) for name in names}
    if not (len(ends) and len(symbols)):
        return found
    grid = server_microseconds(ends)
    places = {symbol: place for place, symbol in enumerate(symbols)}
    columns = (BAR_END, *(Packed(name, name) for name in names))
    window = (ends[0], ends[-1])
    for symbol, rows in read_packed(connection, "data_ingestion.market_data", kind, list(places), columns, window):
        slots = np.searchsorted(grid, rows["bar_end"])
        on_grid = grid[slots] == rows["bar_end"]
        for name, values in found.items():
            values[slots[on_grid], places[symbol]] = rows[name][on_grid]
    return found
