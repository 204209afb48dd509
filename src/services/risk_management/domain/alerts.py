"""What about the portfolio a person should know, once a day each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from src.services.risk_management.domain.state import new_york_day
from src.services.risk_management.domain.usage import Portfolio, Usage
from src.shared.domain.ids import derived_id
from src.shared.domain.risk import RiskState
from src.shared.domain.risk_limits import LIMIT_BOUNDS
from src.shared.messages.ops import Severity

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
"""From the mildest to the gravest."""


@dataclass(frozen=True)
class Alert:
    """One thing to know. The same `about` on the same New York day is the same alert."""

    about: str
    severity: Severity
    title: str
    detail: str

    def id(self, portfolio: Portfolio) -> UUID:
        """Name this alert of this day."""
        return derived_id("risk-alert", self.about, self.severity, new_york_day(portfolio.now).isoformat())


def alerts_of(portfolio: Portfolio, used: Sequence[Usage], least: Severity) -> list[Alert]:
    """List what is at least this grave, the gravest first."""
    found = [*_of_state(portfolio), *_of_prices(portfolio), *(alert for each in used if (alert := _of_usage(each)))]
    grave = [alert for alert in found if SEVERITIES.index(alert.severity) >= SEVERITIES.index(least)]
    return sorted(grave, key=lambda alert: (-SEVERITIES.index(alert.severity), alert.about))


def _of_state(portfolio: Portfolio) -> list[Alert]:
    standing = portfolio.standing
    if standing.state is RiskState.ACTIVE:
        return []
    severity: Severity = "critical" if standing.state is RiskState.HALTED else "error"
    about = f"state {standing.state} {standing.version}"
    return [Alert(about, severity, f"the account is {standing.state}", f"by {standing.who}: {standing.why}")]


def _of_prices(portfolio: Portfolio) -> list[Alert]:
    if not portfolio.unpriced:
        return []
    symbols = ", ".join(portfolio.unpriced)
    return [Alert(f"unpriced {symbols}", "warning", "exposure can't be told", f"no recent close for {symbols}")]


def _of_usage(usage: Usage) -> Alert | None:
    if not usage.is_breached and not usage.is_near:
        return None
    bounds = LIMIT_BOUNDS[usage.name]
    of = f" in {usage.subject}" if usage.subject else ""
    detail = f"{usage.used:.4f} of {bounds.show(usage.limit)} {bounds.unit}{of}"
    about = f"{usage.name} {usage.subject}".rstrip()
    if usage.is_breached:
        return Alert(about, "error" if usage.is_loss else "warning", f"{usage.name} is breached", detail)
    return Alert(about, "info", f"{usage.name} is nearly used up", detail)
