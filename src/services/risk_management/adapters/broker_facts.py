"""What the broker knows, with its list of assets kept for a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from src.shared.domain.orders import AccountReport, AssetReport
from src.shared.ports.broker import AccountSource


class DailyBrokerFacts:
    """Implements `BrokerFacts`: the account is read each time, each asset once a New York day."""

    def __init__(self, source: AccountSource) -> None:
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
