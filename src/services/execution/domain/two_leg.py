"""The two-leg machine: one pure function from what is known to the one next step.

All memory is in the database, so the same function carries a trade on after a crash, in another process, or in the
next cycle. Opening goes one leg after the other, the short one first because it is the one that may not be had; the
second leg is sized from what the first one really filled. Closing sends both legs at once. A trade in one symbol
goes the same way with its one leg: there is nothing to hedge it, so that whatever of it is filled is whole.

state      | when                                           | step
-----------+------------------------------------------------+---------------------------------------------
CLOSING,   | an order's outcome is unknown, and the other    | that one's Send, GiveUp, Cancel or Wait
UNWINDING  | leg has an order that is not over               |
           | … the other leg is held and has none            | its LookAround, ClearWay or Place, as below
any        | an order's outcome is unknown                   | Resolve
any        | a planned order's time is over: an entry's hour,| GiveUp
           | or of a first leg the time for all legs; its    |
           | trade was given up; nothing may be sent; a      |
           | company's action left less than an exit is for  |
any        | a planned exit, not looked around for           | LookAround, once
any        | … what it closes is not there and free any more | GiveUp
any        | a planned order begins an entry: not allowed    | Rest
any        | a planned order                                 | Send
any        | an order is past its deadline at the broker,    | Cancel, once; then Wait
           | or opens a trade that was given up              |
any        | the step below is to Rest, or to end in OPEN or | Book, then that step
           | for good, and fills are reported, not booked    |
OPENING    | an order works                                  | Wait
OPENING    | no first leg yet: the moment for it is over, or | Move ABANDONED
           | the market closes too soon for all legs         |
OPENING    | … entries are allowed                           | Place the short or only leg
OPENING    | … else                                          | Rest
OPENING    | nothing held, and nothing ever was              | Move ABANDONED
OPENING    | nothing held any more                           | Move UNWINDING
OPENING    | filled, and there is no other leg               | Move OPEN
OPENING    | first leg filled, no second leg yet: the moment | Move UNWINDING
           | for it is over, or it would be no whole share   |
OPENING    | … else                                          | Place the other leg, target × filled share
OPENING    | second leg done, nothing of it held             | Move UNWINDING
OPENING    | legs hedge each other                           | Move OPEN
OPENING    | legs filled in different shares                 | LookAround, then Place an unwind of the
           |                                                 | excess, once
OPENING    | … the excess could not be unwound               | Move UNWINDING
OPEN       | the legs hedge each other                       | Rest
OPEN       | they do not, or a leg is not held any more      | Move CLOSING
CLOSING,   | a leg is held, and nothing may be sent          | Wait for what works, else Rest
UNWINDING  | a leg is held and has no order: for all such    |
           | … after too many attempts in this slot          | Move ORPHANED
           | … not looked around                             | LookAround
           | … somebody else's order works on the other side,| Hold
           |   or other orders hold all the shares           |
           | … an order of ours works on the other side      | ClearWay
           | … else                                          | Place the opposite of what is held and there
           | orders work                                     | Wait
           | held by the books, but not at the broker        | Move ORPHANED
           | nothing held                                    | Move CLOSED / UNWOUND
ORPHANED   | no attempts left in this slot, or nothing may   | Rest
           | be sent                                         |
           | held, not looked around                         | LookAround
           | … the broker has nothing of what is held        | Hold
           | … else                                          | Move CLOSING if its close ever began, else
           |                                                 | UNWINDING
finished   | a late fill left something held                 | Move ORPHANED
finished   | … else                                          | Rest

What the two legs ask for comes in the order of the table, whichever leg asks: one that can't be sent keeps the other,
its hedge, as well. The moment for an entry is over with its hour (also when the process was stopped in between), with
the market, or when risk stops entries. Exits never expire; a closed market and a halted account only put them off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from src.services.execution.domain.clearance import Around
from src.shared.domain.orders import AT_BROKER, UNSETTLED, OrderAction, OrderIntent, OrderReport, OrderState
from src.shared.domain.pairs import FINISHED_TRADES, PairTrade, PairTradeState
from src.shared.domain.risk import RiskState
from src.shared.domain.sessions import BAR_LENGTH

WHOLE = Decimal(1)
_ENTRIES = frozenset({OrderAction.OPEN})
_WHOLE = frozenset({PairTradeState.OPEN, *FINISHED_TRADES})
_EXITS = {PairTradeState.CLOSING: OrderAction.CLOSE, PairTradeState.UNWINDING: OrderAction.UNWIND}
_FLAT = {PairTradeState.CLOSING: PairTradeState.CLOSED, PairTradeState.UNWINDING: PairTradeState.UNWOUND}


@dataclass(frozen=True)
class Rules:
    """`leg_tolerance` is a fraction of the target; `attempts_per_slot` counts orders per leg and action."""

    leg_deadline: timedelta
    leg_tolerance: Decimal
    attempts_per_slot: int


@dataclass(frozen=True)
class Resolve:
    """Find out whether the broker has the order."""

    intent: OrderIntent


@dataclass(frozen=True)
class Send:
    """Send a planned order."""

    intent: OrderIntent


@dataclass(frozen=True)
class GiveUp:
    """Never send a planned order: the reason for it has passed."""

    intent: OrderIntent


@dataclass(frozen=True)
class Place:
    """Plan a new order of `quantity` signed shares."""

    leg: int
    action: OrderAction
    quantity: Decimal
    attempt: int


@dataclass(frozen=True)
class Cancel:
    """Ask the broker to cancel an order that took too long."""

    intent: OrderIntent


@dataclass(frozen=True)
class Wait:
    """Look at these orders again."""

    intents: tuple[OrderIntent, ...]


@dataclass(frozen=True)
class Book:
    """Fetch the executions of these orders and book them."""

    intents: tuple[OrderIntent, ...]


@dataclass(frozen=True)
class Move:
    """Bring the trade into another state."""

    state: PairTradeState
    reason: str


@dataclass(frozen=True)
class LookAround:
    """See what the broker has and works on in the trade's symbols, before an exit is sent."""


@dataclass(frozen=True)
class ClearWay:
    """Have our own orders on the other side of an exit cancelled."""

    orders: tuple[OrderReport, ...]


@dataclass(frozen=True)
class Hold:
    """An exit can't be sent now and nothing of ours can change that: a person has to know."""

    reason: str


@dataclass(frozen=True)
class Rest:
    """There is nothing to do in this cycle."""


Step = Resolve | Send | GiveUp | Place | Cancel | Wait | Book | Move | LookAround | ClearWay | Hold | Rest


@dataclass(frozen=True)
class Situation:
    """What is known about one trade.

    `booked` holds signed shares booked per intent id; `slot` and `now` are market time; `may_enter` says whether a
    first leg may be sent in this pass; `around` is, by symbol, what the broker has there, once it was looked at;
    `adjusted` holds, by leg, the signed shares that came or went without an order of ours; `too_late` says whether
    the market closes before the legs of an entry have had their time.
    """

    trade: PairTrade
    intents: tuple[OrderIntent, ...]
    booked: dict[str, Decimal]
    cancelling: frozenset[str]
    slot: datetime
    now: datetime
    market_open: bool = True
    may_enter: bool = True
    risk: RiskState = RiskState.ACTIVE
    around: Mapping[str, Around] | None = None
    adjusted: Mapping[int, Decimal] = field(default_factory=dict)
    too_late: bool = False

    @property
    def may_send(self) -> bool:
        """Say whether any order may be sent now."""
        return self.market_open and self.risk is not RiskState.HALTED

    @property
    def entry_is_over(self) -> bool:
        """Say whether the moment that the entry was approved for has passed."""
        return self.hour_is_over or not self.market_open or self.risk is not RiskState.ACTIVE

    @property
    def hour_is_over(self) -> bool:
        """Say whether the slot is another one by now, also for a process that was stopped for a while."""
        return self.trade.slot != self.slot or self.now - self.trade.slot >= BAR_LENGTH

    @property
    def passed(self) -> str:
        """Say in words why the moment of an order has passed."""
        return "its moment passed" if self.risk is RiskState.ACTIVE else f"the account was {self.risk}"

    def held(self, leg: int) -> Decimal:
        """Signed shares held in a leg by the broker's reports, on today's basis of shares."""
        filled = sum((i.filled_quantity for i in self.intents if i.leg == leg), Decimal(0))
        return filled + self.adjusted.get(leg, Decimal(0))

    def of(self, leg: int, action: OrderAction) -> tuple[OrderIntent, ...]:
        """The leg's orders of one kind, oldest first."""
        return tuple(i for i in self.intents if i.leg == leg and i.action is action)


def next_step(situation: Situation, rules: Rules) -> Step:
    """Return the one next step for a trade.

    A leg is hedged or got rid of by what the broker reports as filled. The executions behind it come by another way,
    which may be slow or shut: they are booked when nothing more urgent is left, and before a trade counts as done.
    """
    if step := settling_step(situation, rules):
        beside = _beside(step.intent, situation, rules) if isinstance(step, Resolve) else None
        return beside or step
    step = _BY_STATE[situation.trade.state](situation, rules)
    return booking_step(situation) or step if _is_an_end(step) else step


def booking_step(situation: Situation) -> Book | None:
    """Have executions booked that are reported and not in the books."""
    unbooked = tuple(i for i in situation.intents if not is_booked(i, situation.booked))
    return Book(unbooked) if unbooked else None


def _is_an_end(step: Step) -> bool:
    return isinstance(step, Rest) or (isinstance(step, Move) and step.state in _WHOLE)


def first_leg(trade: PairTrade) -> int:
    """The short leg goes first: it is the one that may not be had. An only leg is the first whatever its side."""
    return 1 if trade.target_1 < 0 or trade.legs == (1,) else 2


def second_quantity(trade: PairTrade, first_filled: Decimal) -> Decimal:
    """Size the second leg from the fill of the first, in signed whole shares."""
    first = first_leg(trade)
    share = first_filled / trade.target(first)
    return (trade.target(3 - first) * share).quantize(WHOLE, ROUND_HALF_EVEN)


def worth_sending(intent: OrderIntent, s: Situation) -> bool:
    """Say whether an order that is not at the broker is still to be sent.

    An entry only within its own slot and while its trade is being opened, its first leg also only while there is time
    for all legs; any other, once a company's action changed the leg, only up to what is held.
    """
    if not s.may_send or not allows(s.risk, intent.action):
        return False
    if intent.action in _ENTRIES:
        is_timely = intent.leg != first_leg(s.trade) or not s.too_late
        return intent.slot == s.slot and not s.hour_is_over and s.trade.state is PairTradeState.OPENING and is_timely
    return intent.leg not in s.adjusted or abs(intent.quantity) <= abs(s.held(intent.leg))


def may_go_now(intent: OrderIntent, s: Situation) -> bool:
    """Say whether an order may be sent in this pass: one that begins an entry only where entries are allowed."""
    return s.may_enter or intent.action not in _ENTRIES or intent.leg != first_leg(s.trade)


def allows(risk: RiskState, action: OrderAction) -> bool:
    """Say whether the account's risk state lets an order of this kind be sent: halted none, reducing no entry."""
    return risk is RiskState.ACTIVE or (risk is RiskState.REDUCING and action not in _ENTRIES)


def hangs(s: Situation, rules: Rules) -> bool:
    """Say whether a leg is held that the other one of its pair does not hedge."""
    return any(s.held(leg) for leg in s.trade.legs) and not _is_hedged(s, rules)


def ends_exposure(intent: OrderIntent, trade: PairTrade) -> bool:
    """Say whether an order takes risk away: all of them but the first leg of an entry, which is what begins it."""
    return intent.action is not OrderAction.OPEN or intent.leg != first_leg(trade)


def is_booked(intent: OrderIntent, booked: Mapping[str, Decimal]) -> bool:
    """Say whether the booked executions explain the fills reported; a working order may be booked further."""
    shares = booked.get(str(intent.id), Decimal(0))
    return shares == intent.filled_quantity if intent.is_done else abs(shares) >= abs(intent.filled_quantity)


def settling_step(s: Situation, rules: Rules) -> Step | None:
    """Handle what is the same in every state: orders that are not settled come before anything else."""
    for intent in s.intents:
        if intent.state in UNSETTLED:
            return Resolve(intent)
    for intent in s.intents:
        if intent.state is OrderState.PLANNED:
            return _planned(intent, s)
    for intent in s.intents:
        if intent.state in AT_BROKER and _is_late(intent, s, rules) and intent.client_order_id not in s.cancelling:
            return Cancel(intent)
    return None


def _beside(unsettled: OrderIntent, s: Situation, rules: Rules) -> Step | None:
    """Close the other leg first where a trade is to end: it need not wait until somebody knows of this one."""
    action = _EXITS.get(s.trade.state)
    if action is None or len(s.trade.legs) == 1:
        return None
    other = 3 - unsettled.leg
    for intent in (i for i in s.intents if i.leg == other and not i.is_done):
        if intent.state in UNSETTLED:
            return None
        return _planned(intent, s) if intent.state is OrderState.PLANNED else _at_work(intent, s, rules)
    if not s.may_send or s.held(other) == 0 or _is_exhausted(s, rules, other, action):
        return None
    found = _exit_order(s, other, action, -s.held(other))
    return found if isinstance(found, LookAround | ClearWay | Place) else None


def _at_work(intent: OrderIntent, s: Situation, rules: Rules) -> Step | None:
    if intent.client_order_id in s.cancelling:
        return None
    return Cancel(intent) if _is_late(intent, s, rules) else Wait((intent,))


def _planned(intent: OrderIntent, s: Situation) -> Step:
    # Planned in this pass, it was looked around for just now; else much may have happened since.
    if needs_a_look(intent, s):
        return LookAround()
    if against_sending(intent, s):
        return GiveUp(intent)
    return Send(intent) if may_go_now(intent, s) else Rest()


def needs_a_look(intent: OrderIntent, s: Situation) -> bool:
    """Say whether an order is sent only after a look at what the broker has: an exit of what may be gone by now."""
    return intent.action not in _ENTRIES and worth_sending(intent, s) and s.around is None


def against_sending(intent: OrderIntent, s: Situation) -> str | None:
    """Say in words why an order that is not at the broker must not be sent any more; None where it may be."""
    if not worth_sending(intent, s):
        return s.passed
    if intent.action not in _ENTRIES and not _still_fits(intent, s):
        return "what it would close is not there and free any more"
    return None


def _still_fits(intent: OrderIntent, s: Situation) -> bool:
    """Say whether an exit would be planned for all of its shares now."""
    if not closes_what_is_held(intent, s):
        return False
    found = _exit_order(s, intent.leg, intent.action, intent.quantity)
    return isinstance(found, Place) and found.quantity == intent.quantity


def closes_what_is_held(intent: OrderIntent, s: Situation) -> bool:
    """Say whether an exit is for no more than its leg holds by the broker's reports."""
    held = s.held(intent.leg)
    return intent.quantity * held < 0 and abs(intent.quantity) <= abs(held)


def may_fill_late(intent: OrderIntent) -> bool:
    """Say whether an order is over that the broker had and did not fill wholly."""
    return intent.is_done and intent.broker_order_id is not None and intent.filled_quantity != intent.quantity


def _is_late(intent: OrderIntent, s: Situation, rules: Rules) -> bool:
    if intent.action is OrderAction.OPEN and s.trade.state is not PairTradeState.OPENING:
        return True  # a person gave the entry up while it was sent
    return intent.sent_at is not None and s.now - intent.sent_at > rules.leg_deadline


def _working(s: Situation) -> tuple[OrderIntent, ...]:
    return tuple(i for i in s.intents if i.state in AT_BROKER)


def _opening(s: Situation, rules: Rules) -> Step:
    first = first_leg(s.trade)
    if working := _working(s):
        return Wait(working)
    if not s.of(first, OrderAction.OPEN):
        return _first_leg(s, first)
    if not any(s.held(leg) for leg in s.trade.legs):
        return _nothing_held(s, first)
    return Move(PairTradeState.OPEN, "filled") if s.trade.legs == (first,) else _hedging(s, rules, first)


def _hedging(s: Situation, rules: Rules, first: int) -> Step:
    if not s.of(3 - first, OrderAction.OPEN):
        return _second_leg(s, first)
    if s.held(3 - first) == 0:
        return Move(PairTradeState.UNWINDING, _why(s.of(3 - first, OrderAction.OPEN)[-1]))
    return _balance(s, rules)


def _first_leg(s: Situation, first: int) -> Step:
    if s.entry_is_over:
        return Move(PairTradeState.ABANDONED, f"{s.passed} before an order was sent")
    if s.too_late:
        what = "both legs" if len(s.trade.legs) > 1 else "the order"
        return Move(PairTradeState.ABANDONED, f"the market closes too soon for {what}")
    return Place(first, OrderAction.OPEN, s.trade.target(first), 1) if s.may_enter else Rest()


def _nothing_held(s: Situation, first: int) -> Step:
    if any(i.filled_quantity != 0 for i in s.intents):
        return Move(PairTradeState.UNWINDING, "the entry was bought and sold again")
    return Move(PairTradeState.ABANDONED, _why(s.of(first, OrderAction.OPEN)[-1]))


def _second_leg(s: Situation, first: int) -> Step:
    if s.entry_is_over:
        return Move(PairTradeState.UNWINDING, f"{s.passed} before the second leg was sent")
    quantity = second_quantity(s.trade, s.held(first))
    if quantity == 0:
        return Move(PairTradeState.UNWINDING, "the first leg filled too little to hedge with whole shares")
    return Place(3 - first, OrderAction.OPEN, quantity, 1)


def _balance(s: Situation, rules: Rules) -> Step:
    """Compare the legs' filled shares of their targets; the leg that has more gives the excess back, once."""
    more, excess = _excess(s)
    if _is_hedged(s, rules):
        return Move(PairTradeState.OPEN, "both legs filled")
    if s.may_send and not s.of(more, OrderAction.UNWIND) and excess != s.held(more):
        found = _exit_order(s, more, OrderAction.UNWIND, -excess)
        if isinstance(found, LookAround) or (isinstance(found, Place) and found.quantity == -excess):
            return found
    return Move(PairTradeState.UNWINDING, "the legs do not hedge each other")


def _excess(s: Situation) -> tuple[int, Decimal]:
    shares = {leg: s.held(leg) / s.trade.target(leg) for leg in s.trade.legs}
    more = max(s.trade.legs, key=lambda leg: shares[leg])
    wanted = (s.trade.target(more) * shares[3 - more]).quantize(WHOLE, ROUND_DOWN)
    return more, s.held(more) - wanted


def _is_hedged(s: Situation, rules: Rules) -> bool:
    """Say whether no leg has more than the other one balances; an only leg has nothing to balance."""
    if len(s.trade.legs) == 1:
        return True
    more, excess = _excess(s)
    return abs(excess) < 1 or abs(excess / s.trade.target(more)) <= rules.leg_tolerance


def _open(s: Situation, rules: Rules) -> Step:
    """Rest while all legs are there; a fill after its order's end can change that, or what a person writes off."""
    if all(s.held(leg) for leg in s.trade.legs) and _is_hedged(s, rules):
        return Rest()
    is_pair = len(s.trade.legs) > 1
    return Move(PairTradeState.CLOSING, "the legs no longer hedge each other" if is_pair else "nothing is held")


def _flattening(s: Situation, rules: Rules) -> Step:
    if found := _next_exit(s, rules, _EXITS[s.trade.state]):
        return found
    if working := _working(s):
        return Wait(working)
    if missing := _missing(s):
        return Move(PairTradeState.ORPHANED, missing)
    if any(s.held(leg) != 0 for leg in s.trade.legs):
        return Rest()
    return Move(_FLAT[s.trade.state], s.trade.close_reason or "flat")


def _next_exit(s: Situation, rules: Rules, action: OrderAction) -> Step | None:
    """Look at all legs that are held without an order: one that can't be sent keeps the other, its hedge, as well."""
    if not s.may_send:
        return None
    idle = [leg for leg in s.trade.legs if s.held(leg) != 0 and not any(i.leg == leg for i in _working(s))]
    for leg in idle:
        if _is_exhausted(s, rules, leg, action):
            return Move(PairTradeState.ORPHANED, f"leg {leg} can't be closed: {_why(s.of(leg, action)[-1])}")
    found = [_exit_order(s, leg, action, -s.held(leg)) for leg in idle]
    return next((each for kind in _EXIT_STEPS for each in found if isinstance(each, kind)), None)


def _exit_order(s: Situation, leg: int, action: OrderAction, quantity: Decimal) -> Step | None:
    """Return the order, what has to come before it, or None where the broker has nothing of what is held."""
    if s.around is None:
        return LookAround()
    around = s.around[s.trade.symbol(leg)]
    if against := around.others_against(quantity):
        return Hold(f"an order that is not ours works on the other side: {against[0].client_order_id}")
    if against := around.own_against(quantity):
        return ClearWay(against)
    shares = around.sendable(quantity)
    if shares != 0:
        return Place(leg, action, shares, len(s.of(leg, action)) + 1)
    if around.missing(quantity) == 0:
        return Hold(f"all shares of {s.trade.symbol(leg)} are held for other orders")
    return None


_EXIT_STEPS: tuple[type[Step], ...] = (LookAround, Hold, ClearWay, Place)
"""What comes first of what the two legs ask for."""


def _missing(s: Situation) -> str | None:
    """Name what the books hold and the broker, looked at, has not."""
    if s.around is None or not s.may_send:
        return None
    found = []
    for leg in s.trade.legs:
        around = s.around[s.trade.symbol(leg)]
        if s.held(leg) != 0 and around.sendable(-s.held(leg)) == 0 and around.missing(-s.held(leg)) != 0:
            found.append(f"{s.trade.symbol(leg)}: {around}")
    return "; ".join(found) or None


def _is_exhausted(s: Situation, rules: Rules, leg: int, action: OrderAction) -> bool:
    return sum(1 for i in s.of(leg, action) if i.slot == s.slot and i.sent_at is not None) >= rules.attempts_per_slot


def _orphaned(s: Situation, rules: Rules) -> Step:
    # Its close may have begun without an order, where the broker showed nothing to close.
    begun = s.trade.closed_slot is not None and not s.trade.reopened
    was_open = begun or any(i.action is OrderAction.CLOSE for i in s.intents)
    action = OrderAction.CLOSE if was_open else OrderAction.UNWIND
    if not s.may_send or any(s.held(leg) != 0 and _is_exhausted(s, rules, leg, action) for leg in s.trade.legs):
        return Rest()
    held = [leg for leg in s.trade.legs if s.held(leg) != 0]
    if held and s.around is None:
        return LookAround()
    if held and all(_exit_order(s, leg, action, -s.held(leg)) is None for leg in held):
        return Hold(_missing(s) or "")
    return Move(PairTradeState.CLOSING if was_open else PairTradeState.UNWINDING, "another attempt to get flat")


def _finished(s: Situation, rules: Rules) -> Step:  # noqa: ARG001
    left = [f"{s.held(leg).normalize():f} {s.trade.symbol(leg)}" for leg in s.trade.legs if s.held(leg) != 0]
    return Move(PairTradeState.ORPHANED, f"filled after the end: {', '.join(left)}") if left else Rest()


_BY_STATE = {
    PairTradeState.OPENING: _opening,
    PairTradeState.OPEN: _open,
    PairTradeState.CLOSING: _flattening,
    PairTradeState.UNWINDING: _flattening,
    PairTradeState.ORPHANED: _orphaned,
    PairTradeState.CLOSED: _finished,
    PairTradeState.UNWOUND: _finished,
    PairTradeState.ABANDONED: _finished,
}


def _why(intent: OrderIntent) -> str:
    said = f": {intent.reason}" if intent.reason else ""
    return f"{intent.side} {abs(intent.quantity)} {intent.symbol} {intent.state}{said}"
