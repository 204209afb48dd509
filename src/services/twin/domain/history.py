"""What the account was a moment ago by the host's clock: for answers that lag."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from src.services.twin.domain.book import Position
from src.services.twin.domain.faults import LONGEST_LAG_SECONDS
from src.services.twin.domain.moments import SECOND


@dataclass(frozen=True, slots=True)
class Moment:
    """Positions by symbol, and how many executions there were, from a host's time (microseconds) on."""

    since: int
    positions: dict[str, Position]
    fills: int


class History:
    """The last minutes of an account, one moment for each change."""

    def __init__(self) -> None:
        self._moments: deque[Moment] = deque()

    def note(self, host: int, positions: dict[str, Position], fills: int) -> None:
        """Remember how the account is from now on."""
        self._moments.append(Moment(host, {s: replace(p) for s, p in positions.items()}, fills))
        while len(self._moments) > 1 and self._moments[1].since <= host - LONGEST_LAG_SECONDS * SECOND:
            self._moments.popleft()

    def at(self, host: int) -> Moment:
        """Return how the account was at a host's time; before the first moment, as it was then."""
        return next((moment for moment in reversed(self._moments) if moment.since <= host), self._moments[0])

    def clear(self) -> None:
        """Forget every moment."""
        self._moments.clear()
