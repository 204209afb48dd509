"""What a person at the desk is shown: positions by whom they belong to, orders, trades, and what a difference means.

Shares are signed, money is dollars, times are market time unless they are called recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import prod
from uuid import UUID

from src.services.execution.domain.reconciliation import Finding, Kind
from src.shared.domain.orders import OrderIntent, OrderReport, PositionReport
from src.shared.domain.pairs import PairTrade
from src.shared.domain.quantities import plain
from src.shared.domain.risk import RiskState

ZERO, WHOLE = Decimal(0), Decimal(1)
SNAPSHOT_MINUTES = 15


@dataclass(frozen=True)
class Holding:
    """What one trade holds in a symbol, by the books; `avg_price` is what each share of today's basis cost."""

    symbol: str
    pair_id: str
    pair_trade_id: UUID
    state: str
    quantity: Decimal
    avg_price: Decimal | None


@dataclass(frozen=True)
class Bought:
    """Signed shares of one fill that built a position up."""

    shares: Decimal
    price: Decimal
    at: datetime


@dataclass(frozen=True)
class Split:
    """Shares that each one of a position became, and when."""

    ratio: Decimal
    at: datetime


@dataclass(frozen=True)
class Close:
    """The close of a stored bar, and when that bar ended."""

    price: Decimal
    at: datetime


@dataclass(frozen=True)
class SymbolPosition:
    """One symbol: ours by trade, and all that the account holds (None while the broker is away).

    `price_at` is None for the broker's own price, else the end of the stored bar the price is from.
    """

    symbol: str
    holdings: tuple[Holding, ...]
    broker: Decimal | None
    price: Decimal | None
    price_at: datetime | None

    @property
    def ours(self) -> Decimal:
        """Sum what our trades hold."""
        return sum((holding.quantity for holding in self.holdings), ZERO)

    @property
    def external(self) -> Decimal | None:
        """What the account holds besides ours; None while the broker is away."""
        return None if self.broker is None else self.broker - self.ours

    @property
    def unrealized_pnl(self) -> Decimal | None:
        """What ours would bring at `price` over what it cost; None where either is not known."""
        results = [self.pnl_of(holding) for holding in self.holdings]
        known = [result for result in results if result is not None]
        return sum(known, ZERO) if known and len(known) == len(results) else None

    def pnl_of(self, holding: Holding) -> Decimal | None:
        """What one of the holdings would bring."""
        if self.price is None or holding.avg_price is None:
            return None
        return holding.quantity * (self.price - holding.avg_price)


@dataclass(frozen=True)
class OrderLine:
    """One of our orders with its pair."""

    pair_id: str
    intent: OrderIntent


@dataclass(frozen=True)
class OrderStep:
    """One state of an order as the outbox tells it."""

    event: str
    version: int
    occurred_at: datetime
    recorded_at: datetime
    filled_quantity: Decimal
    filled_avg_price: Decimal | None
    reason: str | None


@dataclass(frozen=True)
class OrderStory:
    """One of our orders with every state it ever had, oldest first."""

    line: OrderLine
    steps: tuple[OrderStep, ...]


@dataclass(frozen=True)
class TradeLine:
    """A trade with what its legs hold now."""

    trade: PairTrade
    held_1: Decimal
    held_2: Decimal


@dataclass(frozen=True)
class Decision:
    """A signal and what risk said to it, each with its numbers; no `code` where risk has not decided."""

    slot: datetime
    action: str
    signal_reason: str
    signal_numbers: Mapping[str, object]
    code: str | None
    risk_reason: str | None
    risk_numbers: Mapping[str, object] | None


@dataclass(frozen=True)
class Booked:
    """One execution as it was booked."""

    client_order_id: str
    symbol: str
    quantity: Decimal
    price: Decimal
    occurred_at: datetime


@dataclass(frozen=True)
class Audit:
    """What a person did to a pair, and why."""

    who: str
    what: str
    why: str
    numbers: Mapping[str, object]
    recorded_at: datetime


@dataclass(frozen=True)
class TradeStory:
    """Everything that led to a trade and came of it. `ledger` sums the postings by account and asset."""

    line: TradeLine
    decisions: tuple[Decision, ...]
    orders: tuple[OrderLine, ...]
    executions: tuple[Booked, ...]
    ledger: Mapping[tuple[str, str], Decimal]
    audits: tuple[Audit, ...]


@dataclass(frozen=True)
class Standing:
    """The risk state with who set it and why."""

    state: RiskState
    who: str
    why: str


@dataclass(frozen=True)
class WriteOff:
    """Signed shares of a leg that are in the books and not at the broker, and what each brought."""

    trade_id: UUID
    leg: int
    symbol: str
    shares: Decimal
    price: Decimal


@dataclass(frozen=True)
class Comparison:
    """One symbol or order, both sides; `verdict` is "agree", "external" or "differ"."""

    kind: str
    subject: str
    ours: str
    theirs: str
    verdict: str
    meaning: str
    advice: str


def average_price(bought: Iterable[Bought], splits: Iterable[Split]) -> Decimal | None:
    """Return what each share cost, counted as shares are after the splits; None where nothing was bought."""
    later = tuple(splits)
    cost = shares = ZERO
    for each in bought:
        cost += each.shares * each.price
        shares += each.shares * prod((split.ratio for split in later if split.at > each.at), start=WHOLE)
    return cost / shares if shares else None


def lay_out(
    holdings: Iterable[Holding], reports: Iterable[PositionReport] | None, closes: Mapping[str, Close]
) -> tuple[SymbolPosition, ...]:
    """Put ours and the broker's together, by symbol. `reports` is None while the broker is away."""
    ours: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        ours[holding.symbol].append(holding)
    theirs = {report.symbol: report for report in reports or ()}
    return tuple(
        _symbol(symbol, tuple(ours[symbol]), theirs.get(symbol), reports is not None, closes.get(symbol))
        for symbol in sorted({*ours, *theirs})
    )


def snapshot_moment(now: datetime) -> datetime:
    """Return the quarter of an hour that a moment lies in: what is stored once is stored for it."""
    return now - timedelta(minutes=now.minute % SNAPSHOT_MINUTES, seconds=now.second, microseconds=now.microsecond)


def is_external(order: OrderReport, ours: Mapping[str, object], prefix: str) -> bool:
    """Say whether an order at the broker is none of ours: neither written down here nor named like ours."""
    return order.client_order_id not in ours and not order.client_order_id.startswith(prefix)


_SIDES = {
    Kind.POSITION_DRIFT: "position",
    Kind.EXTERNAL_POSITION: "position",
    Kind.UNKNOWN_ORDER: "order",
    Kind.REVENANT: "order",
    Kind.LATE_FILL: "order",
    Kind.MISSING_EXECUTIONS: "order",
    Kind.EXTERNAL_ORDER: "order",
}
"""Which row a finding belongs to; what is not here has a row of its own."""


def explain(
    positions: Iterable[SymbolPosition],
    ours: Mapping[str, OrderIntent],
    orders: Iterable[OrderReport],
    findings: Iterable[Finding],
    prefix: str,
) -> tuple[Comparison, ...]:
    """Lay both sides side by side and say what each difference means and what a person can do.

    Args:
        positions: both sides by symbol.
        ours: our orders by client order id, those that `orders` names.
        orders: the broker's open and recent orders.
        findings: what the comparison found.
        prefix: how our client order ids begin.
    """
    found = {(_SIDES.get(finding.kind, finding.kind.value), finding.subject): finding for finding in findings}
    rows = [_compare_symbol(position, found.pop(("position", position.symbol), None)) for position in positions]
    for order in {order.client_order_id: order for order in orders}.values():
        drift = found.pop(("order", order.client_order_id), None)
        rows.append(_compare_order(order, ours.get(order.client_order_id), drift, prefix))
    return (*rows, *(_leftover(drift) for drift in found.values()))


def _symbol(
    symbol: str, holdings: tuple[Holding, ...], report: PositionReport | None, told: bool, close: Close | None
) -> SymbolPosition:
    broker = (report.quantity if report else ZERO) if told else None
    if report is not None and report.price is not None:
        return SymbolPosition(symbol, holdings, broker, report.price, None)
    return SymbolPosition(symbol, holdings, broker, close.price if close else None, close.at if close else None)


def _compare_symbol(position: SymbolPosition, drift: Finding | None) -> Comparison:
    ours = plain(position.ours)
    theirs = "not known" if position.broker is None else plain(position.broker)
    if drift is not None and drift.kind is Kind.POSITION_DRIFT:
        extra = plain(position.external or ZERO)
        return Comparison(
            "position",
            position.symbol,
            ours,
            theirs,
            "differ",
            f"The account holds {extra} shares that no trade of ours explains: somebody else traded it, a split, or "
            "an execution that has not been told yet.",
            "Look at the broker's orders of this symbol. Undo what was traded by hand there; what is ours is left "
            "alone. Entries wait until both sides agree; exits go on.",
        )
    if not position.ours:
        return Comparison(
            "position", position.symbol, ours, theirs, "external", "It is not ours.",
            f"Nothing. It is left alone, and no pair with {position.symbol} is entered while it is there.",
        )  # fmt: skip
    if drift is not None:
        return Comparison(
            "position", position.symbol, ours, theirs, "external",
            f"Somebody else traded {plain(position.external or ZERO)} shares of it in this account.",
            f"Nothing, or undo it there; what was sold of ours for good, `tradewinds write-off`. No pair with "
            f"{position.symbol} is entered meanwhile; exits go on.",
        )  # fmt: skip
    return Comparison("position", position.symbol, ours, theirs, "agree", "", "")


def _compare_order(order: OrderReport, intent: OrderIntent | None, drift: Finding | None, prefix: str) -> Comparison:
    name, theirs = order.client_order_id, f"{order.status}, {plain(order.filled_quantity)} filled"
    ours = "none" if intent is None else f"{intent.state.value}, {plain(intent.filled_quantity)} filled"
    if drift is not None and drift.kind is Kind.UNKNOWN_ORDER:
        return Comparison(
            "order", name, ours, theirs, "differ",
            "It is named like ours, but these books do not know it: another database trades this account.",
            "Find the other installation, or cancel the order at the broker. One account belongs to one database.",
        )  # fmt: skip
    if drift is not None and drift.kind is not Kind.EXTERNAL_ORDER:
        return Comparison(
            "order", name, ours, theirs, "differ", f"{drift.detail}.",
            "Run `tradewinds reconcile` again: late executions are taken in. If it stays, compare with the broker's "
            "list of executions.",
        )  # fmt: skip
    if is_external(order, {} if intent is None else {name: intent}, prefix):
        return Comparison(
            "order", name, ours, theirs, "external", f"An order in {order.symbol} that is not ours.",
            f"Nothing. It is left alone; while it is open no pair with {order.symbol} is entered.",
        )  # fmt: skip
    return Comparison("order", name, ours, theirs, "agree", "", "")


def _leftover(drift: Finding) -> Comparison:
    meaning, advice = {
        Kind.TRADE: (
            "A trade could not be carried on.",
            "The next run of manage-orders tries again. `tradewinds trades <pair> --why` shows how far it is.",
        ),
        Kind.UNREAD: (
            "The broker did not answer, or not in a way that can be read: nobody can say that both sides agree.",
            "Run `tradewinds reconcile` again once the broker answers; `tradewinds doctor` says whether it does.",
        ),
    }.get(
        drift.kind,
        (f"{drift.meaning.capitalize()}.", "Look it up at the broker, then reconcile again."),
    )
    return Comparison(drift.kind.value, drift.subject, "", drift.detail, "differ", meaning, advice)
