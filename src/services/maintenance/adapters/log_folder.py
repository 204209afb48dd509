"""`Logs`: the days' logs in the state folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from src.services.maintenance.domain.upkeep import CleanUp, is_old_log
from src.shared.domain.errors import InputInvalid


@dataclass(frozen=True)
class LogFolder:
    """`<home>/logs`, and nothing below or above it."""

    home: Path

    def remove_old(self, today: date, keep_days: int) -> CleanUp:
        """Remove the files that are named as our logs of an old day; whatever else lies there stays.

        Raises:
            InputInvalid: the folder is a link that leads out of the state folder.
        """
        folder = self.home / "logs"
        if not folder.exists():
            return CleanUp((), 0)
        if folder.is_symlink() or not folder.is_dir():
            raise InputInvalid(f"{folder} is no folder of its own: nothing was removed.")
        gone, size = [], 0
        for file in sorted(folder.iterdir()):
            if is_old_log(file.name, today, keep_days) and file.is_file() and not file.is_symlink():
                size += file.stat().st_size
                file.unlink(missing_ok=True)
                gone.append(file.name)
        return CleanUp(tuple(gone), size)
