"""How many days of bars must stay at hand for what decisions and fits read."""

from __future__ import annotations

LEAST_RETENTION_DAYS = 90
"""Three months: what a fit needs at least."""

_BARS_PER_SESSION = 7
_SESSIONS_PER_YEAR = 250
# Half days have fewer bars, and holidays come in rows.
_MARGIN_DAYS = 7


def days_of_bars(hourly_bars: int) -> int:
    """Bound from above how many calendar days this many finished hourly bars span."""
    sessions = -(-hourly_bars // _BARS_PER_SESSION)
    return -(-sessions * 365 // _SESSIONS_PER_YEAR) + _MARGIN_DAYS
