"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
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


def peak_mebibytes() -> float:
    """Say how much memory this process has had at most, in MiB."""
    # Not getrusage: what it calls the peak may be that of the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
