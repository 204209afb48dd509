"""Bars as bytes: as COPY takes them, as the server sends them, and as digests are made of them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import numpy as np

from src.shared.domain.bars import BarColumns, Series, as_moments
from src.shared.infra.database.binary_copy import Field
from src.shared.infra.database.moments import from_server, to_server

TABLE = "data_ingestion.market_data"
COLUMNS = (
    "symbol", "timeframe", "vendor", "adjustment", "load_run_id", "recorded_at", "bar_start", "bar_end",
    "open", "high", "low", "close", "volume",
)  # fmt: skip
"""The columns of the table in the order in which `copy_block` has them."""

SENT = (
    "timestamptz_send(bar_start) || timestamptz_send(bar_end) || float8send(open) || float8send(high)"
    " || float8send(low) || float8send(close) || float8send(volume)"
)
"""One bar in SQL as `parse_rows` reads it and `canonical` writes it."""

_NUMBERS = ("open", "high", "low", "close", "volume")
_CANONICAL = np.dtype([("start", ">i8"), ("end", ">i8"), *((name, ">f8") for name in _NUMBERS)])


def copy_block(series: Series, bars: BarColumns, load_run_id: UUID, recorded_at: datetime) -> list[Field]:
    """Lay bars of a series out as a block of `copy_into`."""
    recorded = np.full(len(bars), as_moments([recorded_at])[0])
    shared: list[Field] = [
        series.symbol, series.timeframe, series.vendor, series.adjustment, load_run_id.bytes, recorded,
    ]  # fmt: skip
    return [*shared, *bars.columns]


def canonical(bars: BarColumns) -> bytes:
    """Write bars in the one form that digests are made of: big-endian, in their order."""
    rows = np.empty(len(bars), dtype=_CANONICAL)
    rows["start"], rows["end"] = to_server(bars.start), to_server(bars.end)
    for name in _NUMBERS:
        rows[name] = getattr(bars, name)
    return rows.tobytes()


def parse_rows(symbol: str, packed: bytes) -> BarColumns:
    """Read what the server sent of `SENT`, in its order."""
    rows = np.frombuffer(packed, dtype=_CANONICAL)
    start, end = from_server(rows["start"]), from_server(rows["end"])
    return BarColumns(symbol, start, end, *(rows[name].astype(np.float64) for name in _NUMBERS))
