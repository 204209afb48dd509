"""What the services need from a broker, in domain words. Reads raise Transient; writes say what they know."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from src.shared.domain.corporate_actions import AccountActivity, CorporateAction
from src.shared.domain.orders import (
    AccountReport,
    AssetReport,
    FillReport,
    MarketClock,
    OrderReport,
    PositionReport,
)


class MarketClockSource(Protocol):
    """Where market time comes from."""

    def clock(self) -> MarketClock:
        """Read the broker's clock.

        Raises:
            Transient: no usable answer; reading again is harmless.
            Refused: the keys are not accepted.
        """
        ...


class AccountSource(Protocol):
    """Where the account's money comes from."""

    def account(self) -> AccountReport:
        """Read the account. Raises as `MarketClockSource.clock`."""
        ...

    def assets(self, symbols: Sequence[str]) -> dict[str, AssetReport]:
        """Read what may be traded; a symbol the broker does not know is absent. Raises as `clock`."""
        ...

    def positions(self) -> list[PositionReport]:
        """Read what the whole account holds. Raises as `clock`."""
        ...


class ActivitySource(Protocol):
    """Where one hears what happened to the account without a trade."""

    def account_activities(self, kinds: Sequence[str], since: datetime) -> list[AccountActivity]:
        """List what happened after `since` without a trade, oldest first, of the broker's `kinds`; none given: all.

        CSD and CSW are cash paid in and out, DIV a dividend, CIL cash in lieu of a fraction. Raises as `clock`.
        """
        ...


class CorporateActionSource(Protocol):
    """Where announcements of companies come from."""

    def corporate_actions(self, symbols: Sequence[str], start: date, end: date) -> list[CorporateAction]:
        """List the announced actions of these symbols that take effect in [start, end], by day. Raises as `clock`."""
        ...


class Broker(MarketClockSource, AccountSource, ActivitySource, Protocol):
    """Orders at the broker. Every call is bounded in time and is made once: nothing retries inside."""

    def submit_market_order(
        self, client_order_id: str, symbol: str, quantity: Decimal, *, urgent: bool = False
    ) -> OrderReport:
        """Send a day market order for `quantity` signed shares. An urgent one may use the reserve of requests.

        Raises:
            Refused: the broker said no, with its code; nothing was placed.
            DuplicateOrderId: the broker has an order with this id.
            OutcomeUnknown: time-out, reset, 3xx, 5xx, 429 or an answer that can't be read: it may have been placed.
        """
        ...

    def order_by_client_id(self, client_order_id: str, *, urgent: bool = False) -> OrderReport | None:
        """Look an order up; None when the broker answers that it has none. Raises as `clock`.

        An urgent look-up may use the reserve of requests.
        """
        ...

    def positions_in(self, symbols: Collection[str]) -> list[PositionReport]:
        """Read all that the whole account holds in these symbols. Raises as `clock`.

        Raises:
            Transient: also where a row that is, or may be, about one of them can't be read.
        """
        ...

    def open_orders(self) -> list[OrderReport]:
        """List all orders the broker still works on. Raises as `clock`."""
        ...

    def orders_since(self, moment: datetime) -> list[OrderReport]:
        """List all orders, in any state, created after `moment`, oldest first. Raises as `clock`."""
        ...

    def cancel_order(self, broker_order_id: str) -> None:
        """Ask to cancel. A fill may still land; only a later report tells.

        Raises:
            Refused: it can't be cancelled any more; a report tells its state.
            OutcomeUnknown: no usable answer; asking again is harmless.
        """
        ...

    def fills_since(self, moment: datetime) -> list[FillReport]:
        """List all executions after `moment`, oldest first. Raises as `clock`."""
        ...
