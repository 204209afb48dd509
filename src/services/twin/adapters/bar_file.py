"""Reads and checks a file of bars (parquet or csv): symbol, timestamp, open, high, low, close, volume."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.services.twin.domain.bars import RawBars, grid_bars
from src.services.twin.domain.errors import BarFileInvalid
from src.services.twin.domain.market import Market
from src.services.twin.domain.sessions import Sessions

if TYPE_CHECKING:
    import pandas as pd

PRICES = ("open", "high", "low", "close")
COLUMNS = ("symbol", "timestamp", *PRICES, "volume")
SYMBOL = re.compile(r"^[A-Z][A-Z0-9.]{0,9}$")


def market_from_file(path: Path, sessions: Sessions) -> Market:
    """Load a file of bars as a market.

    Raises:
        BarFileInvalid: one line naming the file, the row or symbol, and what to do.
    """
    try:
        raw = _by_symbol(_checked(_read(path)))
        first, bars = grid_bars(sessions, raw)
    except BarFileInvalid as exc:
        raise BarFileInvalid(f"{path}: {exc}") from exc
    return Market(sessions, first, bars, source=f"file-{_fingerprint(path)}")


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix not in (".parquet", ".csv"):
        raise BarFileInvalid("give a .parquet or .csv file")
    if not path.is_file():
        raise BarFileInvalid("no such file")
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"symbol": str})
    except (OSError, ValueError, UnicodeDecodeError) as exc:
        raise BarFileInvalid(f"can't be read as {path.suffix[1:]} ({str(exc).splitlines()[0]})") from exc


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise BarFileInvalid(f"column {', '.join(missing)} missing: needed are {', '.join(COLUMNS)}")
    if frame.empty:
        raise BarFileInvalid("holds no rows")
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    frame = _with_times(_with_numbers(frame))
    _refuse(frame, ~frame["symbol"].astype(str).str.match(SYMBOL), "symbol is not like ABC or BRK.B")
    _refuse(frame, (frame[list(PRICES)] <= 0).any(axis=1), "price is not above zero")
    _refuse(frame, frame["volume"] < 0, "volume is negative")
    top, bottom = frame[["open", "close"]].max(axis=1), frame[["open", "close"]].min(axis=1)
    outside = (frame["high"] < frame["low"]) | (frame["high"] < top) | (frame["low"] > bottom)
    _refuse(frame, outside, "high and low do not enclose open and close")
    _refuse(frame, frame.duplicated(["symbol", "timestamp"]), "is there twice: remove the duplicate")
    return frame.sort_values(["symbol", "timestamp"], kind="stable")


def _with_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    for name in (*PRICES, "volume"):
        numbers = pd.to_numeric(frame[name], errors="coerce").astype("float64")
        _refuse(frame, ~np.isfinite(numbers), f"{name} is not a number")
        frame[name] = numbers
    return frame


def _with_times(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    column = frame["timestamp"]
    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        column = _parsed(frame)
    if column.dt.tz is None:
        raise BarFileInvalid("timestamp has no time zone: write UTC starts of bars, like 2025-03-03T14:30:00Z")
    _refuse(frame, column.isna(), "timestamp is empty")
    frame["timestamp"] = column.dt.tz_convert("UTC")
    return frame


def _parsed(frame: pd.DataFrame) -> pd.Series[Any]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(frame["timestamp"]):
        raise BarFileInvalid("timestamp is a plain number: write UTC starts of bars, like 2025-03-03T14:30:00Z")
    try:
        return pd.to_datetime(frame["timestamp"], format="ISO8601")
    except (ValueError, TypeError) as exc:
        raise BarFileInvalid(f"timestamp is not an ISO time ({str(exc).splitlines()[0]})") from exc


def _refuse(frame: pd.DataFrame, bad: Any, why: str) -> None:
    rows = np.flatnonzero(np.asarray(bad, dtype=bool))
    if len(rows):
        row = frame.iloc[int(rows[0])]
        raise BarFileInvalid(f"row {int(rows[0]) + 1} ({row['symbol']} {row['timestamp']}): {why}")


def _by_symbol(frame: pd.DataFrame) -> dict[str, RawBars]:
    return {
        str(symbol): RawBars(
            group["timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64),
            *(group[name].to_numpy(dtype=np.float64) for name in (*PRICES, "volume")),
        )
        for symbol, group in frame.groupby("symbol", sort=True)
    }


def _fingerprint(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
