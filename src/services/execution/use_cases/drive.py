"""Drive one pair trade: take the next step of the two-leg machine, do it, write it down, again.

Every state change and its event are one transaction. Before a request is sent, the fact that it will be sent is
committed; whatever happens then, the next look starts from the database and the broker, not from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil
from uuid import UUID

from loguru import logger

from src.services.execution.domain import two_leg
from src.services.execution.domain.clearance import Around
from src.services.execution.domain.order_reports import apply_report, is_same_order, moved, works
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
    Step,
    Wait,
    allows,
    hangs,
    is_booked,
    may_go_now,
)
from src.services.execution.ports import TradeStore, WallClock
from src.services.execution.use_cases.alerts import condition, raise_alert, raise_begun
from src.services.execution.use_cases.look_around import Lookout
from src.shared.domain.audit import AuditNote
from src.shared.domain.errors import DuplicateOrderId, InputInvalid, OutcomeUnknown, Refused, Terminal, Transient
from src.shared.domain.ids import client_order_id, derived_id, slot_key
from src.shared.domain.orders import MarketClock, OrderAction, OrderIntent, OrderReport, OrderState
from src.shared.domain.pairs import (
    FINISHED_TRADES,
    PAIR_TRADE_TRANSITIONS,
    PairTrade,
    PairTradeState,
    check_transition,
)
from src.shared.domain.risk import RiskState
from src.shared.failpoints import failpoint
from src.shared.messages.base import Event
from src.shared.messages.ops import Severity
from src.shared.messages.orders import ORDER_EVENTS, PAIR_TRADE_EVENTS
from src.shared.ports.broker import Broker
from src.shared.ports.unit_of_work import UnitOfWork, Work

LONGEST_STEP = timedelta(minutes=1)
"""A process that takes longer to a request, from its look or from the commit that says so, was stopped in between."""

LOOKS_APART_SECONDS = 1.0
"""What the broker's lists lack is believed when two looks so far apart agree."""

_A_MOMENT = timedelta(seconds=2)

SLOT_MARGIN = timedelta(minutes=1)
"""What is looked for at the broker is looked for from this long before its slot."""

_TITLES: dict[PairTradeState, tuple[Severity, str]] = {
    PairTradeState.ORPHANED: ("critical", "leg can't be closed"),
    PairTradeState.UNWINDING: ("error", "entry is being unwound"),
}


class Frozen(Transient):
    """One trade waits for the broker: its symbols take no entries until it is through; the others go on."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to look. `wait_in_all` bounds what one pass spends waiting, over all trades."""

    poll_seconds: float
    unknown_lookups: int
    unknown_window: timedelta
    wait_in_all: timedelta
    booking_looks: int = 20

    def for_one_look(self) -> Patience:
        """Return what is left of it for a pass that others must not wait for."""
        return replace(self, wait_in_all=_A_MOMENT, booking_looks=1)


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
    """Carries trades on within one cycle. `paged` are the conditions of trades that it met."""

    store: UnitOfWork[TradeStore]
    broker: Broker
    clock: WallClock
    rules: two_leg.Rules
    patience: Patience
    environment: str
    cycle: Cycle
    paged: set[str] = field(default_factory=set)
    _cancelling: set[str] = field(default_factory=set)
    _sent_again: set[str] = field(default_factory=set)
    _waited: float = 0.0
    _around: Mapping[str, Around] | None = None
    _seen_at: datetime | None = None

    def begin(self, trade: PairTrade) -> bool:
        """Write a new trade down, with why it ends at once if it does; False when its pair has one already."""
        with self.store() as work:
            added = work.repo.add_trade(trade, self.cycle.epoch)
            if added:
                work.record(self._trade_event(trade, trade.close_reason))
                failpoint("execution.before_begin")
                work.commit()
        failpoint("execution.begun")
        return added

    def hear(self, intent: OrderIntent, report: OrderReport) -> bool:
        """Take in what the broker says of an order; False when it is not news.

        Raises:
            Terminal: the broker's order is not the one we meant; a person has to look.
        """
        if not is_same_order(intent, report):
            raise self._not_ours(intent, report)
        steps = apply_report(intent, report)
        if steps:
            self._save(*steps)
            if steps[-1].is_done or steps[-1].filled_quantity != intent.filled_quantity:
                self._around = None  # what was seen before is no longer there
        return bool(steps)

    def end(self, intent: OrderIntent, report: OrderReport) -> None:
        """Have an order cancelled that is over in our books and works at the broker, and hear what became of it.

        Raises:
            Frozen: it has not ended in its time; the next pass asks again.
            Terminal: the broker's order is not the one we meant.
        """
        if not is_same_order(intent, report):
            raise self._not_ours(intent, report)
        logger.warning("{} works at the broker after its end here: it is cancelled", intent.client_order_id)
        if intent.broker_order_id is None:
            self._save(moved(intent, intent.state, broker_order_id=report.broker_order_id))
        self._cancel(replace(intent, broker_order_id=report.broker_order_id))
        for look in range(self.patience.booking_looks):
            if look:
                self._pause(self.patience.poll_seconds)
            if self._has_ended(intent.client_order_id):
                return
        raise Frozen(f"{intent.client_order_id} is over here and still works at the broker")

    def move(self, trade: PairTrade, state: PairTradeState, reason: str, note: AuditNote | None = None) -> PairTrade:
        """Bring a trade into another state and say so; a final state carries the booked result.

        `note` is the line of the audit log that belongs to it, where a person asked for it.
        """
        check_transition(PAIR_TRADE_TRANSITIONS, trade.state, state, f"trade of {trade.pair_id}")
        with self.store() as work:
            after = self._after_move(work.repo, trade, state, reason)
            work.repo.save_trade(after, self.cycle.epoch)
            work.record(self._trade_event(after, reason))
            if state in _TITLES:
                severity, title = _TITLES[state]
                detail, about = f"{after.pair_id}: {reason}", f"{after.id} {after.version}"
                raise_alert(work, severity, title, detail, about, self.cycle.slot, self.cycle.market.now)
            if note is not None:
                work.repo.note(note)
            failpoint("execution.before_move")
            work.commit()
        failpoint("execution.moved")
        logger.info("{} {} → {}: {}", trade.pair_id, trade.state, state, reason)
        return after

    def drive(self, trade: PairTrade, patient: bool = True) -> PairTrade:
        """Take steps until the trade rests, for this cycle or for good.

        Args:
            trade: where it stands; what counts is read again.
            patient: wait where there is something to wait for; else leave it there, for a later call.

        Raises:
            NotTheWriter: another process took over.
            Frozen: an order is not settled in the time there is.
            Transient: the broker gave no usable answer.
            Terminal: a person has to look.
        """
        self._around = None
        while True:
            situation = self._situation(trade)
            step = two_leg.next_step(situation, self.rules)
            logger.debug("{} {}: {}", trade.pair_id, situation.trade.state, step)
            failpoint("execution.step_chosen")
            try:
                if self._take(step, situation, patient):
                    continue
            except Frozen:
                self._book_if_told(situation)
                raise
            if not isinstance(step, Book):
                self._book_told(situation)
            return situation.trade

    def _book_told(self, situation: Situation) -> None:
        """Book, before a trade is left as it is, what is told of its fills without waiting for more."""
        if unbooked := two_leg.booking_step(situation):
            self._book(unbooked.intents, patient=False)

    def _book_if_told(self, situation: Situation) -> None:
        """Book what is told; that nothing is must not hide why the trade is left."""
        try:
            self._book_told(situation)
        except (Transient, Refused) as error:
            logger.warning("{}: executions can't be booked now: {}", situation.trade.pair_id, error)

    def _take(self, step: Step, situation: Situation, patient: bool) -> bool:  # noqa: PLR0911 (one arm for each step)
        """Take one step; False when there is no further one now."""
        match step:
            case Rest():
                return self._rest(situation)
            case Hold(reason):
                return self._page("a leg can't be closed now", situation.trade, reason)
            case Move(state, reason):
                self.move(situation.trade, state, reason)
            case Place():
                self._place(situation.trade, step)
            case Send(intent):
                self._send(intent, situation.trade)
            case GiveUp(intent):
                self._give_up(intent, f"not sent: {two_leg.against_sending(intent, situation)}")
            case Resolve(intent):
                return self._resolve(intent, situation, patient)
            case Cancel(intent):
                self._cancel(intent)
            case Book(intents):
                return self._book(intents, patient)
            case LookAround():
                self._see(situation)
            case ClearWay(orders):
                return self._clear_way(orders, patient)
            case Wait(intents):
                return self._look(intents, patient)
        return True

    def restate(self, work: Work[TradeStore], trade_id: UUID) -> PairTrade:
        """Return a trade whose books have changed without an order; a result that was told is told anew."""
        trade = work.repo.trade(trade_id)
        if trade is None:
            raise Terminal(f"trade {trade_id} is booked but does not exist; a person has to look")
        result = work.repo.realized_pnl(trade_id)
        if trade.state not in FINISHED_TRADES or trade.realized_pnl == result:
            return trade
        after = replace(trade, version=trade.version + 1, realized_pnl=result)
        work.repo.save_trade(after, self.cycle.epoch)
        work.record(self._trade_event(after, "its result was corrected"))
        return after

    def settle_books(self, trade: PairTrade) -> None:
        """Book what was filled, as far as the broker tells, and send nothing. Raises as `drive`."""
        for _ in range(self.patience.booking_looks):
            situation = self._situation(trade)
            match two_leg.settling_step(situation, self.rules) or two_leg.booking_step(situation):
                case Book(intents):
                    self._book(intents, patient=True)
                case Resolve(intent):
                    report = self.broker.order_by_client_id(intent.client_order_id)
                    if report is None or not self.hear(intent, report):
                        return
                case _:
                    return

    def _situation(self, trade: PairTrade) -> Situation:
        with self.store() as work:
            current = work.repo.trade(trade.id) or trade
            intents = tuple(work.repo.intents(trade.id))
            booked = work.repo.booked(trade.id)
            risk = work.repo.risk_state()
            adjusted = work.repo.adjusted(trade.id)
        return Situation(
            current,
            intents,
            booked,
            frozenset(self._cancelling),
            self.cycle.slot,
            self._now(),
            self._market_open(),
            self.cycle.may_enter,
            risk,
            None if self._is_long_ago(self._seen_at) else self._around,
            adjusted,
            self._is_too_late(current),
        )

    def _is_long_ago(self, moment: datetime | None) -> bool:
        """Say whether this process must have been stopped since."""
        return moment is not None and self._now() - moment > LONGEST_STEP

    def _see(self, situation: Situation, sent_before: bool = False) -> None:
        self._around, self._seen_at = self._lookout.around(situation, sent_before), self._now()

    @property
    def _lookout(self) -> Lookout:
        return Lookout(self.store, self.broker, lambda: self._pause(LOOKS_APART_SECONDS))

    def _now(self) -> datetime:
        """Market time: the broker's clock, carried on by what the host's clock has moved since."""
        return self.cycle.market.now + (self.clock.now() - self.cycle.began)

    def _market_open(self) -> bool:
        return self.cycle.market.is_open and self._now() < self.cycle.market.next_close

    def _is_too_late(self, trade: PairTrade) -> bool:
        """Say whether the market closes before all legs, one after the other, have had their deadlines."""
        return self._now() + self.rules.leg_deadline * len(trade.legs) > self.cycle.market.next_close

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
            failpoint("execution.before_intent")
            work.commit()
        failpoint("execution.intent_committed")

    def _send(self, intent: OrderIntent, trade: PairTrade) -> None:
        """Send an order, unless the account's risk state has come to forbid it: then the next look gives it up."""
        sending = moved(intent, OrderState.SENDING, sent_at=self._now())
        if not self._save_sending(sending):
            return
        urgent = two_leg.ends_exposure(sending, trade)
        failpoint("execution.before_post")
        self._require_timely(sending)
        try:
            report = self.broker.submit_market_order(
                sending.client_order_id, sending.symbol, sending.quantity, urgent=urgent
            )
        except DuplicateOrderId as error:
            logger.warning("{}: the broker has it already ({})", sending.client_order_id, error)
            self._save(moved(sending, OrderState.UNKNOWN, reject_code=error.code, reason=str(error)))
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
            failpoint("execution.after_post")
            self.hear(sending, report)
        failpoint("execution.answer_committed")

    def _require_timely(self, sending: OrderIntent) -> None:
        """A process that was stopped may go on when another one has sent the next attempt, or much has changed.

        Raises:
            NotTheWriter: another process took over.
            Transient: it was stopped for long; the next pass looks the order up, and at what is there.
        """
        if self._is_long_ago(sending.sent_at):
            raise Transient(f"{sending.client_order_id}: this process was stopped before it sent it")
        with self.store() as work:
            work.repo.require_writer(self.cycle.epoch)

    def _save_sending(self, sending: OrderIntent) -> bool:
        """Commit that it is sent while nobody can change the risk state: a halt is before this, or after it."""
        with self.store() as work:
            if not allows(work.repo.held_risk_state(), sending.action):
                return False
            work.repo.save_intent(sending, self.cycle.epoch)
            work.record(self._order_event(sending))
            failpoint("execution.before_sending")
            work.commit()
        return True

    def _give_up(self, intent: OrderIntent, reason: str) -> None:
        logger.info("{} given up: {}", intent.client_order_id, reason)
        self._save(moved(intent, OrderState.CANCELED, reason=reason))

    def _resolve(self, intent: OrderIntent, situation: Situation, patient: bool) -> bool:
        """Look an order up until it is found, or until it is certain that it was never placed; False to leave it.

        Raises:
            Frozen: it was sent again in this pass, and again nobody can say what became of it; or nobody shows it,
                and what it would close is not there.
            Transient: what the broker has can't be seen.
        """
        if intent.state is OrderState.SENDING:
            intent = moved(intent, OrderState.UNKNOWN, reason="the process ended while it was sent")
            self._save(intent)
            failpoint("execution.unknown_committed")
        if not patient:
            report = self.broker.order_by_client_id(intent.client_order_id, urgent=True)
            return report is not None and self.hear(intent, report)
        report = self._look_up(intent) or self._listed(intent)
        failpoint("execution.looked_up")
        if report is not None:
            self.hear(intent, report)
        elif intent.is_taken_unseen:
            raise Frozen(f"{intent.client_order_id}: the broker says that it has it, and shows it to nobody")
        elif self._refresh(i for i in situation.intents if i.leg == intent.leg and two_leg.may_fill_late(i)):
            return True
        else:
            return self._never_shown(intent, situation)
        return True

    def _never_shown(self, intent: OrderIntent, before: Situation) -> bool:
        """Decide on an order that no look-up has shown, by what is so after the time they took; False to leave it."""
        situation = replace(before, now=self._now(), market_open=self._market_open(), around=None)
        if intent.action is not OrderAction.OPEN and not situation.may_send:
            # Another exit could not be sent either: it is decided with a look at what is there, once one may be.
            return False
        if against := self._against_sending_again(intent, situation):
            self._give_up(intent, f"never placed, and {against}")
        elif not may_go_now(intent, situation):
            return False
        elif intent.client_order_id in self._sent_again:
            raise Frozen(f"{intent.client_order_id}: sent twice without an answer and without an order")
        else:
            self._sent_again.add(intent.client_order_id)
            self._send(intent, situation.trade)
        return True

    def _against_sending_again(self, intent: OrderIntent, situation: Situation) -> str | None:
        """Say why an order that was never placed is not to be sent again; None where it is.

        Raises:
            Frozen: it is an exit of this slot, and what it would close is not all there and free: it may yet show.
                Given up, it would be followed by one for what is left, which the venue can't know as the same.
            Transient: what the broker has can't be seen.
        """
        if not two_leg.needs_a_look(intent, situation):
            return two_leg.against_sending(intent, situation)
        self._see(situation, sent_before=True)
        against = two_leg.against_sending(intent, replace(situation, around=self._around))
        if against and intent.slot == situation.slot and two_leg.closes_what_is_held(intent, situation):
            raise Frozen(f"{intent.client_order_id} is not shown, and {against}")
        return against

    def _look_up(self, intent: OrderIntent) -> OrderReport | None:
        """Look until it is found, at least the agreed number of times over the agreed time."""
        pause = max(self.patience.poll_seconds, self._lookup_pause())
        # Counted in pauses, not by the clock: a host clock that is set must not shorten or stretch the wait.
        looks = max(self.patience.unknown_lookups, ceil(self.patience.unknown_window.total_seconds() / pause)) + 1
        for look in range(looks):
            if look:
                self._pause(pause)
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
        failpoint("execution.before_cancel")
        try:
            self.broker.cancel_order(intent.broker_order_id or "")
        except (Refused, OutcomeUnknown) as error:
            logger.warning("cancel of {}: {}", intent.client_order_id, error)
        failpoint("execution.after_cancel")

    def _look(self, intents: tuple[OrderIntent, ...], patient: bool) -> bool:
        """Look at working orders once; False when waiting on makes no sense now.

        Raises:
            Frozen: a cancel has not come through in its time; the next cycle asks again.
        """
        self._around = None
        if self._refresh(intents):
            return True
        if not self._market_open():
            return False
        if self._cancel_is_stuck(intents):
            names = ", ".join(i.client_order_id for i in intents)
            raise Frozen(f"the broker neither fills nor cancels {names}")
        if patient:
            self._pause(self.patience.poll_seconds)
        return patient

    def _clear_way(self, orders: tuple[OrderReport, ...], patient: bool) -> bool:
        """Cancel orders of ours that stand against an exit and see them end at the broker; False to leave it.

        Raises:
            Frozen: they have not ended in their time; the next pass asks again.
        """
        self._around = None
        ids = {order.client_order_id: order.broker_order_id for order in orders}
        for intent in self._intents(ids):
            if intent.client_order_id not in self._cancelling:
                logger.warning("{} is cancelled: it stands against an exit", intent.client_order_id)
                self._cancel(replace(intent, broker_order_id=ids[intent.client_order_id]))
        for _ in range(self.patience.booking_looks if patient else 1):
            if all(self._has_ended(name) for name in ids):
                return True
            if patient:
                self._pause(self.patience.poll_seconds)
        if not patient:
            return False
        raise Frozen(f"an exit waits until the broker has cancelled {', '.join(sorted(ids))}")

    def _has_ended(self, name: str) -> bool:
        """Hear what became of an order, and say whether it is over in our books and at the broker."""
        told = self.broker.order_by_client_id(name)
        if told is None:
            return False
        self.hear(self._intents([name])[0], told)
        return self._intents([name])[0].is_done and not works(told)

    def _intents(self, names: Iterable[str]) -> list[OrderIntent]:
        with self.store() as work:
            return list(work.repo.intents_named(names).values())

    def _pause(self, seconds: float) -> None:
        """Wait, as long as this pass may still wait.

        Raises:
            Frozen: it may not; the next pass goes on from here.
        """
        if self._waited + seconds > self.patience.wait_in_all.total_seconds():
            raise Frozen("this pass has waited long enough; the next one goes on")
        self._waited += seconds
        self.clock.sleep(seconds)

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

    def _book(self, intents: tuple[OrderIntent, ...], patient: bool) -> bool:
        """Fetch and book executions until they explain what the orders say was filled; False to leave it.

        Raises:
            Transient: the broker's activities do not show them; the next cycle looks again.
        """
        by_order = {i.broker_order_id: i for i in intents}
        since = min(i.slot for i in intents) - SLOT_MARGIN
        for _ in range(self.patience.booking_looks if patient else 1):
            self._book_new(by_order, since)
            # Executions may run ahead of what the order says; then its news are the way on.
            if self._all_booked(intents) or self._refresh(intents):
                return True
            if patient:
                self._pause(self.patience.poll_seconds)
        if not patient:
            return False
        raise Transient(
            f"executions of {', '.join(i.client_order_id for i in intents)} are not in the activities yet"
        )

    def _book_new(self, by_order: dict[str | None, OrderIntent], since: datetime) -> None:
        fills = [fill for fill in self.broker.fills_since(since) if fill.broker_order_id in by_order]
        failpoint("execution.fills_read")
        with self.store() as work:
            for fill in fills:
                work.repo.book(by_order[fill.broker_order_id], fill, self.cycle.epoch)
            failpoint("execution.before_booking")
            work.commit()
        failpoint("execution.booked")

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
            failpoint("execution.before_save")
            work.commit()
        failpoint("execution.saved")

    def _after_move(self, repo: TradeStore, trade: PairTrade, state: PairTradeState, reason: str) -> PairTrade:
        reopened = trade.reopened or trade.state in FINISHED_TRADES
        after = replace(trade, state=state, version=trade.version + 1, reopened=reopened)
        if state is PairTradeState.CLOSING and trade.closed_slot is None:
            after = replace(after, closed_slot=self.cycle.slot, close_reason=reason)
        elif state in FINISHED_TRADES:
            after = replace(
                after,
                closed_slot=trade.closed_slot or self.cycle.slot,
                close_reason=trade.close_reason or reason,
                realized_pnl=repo.realized_pnl(trade.id),
            )
        elif state is PairTradeState.UNWINDING:
            after = replace(after, close_reason=trade.close_reason or reason)
        return after

    def _rest(self, situation: Situation) -> bool:
        if situation.risk is RiskState.HALTED and hangs(situation, self.rules):
            held = ", ".join(
                f"{situation.held(leg).normalize():f} {situation.trade.symbol(leg)}" for leg in situation.trade.legs
            )
            self._page("halted with a leg that is not hedged", situation.trade, f"holds {held}")
        return False

    def _page(self, title: str, trade: PairTrade, reason: str) -> bool:
        """Tell a person of a trade that can't go on now."""
        detail = f"{trade.pair_id}: {reason}"
        logger.error("{}: {}", title, detail)
        # The reason counts shares, nothing that runs on by itself: another one is news.
        about = f"{trade.id} {reason}"
        self.paged.add(condition(title, about))
        with self.store() as work:
            raise_begun(work, "trades", "critical", title, {about: detail}, self.cycle.slot, self.cycle.market.now)
            work.commit()
        return False

    def _not_ours(self, intent: OrderIntent, report: OrderReport) -> Terminal:
        """Put an order under our id that is not the one we meant aside; it is not adopted."""
        said = (
            f"{intent.client_order_id}: the broker's order is {report.quantity} {report.symbol}, ours "
            f"{intent.quantity} {intent.symbol}; a person has to look"
        )
        with self.store() as work:
            work.repo.quarantine("order", "not the order that was meant", said, self.cycle.slot, self._now())
            work.commit()
        return Terminal(said)

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
