"""The two-leg machine against a venue that does whatever a venue may do, in any order, with crashes between.

Whatever happens: never more than the target is held, the trade ends whole or flat, and one leg of a pair is never
left alone. A trade in one symbol is whole with whatever of it was filled.
Somebody else may take shares of ours away, and work orders beside ours: then no exit is more than what is there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from src.services.execution.domain.clearance import Around
from src.services.execution.domain.order_reports import apply_report, moved
from src.services.execution.domain.two_leg import (
    Book,
    Cancel,
    ClearWay,
    GiveUp,
    Hold,
    LookAround,
    Move,
    Place,
    Resolve,
    Rest,
    Send,
    Situation,
    allows,
    next_step,
    worth_sending,
)
from src.shared.domain.orders import AT_BROKER, OrderAction, OrderIntent, OrderReport, OrderState
from src.shared.domain.pairs import (
    FINISHED_TRADES,
    PAIR_TRADE_TRANSITIONS,
    PairTrade,
    PairTradeState,
    check_transition,
)
from src.shared.domain.risk import RiskState
from tests.unit.execution.examples import NOW, RULES, SLOT, intent, report, single, trade

HELD_STATES = (PairTradeState.OPEN, PairTradeState.CLOSING, PairTradeState.UNWINDING)
OPEN_LIKE = (*FINISHED_TRADES, PairTradeState.OPEN)


class TwoLegs(RuleBasedStateMachine):
    """Each rule is one thing that the world does; `step` is one thing that the machine does."""

    @initialize(sizes=st.tuples(st.integers(1, 12), st.integers(1, 12)), short_first=st.booleans())
    def begin(self, sizes: tuple[int, int], short_first: bool) -> None:
        sign = -1 if short_first else 1
        targets = Decimal(sign * sizes[0]), Decimal(-sign * sizes[1])
        self.trade: PairTrade = self.made(*targets)
        self.orders: dict[str, OrderIntent] = {}
        self.venue: dict[str, int] = {}
        self.slot, self.now, self.market_open = SLOT, NOW, True
        self.cancelling: set[str] = set()
        self.rested = False
        self.late: set[str] = set()
        self.risk = RiskState.ACTIVE
        self.taken = {leg: Decimal(0) for leg in self.trade.legs}
        self.beside: dict[int, OrderReport] = {}
        self.around: dict[str, Around] | None = None
        self.is_own: dict[int, bool] = {}

    def made(self, target_1: Decimal, target_2: Decimal) -> PairTrade:
        return trade(target_1=target_1, target_2=target_2)

    # What the machine does

    @rule(placed=st.sampled_from(["acked", "rejected", "lost", "hidden"]))
    def step(self, placed: str) -> None:
        self.do(placed)

    @rule(placed=st.sampled_from(["acked", "acked", "hidden"]), fills=st.sampled_from(["all", "half", "none"]))
    def run(self, placed: str, fills: str) -> None:
        """A whole pass of a driver, at a venue that fills all, half (and cancels the rest) or nothing."""
        for _ in range(40):
            self.do(placed)
            if self.rested:
                return
            for order in self.at_venue():
                size = abs(int(order.quantity))
                more = {"all": size, "half": size // 2, "none": 0}[fills]
                self.venue[order.client_order_id] = max(self.venue[order.client_order_id], more)
                self.hear(order, "filled" if self.filled(order) == order.quantity else "canceled")

    def do(self, placed: str) -> None:
        found = next_step(self.situation(), RULES)
        self.rested = isinstance(found, Rest | Hold)
        match found:
            case LookAround():
                self.around = self.look()
            case ClearWay(orders):
                self.clear_way(orders)
            case Book():
                raise AssertionError("everything is booked")
            case Move(state, reason):
                check_transition(PAIR_TRADE_TRANSITIONS, self.trade.state, state, reason)
                self.trade = replace(self.trade, state=state, version=self.trade.version + 1)
            case Place():
                self.plan(found)
            case Send(order):
                self.send(order, placed)
            case GiveUp(order):
                self.save(moved(order, OrderState.CANCELED))
            case Cancel(order):
                self.cancelling.add(order.client_order_id)
            case Resolve(order):
                self.resolve(order, placed)

    def plan(self, found: Place) -> None:
        planned = intent(found.leg, int(found.quantity), OrderState.PLANNED, None, found.action, found.attempt)
        assert planned.client_order_id not in self.orders, "the same order planned twice"
        if found.action is not OrderAction.OPEN:
            self.check_exit(found)
        self.save(replace(planned, slot=self.slot))

    def check_exit(self, found: Place) -> None:
        there = self.there(found.leg)
        assert found.quantity * there < 0, "an exit of what is not there"
        assert abs(found.quantity) <= abs(there), "more than is there"
        against = self.beside.get(found.leg)
        assert against is None or against.quantity * found.quantity > 0, "sent against a working order"

    def clear_way(self, orders: tuple[OrderReport, ...]) -> None:
        self.around = None
        for leg in [leg for leg, order in self.beside.items() if order in orders]:
            assert self.is_own[leg], "somebody else's order was cancelled"
            del self.beside[leg]

    def send(self, order: OrderIntent, placed: str) -> None:
        assert self.market_open
        assert allows(self.risk, order.action), "sent against the account's risk state"
        sending = moved(order, OrderState.SENDING, sent_at=self.now)
        self.save(sending)
        if placed in ("acked", "hidden"):
            assert order.client_order_id not in self.venue, "the same order placed twice"
            self.venue[order.client_order_id] = 0
        if placed == "acked":
            self.hear(sending, "new")
        elif placed == "rejected":
            self.save(moved(sending, OrderState.REJECTED))

    def resolve(self, order: OrderIntent, placed: str) -> None:
        unknown = order if order.state is OrderState.UNKNOWN else moved(order, OrderState.UNKNOWN)
        self.save(unknown)
        if unknown.client_order_id in self.venue:
            self.hear(unknown, "new")
        elif worth_sending(unknown, self.situation()):
            self.send(unknown, placed)
        else:
            self.save(moved(unknown, OrderState.CANCELED))

    # What the world does

    @precondition(lambda self: self.at_venue() and self.market_open)
    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.at_venue()))
        left = abs(int(order.quantity)) - self.venue[order.client_order_id]
        self.venue[order.client_order_id] += data.draw(st.integers(1, left))
        self.hear(order, "filled" if self.filled(order) == order.quantity else "partially_filled")

    @precondition(lambda self: self.at_venue())
    @rule(data=st.data(), how=st.sampled_from(["canceled", "expired", "rejected"]))
    def end(self, data: st.DataObject, how: str) -> None:
        self.hear(data.draw(st.sampled_from(self.at_venue())), how)

    @precondition(lambda self: self.ended_short())
    @rule(data=st.data())
    def fill_late(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.ended_short()))
        self.venue[order.client_order_id] += 1
        self.late.add(order.client_order_id)
        self.rested = False
        self.hear(order, "filled" if self.filled(order) == order.quantity else "canceled")

    @precondition(lambda self: self.trade.state is PairTradeState.OPEN)
    @rule()
    def leave(self) -> None:
        """Its exit is approved, or a person closes it."""
        self.trade = replace(self.trade, state=PairTradeState.CLOSING, version=self.trade.version + 1)
        self.rested = False

    @precondition(lambda self: self.trade.state in HELD_STATES)
    @rule(leg=st.sampled_from((1, 2)), shares=st.integers(1, 3))
    def take_away(self, leg: int, shares: int) -> None:
        """Somebody else gives shares back that are ours, or comes to hold more of the other side."""
        if leg in self.trade.legs and not any(order.leg == leg for order in self.at_venue()):
            self.taken[leg] += (1 if self.trade.target(leg) > 0 else -1) * shares
            self.around, self.rested = None, False

    @rule(leg=st.sampled_from((1, 2)), is_own=st.booleans())
    def work_against(self, leg: int, is_own: bool) -> None:
        """An order, of another trade of ours or of somebody else, works on the other side of an exit."""
        if leg not in self.trade.legs:
            return
        against = intent(leg, 1 if self.trade.target(leg) > 0 else -1, OrderState.WORKING, 0, attempt=99)
        self.beside[leg], self.is_own[leg] = report(against, "new"), is_own
        self.around, self.rested = None, False

    @rule()
    def nobody_works_against(self) -> None:
        self.beside.clear()
        self.around = None

    @rule()
    def wait_past_the_deadline(self) -> None:
        self.now += RULES.leg_deadline + timedelta(seconds=1)

    @rule()
    def next_hour(self) -> None:
        self.slot += timedelta(hours=1)
        self.now, self.market_open, self.around = self.slot, True, None
        self.cancelling.clear()

    @rule()
    def market_closes(self) -> None:
        self.market_open = False

    @rule(risk=st.sampled_from(RiskState))
    def risk_changes(self, risk: RiskState) -> None:
        self.risk, self.rested = risk, False

    @rule()
    def crash(self) -> None:
        """All memory is in the database: what a process held is gone."""
        self.cancelling.clear()
        self.around = None

    # What must hold

    @invariant()
    def never_more_than_the_target(self) -> None:
        if self.late:
            return
        for leg in self.trade.legs:
            held, target = self.held(leg), self.trade.target(leg)
            assert abs(held) <= abs(target)
            assert held * target >= 0, "a leg was turned round"

    @invariant()
    def a_trade_that_rests_is_whole_or_flat_or_pages(self) -> None:
        if not self.rested or self.trade.state not in OPEN_LIKE:
            return
        legs = self.trade.legs
        held = [self.held(leg) for leg in legs]
        if self.trade.state in FINISHED_TRADES:
            assert not any(held)
        else:
            assert all(held)
            shares = [self.held(leg) / self.trade.target(leg) for leg in legs]
            finest = max(1 / abs(self.trade.target(leg)) for leg in legs)
            assert max(shares) - min(shares) <= max(RULES.leg_tolerance, finest)

    def teardown(self) -> None:
        """Let the world behave: within a few hours the trade is whole or flat, or pages for what is gone."""
        if not hasattr(self, "trade"):
            return
        self.risk = RiskState.ACTIVE
        self.beside.clear()
        for _ in range(4):
            self.next_hour()
            for _ in range(60):
                for order in self.at_venue():
                    self.venue[order.client_order_id] = abs(int(order.quantity))
                    self.hear(order, "filled")
                self.do("acked")
                if self.rested:
                    break
        assert self.rested
        if self.trade.state is PairTradeState.ORPHANED:
            assert any(self.held(leg) and self.there(leg) * self.held(leg) <= 0 for leg in self.trade.legs)
            return
        assert self.trade.state in OPEN_LIKE
        self.a_trade_that_rests_is_whole_or_flat_or_pages()

    # Helpers

    def situation(self) -> Situation:
        orders = tuple(self.orders.values())
        booked = {str(order.id): order.filled_quantity for order in orders}
        cancelling = frozenset(self.cancelling)
        plain = Situation(self.trade, orders, booked, cancelling, self.slot, self.now, self.market_open, True)
        return replace(plain, risk=self.risk, around=self.around)

    def look(self) -> dict[str, Around]:
        return {self.trade.symbol(leg): self.around_leg(leg) for leg in self.trade.legs}

    def around_leg(self, leg: int) -> Around:
        beside = (self.beside[leg],) if leg in self.beside else ()
        own, others = (beside, ()) if self.is_own.get(leg) else ((), beside)
        return Around(self.held(leg), self.there(leg), own, others)

    def there(self, leg: int) -> Decimal:
        """What the account has: the broker's word, whatever our books hold."""
        return self.held(leg) - self.taken[leg]

    def save(self, order: OrderIntent) -> None:
        self.orders[order.client_order_id] = order

    def hear(self, order: OrderIntent, status: str) -> None:
        steps = apply_report(order, report(order, status, int(self.filled(order))))
        for after in steps:
            self.save(after)
        if steps and (steps[-1].is_done or steps[-1].filled_quantity != order.filled_quantity):
            self.around = None

    def filled(self, order: OrderIntent) -> Decimal:
        shares = self.venue.get(order.client_order_id, 0)
        return Decimal(shares if order.quantity > 0 else -shares)

    def held(self, leg: int) -> Decimal:
        return sum((self.filled(order) for order in self.orders.values() if order.leg == leg), Decimal(0))

    def at_venue(self) -> list[OrderIntent]:
        return [order for order in self.orders.values() if order.state in AT_BROKER]

    def ended_short(self) -> list[OrderIntent]:
        ended = (OrderState.CANCELED, OrderState.EXPIRED)
        entries = [o for o in self.orders.values() if o.action is OrderAction.OPEN and o.state in ended]
        return [o for o in entries if o.client_order_id in self.venue and self.filled(o) != o.quantity]


class OneLeg(TwoLegs):
    """The same world with a trade in one symbol, long or short."""

    def made(self, target_1: Decimal, target_2: Decimal) -> PairTrade:
        return single(target_1=target_1)


TestTwoLegs = TwoLegs.TestCase
TestTwoLegs.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

TestOneLeg = OneLeg.TestCase
TestOneLeg.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
