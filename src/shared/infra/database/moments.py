"""Times as the server writes them in binary: microseconds since 2000, without a Python object per time.

Matching a grid of slots against a table is done here and not by a join in SQL: while a freshly filled table has no
statistics the planner takes a nested loop over the whole grid, a hundred times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.shared.domain.bars import Moments

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NUMPY_EPOCH = np.datetime64("2000-01-01", "us")
_MICROSECOND = timedelta(microseconds=1)


def server_microseconds(moments: Sequence[datetime]) -> NDArray[np.int64]:
    """Count times as `timestamptz_send` does; T times give an array of shape (T,)."""
    return np.array([(moment - _EPOCH) // _MICROSECOND for moment in moments], dtype=np.int64)


def from_server(microseconds: NDArray[Any]) -> Moments:
    """Turn the server's counts (integers of any byte order) into datetime64[us], in UTC."""
    moments: Moments = _NUMPY_EPOCH + microseconds.astype("m8[us]")
    return moments


def to_server(moments: Moments) -> NDArray[np.int64]:
    """Count times of dtype datetime64[us] (UTC) as the server does."""
    return (moments - _NUMPY_EPOCH).astype(np.int64)
