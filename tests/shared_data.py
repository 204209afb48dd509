"""Real market data and recorded answers, for tests only: looked for beside the repository, never copied into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared"


def shared_file(relative: str) -> Path:
    """Return a file or folder of the shared data, or skip the test where it is missing."""
    path = Path(os.environ.get("TRADEWINDS_SHARED", _BESIDE)) / relative
    if not path.exists():
        pytest.skip(f"needs {path}: put the test data there, or name its folder in TRADEWINDS_SHARED")
    return path
