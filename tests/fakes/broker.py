"""A broker in memory that keeps the venue's promises and can be told to break some of them.

Orders fill at `prices` as soon as they are looked at. `script` maps a symbol to what happens to its next orders:
"reject", "lost" (time-out, nothing placed), "hidden" (time-out, but placed), "half" (half of it fills, the rest
never), "never", "stuck" (it never fills and can't be cancelled). Every request is counted in `posts`.
`unreadable` are symbols whose row among the positions can't be read.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from src.shared.domain.corporate_actions import AccountActivity, CorporateAction
from src.shared.domain.errors import DuplicateOrderId, OutcomeUnknown, Refused, Transient
from src.shared.domain.orders import (
    AccountReport,
    AssetReport,
    FillReport,
    MarketClock,
    OrderReport,
    PositionReport,
)


@dataclass(frozen=True)
class UnreadRow:
    """A row that the client could not read."""

    kind: str
    reason: str = "qty is not a number"
    raw: str = "{}"


@dataclass
class FakeBroker:
    """Implements `src.services.execution.ports.TradingBroker`, and so `src.shared.ports.broker.Broker`."""

    now: datetime = datetime(2025, 3, 3, 15, 30, 5, tzinfo=UTC)
    is_open: bool = True
    prices: dict[str, Decimal] = field(default_factory=lambda: defaultdict(lambda: Decimal(100)))
    script: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    orders: dict[str, OrderReport] = field(default_factory=dict)
    fills: list[FillReport] = field(default_factory=list)
    external: dict[str, Decimal] = field(default_factory=dict)
    not_shortable: set[str] = field(default_factory=set)
    posts: list[str] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    unread: list[UnreadRow] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    others: list[OrderReport] = field(default_factory=list)
    status: str = "ACTIVE"
    blocked: bool = False
    buying_power: Decimal = Decimal(200_000)
    calls: Counter[str] = field(default_factory=Counter)
    actions: list[CorporateAction] = field(default_factory=list)
    activities: list[AccountActivity] = field(default_factory=list)
    _behaviour: dict[str, str] = field(default_factory=dict)

    def clock(self) -> MarketClock:
        close = self.now.replace(hour=21, minute=0, second=0)
        return MarketClock(self.now, self.is_open, close + timedelta(hours=17, minutes=30), close)

    def account(self) -> AccountReport:
        money = Decimal(100_000)
        return AccountReport("fake", self.status, money, money, money, self.buying_power, True, self.blocked)

    def assets(self, symbols: Sequence[str]) -> dict[str, AssetReport]:
        return {s: AssetReport(s, s, "XNYS", True, s not in self.not_shortable, True) for s in symbols}

    def positions(self) -> list[PositionReport]:
        self.calls["positions"] += 1
        held: dict[str, Decimal] = defaultdict(Decimal, self.external)
        for fill in self.fills:
            held[fill.symbol] += fill.quantity
        rows = [PositionReport(symbol, quantity) for symbol, quantity in held.items() if quantity]
        self.unread += [UnreadRow("position") for row in rows if row.symbol in self.unreadable]
        return [row for row in rows if row.symbol not in self.unreadable]

    def positions_in(self, symbols: Collection[str]) -> list[PositionReport]:
        unread = len(self.unread)
        found = [row for row in self.positions() if row.symbol in symbols]
        if len(self.unread) > unread and self.unreadable & {*symbols}:
            raise Transient("a position can't be read")
        return found

    def submit_market_order(
        self, client_order_id: str, symbol: str, quantity: Decimal, *, urgent: bool = False
    ) -> OrderReport:
        self.posts.append(client_order_id)
        if client_order_id in self.orders:
            raise DuplicateOrderId("client_order_id must be unique", "40010001")
        behaviour = self.script[symbol].popleft() if self.script[symbol] else "fill"
        if behaviour == "reject":
            raise Refused(f'asset "{symbol}" cannot be sold short', "42210000")
        if behaviour == "lost":
            raise OutcomeUnknown("read timed out")
        report = OrderReport(
            f"b-{len(self.orders) + 1}",
            client_order_id,
            symbol,
            quantity,
            Decimal(0),
            None,
            "new",
            self.now,
            self.now,
        )
        self.orders[client_order_id] = report
        self._behaviour[client_order_id] = behaviour
        if behaviour == "hidden":
            raise OutcomeUnknown("read timed out")
        return replace(report, status="pending_new")

    def order_by_client_id(self, client_order_id: str, *, urgent: bool = False) -> OrderReport | None:
        if client_order_id in self.orders:
            self._work(client_order_id)
        return self.orders.get(client_order_id)

    def open_orders(self) -> list[OrderReport]:
        self.calls["open_orders"] += 1
        return [*self.others, *(o for o in self.orders.values() if o.status in ("new", "partially_filled"))]

    def orders_since(self, moment: datetime) -> list[OrderReport]:
        return [o for o in self.orders.values() if o.created_at > moment]

    def cancel_order(self, broker_order_id: str) -> None:
        name = next(o.client_order_id for o in self.orders.values() if o.broker_order_id == broker_order_id)
        self.cancels.append(name)
        if self._behaviour[name] == "stuck":
            return
        self.orders[name] = replace(self.orders[name], status="canceled")

    def fills_since(self, moment: datetime) -> list[FillReport]:
        return [f for f in self.fills if f.occurred_at > moment]

    def account_activities(self, kinds: Sequence[str], since: datetime) -> list[AccountActivity]:
        return [a for a in self.activities if (not kinds or a.kind in kinds) and a.day >= since.date()]

    def corporate_actions(self, symbols: Sequence[str], start: date, end: date) -> list[CorporateAction]:
        return [a for a in self.actions if a.symbol in symbols and start <= a.ex_date <= end]

    def take_quarantined(self) -> list[UnreadRow]:
        taken, self.unread = self.unread, []
        return taken

    def trade_by_hand(self, symbol: str, quantity: int) -> None:
        """Let somebody else trade in the account."""
        name = f"hand-{len(self.fills)}"
        self.fills.append(
            FillReport(f"fill-{len(self.fills)}", name, symbol, Decimal(quantity), self.prices[symbol], self.now)
        )

    def work_by_hand(self, symbol: str, quantity: int) -> None:
        """Let an order of somebody else work, and never fill."""
        self.others.append(
            OrderReport("h-1", "by-hand", symbol, Decimal(quantity), Decimal(0), None, "new", self.now, self.now)
        )

    def fill_late(self, name: str, quantity: Decimal) -> None:
        """Fill so many shares more of an order that has ended."""
        order = self.orders[name]
        price, total = self.prices[order.symbol], order.filled_quantity + quantity
        self.fills.append(
            FillReport(f"fill-{len(self.fills)}", order.broker_order_id, order.symbol, quantity, price, self.now)
        )
        status = "filled" if total == order.quantity else order.status
        self.orders[name] = replace(order, filled_quantity=total, filled_avg_price=price, status=status)

    def _work(self, name: str) -> None:
        order = self.orders[name]
        if order.status != "new" or self._behaviour[name] in ("never", "stuck"):
            return
        half = (order.quantity / 2).to_integral_value()
        filled = half if self._behaviour[name] == "half" else order.quantity
        price = self.prices[order.symbol]
        self.fills.append(
            FillReport(f"fill-{len(self.fills)}", order.broker_order_id, order.symbol, filled, price, self.now)
        )
        status = "filled" if filled == order.quantity else "partially_filled"
        self.orders[name] = replace(order, filled_quantity=filled, filled_avg_price=price, status=status)


@dataclass
class FakeClock:
    """A wall clock that moves only when somebody sleeps."""

    time: datetime = datetime(2025, 3, 3, 15, 30, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
