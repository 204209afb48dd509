"""Small markets written by hand, as a table of half hours."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache

import numpy as np

from src.services.twin.domain.market import HalfHours, Market
from src.services.twin.domain.orders import NewOrder
from src.services.twin.domain.sessions import Sessions
from src.services.twin.domain.venue import Terms, Venue

DAY = date(2025, 3, 3)
Row = tuple[float, float, float, float] | None


@lru_cache(maxsize=1)
def sessions() -> Sessions:
    """The calendar, made once."""
    return Sessions()


def market(**rows: list[Row]) -> Market:
    """Make a market that starts on Monday 2025-03-03: per symbol rows of open, high, low, close; None is a gap."""
    longest = max(len(bars) for bars in rows.values())
    first = sessions().between(DAY, DAY)[0].first_slot
    return Market(sessions(), first, {symbol: _half_hours(bars, longest) for symbol, bars in rows.items()})


def venue(market: Market, *, at: str, cash: int = 100_000, **terms: float) -> Venue:
    """Open an account without a spread at a moment."""
    from src.services.twin.domain.moments import parse_moment

    settings = Terms(half_spread_bps=terms.pop("half_spread_bps", 0.0), **terms)  # type: ignore[arg-type]
    return Venue(market, seed=7, cash=Decimal(cash), now=parse_moment(at), terms=settings)


def order(side: str, qty: str, symbol: str = "AAA", **more: str) -> NewOrder:
    """Write a day order: market, or limit or stop where its price is given."""
    limit, stop = more.pop("limit", None), more.pop("stop", None)
    return NewOrder(
        symbol=symbol,
        side=side,
        type="limit" if limit else "stop" if stop else "market",
        time_in_force=more.pop("time_in_force", "day"),
        qty=Decimal(qty),
        limit_price=Decimal(limit) if limit else None,
        stop_price=Decimal(stop) if stop else None,
        **more,  # type: ignore[arg-type]
    )


def _half_hours(rows: list[Row], count: int) -> HalfHours:
    full = [row or (np.nan,) * 4 for row in [*rows, *[None] * (count - len(rows))]]
    columns = np.array(full, dtype=np.float64).T
    open_, high, low, close = columns
    return HalfHours(open_, high, low, close, volume=np.where(np.isnan(close), np.nan, 1000.0))
