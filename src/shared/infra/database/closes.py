"""Closes of many symbols as one array, read in one statement and without a Python object per price."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, text

from src.shared.domain.bars import HOURLY, CloseSeries, Floats

VENDOR = "alpaca"
ADJUSTMENT = "split"

_ROW = np.dtype([("slot", ">i4"), ("close", ">f8")])

# Per symbol one run of bytes: position of the slot, close, position, close, … in the server's binary form.
_CLOSES = text("""
    SELECT bar.symbol, string_agg(int4send(CAST(slot.position AS int4)) || float8send(bar.close), '')
    FROM market.market_data AS bar
    JOIN unnest(CAST(:ends AS timestamptz[])) WITH ORDINALITY AS slot (bar_end, position)
        ON slot.bar_end = bar.bar_end
    WHERE bar.symbol = ANY (CAST(:symbols AS text[])) AND bar.bar_end BETWEEN :first AND :last
        AND bar.timeframe = :timeframe AND bar.vendor = :vendor AND bar.adjustment = :adjustment
    GROUP BY bar.symbol
""")


def read_closes(connection: Connection, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
    """Read the hourly closes of `symbols` at the slots `ends` (UTC, oldest first); NaN where there is no bar."""
    closes = np.full((len(ends), len(symbols)), np.nan)
    if len(ends) and len(symbols):
        _fill(connection, symbols, ends, closes)
    return CloseSeries(tuple(symbols), tuple(ends), closes)


def _fill(connection: Connection, symbols: Sequence[str], ends: Sequence[datetime], closes: Floats) -> None:
    columns = {symbol: column for column, symbol in enumerate(symbols)}
    asked = {
        "symbols": list(columns),
        "ends": list(ends),
        "first": min(ends),
        "last": max(ends),
        "timeframe": HOURLY,
        "vendor": VENDOR,
        "adjustment": ADJUSTMENT,
    }
    for symbol, packed in connection.execute(_CLOSES, asked):
        rows = np.frombuffer(packed, dtype=_ROW)
        closes[rows["slot"] - 1, columns[symbol]] = rows["close"]
