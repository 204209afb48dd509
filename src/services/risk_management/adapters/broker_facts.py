"""What the broker knows, with its list of assets kept for a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Protocol

from src.services.risk_management.domain.equity import CashFlow
from src.services.risk_management.domain.state import NEW_YORK
from src.shared.domain.corporate_actions import AccountActivity
from src.shared.domain.orders import AccountReport, AssetReport
from src.shared.ports.broker import AccountSource, ActivitySource

EXTERNAL = ("CSD", "CSW", "JNLC", "ACATC")
"""Cash paid in and out, cash journalled from or to another account, and cash that moved to or from another broker."""

_UNDONE = "canceled"


class MoneySource(AccountSource, ActivitySource, Protocol):
    """Where the account's money and what moved it come from."""


class DailyBrokerFacts:
    """Implements `BrokerFacts`: the account is read each time, each asset once a New York day."""

    def __init__(self, source: MoneySource) -> None:
        self._source = source
        self._day: date | None = None
        self._known: dict[str, AssetReport] = {}

    def account(self) -> AccountReport:
        """Read the account from the broker."""
        return self._source.account()

    def assets(self, symbols: Sequence[str], day: date) -> dict[str, AssetReport]:
        """Read what may be traded; only what this day has not been asked yet reaches the broker."""
        if day != self._day:
            self._day, self._known = day, {}
        unknown = [symbol for symbol in symbols if symbol not in self._known]
        if unknown:
            self._known |= self._source.assets(unknown)
        return {symbol: self._known[symbol] for symbol in symbols if symbol in self._known}

    def cash_flows(self, since: datetime) -> list[CashFlow]:
        """Read deposits and withdrawals; the broker names the day, so each may have been at any time of it."""
        activities = self._source.account_activities(EXTERNAL, since)
        return [_flow(activity) for activity in activities if activity.status != _UNDONE and activity.net_amount]


def _flow(activity: AccountActivity) -> CashFlow:
    midnight = datetime.combine(activity.day, time(), NEW_YORK)
    next_midnight = datetime.combine(activity.day + timedelta(days=1), time(), NEW_YORK)
    return CashFlow(activity.id, activity.kind, activity.net_amount, midnight, next_midnight)
