"""What a look at the suite's surroundings found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ProbeResult:
    """One dependency: whether it answered, after how long, and what it said."""

    name: str
    healthy: bool
    latency_ms: float
    detail: str


@dataclass(frozen=True)
class HealthReport:
    """All dependencies, looked at together at `checked_at` (UTC)."""

    checked_at: datetime
    results: tuple[ProbeResult, ...]

    @property
    def failing(self) -> tuple[ProbeResult, ...]:
        """The dependencies that did not answer as they should."""
        return tuple(result for result in self.results if not result.healthy)

    @property
    def degraded(self) -> bool:
        """Whether anything is failing."""
        return bool(self.failing)
