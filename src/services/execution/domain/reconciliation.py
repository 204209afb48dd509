"""Our books against the broker's word: a pure function from both to findings, one symbol and one order at a time.

A finding says what differs, what that means and what it stops. It changes nothing itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from src.shared.domain.orders import FillReport, OrderIntent, OrderReport, PositionReport


class Blocks(StrEnum):
    """What a finding stops. Exits are never stopped by one."""

    ALL_ENTRIES = "all entries"
    SYMBOL = "entries in its symbols"


class Kind(StrEnum):
    """What can be found."""

    POSITION_DRIFT = "position"
    UNKNOWN_ORDER = "unknown order"
    REVENANT = "revenant"
    LATE_FILL = "late fill"
    MISSING_EXECUTIONS = "missing executions"
    EXTERNAL_POSITION = "external position"
    EXTERNAL_ORDER = "external order"
    UNREAD = "unread"
    STUCK_ORDER = "stuck order"
    TRADE = "trade"
    ACCOUNT = "account"
    CLOCK = "clock"


_MEANING: Mapping[Kind, str] = {
    Kind.POSITION_DRIFT: "our books and the account differ, and no execution of somebody else explains it",
    Kind.UNKNOWN_ORDER: "the broker has an order with our prefix that no intent knows",
    Kind.REVENANT: "an order that is over in our books works at the broker; it is being cancelled",
    Kind.LATE_FILL: "the broker filled more of an order that is over in our books",
    Kind.MISSING_EXECUTIONS: "the executions booked do not add up to what the order says was filled",
    Kind.EXTERNAL_POSITION: "somebody else traded in this account; it is left alone",
    Kind.EXTERNAL_ORDER: "somebody else's order works in this account; it is left alone",
    Kind.UNREAD: "without it nobody can say that books and broker agree",
    Kind.STUCK_ORDER: "the broker has not settled an order; later passes carry on",
    Kind.TRADE: "a trade could not be carried on",
    Kind.ACCOUNT: "the broker does not let the account trade",
    Kind.CLOCK: "market time can't be trusted",
}
_BLOCKS_ITS_SYMBOLS = frozenset({Kind.EXTERNAL_POSITION, Kind.EXTERNAL_ORDER, Kind.STUCK_ORDER})


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    `subject` is a symbol, a client order id, a pair or the name of a list; `detail` holds both sides' numbers;
    `symbols` are those whose entries it blocks, where it does not block all.
    """

    kind: Kind
    subject: str
    detail: str
    symbols: tuple[str, ...] = ()

    @property
    def meaning(self) -> str:
        """Say what it means, in a sentence without a subject of its own."""
        return _MEANING[self.kind]

    @property
    def blocks(self) -> Blocks:
        """Say what it stops."""
        return Blocks.SYMBOL if self.kind in _BLOCKS_ITS_SYMBOLS else Blocks.ALL_ENTRIES

    def stops(self, *symbols: str) -> bool:
        """Say whether an entry in these symbols must not be sent."""
        return self.blocks is Blocks.ALL_ENTRIES or not {*symbols}.isdisjoint(self.symbols)

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.detail}. {self.meaning.capitalize()}. Blocks {self.blocks}."


@dataclass(frozen=True)
class Ours:
    """Our side. `held` are signed shares by symbol; `intents` by client order id, at least those that the broker's
    lists name; `booked` are signed shares by client order id, for orders whose executions do not add up.
    """

    held: Mapping[str, Decimal]
    intents: Mapping[str, OrderIntent]
    prefix: str
    booked: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True)
class Theirs:
    """The broker's side: positions, recent orders and those it works on; `external` are signed shares by symbol that
    executions moved which are not ours, since we hold the symbol.
    """

    positions: tuple[PositionReport, ...]
    orders: tuple[OrderReport, ...]
    working: tuple[OrderReport, ...]
    external: Mapping[str, Decimal] = field(default_factory=dict)


def reconcile(ours: Ours, theirs: Theirs) -> frozenset[Finding]:
    """Return how what we hold and sent differs from the broker's word."""
    at_broker = {position.symbol: position.quantity for position in theirs.positions}
    found = [
        _of_symbol(symbol, ours.held.get(symbol, Decimal(0)), at_broker.get(symbol, Decimal(0)), theirs.external)
        for symbol in {*ours.held, *at_broker}
    ]
    found += [_of_order(order, ours) for order in theirs.orders]
    found += [_of_working_order(order, ours) for order in theirs.working]
    found += [_of_bookings(ours.intents[name], shares) for name, shares in ours.booked.items()]
    return frozenset(finding for finding in found if finding is not None)


def late_news(ours: Mapping[str, OrderIntent], reports: Iterable[OrderReport]) -> list[OrderReport]:
    """Pick the reports that tell something new of an order which is done here: a fill after its end."""
    done = [r for r in reports if r.client_order_id in ours and ours[r.client_order_id].is_done]
    return [r for r in done if abs(r.filled_quantity) > abs(ours[r.client_order_id].filled_quantity)]


def revenants(ours: Mapping[str, OrderIntent], working: Iterable[OrderReport]) -> list[OrderReport]:
    """Pick the working orders that are over in our books."""
    return [r for r in working if r.client_order_id in ours and ours[r.client_order_id].is_done]


def external_shares(
    fills: Iterable[FillReport], our_order_ids: Collection[str], since: Mapping[str, datetime]
) -> dict[str, Decimal]:
    """Sum, by symbol in `since`, the signed shares of executions that are not ours, from that moment on."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        if (
            fill.symbol in since
            and fill.occurred_at >= since[fill.symbol]
            and fill.broker_order_id not in our_order_ids
        ):
            totals[fill.symbol] += fill.quantity
    return dict(totals)


def _of_symbol(symbol: str, held: Decimal, told: Decimal, external: Mapping[str, Decimal]) -> Finding | None:
    if held == told:
        return None
    detail = f"books say {held.normalize():f}, the broker says {told.normalize():f}"
    if held == 0 or told - held == external.get(symbol, Decimal(0)):
        return Finding(Kind.EXTERNAL_POSITION, symbol, detail, (symbol,))
    return Finding(Kind.POSITION_DRIFT, symbol, detail)


def _of_order(order: OrderReport, ours: Ours) -> Finding | None:
    name = order.client_order_id
    intent = ours.intents.get(name)
    if intent is None:
        if not name.startswith(ours.prefix):
            return None
        return Finding(Kind.UNKNOWN_ORDER, name, f"{order.quantity.normalize():f} {order.symbol} {order.status}")
    if intent.is_done and intent.filled_quantity != order.filled_quantity:
        detail = (
            f"filled {intent.filled_quantity.normalize():f} here, {order.filled_quantity.normalize():f} at the broker"
        )
        return Finding(Kind.LATE_FILL, name, detail)
    return None


def _of_working_order(order: OrderReport, ours: Ours) -> Finding | None:
    name = order.client_order_id
    shares = f"{order.quantity.normalize():f} {order.symbol}"
    intent = ours.intents.get(name)
    if intent is None and not name.startswith(ours.prefix):
        return Finding(Kind.EXTERNAL_ORDER, name, f"{shares} {order.status}", (order.symbol,))
    if intent is not None and intent.is_done:
        return Finding(Kind.REVENANT, name, f"{shares} is {intent.state} here, {order.status} at the broker")
    return _of_order(order, ours)


def _of_bookings(intent: OrderIntent, booked: Decimal) -> Finding | None:
    if not intent.is_done or booked == intent.filled_quantity:
        return None
    detail = f"booked {booked.normalize():f} of {intent.filled_quantity.normalize():f} {intent.symbol} filled"
    return Finding(Kind.MISSING_EXECUTIONS, intent.client_order_id, detail)
