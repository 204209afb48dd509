"""Rows brought into a table by COPY, in binary form and from arrays, without a Python object per value."""

from __future__ import annotations

import struct
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
_FLOAT8 = 701
_TYPES = {"f": ">f8", "M": ">i8", "i": ">i4"}

Field = str | bytes | NDArray[Any]
"""One column of a block: a text, or the bytes of a UUID or an array, that all rows share; times as datetime64[us];
float64 numbers, with NaN for NULL; int32; or texts of dtype S (UTF-8), with the empty one for NULL. Texts go fastest
where rows of the same lengths stand together."""


def copy_into(connection: Connection, table: str, columns: Sequence[str], blocks: Iterable[Sequence[Field]]) -> None:
    """Add the rows of each block to `table`, whose `columns` are text, uuid, timestamptz, float8 and int4, at once.

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


def array_bytes(numbers: Floats) -> bytes:
    """Write float64 numbers as the value of a column float8[]."""
    elements = np.empty(len(numbers), dtype=[("size", ">i4"), ("value", ">f8")])
    elements["size"], elements["value"] = 8, numbers
    if not len(numbers):
        return struct.pack(">iii", 0, 0, _FLOAT8)
    return struct.pack(">iiiii", 1, 0, _FLOAT8, len(numbers), 1) + elements.tobytes()


def packed_rows(fields: Sequence[Field]) -> Iterator[bytes]:
    """Yield the rows of a block as COPY wants them, as many in a run as have values of the same sizes."""
    count = next((len(field) for field in fields if isinstance(field, np.ndarray)), 0)
    sizes = np.column_stack([_sizes(field, count) for field in fields])
    turns = np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1
    edges = [0, *turns.tolist(), count] if count else []
    for begin, end in pairwise(edges):
        yield _run(fields, begin, end, sizes[begin].tolist())


def _sizes(field: Field, count: int) -> NDArray[np.int32]:
    """Return the bytes that each row's value takes, -1 where it is NULL."""
    if not isinstance(field, np.ndarray):
        return np.full(count, len(_shared(field)), dtype=np.int32)
    if field.dtype.kind == "S":
        lengths = np.char.str_len(field).astype(np.int32)
        return np.where(lengths > 0, lengths, np.int32(_NULL))
    if field.dtype.kind == "f":
        return np.where(np.isnan(field), np.int32(_NULL), np.int32(8))
    return np.full(count, np.dtype(_TYPES[field.dtype.kind]).itemsize, dtype=np.int32)


def _run(fields: Sequence[Field], begin: int, end: int, sizes: Sequence[int]) -> bytes:
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for number, (field, size) in enumerate(zip(fields, sizes, strict=True)):
        layout.append((f"size {number}", ">i4"))
        if size != _NULL:
            layout.append((f"value {number}", _type_of(field, size)))
    rows = np.empty(end - begin, dtype=layout)
    rows["fields"] = len(fields)
    for number, (field, size) in enumerate(zip(fields, sizes, strict=True)):
        rows[f"size {number}"] = size
        if size != _NULL:
            rows[f"value {number}"] = _values(field, begin, end)
    return rows.tobytes()


def _type_of(field: Field, size: int) -> str:
    if not isinstance(field, np.ndarray) or field.dtype.kind == "S":
        return f"S{size}"
    return _TYPES[field.dtype.kind]


def _values(field: Field, begin: int, end: int) -> bytes | NDArray[Any]:
    if not isinstance(field, np.ndarray):
        return _shared(field)
    return to_server(field[begin:end]) if field.dtype.kind == "M" else field[begin:end]


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
