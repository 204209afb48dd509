"""Rows brought into a table by COPY, in binary form and from arrays, without a Python object per value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, cast

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from src.shared.domain.bars import Floats
from src.shared.infra.database.moments import to_server

_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TAIL = b"\xff\xff"
_NULL = -1

Field = str | bytes | NDArray[Any]
"""One column of a block: a text, or the bytes of a UUID, that all rows share; times as datetime64[us]; or float64
numbers, with NaN for NULL."""


def copy_into(connection: Connection, table: str, columns: Sequence[str], blocks: Iterable[Sequence[Field]]) -> None:
    """Add the rows of each block to `table`, whose `columns` are text, uuid, timestamptz and float8, at once.

    A block has a field for each column; its arrays have one length, the number of its rows. Blocks are taken one by
    one while the server reads. `table` and `columns` are written by code, never by a person.

    Raises:
        DBAPIError: as a statement does.
    """
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with _as_statement(connection, raw, statement), raw.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_HEAD)
        for fields in blocks:
            for packed in packed_rows(fields):
                copy.write(packed)
        copy.write(_TAIL)


def packed_rows(fields: Sequence[Field]) -> Iterator[bytes]:
    """Yield the rows of a block as COPY wants them, as many in a run as have NULL in the same columns."""
    count = next((len(field) for field in fields if isinstance(field, np.ndarray)), 0)
    absent = _absent(fields, count)
    turns = np.flatnonzero((absent[1:] != absent[:-1]).any(axis=1)) + 1
    edges = [0, *turns.tolist(), count] if count else []
    for begin, end in pairwise(edges):
        yield _run(fields, begin, end, absent[begin])


def _absent(fields: Sequence[Field], count: int) -> NDArray[np.bool_]:
    none = np.zeros(count, dtype=bool)
    return np.column_stack([np.isnan(field) if _is_number(field) else none for field in fields])


def _is_number(field: Field) -> bool:
    return isinstance(field, np.ndarray) and field.dtype == np.float64


def _run(fields: Sequence[Field], begin: int, end: int, absent: NDArray[np.bool_]) -> bytes:
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for number, field in enumerate(fields):
        layout.append((f"size {number}", ">i4"))
        if not absent[number]:
            layout.append((f"value {number}", _type_of(field)))
    rows = np.empty(end - begin, dtype=layout)
    rows["fields"] = len(fields)
    for number, field in enumerate(fields):
        if absent[number]:
            rows[f"size {number}"] = _NULL
            continue
        rows[f"size {number}"] = rows.dtype[f"value {number}"].itemsize
        rows[f"value {number}"] = _values(field, begin, end)
    return rows.tobytes()


def _type_of(field: Field) -> str:
    if not isinstance(field, np.ndarray):
        return f"S{len(_shared(field))}"
    return ">f8" if _is_number(field) else ">i8"


def _values(field: Field, begin: int, end: int) -> bytes | Floats | NDArray[np.int64]:
    if not isinstance(field, np.ndarray):
        return _shared(field)
    return field[begin:end] if _is_number(field) else to_server(field[begin:end])


def _shared(field: str | bytes) -> bytes:
    return field.encode() if isinstance(field, str) else field


@contextmanager
def _as_statement(connection: Connection, raw: psycopg.Connection[Any], statement: str) -> Iterator[None]:
    """Let a failure look like that of any other statement, to whoever translates errors."""
    try:
        yield
    except psycopg.Error as error:
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, connection_invalidated=raw.broken, dialect=connection.dialect
        ) from error
