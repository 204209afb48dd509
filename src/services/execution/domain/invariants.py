"""The invariants that hold after any crash, as a pure check over what the database and the broker say.

I1  each intent has at most one broker order          I5  every open trade is whole, or being unwound, or pages
I2  every broker order of ours has an intent          I6  every state change has exactly one outbox event
I3  fills = filled quantity = ledger = positions      I7  no order while halted, stale or unreconciled
I4  the ledger sums to zero                           I8  a second reconcile changes nothing
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from src.services.execution.domain.reconciliation import external_shares
from src.services.execution.domain.two_leg import allows
from src.shared.domain.orders import FillReport, OrderAction, OrderIntent, OrderReport, OrderState, PositionReport
from src.shared.domain.pairs import FINISHED_TRADES, PairTrade, PairTradeState
from src.shared.domain.quantities import plain
from src.shared.domain.risk import RiskState
from src.shared.domain.sessions import BAR_LENGTH

NEVER_SENT = frozenset({OrderState.PLANNED})
STALE_AFTER = 2 * BAR_LENGTH
"""An entry is sent within the hour of its slot, and a cycle that began in it ends within the next one."""

A_DOLLARS_FINEST_PART = Decimal("0.000001")
Aggregate = tuple[str, str]


@dataclass(frozen=True)
class RiskChanged:
    """The risk state went from one to another."""

    before: RiskState
    after: RiskState


@dataclass(frozen=True)
class Sent:
    """An order was about to be sent."""

    client_order_id: str


Said = RiskChanged | Sent


@dataclass(frozen=True)
class Facts:
    """One look at everything. Shares are signed.

    `filled` holds booked shares by intent; `held` and `ledger_shares` by symbol; `leg_shares` by trade and symbol;
    `unbalanced` are ledger entries whose amounts do not sum to zero; `misbooked` says which executions the ledger
    does not hold once, with their shares and dollars, for the trade of their order; `cash` is the ledger's by
    trade, in dollars; `versions` and `told` hold, by aggregate, the version a row is at and the versions the outbox
    tells; `paged` holds pair ids with when they had their last alert; `approved` holds the entries that risk
    approved while books and broker agreed, by pair and slot: the shares of both legs; `log` is what the outbox says
    of the risk state and of orders sent, in the order of its being recorded; `adjusted` holds, by trade and leg,
    the shares that came or went without an order of ours; `broker_orders` and `broker_fills` are all of them after
    `since`, None where the broker was not asked.
    """

    intents: tuple[OrderIntent, ...]
    trades: tuple[PairTrade, ...]
    filled: Mapping[UUID, Decimal]
    held: Mapping[str, Decimal]
    ledger_shares: Mapping[str, Decimal]
    leg_shares: Mapping[tuple[UUID, str], Decimal]
    unbalanced: tuple[str, ...]
    ledger_entries: int
    versions: Mapping[Aggregate, int]
    told: Mapping[Aggregate, tuple[int, ...]]
    paged: Mapping[str, datetime]
    approved: Mapping[tuple[str, datetime], tuple[Decimal, Decimal]]
    cash: Mapping[UUID, Decimal]
    broker_orders: tuple[OrderReport, ...]
    broker_positions: tuple[PositionReport, ...]
    broker_fills: tuple[FillReport, ...] = ()
    since: datetime | None = None
    log: tuple[Said, ...] = ()
    adjusted: Mapping[tuple[UUID, int], Decimal] = field(default_factory=dict)
    misbooked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Invariant:
    """The result of one check: how many things were looked at and what broke it."""

    name: str
    meaning: str
    checked: int
    breaches: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Say whether nothing broke it."""
        return not self.breaches


def check(facts: Facts, leg_tolerance: Decimal) -> list[Invariant]:
    """Check I1 to I7. I8 is an experiment, not a look: see `verify`."""
    ours = {intent.client_order_id: intent for intent in facts.intents}
    return [
        Invariant("I1", "each intent has at most one broker order", len(ours), tuple(_doubled(facts, ours))),
        Invariant(
            "I2", "every broker order of ours has an intent", len(facts.broker_orders), tuple(_strays(facts, ours))
        ),
        Invariant(
            "I3", "fills = filled = ledger = positions", len(facts.intents), tuple(_shares_differ(facts, ours))
        ),
        Invariant("I4", "the ledger sums to zero", facts.ledger_entries, facts.unbalanced),
        Invariant(
            "I5", "every open trade is whole or pages", len(facts.trades), tuple(_broken(facts, leg_tolerance))
        ),
        Invariant("I6", "one event per state change", len(facts.versions), tuple(_untold(facts))),
        Invariant(
            "I7",
            "no entry but as approved, no order while halted",
            len(facts.intents),
            (*_not_approved(facts), *_sent_against_risk(facts, ours)),
        ),
    ]


def check_books(facts: Facts, leg_tolerance: Decimal) -> list[Invariant]:
    """Check I3 to I7 as far as they are about the books alone: what the broker holds is taken to be what they say."""
    believed = tuple(PositionReport(symbol, quantity) for symbol, quantity in facts.held.items())
    return check(replace(facts, broker_positions=believed), leg_tolerance)[2:]


def _doubled(facts: Facts, ours: Mapping[str, OrderIntent]) -> Iterable[str]:
    counts = Counter(order.client_order_id for order in facts.broker_orders)
    yield from (f"{name}: {count} broker orders" for name, count in counts.items() if count > 1)
    for order in facts.broker_orders:
        intent = ours.get(order.client_order_id)
        if intent and intent.broker_order_id not in (None, order.broker_order_id):
            yield f"{order.client_order_id}: broker order {order.broker_order_id}, booked {intent.broker_order_id}"
        elif intent and (order.symbol, order.quantity) != (intent.symbol, intent.quantity):
            theirs, meant = f"{plain(order.quantity)} {order.symbol}", f"{plain(intent.quantity)} {intent.symbol}"
            yield f"{order.client_order_id}: {theirs} at the broker, meant {meant}"


def _strays(facts: Facts, ours: Mapping[str, OrderIntent]) -> Iterable[str]:
    for order in facts.broker_orders:
        intent = ours.get(order.client_order_id)
        if intent is None:
            yield f"{order.client_order_id}: no intent"
        elif intent.state in NEVER_SENT:
            yield f"{order.client_order_id}: the intent says it was never sent"


def _shares_differ(facts: Facts, ours: Mapping[str, OrderIntent]) -> Iterable[str]:
    for intent in facts.intents:
        booked = facts.filled.get(intent.id, Decimal(0))
        if booked != intent.filled_quantity:
            yield f"{intent.client_order_id}: {booked} booked, {intent.filled_quantity} filled"
    for order in facts.broker_orders:
        known = ours.get(order.client_order_id)
        if known and known.filled_quantity != order.filled_quantity:
            yield f"{order.client_order_id}: {known.filled_quantity} here, {order.filled_quantity} at the broker"
    yield from _unknown_to_the_broker(facts)
    yield from facts.misbooked
    yield from _results_differ(facts)
    yield from _legs_differ(facts)
    theirs = {p.symbol: p.quantity for p in facts.broker_positions}
    external = _external(facts, ours)
    for symbol in {*facts.held, *facts.ledger_shares}:
        held, ledger = facts.held.get(symbol, Decimal(0)), facts.ledger_shares.get(symbol, Decimal(0))
        told = theirs.get(symbol, Decimal(0))
        # Where we hold nothing, what the account holds is somebody else's.
        differs = held and told not in (held, held + external.get(symbol, Decimal(0)))
        if held != ledger or differs:
            yield f"{symbol}: positions {plain(held)}, ledger {plain(ledger)}, broker {plain(told)}"


def _unknown_to_the_broker(facts: Facts) -> Iterable[str]:
    """What was filled since the look's beginning, the broker has an order for."""
    theirs = {order.client_order_id for order in facts.broker_orders}
    for intent in facts.intents:
        is_in_sight = facts.since is not None and intent.slot >= facts.since
        if is_in_sight and intent.filled_quantity and intent.client_order_id not in theirs:
            filled = plain(intent.filled_quantity)
            yield f"{intent.client_order_id}: {filled} filled, and the broker has no such order"


def _results_differ(facts: Facts) -> Iterable[str]:
    """The result of a finished trade is what its entries moved into cash."""
    for trade in facts.trades:
        told, cash = trade.realized_pnl or Decimal(0), facts.cash.get(trade.id, Decimal(0))
        if trade.state in FINISHED_TRADES and abs(told - cash) > A_DOLLARS_FINEST_PART:
            yield f"{trade.pair_id} {trade.state}: its result is {plain(told)}, the ledger's cash {plain(cash)}"


def _external(facts: Facts, ours: Mapping[str, OrderIntent]) -> dict[str, Decimal]:
    """Sum what somebody else traded in our symbols since our first trade there: an entry finds none of it before."""
    since: dict[str, datetime] = {}
    for trade in facts.trades:
        for leg in trade.legs:
            symbol = trade.symbol(leg)
            since[symbol] = min(trade.slot, since.get(symbol, trade.slot))
    known = {intent.broker_order_id for intent in facts.intents}
    known |= {order.broker_order_id for order in facts.broker_orders if order.client_order_id in ours}
    return external_shares(facts.broker_fills, {each for each in known if each}, since)


def _legs_differ(facts: Facts) -> Iterable[str]:
    """A leg holds what its orders filled and what companies' actions added."""
    filled: dict[tuple[UUID, int], Decimal] = defaultdict(Decimal, facts.adjusted)
    for intent in facts.intents:
        filled[intent.pair_trade_id, intent.leg] += facts.filled.get(intent.id, Decimal(0))
    for trade in facts.trades:
        for leg in trade.legs:
            held = facts.leg_shares.get((trade.id, trade.symbol(leg)), Decimal(0))
            if held != filled[trade.id, leg]:
                yield f"{trade.pair_id} leg {leg}: holds {held}, fills and actions make {filled[trade.id, leg]}"


def _broken(facts: Facts, tolerance: Decimal) -> Iterable[str]:
    for trade in facts.trades:
        shares = [facts.leg_shares.get((trade.id, trade.symbol(leg)), Decimal(0)) for leg in trade.legs]
        held = " and ".join(map(str, shares))
        if trade.state in FINISHED_TRADES and any(shares):
            yield f"{trade.pair_id} {trade.state}: still holds {held}"
        elif trade.state is PairTradeState.OPEN and not _is_whole(trade, shares, tolerance):
            yield f"{trade.pair_id} open: holds {held}"
        elif (
            trade.state is PairTradeState.OPENING and _hangs(trade, shares, tolerance) and not _is_paged(trade, facts)
        ):
            yield f"{trade.pair_id} opening: holds {held}, and nobody was told"
        elif trade.state is PairTradeState.ORPHANED and not _is_paged(trade, facts):
            yield f"{trade.pair_id} orphaned without an alert"


def _is_paged(trade: PairTrade, facts: Facts) -> bool:
    """Say whether people were told of this trade, and not of one before it in the same pair."""
    return trade.pair_id in facts.paged and facts.paged[trade.pair_id] >= trade.slot


def _hangs(trade: PairTrade, shares: list[Decimal], tolerance: Decimal) -> bool:
    return any(shares) and not _is_whole(trade, shares, tolerance)


def _is_whole(trade: PairTrade, shares: list[Decimal], tolerance: Decimal) -> bool:
    filled = [share / trade.target(leg) for leg, share in zip(trade.legs, shares, strict=True)]
    # Whole shares: one share of the smaller leg is the finest step there is.
    step = max(1 / abs(trade.target(leg)) for leg in trade.legs)
    return min(filled) > 0 and max(filled) - min(filled) <= max(tolerance, step)


def _not_approved(facts: Facts) -> Iterable[str]:
    """An entry is what risk approved for its slot: on that side, of no more shares, and sent in time."""
    trades = {trade.id: trade for trade in facts.trades}
    filled: dict[tuple[UUID, int], Decimal] = defaultdict(Decimal)
    for intent in facts.intents:
        if intent.action is not OrderAction.OPEN:
            continue
        trade = trades[intent.pair_trade_id]
        legs = facts.approved.get((trade.pair_id, trade.slot))
        approved = Decimal(0) if legs is None else legs[intent.leg - 1]
        filled[trade.id, intent.leg] += intent.filled_quantity
        most = max(intent.quantity, filled[trade.id, intent.leg], key=abs)
        if legs is None:
            yield f"{intent.client_order_id}: no approval"
        elif most * approved <= 0 or abs(most) > abs(approved):
            yield f"{intent.client_order_id}: {plain(most)} shares, {plain(approved)} approved"
        if intent.sent_at is not None and intent.sent_at - trade.slot > STALE_AFTER:
            yield f"{intent.client_order_id}: sent {intent.sent_at - trade.slot} after its slot"


def _sent_against_risk(facts: Facts, ours: Mapping[str, OrderIntent]) -> Iterable[str]:
    """Follow the log: whoever sends holds the risk state, so that no change of it is recorded in between."""
    changes = [said for said in facts.log if isinstance(said, RiskChanged)]
    state = changes[0].before if changes else RiskState.ACTIVE
    for said in facts.log:
        if isinstance(said, RiskChanged):
            state = said.after
        elif said.client_order_id in ours and not allows(state, ours[said.client_order_id].action):
            yield f"{said.client_order_id}: sent while {state}"


def _untold(facts: Facts) -> Iterable[str]:
    told = defaultdict(tuple, facts.told)
    for aggregate, version in facts.versions.items():
        if sorted(told[aggregate]) != list(range(1, version + 1)):
            yield f"{aggregate[0]} {aggregate[1]} is at version {version}, the outbox tells {sorted(told[aggregate])}"
    for aggregate in facts.told:
        if aggregate not in facts.versions:
            yield f"the outbox tells of {aggregate[0]} {aggregate[1]}, which does not exist"
