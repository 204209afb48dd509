"""Times as the server writes them in binary: microseconds since 2000, without a Python object per time.

Matching a grid of slots against a table is done here and not by a join in SQL: while a freshly filled table has no
statistics the planner takes a nested loop over the whole grid, a hundred times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def server_microseconds(moments: Sequence[datetime]) -> NDArray[np.int64]:
    """Count times as `timestamptz_send` does; T times give an array of shape (T,)."""
    return np.array([(moment - _EPOCH) // _MICROSECOND for moment in moments], dtype=np.int64)
