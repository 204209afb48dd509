"""Rows of many symbols as arrays, read in one statement and without a Python object per number.

The server strings the rows of each symbol together in its binary form (a million rows a second, four times what a
binary COPY of them gives), and numpy takes the bytes as they are. Reading every column this way costs one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from src.shared.domain.bars import BarKind, StoredBars
from src.shared.infra.database.moments import from_server

_TYPES = {"timestamptz_send": ">i8", "float8send": ">f8", "int4send": ">i4"}
_PRICES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Packed:
    """One value of a row: its name in the array, and an expression of SQL that is never NULL, sent by `send`."""

    name: str
    expression: str
    send: Literal["timestamptz_send", "float8send", "int4send"] = "float8send"

    @classmethod
    def moment(cls, name: str) -> Packed:
        """Name a column of times, which come as the server's microseconds."""
        return cls(name, name, "timestamptz_send")

    @property
    def sql(self) -> str:
        """The bytes of it."""
        return f"{self.send}({self.expression})"

    @property
    def field(self) -> tuple[str, str]:
        """The field of the array."""
        return self.name, _TYPES[self.send]


BAR_END = Packed.moment("bar_end")
_BAR = (BAR_END, *(Packed(name, name) for name in _PRICES), Packed.moment("recorded_at"))


def read_packed(
    connection: Connection,
    table: str,
    kind: BarKind,
    symbols: Sequence[str],
    columns: Sequence[Packed],
    window: tuple[datetime, datetime] | None = None,
    **parameters: Any,
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read per symbol a structured array of the rows there are, in no order; a symbol without rows is absent.

    `window` bounds `bar_end`, both ends included; `parameters` are those of the columns' expressions. `table` and
    `columns` are written by code, never by a person.
    """
    row = " || ".join(column.sql for column in columns)
    within = "AND bar_end BETWEEN :first AND :last" if window else ""
    query = text(f"""
        SELECT symbol, string_agg({row}, '') FROM {table}
        WHERE symbol = ANY (CAST(:symbols AS text[])) {within}
            AND timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment
        GROUP BY symbol
    """)  # noqa: S608
    asked: dict[str, Any] = {"symbols": list(symbols), "timeframe": kind.timeframe, "vendor": kind.vendor}
    asked |= {"adjustment": kind.adjustment} | parameters
    if window:
        asked |= {"first": window[0], "last": window[1]}
    layout = np.dtype([column.field for column in columns])
    for symbol, packed in connection.execute(query, asked):
        yield symbol, np.frombuffer(packed, dtype=layout)


def read_bars(connection: Connection, kind: BarKind, symbols: Sequence[str]) -> dict[str, StoredBars]:
    """Read all stored bars of that kind; a symbol without any is absent."""
    rows = read_packed(connection, "data_ingestion.market_data", kind, symbols, _BAR)
    return {symbol: _bars(np.sort(packed, order="bar_end")) for symbol, packed in rows}


def _bars(rows: NDArray[Any]) -> StoredBars:
    prices = {name: rows[name].astype(np.float64) for name in _PRICES}
    return StoredBars(end=from_server(rows["bar_end"]), recorded_at=from_server(rows["recorded_at"]), **prices)
