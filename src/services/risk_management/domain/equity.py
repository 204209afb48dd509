"""Equity over time with deposits and withdrawals taken out, so that only trading makes a peak or a fall.

Method. What is compared is the value of a share in the account, as a fund's is: a deposit buys shares and a
withdrawal sells them at the value just before, so neither moves it (the time-weighted return; CFA Institute, Global
Investment Performance Standards). Between two points with a flow F between them, equity E₀ → E₁ returned
E₁ / (E₀ + F) for a deposit and (E₁ − F) / E₀ for a withdrawal. Earlier points are restated in dollars of the account
as it is now: a peak of $100,000 before half was withdrawn is a peak of $50,000 today, so a percentage lost stays the
same percentage.

Nothing counts twice: the broker's equity holds the unrealised and the booked result alike; nothing is added to it.

When a flow happened, the broker may say by the day only. It belongs to that interval of its window in which equity
jumped by it, that is, in which taking it out leaves least. While the window is not over and no interval shows it, it
is not in the equity yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from src.services.risk_management.domain.state import EquityHistory

ONE = Decimal(1)
MOST_BESIDE_FLOW = Decimal("0.1")
"""What may be left of a fall to zero, or of a rise from there, as a fraction of the flow that is to explain it."""

_PLACES = 6


@dataclass(frozen=True)
class CashFlow:
    """Dollars that came from outside (positive) or went there, at some moment of (earliest, latest]."""

    id: str
    kind: str
    amount: Decimal
    earliest: datetime
    latest: datetime


@dataclass(frozen=True)
class EquityPoint:
    """The account's equity in dollars at a moment."""

    at: datetime
    equity: Decimal


@dataclass(frozen=True)
class DayStart:
    """Where a New York day's loss counts from: the close of the session before.

    `told` is the broker's word on equity at that close in dollars, None where it does not say.
    """

    midnight: datetime
    close: datetime
    told: Decimal | None = None


def restated(points: Sequence[EquityPoint], flows: Sequence[CashFlow]) -> list[EquityPoint]:
    """Return the points, oldest first, in dollars of the last one's account; without flows they stay as they are.

    What was before money emptied the account, or filled the empty one, is left out: such an account begins anew.
    Equity of zero or less that no flow explains is a loss, or a false reading: neither erases what was before.
    """
    between = _flows_between(points, flows)
    scale, result = ONE, list(points[-1:])
    for i in range(len(points) - 1, 0, -1):
        before, after, flow = points[i - 1].equity, points[i].equity, between[i - 1]
        if before > 0 and after > 0:
            scale *= _restating(before, after, flow)
        elif flow and abs(after - before - flow) <= MOST_BESIDE_FLOW * abs(flow):
            break
        restated_to = before if scale == ONE else round(before * scale, _PLACES)
        result.append(EquityPoint(points[i - 1].at, restated_to))
    return result[::-1]


def equity_history(
    points: Sequence[EquityPoint],
    flows: Sequence[CashFlow],
    now: EquityPoint,
    day: DayStart,
    peak_from: datetime | None,
) -> EquityHistory:
    """Compare equity now with its peak since `peak_from`, and with what it was as the day started."""
    earlier = restated([*points, now], flows)[:-1]
    peaks = [point.equity for point in earlier if peak_from is None or point.at >= peak_from]
    return EquityHistory(now.equity, max([now.equity, *peaks]), _at_start(points, flows, now, day))


def _at_start(points: Sequence[EquityPoint], flows: Sequence[CashFlow], now: EquityPoint, day: DayStart) -> Decimal:
    """Find equity after the close of the session before, or else at it, or else the day's first.

    What the broker told of the close is held against now alone: it makes no peak.
    """
    told = [] if day.told is None else [EquityPoint(day.close, day.told)]
    series = sorted([*points, *told], key=lambda point: point.at)
    since = [p for p in restated([*series, now], flows)[:-1] if p.at >= day.close and p.equity > 0]
    overnight = [point for point in since if point.at < day.midnight]
    start = [*overnight[-1:], *since, now][0]
    return start.equity


def _restating(before: Decimal, after: Decimal, flow: Decimal) -> Decimal:
    """Say by what to multiply equity from before a flow."""
    if flow > 0:
        return (before + flow) / before
    return after / (after - flow) if flow < 0 else ONE


def _flows_between(points: Sequence[EquityPoint], flows: Sequence[CashFlow]) -> list[Decimal]:
    """Sum the flows of each interval between two points."""
    left = [after.equity - before.equity for before, after in pairwise(points)]
    sums = [Decimal(0)] * len(left)
    # The largest first: it is the easiest to tell from the market's moves.
    for flow in sorted(flows, key=lambda each: (-abs(each.amount), each.id)):
        i = _interval_of(flow, points, left)
        if i is not None:
            left[i] -= flow.amount
            sums[i] += flow.amount
    return sums


def _interval_of(flow: CashFlow, points: Sequence[EquityPoint], left: Sequence[Decimal]) -> int | None:
    def explained(i: int) -> Decimal:
        return abs(left[i]) - abs(left[i] - flow.amount)

    inside = [
        i
        for i, (before, after) in enumerate(pairwise(points))
        if before.at < flow.latest and flow.earliest < after.at
    ]
    best = max(inside, key=explained, default=None)
    may_be_outside = flow.earliest < points[0].at or flow.latest > points[-1].at
    if best is None or (may_be_outside and explained(best) <= 0):
        return None
    return best
