"""The venue: accepts, matches, expires. Pure: the time comes in, changes come out.

An order sent while a session is open is matched at the open of its symbol's bar in progress; later bars match at
their own open, and a resting limit or stop also at its price once a whole bar has touched it. Nothing depends on the
order in which requests arrive: chance is drawn from (seed, client_order_id) alone.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from src.services.twin.domain.book import Book, Valuation, value_book
from src.services.twin.domain.company import (
    ActionTerms,
    ActionType,
    Activity,
    CorporateAction,
    Effect,
    effects,
)
from src.services.twin.domain.errors import ActionRefused, VenueRefusal, invalid_request, not_found, unprocessable
from src.services.twin.domain.fault_book import FaultBook
from src.services.twin.domain.faults import (
    ACTIVITIES,
    CANCEL,
    REPLACE,
    SUBMIT,
    Ask,
    BadCancel,
    CancelTooLate,
    Halt,
    HardToBorrow,
    HeldCancel,
    LateFillAfterCancel,
    PartialFill,
    Refusal,
    Reject,
    ShortRefused,
)
from src.services.twin.domain.market import Bar, Market
from src.services.twin.domain.moments import SECOND, iso_new_york, new_york_day
from src.services.twin.domain.orders import WORKING, Fill, NewOrder, Order, Status
from src.services.twin.domain.rules import (
    Standing,
    SymbolRules,
    check_against,
    check_form,
    opens_position,
    reserve_price,
)
from src.services.twin.domain.scripts import Scripts, whole_part

_NAMESPACE = uuid.UUID("6d1f9f1e-52a7-4f0e-9a55-7f6f2b0c4a10")
_TICK = Decimal("0.0001")
_YEARS = 10 * 365 * 86400 * SECOND


@dataclass(slots=True)
class Terms:
    """What the account and the venue agreed on; the admin API may change it."""

    multiplier: Decimal = Decimal(2)
    half_spread_bps: float = 1.5
    partial_fill_probability: float = 0.0
    no_shorting: bool = False
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One trade update: its name, the order as it was then, and the execution if there was one."""

    name: str
    order: Order
    at: int
    fill: Fill | None = None


@dataclass(slots=True)
class Changes:
    """What happened since the last `drain()`: to be stored, then told."""

    orders: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    closes: list[tuple[str, Decimal]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    actions: dict[str, CorporateAction] = field(default_factory=dict)
    activities: list[Activity] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.orders or self.fills or self.closes or self.actions or self.activities)


class Venue:
    """One account at one venue. `host` is the host's time in microseconds, by which lies last: market time may stand.

    Args:
        market: prices and the calendar.
        seed: of every chance the venue takes.
        cash: opening cash.
        now: microseconds; the venue's time, moved by `advance` alone.
    """

    def __init__(self, market: Market, *, seed: int, cash: Decimal, now: int, terms: Terms | None = None) -> None:
        self.market = market
        self.sessions = market.sessions
        self.terms = terms or Terms()
        self.seed = seed
        self.opening_cash = cash
        self.now = now
        self.host = 0
        self.faults = FaultBook()
        self.rules = {symbol: SymbolRules() for symbol in market.symbols}
        self._clear()

    def _clear(self) -> None:
        self.book = Book(self.opening_cash)
        self.orders: dict[str, Order] = {}
        self.by_client_id: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.closes: list[tuple[str, Decimal]] = []
        self.actions: dict[str, CorporateAction] = {}
        self.activities: list[Activity] = []
        self.scripts = Scripts(self.faults)
        self._open: dict[str, Order] = {}
        self._stamp = 0
        self._changes = Changes()

    def reset(self, now: int) -> None:
        """Forget every order, fill, position and corporate action, and stand at `now`."""
        self.now = now
        touched = {s for a in self.actions.values() for s in (a.terms.symbol, a.terms.new_symbol)}
        self.market.forget_actions()
        kept = {symbol: rules for symbol, rules in self.rules.items() if symbol not in touched}
        self.rules = {symbol: kept.get(symbol, SymbolRules()) for symbol in self.market.symbols}
        self._clear()

    def restore(
        self,
        orders: Iterable[Order],
        fills: Iterable[Fill],
        closes: list[tuple[str, Decimal]],
        actions: Iterable[CorporateAction] = (),
        activities: Iterable[Activity] = (),
    ) -> None:
        """Take over what a store kept; positions and cash follow from the fills and the activities."""
        for order in orders:
            self._index(order)
            self._stamp = max(self._stamp, order.updated_at)
            if order.status is Status.PENDING_CANCEL:
                self.scripts.hold(order, None, self.host)
        self.fills = list(fills)
        self.closes = list(closes)
        self.actions = {action.id: action for action in actions}
        self.activities = list(activities)
        booked: list[Fill | Activity] = [*self.fills, *self.activities]
        for happened in sorted(booked, key=lambda each: each.at):
            self._stamp = max(self._stamp, happened.at)
            self._rebook(happened)
        for action in sorted(self.actions.values(), key=lambda each: (each.applied_at or 0, each.seq)):
            if action.applied_at is not None:
                self._change_listing(action.terms)

    def _rebook(self, happened: Fill | Activity) -> None:
        if isinstance(happened, Fill):
            self.book.apply(happened.symbol, happened.signed_qty, happened.price)
        else:
            self.book.adjust(happened.symbol, happened.qty, happened.cost, happened.net_amount)

    def drain(self) -> Changes:
        """Hand over the changes since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    # What the venue knows

    @property
    def open_orders(self) -> list[Order]:
        """Orders that can still be filled, oldest first."""
        return list(self._open.values())

    def rules_of(self, symbol: str) -> SymbolRules:
        """Return the rules of a symbol, with the faults that stand now."""
        rules = self.rules[symbol]
        if not self.faults:
            return rules
        halted = any(lie.is_about([symbol]) for lie in self.faults.standing(Halt, self.now))
        hard = any(lie.is_about([symbol]) for lie in self.faults.standing(HardToBorrow, self.now))
        return rules.changed({"halted": rules.halted or halted, "easy_to_borrow": rules.easy_to_borrow and not hard})

    @property
    def last_equity(self) -> Decimal:
        """Equity at the close of the session before today's: in the evening still that of the day before."""
        today = new_york_day(self.now).isoformat()
        before = (equity for day, equity in reversed(self.closes) if day < today)
        return next(before, self.opening_cash)

    def price(self, symbol: str) -> Decimal | None:
        """Return the current price of a symbol: open of the bar in progress, else the last close."""
        price = self.market.price(symbol, self.now)
        return None if price is None else _money(price)

    def quote(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        """Return bid and ask round the current price."""
        price = self.market.price(symbol, self.now)
        return (
            None
            if price is None
            else (self._side_price(symbol, price, "sell"), self._side_price(symbol, price, "buy"))
        )

    def valuation(self) -> Valuation:
        """Value the account at current prices."""
        return value_book(self.book, self._mark, self._open.values(), self.terms.multiplier)

    def _mark(self, symbol: str) -> Decimal:
        return self.price(symbol) or self.book.positions[symbol].avg_entry

    def order(self, order_id: str) -> Order:
        """Return an order by its id.

        Raises:
            VenueRefusal: there is none (404).
        """
        if order_id not in self.orders:
            raise not_found(f"order not found for {order_id}")
        return self.orders[order_id]

    # Requests

    def submit(self, request: NewOrder) -> Order:
        """Accept an order and return it as the answer to the request shows it: not filled yet.

        Raises:
            VenueRefusal: a rule forbids it; nothing has changed.
        """
        self._check(request, SUBMIT)
        order = self._accept(request)
        self.scripts.begin(order, self._ask(SUBMIT, order), self.host)
        answer = order.copy()
        self._go_live(order)
        return answer

    def replace(self, order_id: str, request: NewOrder) -> Order:
        """Put a new order in the place of a working one and return it."""
        old = self.order(order_id)
        if old.status not in WORKING:
            raise unprocessable(f"cannot replace order in {old.status} status")
        if request.qty <= old.filled_qty:
            raise unprocessable("qty must be > filled_qty")
        if _same_terms(request, old):
            raise unprocessable("order parameters are not changed")
        del self._open[old.id]
        try:
            self._check(request, REPLACE)
        except Exception:
            self._open[old.id] = old
            raise
        return self._put_in_place(old, request)

    def _put_in_place(self, old: Order, request: NewOrder) -> Order:
        order = self._accept(replace(request, qty=request.qty - old.filled_qty))
        order.replaces = old.id
        self.scripts.begin(order, self._ask(REPLACE, order), self.host)
        at = self._tick()
        old.move(Status.REPLACED, at)
        old.replaced_at, old.replaced_by = at, order.id
        self._changed(old, "replaced", at)
        answer = order.copy()
        self._go_live(order)
        return answer

    def cancel(self, order_id: str) -> Order:
        """Cancel an open order; canceling a canceled one again changes nothing."""
        order = self.order(order_id)
        if order.status is Status.CANCELED:
            return order
        if not order.is_open:
            raise unprocessable(f'order is already in "{order.status}" state')
        if self.scripts.is_held(order):
            raise unprocessable("order pending cancel")
        lie = self.faults.fired(BadCancel, self._ask(CANCEL, order)) or self.scripts.after_cancel(order)
        if isinstance(lie, CancelTooLate):
            self._fill_now(order, 1.0)
            raise unprocessable(f'order is already in "{order.status}" state')
        if isinstance(lie, HeldCancel | PartialFill):
            self._put_off_cancel(order, lie)
        else:
            self._end(order, Status.CANCELED, self._tick())
        return order

    def _put_off_cancel(self, order: Order, lie: HeldCancel | PartialFill) -> None:
        at = order.cancel_requested_at = self._tick()
        if isinstance(lie, LateFillAfterCancel):
            self._end(order, Status.CANCELED, at)
        else:
            order.move(Status.PENDING_CANCEL, at)
            self._changed(order, "pending_cancel", at)
        self.scripts.hold(order, lie, self.host)
        self.settle()

    def settle(self) -> None:
        """Do what cancels that went badly have left to be done by now."""
        for order_id, hold in self.scripts.take_due(self.host):
            order = self.orders[order_id]
            if order.status in (Status.PENDING_CANCEL, Status.CANCELED):
                self._fill_now(order, hold.fraction)
            if order.status is Status.PENDING_CANCEL:
                self._end(order, Status.CANCELED, self._tick())

    def _ask(self, endpoint: str, order: Order | NewOrder) -> Ask:
        return Ask(endpoint, self.now, frozenset([order.symbol]), order.client_order_id or "")

    def _check(self, request: NewOrder, endpoint: str) -> None:
        if request.symbol not in self.rules:
            raise unprocessable(f'asset "{request.symbol}" not found')
        check_form(request)
        if request.client_order_id in self.by_client_id:
            raise invalid_request("client_order_id must be unique")
        quote = self.quote(request.symbol)
        if quote is None:
            raise unprocessable(f'asset "{request.symbol}" has no price at this time')
        if self.faults:
            self._meet_refusals(request, endpoint)
        check_against(request, self._standing(request.symbol, quote[1]))

    def _meet_refusals(self, request: NewOrder, endpoint: str) -> None:
        shorts = request.side == "sell" and opens_position(request, self.book.held(request.symbol))
        for kind in (Reject, ShortRefused) if shorts else (Reject,):
            lie: Refusal | None = self.faults.fired(kind, self._ask(endpoint, request))
            if isinstance(lie, Reject):
                raise VenueRefusal(lie.code, lie.message)
            if lie is not None:
                raise unprocessable(f'asset "{request.symbol}" cannot be sold short')

    def _standing(self, symbol: str, ask: Decimal) -> Standing:
        worth = self.valuation()
        return Standing(
            rules=self.rules_of(symbol),
            held=self.book.held(symbol),
            same_symbol=[order for order in self._open.values() if order.symbol == symbol],
            equity=worth.equity,
            buying_power=worth.buying_power,
            ask=ask,
            no_shorting=self.terms.no_shorting,
            suspended=self.terms.suspended,
        )

    def _accept(self, request: NewOrder) -> Order:
        at, seq = self._tick(), len(self.orders) + 1
        client_id = request.client_order_id or str(uuid.uuid5(_NAMESPACE, f"{self.seed}:auto:{seq}"))
        held = self.book.held(request.symbol)
        opens = opens_position(request, held)
        quote = self.quote(request.symbol)
        day = request.time_in_force == "day"
        order = Order(
            id=str(uuid.uuid5(_NAMESPACE, f"{self.seed}:{client_id}")),
            seq=seq,
            client_order_id=client_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            qty=request.qty,
            limit_price=request.limit_price,
            stop_price=request.stop_price,
            extended_hours=request.extended_hours,
            position_intent=request.position_intent or f"{request.side}_to_{'open' if opens else 'close'}",
            opens_position=opens,
            reserve_price=reserve_price(request, quote[1]) if quote else Decimal(0),
            status=Status.PENDING_NEW,
            created_at=at,
            updated_at=at,
            submitted_at=at,
            expires_at=self.sessions.next_close(self.now).close if day else self.now + _YEARS,
        )
        if self.sessions.open_at(self.now) is None:
            order.status = Status.ACCEPTED
        self._index(order)
        self._changed(order)
        return order

    def _index(self, order: Order) -> None:
        self.orders[order.id] = order
        self.by_client_id[order.client_order_id] = order
        if order.is_open:
            self._open[order.id] = order

    def _go_live(self, order: Order) -> None:
        rules = self.rules[order.symbol]
        if (rules.reject_async and rules.rejects(order.side)) or self.scripts.rejects(order):
            self._end(order, Status.REJECTED, self._tick())
            return
        if order.status is Status.ACCEPTED:
            return
        self._activate(order, self._tick())
        slot = self.sessions.slot_at(self.now)
        if slot is not None:
            self._match_at_open(order, slot, None)

    # Companies and money

    def schedule(self, terms: ActionTerms, announced_at: int | None = None) -> CorporateAction:
        """Have a corporate action happen at the open of its day; clients hear of it at once, or at a later time.

        Raises:
            ActionRefused: it can't happen as asked for; nothing has changed.
        """
        self._check_action(terms)
        seq = len(self.actions) + 1
        identity = str(uuid.uuid5(_NAMESPACE, f"{self.seed}:action:{seq}:{terms.symbol}:{terms.ex_date}"))
        action = CorporateAction(seq, identity, terms, self.now if announced_at is None else announced_at)
        self.actions[action.id] = self._changes.actions[action.id] = action
        return action

    def move_cash(self, amount: Decimal) -> Activity:
        """Pay money in, or out where it is negative.

        Raises:
            ActionRefused: there is not so much cash.
        """
        if not amount or self.book.cash + amount < 0:
            raise ActionRefused(f"{amount:f} can't be moved: there are {self.book.cash:f} dollars of cash")
        kind, text = ("CSD", "cash deposit") if amount > 0 else ("CSW", "cash withdrawal")
        return self._note(kind, text, amount, self._tick())

    def _check_action(self, terms: ActionTerms) -> None:
        if terms.symbol not in self.rules:
            raise ActionRefused(f"unknown symbol {terms.symbol}")
        if self._ex_session_open(terms) <= self.now:
            raise ActionRefused(f"the session of {terms.ex_date} has begun: name a later day")
        renamed = terms.type is ActionType.NAME_CHANGE
        if renamed and (terms.new_symbol is None or terms.new_symbol in self.rules):
            raise ActionRefused("new_symbol must be a symbol that the market does not have")

    def _ex_session_open(self, terms: ActionTerms) -> int:
        return self.sessions.between(terms.ex_date, date.max)[0].open

    def _companies_act(self) -> None:
        """Do what takes effect at the open of a session, before anything trades in it."""
        for action in list(self.actions.values()):
            if action.applied_at is None and self._ex_session_open(action.terms) <= self.now:
                self._act(action)

    def _act(self, action: CorporateAction) -> None:
        terms = action.terms
        if terms.type is not ActionType.CASH_DIVIDEND:
            for order in self.open_orders:
                if order.symbol == terms.symbol:
                    self._end(order, Status.CANCELED, self._tick())
        held = self.book.positions.get(terms.symbol)
        self._change_listing(terms)
        if held is not None:
            price = self.price(terms.symbol) or held.avg_entry
            for effect in effects(terms, held, price):
                self._note_effect(effect)
        action.applied_at = self._tick()
        self._changes.actions[action.id] = action

    def _change_listing(self, terms: ActionTerms) -> None:
        slot = self.sessions.between(terms.ex_date, date.max)[0].first_slot
        symbol, new = terms.symbol, terms.new_symbol
        if terms.type.is_split:
            self.market.split(symbol, slot, float(terms.old_rate / terms.new_rate))
        elif terms.type is ActionType.NAME_CHANGE and new is not None:
            self.market.rename(symbol, new, slot)
            self.rules[new] = self.rules[symbol]
        if terms.type not in (ActionType.FORWARD_SPLIT, ActionType.REVERSE_SPLIT, ActionType.CASH_DIVIDEND):
            self.rules[symbol] = self.rules[symbol].changed({"tradable": False})

    def _note_effect(self, effect: Effect) -> None:
        self._note(
            effect.type,
            effect.description,
            effect.net_amount,
            self._tick(),
            symbol=effect.symbol,
            qty=effect.qty,
            cost=effect.cost,
            per_share=effect.per_share,
        )

    def _note(self, kind: str, text: str, amount: Decimal, at: int, **more: Any) -> Activity:
        seq = len(self.activities) + 1
        identity = uuid.uuid5(_NAMESPACE, f"{self.seed}:activity:{seq}")
        activity = Activity(seq, f"{_stamp_of(at)}::{identity}", kind, at, amount, text, **more)
        self.activities.append(activity)
        self._changes.activities.append(activity)
        self._rebook(activity)
        return activity

    # Time

    def advance(self, to: int) -> None:
        """Move the venue's time forward and do everything that falls due on the way, in order."""
        if to <= self.now:
            return
        since = self.now
        for slot in self.sessions.slots_touching(since, to):
            start, end = self.sessions.slot_span(slot)
            if since < start:
                self.now = start
                self._slot_starts(slot)
            if end <= to:
                self.now = end
                self._slot_ends(slot)
        self.now = to

    def _slot_starts(self, slot: int) -> None:
        if slot == self.sessions.all[self.sessions.session_of[slot]].first_slot:
            self._companies_act()
        for order in self.open_orders:
            if order.status is Status.ACCEPTED:
                self._open_queued(order)
            if order.status in WORKING:
                self._match_at_open(order, slot, self.now)

    def _open_queued(self, order: Order) -> None:
        rules = self.rules_of(order.symbol)
        opens_short = order.opens_position and order.side == "sell"
        if opens_short and not (rules.easy_to_borrow and rules.shortable):
            self._end(order, Status.CANCELED, self._tick())
        else:
            self._activate(order, self._tick())

    def _slot_ends(self, slot: int) -> None:
        for order in self.open_orders:
            if order.status in WORKING and order.type != "market":
                self._match_touched(order, slot)
        for order in self.open_orders:
            if order.is_open and order.expires_at <= self.now and not self.scripts.is_held(order):
                self._end(order, Status.EXPIRED, self._tick())
        session = self.sessions.all[self.sessions.session_of[slot]]
        if slot == session.last_slot:
            self._close_day()

    def _close_day(self) -> None:
        close = (new_york_day(self.now).isoformat(), self.valuation().equity)
        self.closes.append(close)
        self._changes.closes.append(close)

    # Matching

    def _match_at_open(self, order: Order, slot: int, at: int | None) -> None:
        bar = self._tradable_bar(order, slot)
        if bar is None:
            return
        price = self._side_price(order.symbol, bar.open, order.side)
        if _accepts(order, price):
            self._fill(order, price, slot, at)

    def _match_touched(self, order: Order, slot: int) -> None:
        bar = self._tradable_bar(order, slot)
        # Only a bar that the order saw from its start: an earlier low is not this order's.
        if bar is None or order.submitted_at > self.sessions.slot_span(slot)[0] + SECOND // 2:
            return
        price = order.limit_price if order.type == "limit" else order.stop_price
        if price is None or order.last_fill_slot == slot:
            return
        wants_low = (order.side == "buy") == (order.type == "limit")
        if (wants_low and _money(bar.low) <= price) or (not wants_low and _money(bar.high) >= price):
            self._fill(order, price, slot, self.now)

    def _tradable_bar(self, order: Order, slot: int) -> Bar | None:
        rules = self.rules_of(order.symbol)
        if rules.halted or rules.no_fill or order.last_fill_slot == slot or self.scripts.rests(order):
            return None
        return self.market.bar(order.symbol, slot)

    def _side_price(self, symbol: str, price: float, side: str) -> Decimal:
        half_spread = self.terms.half_spread_bps * (0.75 + 0.5 * _chance("spread", symbol)) / 10_000
        return _money(price * (1 + half_spread if side == "buy" else 1 - half_spread))

    def _fill_now(self, order: Order, fraction: float) -> None:
        # A fill that no bar brings: at the current price, or at the order's own where that is the worse for it.
        price = self.market.price(order.symbol, self.now)
        qty = whole_part(order.leaves, fraction)
        if price is None or not qty:
            return
        if order.status in (Status.PENDING_NEW, Status.ACCEPTED):
            self._activate(order, self._tick())
        offered = self._side_price(order.symbol, price, order.side)
        own = order.limit_price or order.stop_price
        self._fill(
            order, offered if own is None or _accepts(order, offered) else own, order.last_fill_slot, None, qty
        )

    def _fill(self, order: Order, price: Decimal, slot: int, at: int | None, qty: Decimal | None = None) -> None:
        qty = self._share_filled(order) if qty is None else qty
        moment = self._tick() if at is None else self._tick(at)
        held = self.book.held(order.symbol)
        short = order.side == "sell" and held <= 0
        self.book.apply(order.symbol, qty if order.side == "buy" else -qty, price)
        order.filled_qty += qty
        order.filled_value += qty * price
        order.last_fill_slot = slot
        order.move(order.status_after_fill, moment)
        order.filled_at = moment
        fill = self._make_fill(order, "sell_short" if short else order.side, qty, price, moment)
        self.fills.append(fill)
        self.scripts.note_fill(fill, self._ask(ACTIVITIES, order))
        self._changes.fills.append(fill)
        self._changed(order, fill.kind, moment, fill)

    def _share_filled(self, order: Order) -> Decimal:
        scripted = self.scripts.share(order)
        if scripted is not None:
            return scripted
        # Chance is asked once per order; the rest of a partial fill follows whole.
        if order.filled_qty or order.qty < 2:
            return order.leaves
        if _chance("partial", self.seed, order.client_order_id) >= self.terms.partial_fill_probability:
            return order.leaves
        share = Decimal(str(round(0.2 + 0.6 * _chance("share", self.seed, order.client_order_id), 4)))
        return max(Decimal(1), (order.qty * share).to_integral_value())

    def _make_fill(self, order: Order, side: str, qty: Decimal, price: Decimal, at: int) -> Fill:
        seq = len(self.fills) + 1
        execution = str(uuid.uuid5(_NAMESPACE, f"{order.id}:{order.filled_qty}"))
        return Fill(
            seq=seq,
            id=f"{_stamp_of(at)}::{execution}",
            execution_id=execution,
            order_id=order.id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=side,
            qty=qty,
            price=price,
            at=at,
            cum_qty=order.filled_qty,
            leaves_qty=order.leaves,
            position_qty=self.book.held(order.symbol),
        )

    # Book-keeping of changes

    def _activate(self, order: Order, at: int) -> None:
        order.move(Status.NEW, at)
        self._changed(order, "new", at)

    def _end(self, order: Order, status: Status, at: int) -> None:
        order.move(status, at)
        if status is Status.CANCELED:
            order.canceled_at = at
        elif status is Status.EXPIRED:
            order.expired_at = at
        else:
            order.failed_at = at
        self._changed(order, status.value, at)

    def _changed(self, order: Order, event: str | None = None, at: int = 0, fill: Fill | None = None) -> None:
        self._changes.orders[order.id] = order
        if not order.is_open:
            self._open.pop(order.id, None)
        if event:
            self._changes.events.append(Event(event, order.copy(), at, fill))

    def _tick(self, at: int | None = None) -> int:
        # Every happening has its own microsecond, so that paging by time loses nothing while the clock stands still.
        self._stamp = max(at or self.now, self._stamp + 1)
        return self._stamp


def _stamp_of(at: int) -> str:
    """Spell a moment as activity ids begin: New York's time to the millisecond, 17 digits."""
    return f"{iso_new_york(at)[:23].translate(str.maketrans('', '', '-T:.')):0<17}"


def _accepts(order: Order, price: Decimal) -> bool:
    limit, stop = order.limit_price, order.stop_price
    if order.side == "buy":
        return (limit is None or price <= limit) and (stop is None or price >= stop)
    return (limit is None or price >= limit) and (stop is None or price <= stop)


def _same_terms(request: NewOrder, old: Order) -> bool:
    return (request.qty, request.limit_price, request.stop_price, request.time_in_force) == (
        old.qty,
        old.limit_price,
        old.stop_price,
        old.time_in_force,
    )


def _chance(*parts: object) -> float:
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def _money(price: float) -> Decimal:
    return Decimal(repr(round(price, 4))).quantize(_TICK).normalize()
