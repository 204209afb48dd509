"""Drive one pair trade: take the next step of the two-leg machine, do it, write it down, again.

Every state change and its event are one transaction. Before a request is sent, the fact that it will be sent is
committed; whatever happens then, the next look starts from the database and the broker, not from memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from loguru import logger

from src.services.execution.domain import two_leg
from src.services.execution.domain.order_reports import apply_report, is_same_order, moved
from src.services.execution.domain.two_leg import Book, Cancel, Move, Place, Resolve, Rest, Send, Situation, Wait
from src.services.execution.ports import TradeStore, WallClock
from src.shared.domain.errors import DuplicateOrderId, OutcomeUnknown, Refused, Transient
from src.shared.domain.ids import client_order_id, derived_id, slot_key
from src.shared.domain.orders import OrderIntent, OrderReport, OrderState
from src.shared.domain.pairs import PAIR_TRADE_TRANSITIONS, PairTrade, PairTradeState, check_transition
from src.shared.messages.base import Event
from src.shared.messages.ops import AlertRaised
from src.shared.messages.orders import ORDER_EVENTS, PAIR_TRADE_EVENTS
from src.shared.ports.broker import Broker
from src.shared.ports.unit_of_work import UnitOfWork, Work

_RESULT_IS_FINAL = frozenset({PairTradeState.CLOSED, PairTradeState.UNWOUND, PairTradeState.ABANDONED})


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to look."""

    poll_seconds: float
    unknown_lookups: int
    unknown_window: timedelta
    booking_looks: int = 20


@dataclass(frozen=True)
class Cycle:
    """The frame of one pass: its slot, market time at its start, the writer's epoch, is the market open."""

    slot: datetime
    market_now: datetime
    epoch: int
    market_open: bool


@dataclass
class Driver:
    """Carries trades on within one cycle."""

    store: UnitOfWork[TradeStore]
    broker: Broker
    clock: WallClock
    rules: two_leg.Rules
    patience: Patience
    environment: str
    cycle: Cycle
    _cancelling: set[str] = field(default_factory=set)

    def begin(self, trade: PairTrade) -> bool:
        """Write a new trade down; False when its pair has one already."""
        with self.store() as work:
            added = work.repo.add_trade(trade)
            if added:
                work.record(self._trade_event(trade, None))
                work.commit()
        return added

    def move(self, trade: PairTrade, state: PairTradeState, reason: str) -> PairTrade:
        """Bring a trade into another state and say so; a final state carries the booked result."""
        check_transition(PAIR_TRADE_TRANSITIONS, trade.state, state, f"trade of {trade.pair_id}")
        with self.store() as work:
            after = self._after_move(work.repo, trade, state, reason)
            work.repo.save_trade(after)
            work.record(self._trade_event(after, reason))
            if state in (PairTradeState.ORPHANED, PairTradeState.UNWINDING):
                self._alert(work, after, reason)
            work.commit()
        logger.info("{} {} → {}: {}", trade.pair_id, trade.state, state, reason)
        return after

    def drive(self, trade: PairTrade) -> PairTrade:
        """Take steps until the trade rests, for this cycle or for good."""
        while True:
            situation = self._situation(trade)
            step = two_leg.next_step(situation, self.rules)
            logger.debug("{} {}: {}", trade.pair_id, trade.state, step)
            match step:
                case Rest():
                    return situation.trade
                case Move(state, reason):
                    trade = self.move(situation.trade, state, reason)
                case Place():
                    self._place(situation.trade, step)
                case Send(intent):
                    self._send(intent)
                case Resolve(intent):
                    self._resolve(intent)
                case Cancel(intent):
                    self._cancel(intent)
                case Book(intents):
                    self._book(intents)
                case Wait(intents):
                    if not self._look(intents):
                        return situation.trade

    def _situation(self, trade: PairTrade) -> Situation:
        with self.store() as work:
            current = work.repo.trade(trade.id) or trade
            intents = tuple(work.repo.intents(trade.id))
            booked = work.repo.booked(trade.id)
        return Situation(current, intents, booked, frozenset(self._cancelling), self.cycle.slot, self.clock.now())

    def _place(self, trade: PairTrade, step: Place) -> None:
        action = step.action.value
        name = client_order_id(self.environment, trade.id, step.leg, action, step.attempt)
        intent = OrderIntent(
            id=derived_id("intent", name),
            client_order_id=name,
            pair_trade_id=trade.id,
            leg=step.leg,
            action=step.action,
            attempt=step.attempt,
            symbol=trade.symbol(step.leg),
            quantity=step.quantity,
            state=OrderState.PLANNED,
            slot=self.cycle.slot,
            epoch=self.cycle.epoch,
            version=1,
            created_at=self.clock.now(),
        )
        with self.store() as work:
            work.repo.add_intent(intent)
            work.record(self._order_event(intent))
            work.commit()

    def _send(self, intent: OrderIntent) -> None:
        sending = moved(intent, OrderState.SENDING, sent_at=self.clock.now())
        self._save(sending)
        try:
            report = self.broker.submit_market_order(sending.client_order_id, sending.symbol, sending.quantity)
        except DuplicateOrderId as error:
            logger.warning("{}: the broker has it already ({})", sending.client_order_id, error)
            self._save(moved(sending, OrderState.UNKNOWN, reason=str(error)))
        except Refused as error:
            logger.warning("{} refused: {}", sending.client_order_id, error)
            self._save(moved(sending, OrderState.REJECTED, reject_code=error.code, reason=str(error)))
        except OutcomeUnknown as error:
            logger.warning("{}: outcome unknown ({})", sending.client_order_id, error)
            self._save(moved(sending, OrderState.UNKNOWN, reason=str(error)))
        else:
            self._apply(sending, report)

    def _resolve(self, intent: OrderIntent) -> None:
        """Look an order up until it is found, or until it is certain that it was never placed."""
        if intent.state is OrderState.SENDING:
            intent = moved(intent, OrderState.UNKNOWN, reason="the process ended while it was sent")
            self._save(intent)
        began, misses = self.clock.now(), 0
        while True:
            report = self.broker.order_by_client_id(intent.client_order_id)
            if report is not None:
                self._adopt(intent, report)
                return
            misses += 1
            waited = self.clock.now() - began
            if misses >= self.patience.unknown_lookups and waited >= self.patience.unknown_window:
                break
            self.clock.sleep(max(self.patience.poll_seconds, self._lookup_pause()))
        self._send_again(intent)

    def _lookup_pause(self) -> float:
        return self.patience.unknown_window.total_seconds() / self.patience.unknown_lookups

    def _adopt(self, intent: OrderIntent, report: OrderReport) -> None:
        if not is_same_order(intent, report):
            raise Transient(
                f"{intent.client_order_id}: the broker's order is {report.quantity} {report.symbol}, ours "
                f"{intent.quantity} {intent.symbol}; a person has to look"
            )
        self._apply(intent, report)

    def _send_again(self, intent: OrderIntent) -> None:
        """Repeat a request with the same id; the list of orders has to agree that there is none."""
        if any(r.client_order_id == intent.client_order_id for r in self.broker.orders_since(intent.slot)):
            return
        self._send(intent)

    def _cancel(self, intent: OrderIntent) -> None:
        self._cancelling.add(intent.client_order_id)
        try:
            self.broker.cancel_order(intent.broker_order_id or "")
        except (Refused, OutcomeUnknown) as error:
            logger.warning("cancel of {}: {}", intent.client_order_id, error)

    def _look(self, intents: tuple[OrderIntent, ...]) -> bool:
        """Look at working orders once; False when waiting on makes no sense in this cycle."""
        news = False
        for intent in intents:
            report = self.broker.order_by_client_id(intent.client_order_id)
            news = (report is not None and self._apply(intent, report)) or news
        if news:
            return True
        if not self.cycle.market_open or self._cancel_is_stuck(intents):
            return False
        self.clock.sleep(self.patience.poll_seconds)
        return True

    def _cancel_is_stuck(self, intents: tuple[OrderIntent, ...]) -> bool:
        """A cancel that takes a whole deadline more is left to the next cycle; the order still blocks its pair."""
        bound = self.rules.leg_deadline * 2
        now = self.clock.now()
        return any(i.sent_at is not None and now - i.sent_at > bound for i in intents)

    def _apply(self, intent: OrderIntent, report: OrderReport) -> bool:
        steps = apply_report(intent, report)
        if steps:
            self._save(*steps)
        return bool(steps)

    def _book(self, intents: tuple[OrderIntent, ...]) -> None:
        """Fetch and book executions until they explain what the orders say was filled.

        Raises:
            Transient: the broker's activities do not show them; the next cycle looks again.
        """
        by_order = {i.broker_order_id: i for i in intents}
        since = min(i.slot for i in intents) - timedelta(minutes=1)
        for _ in range(self.patience.booking_looks):
            self._book_new(by_order, since)
            if self._all_booked(intents):
                return
            self.clock.sleep(self.patience.poll_seconds)
        raise Transient(
            f"executions of {', '.join(i.client_order_id for i in intents)} are not in the activities yet"
        )

    def _book_new(self, by_order: dict[str | None, OrderIntent], since: datetime) -> None:
        fills = [fill for fill in self.broker.fills_since(since) if fill.broker_order_id in by_order]
        with self.store() as work:
            for fill in fills:
                work.repo.book(by_order[fill.broker_order_id], fill)
            work.commit()

    def _all_booked(self, intents: tuple[OrderIntent, ...]) -> bool:
        with self.store() as work:
            booked = work.repo.booked(intents[0].pair_trade_id)
        return all(booked.get(str(i.id), Decimal(0)) == i.filled_quantity for i in intents)

    def _save(self, *steps: OrderIntent) -> None:
        """Commit successive states of one order together, each with its event."""
        with self.store() as work:
            for intent in steps:
                work.repo.save_intent(intent, self.cycle.epoch)
                work.record(self._order_event(intent))
            work.commit()

    def _after_move(self, repo: TradeStore, trade: PairTrade, state: PairTradeState, reason: str) -> PairTrade:
        after = replace(trade, state=state, version=trade.version + 1)
        if state is PairTradeState.CLOSING and trade.closed_slot is None:
            after = replace(after, closed_slot=self.cycle.slot, close_reason=reason)
        elif state in _RESULT_IS_FINAL:
            after = replace(
                after,
                closed_slot=trade.closed_slot or self.cycle.slot,
                close_reason=trade.close_reason or reason,
                realized_pnl=repo.realized_pnl(trade.id),
            )
        elif state is PairTradeState.UNWINDING:
            after = replace(after, close_reason=trade.close_reason or reason)
        return after

    def _alert(self, work: Work[TradeStore], trade: PairTrade, reason: str) -> None:
        orphaned = trade.state is PairTradeState.ORPHANED
        severity, title = ("critical", "leg can't be closed") if orphaned else ("error", "entry is being unwound")
        detail = f"{trade.pair_id}: {reason}"
        alert = work.repo.note_alert(severity, title, detail, self.cycle.slot, self.cycle.market_now)
        work.record(
            AlertRaised.of(
                alert,
                1,
                self.cycle.market_now,
                slot_key(self.cycle.slot),
                severity=severity,
                title=title,
                detail=detail,
            )
        )

    def _order_event(self, intent: OrderIntent) -> Event:
        return ORDER_EVENTS[intent.state].of(
            intent.id,
            intent.version,
            self.cycle.market_now,
            slot_key(self.cycle.slot),
            client_order_id=intent.client_order_id,
            pair_trade_id=str(intent.pair_trade_id),
            symbol=intent.symbol,
            quantity=intent.quantity,
            filled_quantity=intent.filled_quantity,
            filled_avg_price=intent.filled_avg_price,
            reason=intent.reason,
        )

    def _trade_event(self, trade: PairTrade, reason: str | None) -> Event:
        return PAIR_TRADE_EVENTS[trade.state].of(
            trade.id,
            trade.version,
            self.cycle.market_now,
            slot_key(self.cycle.slot),
            pair_id=trade.pair_id,
            direction=trade.direction.value,
            reason=reason,
            realized_pnl=trade.realized_pnl,
        )
