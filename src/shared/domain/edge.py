"""What closed trades say of a pair's edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Edge:
    """Win rate W (results above zero over all of them; a scratch trade is no win) and mean win / mean loss R."""

    win_rate: Decimal
    win_loss_ratio: Decimal

    @property
    def half_kelly(self) -> Decimal:
        """Half of what Kelly would stake, unclamped; not above zero: there is no edge."""
        return half_kelly(self.win_rate, self.win_loss_ratio)


def edge_of(results: Sequence[Decimal]) -> Edge | None:
    """Work the edge out of booked results in dollars; None where there is no win or no loss among them."""
    wins = [result for result in results if result > 0]
    losses = [-result for result in results if result < 0]
    if not wins or not losses:
        return None
    win_rate = Decimal(len(wins)) / len(results)
    return Edge(win_rate, (sum(wins, _ZERO) / len(wins)) / (sum(losses, _ZERO) / len(losses)))


def half_kelly(win_rate: Decimal, win_loss_ratio: Decimal) -> Decimal:
    """Return ½ · (W − (1 − W) / R), unclamped."""
    return (win_rate - (1 - win_rate) / win_loss_ratio) / 2
