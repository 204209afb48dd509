"""Bars as rows of Arrow columns, and a digest of them that no encoding of a file changes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def content_digest(rows: pa.Table) -> str:
    """Return the SHA-256, hexadecimal, of names, types and values in the order in which they stand.

    A column counts as its name, its type, one byte a row that says whether there is a value, and the values: numbers
    and times as little-endian 64-bit words with 0 for none, texts as their lengths and their UTF-8 bytes.

    Raises:
        TypeError: a column is of a type that has no such form.
    """
    digest = hashlib.sha256(f"{rows.num_rows}".encode())
    for name in rows.column_names:
        column = rows.column(name).combine_chunks()
        digest.update(f"\x00{name}\x00{column.type}\x00".encode())
        digest.update(pc.is_valid(column).to_numpy(zero_copy_only=False).astype(np.uint8).tobytes())
        for part in _values(column):
            digest.update(part)
    return digest.hexdigest()


def _values(column: Any) -> tuple[bytes, ...]:
    kind = column.type
    if pa.types.is_string(kind):
        return _texts(pc.fill_null(column, ""))
    if pa.types.is_floating(kind):
        return (pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False).astype("<f8").tobytes(),)
    if pa.types.is_boolean(kind):
        return (pc.fill_null(column, False).to_numpy(zero_copy_only=False).astype("<i8").tobytes(),)
    if pa.types.is_timestamp(kind) or pa.types.is_integer(kind):
        whole = column.cast(pa.int64())
        return (pc.fill_null(whole, 0).to_numpy(zero_copy_only=False).astype("<i8").tobytes(),)
    raise TypeError(f"no canonical bytes for a column of type {kind}")


def _texts(column: Any) -> tuple[bytes, ...]:
    """Take lengths and bytes as they lie in memory: no Python object for each of a million rows."""
    if len(column) == 0:
        return ()
    _, ends, letters = column.buffers()
    first = column.offset
    offsets = np.frombuffer(ends, dtype=np.int32)[first : first + len(column) + 1]
    begin, end = int(offsets[0]), int(offsets[-1])
    return np.diff(offsets).astype("<i8").tobytes(), letters[begin:end].to_pybytes() if letters is not None else b""
