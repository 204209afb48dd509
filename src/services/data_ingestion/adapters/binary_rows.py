"""Bars as bytes: the form in which COPY takes them and the server sends them, without a Python object per row."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from uuid import UUID

import numpy as np

from src.shared.domain.bars import BarColumns, Moments, Series, as_moments

COPY_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
COLUMNS = (
    "symbol, timeframe, vendor, adjustment, load_run_id, recorded_at, bar_start, bar_end,"
    " open, high, low, close, volume"
)
"""The columns of `market_data` in the order in which `copy_rows` writes them."""

SENT = (
    "timestamptz_send(bar_start) || timestamptz_send(bar_end) || float8send(open) || float8send(high)"
    " || float8send(low) || float8send(close) || float8send(volume)"
)
"""One bar in SQL as `parse_rows` reads it and `canonical` writes it."""

_SERVER_EPOCH = np.datetime64("2000-01-01", "us")
_MICROSECOND = np.timedelta64(1, "us")
_NUMBERS = ("open", "high", "low", "close", "volume")
_CANONICAL = np.dtype([("start", ">i8"), ("end", ">i8"), *((name, ">f8") for name in _NUMBERS)])


def copy_rows(series: Series, bars: BarColumns, load_run_id: UUID, recorded_at: datetime) -> bytes:
    """Write bars of a series as rows of a binary COPY, without its beginning and end."""
    names = (series.symbol, series.timeframe, series.vendor, series.adjustment)
    texts = tuple(name.encode("ascii") for name in names)
    rows = np.empty(len(bars), dtype=_row_type(*(len(text) for text in texts)))
    rows["fields"] = len(COLUMNS.split(","))
    for name in rows.dtype.names or ():
        if name.startswith("length_"):
            rows[name] = rows.dtype[name.removeprefix("length_")].itemsize
    for name, text in zip(("symbol", "timeframe", "vendor", "adjustment"), texts, strict=True):
        rows[name] = text
    rows["load_run_id"] = np.frombuffer(load_run_id.bytes, dtype="V16")[0]
    rows["recorded_at"] = _server_time(as_moments([recorded_at]))[0]
    rows["start"] = _server_time(bars.start)
    rows["end"] = _server_time(bars.end)
    for name in _NUMBERS:
        rows[name] = getattr(bars, name)
    return rows.tobytes()


def canonical(bars: BarColumns) -> bytes:
    """Write bars in the one form that digests are made of: big-endian, in their order."""
    rows = np.empty(len(bars), dtype=_CANONICAL)
    rows["start"], rows["end"] = _server_time(bars.start), _server_time(bars.end)
    for name in _NUMBERS:
        rows[name] = getattr(bars, name)
    return rows.tobytes()


def parse_rows(symbol: str, packed: bytes) -> BarColumns:
    """Read what the server sent of `SENT`, in its order."""
    rows = np.frombuffer(packed, dtype=_CANONICAL)
    start, end = (rows[name].astype(np.int64) * _MICROSECOND + _SERVER_EPOCH for name in ("start", "end"))
    return BarColumns(symbol, start, end, *(rows[name].astype(np.float64) for name in _NUMBERS))


def _server_time(moments: Moments) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (moments - _SERVER_EPOCH).astype(np.int64)


@lru_cache(maxsize=256)
def _row_type(symbol: int, timeframe: int, vendor: int, adjustment: int) -> np.dtype[np.void]:
    sizes = {
        "symbol": f"S{symbol}",
        "timeframe": f"S{timeframe}",
        "vendor": f"S{vendor}",
        "adjustment": f"S{adjustment}",
        "load_run_id": "V16",
        "recorded_at": ">i8",
        "start": ">i8",
        "end": ">i8",
        **dict.fromkeys(_NUMBERS, ">f8"),
    }
    fields = [field for name, size in sizes.items() for field in ((f"length_{name}", ">i4"), (name, size))]
    return np.dtype([("fields", ">i2"), *fields])
