"""What the notification service needs from outside."""

from __future__ import annotations

from typing import Protocol


class Probe(Protocol):
    """One dependency that can be asked whether it is well."""

    @property
    def name(self) -> str:
        """What people call it."""

    async def ask(self) -> str:
        """Return what it said, in a few words; raise whatever its driver raises when it is not well."""
