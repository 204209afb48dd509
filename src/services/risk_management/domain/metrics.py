"""How much equity moves: volatility and value at risk of the daily returns.

Both read the last equity of each New York day, with deposits and withdrawals taken out (`domain/equity.py`).
Volatility is the sample standard deviation (ddof = 1) of log returns times √252. Value at risk is historical
simulation: the loss that one day in twenty exceeded, the empirical 5 % quantile of simple returns with its sign
turned (P. Jorion, *Value at Risk*, 3rd ed., ch. 10). Fewer than `MIN_RETURNS` returns say nothing:
None is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.services.risk_management.domain.equity import EquityPoint
from src.services.risk_management.domain.state import new_york_day

MIN_RETURNS = 20
SESSIONS_A_YEAR = 252
TAIL = 0.05


@dataclass(frozen=True)
class EquityMetrics:
    """Annual volatility and one-day value at risk (95 %) as fractions of equity; None with too few days."""

    days: int
    volatility: float | None
    value_at_risk: float | None


def measure(points: Sequence[EquityPoint]) -> EquityMetrics:
    """Measure equity, oldest point first."""
    last_of_day = {new_york_day(point.at): float(point.equity) for point in points if point.equity > 0}
    closes = np.array(list(last_of_day.values()))
    ratios = closes[1:] / closes[:-1]
    if len(ratios) < MIN_RETURNS:
        return EquityMetrics(len(closes), None, None)
    volatility = float(np.std(np.log(ratios), ddof=1) * np.sqrt(SESSIONS_A_YEAR))
    tail = float(np.quantile(ratios - 1, TAIL))
    return EquityMetrics(len(closes), volatility, max(-tail, 0.0))
