"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from typing import Any

import psutil


def facts() -> dict[str, Any]:
    """Describe the machine and how busy it is now: load averages over 1, 5 and 15 minutes."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(part, 2) for part in os.getloadavg()],
        "writes_bytecode": not sys.dont_write_bytecode,
    }
