"""The market's clock: frozen, running from a chosen moment, or the wall's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WALL = "wall"


@dataclass(frozen=True, slots=True)
class ClockSetting:
    """`wall`, or a moment (microseconds) from which time runs at `rate` (0 stands still, 1 as the wall does)."""

    moment: int | None
    rate: float = 0.0

    @property
    def mode(self) -> str:
        """`wall`, `frozen` or `running`."""
        if self.moment is None:
            return WALL
        return "running" if self.rate else "frozen"


class MarketClock:
    """Tells the market's time.

    Args:
        wall: returns the wall's microseconds.
    """

    def __init__(self, wall: Callable[[], int], setting: ClockSetting) -> None:
        self.wall = wall
        self.steer(setting)

    def steer(self, setting: ClockSetting) -> None:
        """Go on from a setting."""
        self.setting = setting
        self._anchor = self.wall()

    def now(self) -> int:
        """Return the market's time in microseconds."""
        if self.setting.moment is None:
            return self.wall()
        return self.setting.moment + int((self.wall() - self._anchor) * self.setting.rate)
