"""Rows of many symbols as arrays, read in one statement and without a Python object per number.

The server strings the rows of each symbol together in its binary form (a million rows a second, four times what a
binary COPY of them gives), and numpy takes the bytes as they are. Reading every column this way costs one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from src.shared.domain.bars import BarKind, StoredBars
from src.shared.infra.database.moments import from_server

_SEND = {">i8": "timestamptz_send({})", ">f8": "float8send({})", ">i4": "int4send({})"}

_BAR_COLUMNS = {
    "bar_end": ">i8",
    **dict.fromkeys(("open", "high", "low", "close", "volume"), ">f8"),
    "recorded_at": ">i8",
}


def read_packed(
    connection: Connection,
    table: str,
    kind: BarKind,
    symbols: Sequence[str],
    columns: Mapping[str, str],
    window: tuple[datetime, datetime] | None = None,
    **parameters: Any,
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read per symbol a structured array of the rows there are, in no order; a symbol without rows is absent.

    `columns` are expressions of SQL, none of them NULL, with the type of what they give as numpy writes it: >i8 for a
    time (in the server's microseconds), >f8 or >i4. Each is a field of that name. `window` bounds `bar_end`, both ends
    included. `table` and `columns` are written by code, never by a person.
    """
    row = " || ".join(_SEND[kind_of].format(expression) for expression, kind_of in columns.items())
    within = "AND bar_end BETWEEN :first AND :last" if window else ""
    query = text(f"""
        SELECT symbol, string_agg({row}, '') FROM {table}
        WHERE symbol = ANY (CAST(:symbols AS text[])) {within}
            AND timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment
        GROUP BY symbol
    """)  # noqa: S608
    asked = {"symbols": list(symbols), "timeframe": kind.timeframe, "vendor": kind.vendor}
    asked |= {"adjustment": kind.adjustment} | parameters
    if window:
        asked |= {"first": window[0], "last": window[1]}
    layout = np.dtype(list(columns.items()))
    for symbol, packed in connection.execute(query, asked):
        yield symbol, np.frombuffer(packed, dtype=layout)


def read_bars(connection: Connection, kind: BarKind, symbols: Sequence[str]) -> dict[str, StoredBars]:
    """Read all stored bars of that kind; a symbol without any is absent."""
    rows = read_packed(connection, "data_ingestion.market_data", kind, symbols, _BAR_COLUMNS)
    return {symbol: _bars(np.sort(packed, order="bar_end")) for symbol, packed in rows}


def _bars(rows: NDArray[Any]) -> StoredBars:
    prices = {name: rows[name].astype(np.float64) for name in ("open", "high", "low", "close", "volume")}
    return StoredBars(end=from_server(rows["bar_end"]), recorded_at=from_server(rows["recorded_at"]), **prices)
