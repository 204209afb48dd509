"""Drive one pair trade: take the next step of the two-leg machine, do it, write it down, again.

Every state change and its event are one transaction. Before a request is sent, the fact that it will be sent is
committed; whatever happens then, the next look starts from the database and the broker, not from memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil

from loguru import logger

from src.services.execution.domain import two_leg
from src.services.execution.domain.order_reports import apply_report, is_same_order, moved
from src.services.execution.domain.two_leg import (
    Book,
    Cancel,
    GiveUp,
    Move,
    Place,
    Resolve,
    Rest,
    Send,
    Situation,
    Wait,
    is_booked,
    worth_sending,
)
from src.services.execution.ports import TradeStore, WallClock
from src.shared.domain.errors import DuplicateOrderId, InputInvalid, OutcomeUnknown, Refused, Terminal, Transient
from src.shared.domain.ids import client_order_id, derived_id, slot_key
from src.shared.domain.orders import MarketClock, OrderIntent, OrderReport, OrderState
from src.shared.domain.pairs import PAIR_TRADE_TRANSITIONS, PairTrade, PairTradeState, check_transition
from src.shared.messages.base import Event
from src.shared.messages.ops import AlertRaised
from src.shared.messages.orders import ORDER_EVENTS, PAIR_TRADE_EVENTS
from src.shared.ports.broker import Broker
from src.shared.ports.unit_of_work import UnitOfWork, Work

SLOT_MARGIN = timedelta(minutes=1)
"""What is looked for at the broker is looked for from this long before its slot."""

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
    """The frame of one pass.

    Its slot, the broker's clock and the host's time when that was read, the writer's epoch, and whether the first
    leg of an entry may be sent in it.
    """

    slot: datetime
    market: MarketClock
    began: datetime
    epoch: int
    may_enter: bool


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
    _sent_again: set[str] = field(default_factory=set)

    def begin(self, trade: PairTrade) -> bool:
        """Write a new trade down, with why it ends at once if it does; False when its pair has one already."""
        with self.store() as work:
            added = work.repo.add_trade(trade, self.cycle.epoch)
            if added:
                work.record(self._trade_event(trade, trade.close_reason))
                work.commit()
        return added

    def hear(self, intent: OrderIntent, report: OrderReport) -> bool:
        """Take in what the broker says of an order; False when it is not news.

        Raises:
            Terminal: the broker's order is not the one we meant; a person has to look.
        """
        if not is_same_order(intent, report):
            raise Terminal(
                f"{intent.client_order_id}: the broker's order is {report.quantity} {report.symbol}, ours "
                f"{intent.quantity} {intent.symbol}; a person has to look"
            )
        steps = apply_report(intent, report)
        if steps:
            self._save(*steps)
        return bool(steps)

    def move(self, trade: PairTrade, state: PairTradeState, reason: str) -> PairTrade:
        """Bring a trade into another state and say so; a final state carries the booked result."""
        check_transition(PAIR_TRADE_TRANSITIONS, trade.state, state, f"trade of {trade.pair_id}")
        with self.store() as work:
            after = self._after_move(work.repo, trade, state, reason)
            work.repo.save_trade(after, self.cycle.epoch)
            work.record(self._trade_event(after, reason))
            if state in (PairTradeState.ORPHANED, PairTradeState.UNWINDING):
                self._alert(work, after, reason)
            work.commit()
        logger.info("{} {} → {}: {}", trade.pair_id, trade.state, state, reason)
        return after

    def drive(self, trade: PairTrade) -> PairTrade:
        """Take steps until the trade rests, for this cycle or for good.

        Raises:
            NotTheWriter: another process took over.
            Transient: the broker gave no usable answer, or an order is not settled in the time there is.
            Terminal: a person has to look.
        """
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
                    self._send(intent, situation.trade)
                case GiveUp(intent):
                    self._give_up(intent, "not sent: its moment has passed")
                case Resolve(intent):
                    self._resolve(intent, situation)
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
        return Situation(
            current,
            intents,
            booked,
            frozenset(self._cancelling),
            self.cycle.slot,
            self._now(),
            self._market_open(),
            self.cycle.may_enter,
        )

    def _now(self) -> datetime:
        """Market time: the broker's clock, carried on by what the host's clock has moved since."""
        return self.cycle.market.now + (self.clock.now() - self.cycle.began)

    def _market_open(self) -> bool:
        return self.cycle.market.is_open and self._now() < self.cycle.market.next_close

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
            created_at=self._now(),
        )
        with self.store() as work:
            work.repo.add_intent(intent)
            work.record(self._order_event(intent))
            work.commit()

    def _send(self, intent: OrderIntent, trade: PairTrade) -> None:
        sending = moved(intent, OrderState.SENDING, sent_at=self._now())
        self._save(sending)
        urgent = two_leg.ends_exposure(sending, trade)
        try:
            report = self.broker.submit_market_order(
                sending.client_order_id, sending.symbol, sending.quantity, urgent=urgent
            )
        except DuplicateOrderId as error:
            logger.warning("{}: the broker has it already ({})", sending.client_order_id, error)
            self._save(moved(sending, OrderState.UNKNOWN, reason=str(error)))
        except Refused as error:
            logger.warning("{} refused: {}", sending.client_order_id, error)
            self._save(moved(sending, OrderState.REJECTED, reject_code=error.code, reason=str(error)))
        except InputInvalid as error:
            logger.error("{} can't be sent: {}", sending.client_order_id, error)
            self._save(moved(sending, OrderState.REJECTED, reason=str(error)))
        except OutcomeUnknown as error:
            logger.warning("{}: outcome unknown ({})", sending.client_order_id, error)
            self._save(moved(sending, OrderState.UNKNOWN, reason=str(error)))
        else:
            self.hear(sending, report)

    def _give_up(self, intent: OrderIntent, reason: str) -> None:
        logger.info("{} given up: {}", intent.client_order_id, reason)
        self._save(moved(intent, OrderState.CANCELED, reason=reason))

    def _resolve(self, intent: OrderIntent, situation: Situation) -> None:
        """Look an order up until it is found, or until it is certain that it was never placed.

        Raises:
            Transient: it was sent again in this pass, and again nobody can say what became of it.
        """
        if intent.state is OrderState.SENDING:
            intent = moved(intent, OrderState.UNKNOWN, reason="the process ended while it was sent")
            self._save(intent)
        report = self._look_up(intent) or self._listed(intent)
        if report is not None:
            self.hear(intent, report)
        elif not worth_sending(intent, replace(situation, now=self._now(), market_open=self._market_open())):
            self._give_up(intent, "never placed, and its moment has passed")
        elif intent.client_order_id in self._sent_again:
            raise Transient(f"{intent.client_order_id}: sent twice without an answer and without an order")
        else:
            self._sent_again.add(intent.client_order_id)
            self._send(intent, situation.trade)

    def _look_up(self, intent: OrderIntent) -> OrderReport | None:
        """Look until it is found, at least the agreed number of times over the agreed time."""
        pause = max(self.patience.poll_seconds, self._lookup_pause())
        # Counted in pauses, not by the clock: a host clock that is set must not shorten or stretch the wait.
        looks = max(self.patience.unknown_lookups, ceil(self.patience.unknown_window.total_seconds() / pause)) + 1
        for look in range(looks):
            if look:
                self.clock.sleep(pause)
            report = self.broker.order_by_client_id(intent.client_order_id, urgent=True)
            if report is not None:
                return report
        return None

    def _listed(self, intent: OrderIntent) -> OrderReport | None:
        orders = self.broker.orders_since(intent.slot - SLOT_MARGIN)
        return next((r for r in orders if r.client_order_id == intent.client_order_id), None)

    def _lookup_pause(self) -> float:
        return self.patience.unknown_window.total_seconds() / self.patience.unknown_lookups

    def _cancel(self, intent: OrderIntent) -> None:
        self._cancelling.add(intent.client_order_id)
        try:
            self.broker.cancel_order(intent.broker_order_id or "")
        except (Refused, OutcomeUnknown) as error:
            logger.warning("cancel of {}: {}", intent.client_order_id, error)

    def _look(self, intents: tuple[OrderIntent, ...]) -> bool:
        """Look at working orders once; False when waiting on makes no sense in this cycle.

        Raises:
            Transient: a cancel has not come through in its time; the next cycle asks again.
        """
        if self._refresh(intents):
            return True
        if not self._market_open():
            return False
        if self._cancel_is_stuck(intents):
            names = ", ".join(i.client_order_id for i in intents)
            raise Transient(f"the broker neither fills nor cancels {names}")
        self.clock.sleep(self.patience.poll_seconds)
        return True

    def _refresh(self, intents: Iterable[OrderIntent]) -> bool:
        news = False
        for intent in intents:
            report = self.broker.order_by_client_id(intent.client_order_id)
            news = (report is not None and self.hear(intent, report)) or news
        return news

    def _cancel_is_stuck(self, intents: tuple[OrderIntent, ...]) -> bool:
        """A cancel that takes a whole deadline more is left to the next cycle; the order still blocks its pair."""
        bound = self.rules.leg_deadline * 2
        now = self._now()
        return any(i.sent_at is not None and now - i.sent_at > bound for i in intents)

    def _book(self, intents: tuple[OrderIntent, ...]) -> None:
        """Fetch and book executions until they explain what the orders say was filled.

        Raises:
            Transient: the broker's activities do not show them; the next cycle looks again.
        """
        by_order = {i.broker_order_id: i for i in intents}
        since = min(i.slot for i in intents) - SLOT_MARGIN
        for _ in range(self.patience.booking_looks):
            self._book_new(by_order, since)
            # Executions may run ahead of what the order says; then its news are the way on.
            if self._all_booked(intents) or self._refresh(intents):
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
        return all(is_booked(i, booked) for i in intents)

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
        alert = work.repo.note_alert(severity, title, detail, self.cycle.slot, self.cycle.market.now)
        work.record(
            AlertRaised.of(
                alert,
                1,
                self.cycle.market.now,
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
            self.cycle.market.now,
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
            self.cycle.market.now,
            slot_key(self.cycle.slot),
            pair_id=trade.pair_id,
            direction=trade.direction.value,
            reason=reason,
            realized_pnl=trade.realized_pnl,
        )
