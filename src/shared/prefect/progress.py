"""Long work as a person sees it in Prefect: a bar on the run that moves while a thread works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

R = TypeVar("R")

_LOOK_SECONDS = 1.0


@dataclass
class Progress:
    """How far a piece of work is; the thread that does it counts."""

    total: int
    done: int = 0

    def step(self, *_: object) -> None:
        """Count one more; takes whatever the work says about it."""
        self.done += 1

    @property
    def per_cent(self) -> float:
        """How much is done, 0 to 100."""
        return 100.0 * min(1.0, self.done / self.total) if self.total else 100.0


async def with_progress(key: str, description: str, total: int, work: Callable[[Progress], R]) -> R:
    """Do `work` in a thread and keep a progress artifact of the current run up to date; `key` has dashes."""
    from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

    progress = Progress(total)
    artifact = await acreate_progress_artifact(progress=0.0, key=key, description=description)
    working = asyncio.create_task(asyncio.to_thread(work, progress))
    shown = 0.0
    while not working.done():
        await asyncio.wait({working}, timeout=_LOOK_SECONDS)
        if progress.per_cent != shown:
            shown = progress.per_cent
            await aupdate_progress_artifact(artifact, progress=shown)
    return await working
