"""What must hold after every step, and what must hold once everything has come to rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

from src.shared.domain.ids import client_order_prefix
from src.shared.domain.risk import RiskState
from tests.simulation.process import Process
from tests.simulation.world import SYMBOLS, Violation, World

_ORDERS = """
    SELECT i.client_order_id, i.pair_trade_id::text, i.leg, i.action, t.pair_id,
           CASE i.leg WHEN 1 THEN t.target_1 ELSE t.target_2 END AS target
      FROM execution.order_intent i JOIN execution.pair_trade t USING (pair_trade_id)
"""
_IN_MOTION = """
    SELECT pair_id || ' ' || state FROM execution.pair_trade
     WHERE state NOT IN ('open', 'closed', 'unwound', 'abandoned') ORDER BY 1
"""
_UNDELIVERED = "SELECT count(*) FROM ops.outbox WHERE published_at IS NULL"
_EFFECTS = """
    SELECT o.channel || ' ' || o.event_id::text, count(e.event_id) FROM ops.outbox o
      LEFT JOIN simulation.effect e USING (event_id) GROUP BY 1 HAVING count(e.event_id) <> 1 ORDER BY 1 LIMIT 3
"""
_CASH = "SELECT coalesce(sum(amount), 0) FROM execution.ledger_posting WHERE account = 'cash' AND asset = 'USD'"
_HELD = "SELECT symbol, sum(quantity) FROM execution.position GROUP BY 1"


def look(world: World) -> None:
    """Check what must hold at any moment, whoever was killed where, against what the venue really has.

    Raises:
        Violation: something does not hold.
    """
    if world.noticed:
        raise world.noticed[0]
    orders = _ours(world.admin("state")["orders"], world)
    doubled = [name for name, count in Counter(order["client_order_id"] for order in orders).items() if count > 1]
    if doubled:
        raise Violation("I1", f"{doubled[0]} is at the venue twice")
    known = {row[0]: row for row in world.around.admin.execute(_ORDERS)}
    strays = [order["client_order_id"] for order in orders if order["client_order_id"] not in known]
    if strays:
        raise Violation("I2", f"{strays[0]} is at the venue without an intent")
    _check_shares(orders, known, world)


def _check_shares(orders: list[dict[str, Any]], known: dict[str, Any], world: World) -> None:
    opened: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    held: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    targets: dict[tuple[str, int], tuple[str, Decimal]] = {}
    for order in orders:
        _, trade, leg, action, pair, target = known[order["client_order_id"]]
        filled = _signed(order, "filled_qty")
        held[trade, leg] += filled
        targets[trade, leg] = pair, target
        if action == "open":
            opened[trade, leg] += abs(filled)
    for key, (pair, target) in targets.items():
        if opened[key] > abs(target):
            raise Violation("target", f"{pair} leg {key[1]}: {opened[key]} opened, {target} wanted")
        if held[key] * target < 0 and not world.fills_late:
            raise Violation("turned", f"{pair} leg {key[1]}: an exit left {held[key]} of {target}")


def settle(world: World) -> None:
    """Let every fault end and the processes come to rest, then check everything.

    Raises:
        Violation: it does not come to rest, or something does not hold.
    """
    process = _come_to_rest(world)
    _check_invariants(world, process)
    _check_venue(world)
    _check_outbox(world, process)
    look(world)


def _come_to_rest(world: World) -> Process:
    world.calm()
    process = world.start()
    world.attempt(
        process, lambda each: each.risk.set_state(RiskState.ACTIVE, "ann", "it is over", world.clock.true())
    )
    differences: tuple[str, ...] = ()
    for _ in range(8):
        world.next_slot()
        world.take_back_what_was_traded_by_hand()
        outcome = world.attempt(process, lambda each: world.gates.append(world.gate(each)))
        look(world)
        differences = world.gates[-1].differences if outcome == "done" else (outcome,)
        moving = [text for (text,) in world.around.admin.execute(_IN_MOTION)]
        if not differences and not moving:
            return process
    raise Violation("rest", "; ".join([*differences, *moving]))


def _check_invariants(world: World, process: Process) -> None:
    found = process.execution.verification.run(world.began - timedelta(days=1))
    for invariant in found:
        if not invariant.holds:
            raise Violation(invariant.name, "; ".join(invariant.breaches[:2]))


def _check_venue(world: World) -> None:
    state, admin = world.admin("state"), world.around.admin
    still_open = [o["client_order_id"] for o in _ours(state["orders"], world) if o["status"] in _OPEN]
    if still_open:
        raise Violation("rest", f"{still_open[0]} is still open at the venue")
    theirs = {each["symbol"]: Decimal(each["qty"]) for each in state["positions"]}
    ours: dict[str, Decimal] = dict(admin.execute(_HELD).fetchall())
    external, external_cash = world.external(state["fills"])
    for symbol in SYMBOLS:
        expected = ours.get(symbol, Decimal(0)) + external[symbol]
        if theirs.get(symbol, Decimal(0)) != expected:
            raise Violation("I3", f"{symbol}: {theirs.get(symbol, 0)} at the venue, {expected} in the books")
    row = admin.execute(_CASH).fetchone()
    moved = Decimal(state["cash"]) - Decimal(state["opening_cash"]) - external_cash
    if row is None or row[0] != moved:
        raise Violation("I4", f"cash moved by {row and row[0]} in the books, by {moved} at the venue")


def _check_outbox(world: World, process: Process) -> None:
    admin = world.around.admin
    process.tell_what_happened()
    left = admin.execute(_UNDELIVERED).fetchone()
    if left is None or left[0]:
        raise Violation("I6", f"{left and left[0]} events were never published")
    uneven = admin.execute(_EFFECTS).fetchone()
    if uneven:
        raise Violation("I6", f"{uneven[0]} had its effect {uneven[1]} times")


_OPEN = frozenset({"pending_new", "accepted", "new", "partially_filled", "pending_cancel"})


def _ours(orders: list[dict[str, Any]], world: World) -> list[dict[str, Any]]:
    prefix = client_order_prefix(world.settings.environment)
    return [order for order in orders if order["client_order_id"].startswith(prefix)]


def _signed(order: dict[str, Any], what: str) -> Decimal:
    return Decimal(order[what]) * (1 if order["side"] == "buy" else -1)
