"""What happens in a seed: a weighted sequence of cycles, faults, kills, restarts and clock steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from src.services.execution.use_cases.desk import Person
from src.shared.domain.risk import RiskState
from tests.simulation.checks import look, settle
from tests.simulation.network import FAULTS, WireFault
from tests.simulation.process import Held, Process
from tests.simulation.world import BETA, SYMBOLS, Violation, World

STEPS = 40
_KINDS = ("order", "order", "order", "cancel", "lookup", "lookup", "orders", "positions", "fills", "clock", "any")
_PLACES = (30, 120, 400)
"""A process is killed or held at one of its first so many places; how many, is drawn too."""

_SYMBOL_TROUBLE: tuple[dict[str, Any], ...] = (
    {"no_fill": True},
    {"halted": True},
    {"shortable": False},
    {"easy_to_borrow": False},
    {"tradable": False},
    {"reject_side": "buy", "reject_code": 40310000, "reject_message": "insufficient buying power"},
    {"reject_side": "sell"},
    {"reject_side": "buy", "reject_async": True},
)
_LIES: tuple[dict[str, Any], ...] = (
    {"kind": "invisible", "seconds": 3},
    {"kind": "invisible", "seconds": 25},
    {"kind": "partial_fill", "fraction": 0.4, "rest": "never"},
    {"kind": "partial_fill", "fraction": 0.7, "rest": "later"},
    {"kind": "partial_fill", "fraction": 0.5, "rest": "after_cancel"},
    {"kind": "no_fill"},
    {"kind": "no_fill"},
    {"kind": "no_fill"},
    {"kind": "reject_async"},
    {"kind": "short_refused"},
    {"kind": "reject", "code": 40310000, "message": "insufficient buying power"},
    {"kind": "cancel_too_late"},
    {"kind": "fill_during_cancel", "fraction": 0.5},
    {"kind": "fill_during_cancel", "seconds": 20},
    {"kind": "late_fill_after_cancel", "seconds": 60, "fraction": 0.5},
    {"kind": "slow_cancel", "seconds": 20},
    {"kind": "stuck_pending_cancel"},
    {"kind": "lost_fill"},
    {"kind": "lag", "of": "positions", "seconds": 30},
    {"kind": "lag", "of": "activities", "seconds": 30},
    {"kind": "missing_rows", "endpoint": "GET /v2/positions"},
    {"kind": "missing_rows", "endpoint": "GET /v2/orders"},
    {"kind": "extra", "endpoint": "GET /v2/positions", "set": {"qty": "many"}},
    {"kind": "extra", "endpoint": "GET /v2/orders*", "set": {"status": "bewitched", "new_field": 1}},
    {"kind": "extra", "endpoint": "POST /v2/orders", "null_answer": True},
    {"kind": "clock_skew", "seconds": 600},
    {"kind": "clock_skew", "seconds": -600},
    {"kind": "clock_back", "seconds": 600},
)
"""What the venue may do besides; see the rules of the twin's faults."""

_LASTING = frozenset({"lag", "clock_skew"})


class Schedule:
    """One seed: draws operations and carries them out on a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random: Random = world.random
        self._process: Process = world.start()
        self._held: list[Held] = []

    def run(self, steps: int = STEPS) -> None:
        """Carry out so many operations, then let everything come to rest.

        Raises:
            Violation: with the step at which something did not hold.
        """
        for step in range(1, steps + 1):
            self._step(step, self._draw())
        self._step(steps + 1, self._settle)

    def _step(self, step: int, operation: Callable[[], str]) -> None:
        name = operation.__name__.strip("_").replace("_", " ")
        self._world.trace(f"{step} {self._world.clock.true():%Y-%m-%d %H:%M:%S} {name}")
        try:
            self._world.trace(f"  = {operation()}")
            look(self._world)
        except Violation as violation:
            violation.step = step
            raise

    def _draw(self) -> Callable[[], str]:
        operations = [operation for operation, _ in self._operations()]
        weights = [weight for _, weight in self._operations()]
        return self._random.choices(operations, weights)[0]

    def _operations(self) -> list[tuple[Callable[[], str], int]]:
        return [
            (self._cycle, 22),
            (self._cycle_with_faults, 14),
            (self._cycle_killed, 12),
            (self._cycle_without_postgres, 4),
            (self._gate, 6),
            (self._gate_killed, 5),
            (self._same_slot_again, 4),
            (self._late_slot, 4),
            (self._hold_a_cycle, 5),
            (self._go_on, 12 if self._held else 0),
            (self._end_held_sessions, 12 if self._held else 0),
            (self._restart, 3),
            (self._wire_faults, 8),
            (self._symbol_trouble, 6),
            (self._venue_lies, 12),
            (self._venue_is_well, 5),
            (self._wait, 4),
            (self._next_day, 3),
            (self._before_the_close, 3),
            (self._set_host_clock, 3),
            (self._person, 2),
            (self._trade_by_hand, 2),
            (self._person_closes, 3),
            (self._pay_in_or_out, 2),
            (self._carry_on, 6),
            (self._carry_on_killed, 3),
            (self._watch_the_portfolio, 3),
            (self._relay, 4),
            (self._relay_killed, 4),
        ]

    # Cycles

    def _cycle(self) -> str:
        self._world.next_slot()
        return self._run(self._world.cycle)

    def _cycle_with_faults(self) -> str:
        return f"{self._wire_faults()}; {self._cycle()}"

    def _cycle_killed(self) -> str:
        self._world.next_slot()
        self._plan("kill")
        first = self._run(self._world.cycle)
        return f"{first}; then {self._run(self._world.cycle)}"

    def _cycle_without_postgres(self) -> str:
        self._world.next_slot()
        self._plan("cut")
        return self._run(self._world.cycle)

    def _gate(self) -> str:
        self._world.clock.sleep(self._random.choice((5, 60, 300)))
        return self._run(self._world.gate)

    def _gate_killed(self) -> str:
        self._plan("kill")
        return self._run(self._world.gate)

    def _same_slot_again(self) -> str:
        return self._run(self._world.cycle)

    def _late_slot(self) -> str:
        if not self._world.gates:
            return "there is no earlier slot"
        old = self._random.choice(self._world.gates[-6:])
        gate = replace(old, reconciled=old.reconciled)
        self._process.gate_was_reconciled = gate.reconciled
        return self._run(lambda process: process.execution.cycle.execute_slot(gate))

    def _carry_on(self) -> str:
        """What the listener does when the venue says something happened, between two cycles."""
        self._world.clock.sleep(self._random.choice((1, 20, 90)))
        self._process.gate_was_reconciled = False
        return self._run(lambda process: process.execution.cycle.carry_on(wait=False))

    def _carry_on_killed(self) -> str:
        self._plan("kill")
        return self._carry_on()

    def _watch_the_portfolio(self) -> str:
        return self._run(self._world.watch)

    # Processes

    def _hold_a_cycle(self) -> str:
        """A process that is paused, and goes on when another may have taken over."""
        if self._held:
            return "one is held already"
        self._world.next_slot()
        sleeper = self._world.start()
        sleeper.plan = {self._place(): "hold"}
        held = Held(sleeper, lambda: self._world.attempt(sleeper, self._world.cycle))
        if held.is_over:
            self._retire(sleeper)
            return held.go_on()
        self._held.append(held)
        return f"{sleeper.name} is held"

    def _go_on(self) -> str:
        if not self._held:
            return "none is held"
        held = self._held.pop()
        outcome = held.go_on()
        self._retire(held.process)
        return outcome

    def _end_held_sessions(self) -> str:
        for held in self._held:
            held.process.cut()
        return f"{len(self._held)} lost their sessions"

    def _restart(self) -> str:
        self._retire(self._process)
        self._process = self._world.start()
        return self._process.name

    def _relay(self) -> str:
        return self._run(Process.tell_what_happened)

    def _relay_killed(self) -> str:
        self._plan("kill")
        return f"{self._run(Process.tell_what_happened)}; {self._run(Process.tell_what_happened)}"

    # Faults

    def _wire_faults(self) -> str:
        drawn = [self._wire_fault() for _ in range(self._random.choice((1, 1, 2, 3)))]
        self._world.network.faults += drawn
        return ", ".join(f"{each.fault} × {each.count} to {each.kind} after {each.skip}" for each in drawn)

    def _wire_fault(self) -> WireFault:
        draw = self._random
        return WireFault(
            draw.choice(FAULTS),
            draw.choice(_KINDS),
            draw.choice((0, 0, 1, 3)),
            draw.choice((1, 1, 2, 4, 12)),
            draw.choice((1.0, 12.0, 20.0, 45.0, 90.0)),
        )

    def _symbol_trouble(self) -> str:
        symbol, trouble = self._random.choice(SYMBOLS), self._random.choice(_SYMBOL_TROUBLE)
        self._world.admin("rules", symbol=symbol, **trouble)
        self._world.admin("settings", partial_fill_probability=self._random.choice((0.0, 0.0, 0.3, 0.8)))
        return f"{symbol} {trouble}"

    def _venue_lies(self) -> str:
        lie = {"times": self._random.choice((1, 1, 2, 5)), **self._random.choice(_LIES)}
        if lie["kind"] in _LASTING:
            del lie["times"]
        self._world.fills_late |= lie["kind"] in ("late_fill_after_cancel", "invisible")
        self._world.clock_lies |= lie["kind"] in ("clock_skew", "clock_back")
        self._world.admin("faults", **lie)
        return f"{lie}"

    def _venue_is_well(self) -> str:
        self._world.venue_is_well()
        return "all rules as they were"

    # Time and people

    def _wait(self) -> str:
        self._world.clock.sleep(self._random.choice((30, 120, 600, 1500)))
        return f"{self._world.clock.true():%H:%M:%S}"

    def _next_day(self) -> str:
        session = self._world.next_session()
        self._world.clock.sleep_until(session.open + timedelta(seconds=self._random.choice((-60, 1, 600))))
        return f"{self._world.clock.true():%m-%d %H:%M:%S}"

    def _before_the_close(self) -> str:
        close = self._world.next_close()
        self._world.clock.sleep_until(close - timedelta(seconds=self._random.choice((2, 20, 70))))
        return f"{self._run(self._world.cycle)}, close at {close:%H:%M}"

    def _set_host_clock(self) -> str:
        self._world.clock.skew = timedelta(minutes=self._random.choice((-10, -1, 0, 1, 10)))
        return f"off by {self._world.clock.skew}"

    def _person(self) -> str:
        state = self._random.choice((RiskState.HALTED, RiskState.REDUCING, *[RiskState.ACTIVE] * 3))
        now = self._world.clock.true()
        return f"{state}: {self._run(lambda each: each.risk.set_state(state, 'ann', 'a drill', now))}"

    def _trade_by_hand(self) -> str:
        symbol, side, shares = self._random.choice(SYMBOLS), self._random.choice(("buy", "sell")), 3
        return f"{side} {shares} {symbol}: {self._world.trade_by_hand(symbol, side, shares)}"

    def _person_closes(self) -> str:
        """Close one pair, or everything, between two cycles."""
        self._world.clock.sleep(self._random.choice((5, 300)))
        pair = self._random.choice((*BETA, None, None))
        ann = Person("ann", "a drill")
        self._process.gate_was_reconciled = False
        if pair is None:
            return f"flatten: {self._run(lambda each: each.execution.desk.flatten(ann))}"
        return f"close {pair}: {self._run(lambda each: each.execution.desk.close(pair, ann))}"

    def _pay_in_or_out(self) -> str:
        dollars = self._random.choice((-2000, -500, 500, 2000))
        self._world.pay(dollars)
        return f"{dollars} dollars"

    def _settle(self) -> str:
        while self._held:
            self._go_on()
        self._retire(self._process)
        settle(self._world)
        return "all holds"

    # Helpers

    def _run(self, work: Callable[[Process], object]) -> str:
        outcome = self._world.attempt(self._process, work)
        self._process.plan.clear()
        if self._process.dead:
            self._process = self._world.start()
        return outcome

    def _plan(self, what: str) -> None:
        self._process.plan = {self._process.places + self._place(): what}

    def _place(self) -> int:
        return self._random.randint(1, self._random.choice(_PLACES))

    def _retire(self, process: Process) -> None:
        process.bury()
