"""Closes from the stored bars, laid on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, text

from src.shared.domain.bars import HOURLY, CloseSeries

_VENDOR, _ADJUSTMENT = "alpaca", "split"

# Big-endian doubles and row numbers as they are on the wire: no Python object for each bar.
_CLOSES = text("""
    SELECT b.symbol,
           string_agg(int4send(g.i::int), ''::bytea ORDER BY g.i),
           string_agg(float8send(b.close), ''::bytea ORDER BY g.i)
      FROM unnest(CAST(:ends AS timestamptz[])) WITH ORDINALITY AS g(bar_end, i)
      JOIN market.market_data b ON b.bar_end = g.bar_end
     WHERE b.symbol = ANY(:symbols) AND b.timeframe = :timeframe
       AND b.vendor = :vendor AND b.adjustment = :adjustment
       AND b.bar_end BETWEEN :first AND :last
     GROUP BY b.symbol
""")


def read_closes(connection: Connection, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
    """Read hourly closes on the grid of `ends`, shape (T, S), NaN where no bar is stored."""
    closes = np.full((len(ends), len(symbols)), np.nan)
    if ends and symbols:
        columns = {symbol: j for j, symbol in enumerate(symbols)}
        for symbol, rows, values in connection.execute(_CLOSES, _parameters(symbols, ends)):
            closes[np.frombuffer(rows, ">i4") - 1, columns[symbol]] = np.frombuffer(values, ">f8")
    return CloseSeries(tuple(symbols), tuple(ends), closes)


def _parameters(symbols: Sequence[str], ends: Sequence[datetime]) -> dict[str, object]:
    return {
        "ends": list(ends),
        "symbols": list(symbols),
        "timeframe": HOURLY,
        "vendor": _VENDOR,
        "adjustment": _ADJUSTMENT,
        "first": ends[0],
        "last": ends[-1],
    }
