"""The risk state of the account: active → reducing → halted.

Risk itself only ever goes to `reducing`: a loss must never stand in the way of an exit. `halted` is a person's kill
switch. A drawdown is reset by a person, who thereby starts a new peak; a daily loss releases itself on the next New
York day, unless a graver cause took its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from src.services.risk_management.domain.codes import RejectCode
from src.shared.domain.pairs import check_transition
from src.shared.domain.risk import RiskState

NEW_YORK = ZoneInfo("America/New_York")
RISK = "risk"
"""Who changed the state when it was no person."""

RISK_TRANSITIONS: Mapping[RiskState, frozenset[RiskState]] = {
    RiskState.ACTIVE: frozenset({RiskState.REDUCING, RiskState.HALTED}),
    # Again reducing: a graver cause takes the place of a milder one.
    RiskState.REDUCING: frozenset({RiskState.REDUCING, RiskState.HALTED, RiskState.ACTIVE}),
    RiskState.HALTED: frozenset({RiskState.REDUCING, RiskState.ACTIVE}),
}


@dataclass(frozen=True)
class Standing:
    """The state in force: who set it, why and since when. Version 0 was never written."""

    state: RiskState = RiskState.ACTIVE
    who: str = RISK
    why: str = "never changed"
    version: int = 0
    since: datetime | None = None

    def is_from(self, code: RejectCode) -> bool:
        """Say whether risk itself set it for this cause."""
        return self.who == RISK and self.why.startswith(f"{code}:")

    def changed(self, after: RiskState, who: str, why: str, now: datetime) -> Standing:
        """Return the next standing.

        Raises:
            InvalidTransition: the table does not hold this step.
        """
        check_transition(RISK_TRANSITIONS, self.state, after, "the risk state")
        return Standing(after, who, why, self.version + 1, now)


@dataclass(frozen=True)
class EquityHistory:
    """Equity in dollars: now, the highest since the last reset by a person, and what this New York day began with."""

    now: Decimal
    peak: Decimal
    day_start: Decimal

    @property
    def drawdown(self) -> Decimal:
        """Fall from the peak as a fraction of the peak."""
        return _fall(self.peak, self.now)

    @property
    def daily_loss(self) -> Decimal:
        """Fall since the close of the session before as a fraction of equity then."""
        return _fall(self.day_start, self.now)

    @property
    def numbers(self) -> dict[str, object]:
        """Lay it out as JSON values."""
        return {"equity": str(self.now), "peak": str(self.peak), "day_start": str(self.day_start)}


def assess(
    standing: Standing, equity: EquityHistory, max_daily_loss: Decimal, max_drawdown: Decimal, now: datetime
) -> Standing:
    """Return the standing that losses call for: the same one when nothing changes."""
    if standing.state is RiskState.HALTED:
        return standing
    if equity.drawdown >= max_drawdown:
        why = f"{RejectCode.DRAWDOWN}: {equity.drawdown:.2%} below the peak, limit {max_drawdown:.2%}"
        return _reduced(standing, RejectCode.DRAWDOWN, why, now)
    if equity.daily_loss >= max_daily_loss:
        why = f"{RejectCode.DAILY_LOSS}: {equity.daily_loss:.2%} lost today, limit {max_daily_loss:.2%}"
        return _reduced(standing, RejectCode.DAILY_LOSS, why, now)
    if standing.state is RiskState.REDUCING and _is_of_an_earlier_day(standing, now):
        return standing.changed(RiskState.ACTIVE, RISK, "a new day after a daily loss", now)
    return standing


def new_york_day(moment: datetime) -> date:
    """Return the New York date of a moment."""
    return moment.astimezone(NEW_YORK).date()


def new_york_midnight(moment: datetime) -> datetime:
    """Return the beginning of the moment's New York day."""
    return moment.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)


def _reduced(standing: Standing, cause: RejectCode, why: str, now: datetime) -> Standing:
    may_replace = standing.is_from(RejectCode.DAILY_LOSS) and cause is RejectCode.DRAWDOWN
    if standing.state is RiskState.REDUCING and not may_replace:
        return standing
    return standing.changed(RiskState.REDUCING, RISK, why, now)


def _is_of_an_earlier_day(standing: Standing, now: datetime) -> bool:
    if not standing.is_from(RejectCode.DAILY_LOSS) or standing.since is None:
        return False
    return new_york_day(standing.since) < new_york_day(now)


def _fall(before: Decimal, after: Decimal) -> Decimal:
    return (before - after) / before if before > 0 else Decimal(0)
