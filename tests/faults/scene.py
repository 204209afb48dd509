"""A slot of trading at a venue that lies, and what is true of it.

Time passes only when execution waits, for it and for the market alike, so that it waits as long as in production and
no test takes long. What a test puts off happens on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, select

from src.config.settings import load_settings
from src.services.execution.bootstrap import ExecutionService, build
from src.services.execution.use_cases.cycle import Gate
from src.shared.domain.errors import Transient
from src.shared.domain.ids import client_order_id, client_order_prefix, pair_trade_id
from src.shared.domain.orders import OrderAction, OrderReport
from src.shared.domain.signals import SignalAction
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import alert, order_intent, pair_trade, quarantine
from tests.fakes.pairs import registered_pair, write_pair
from tests.fakes.twin_server import TwinAdmin, TwinHandle
from tests.integration.execution.processes import approve

MARKET_SEED = 11
SLOT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
AFTER_ITS_SLOT = timedelta(seconds=5)
A, B, C = "KELV", "KYLO", "QVEL"
PAIR, SHARING, ELSEWHERE = f"{A}/{B}", f"{A}/{C}", "ZORN/ZEMA"
"""An entry of `PAIR` sells B first and buys A then. `SHARING` has A too; `ELSEWHERE` has nothing in common."""

LONG = (5, -4)
ENTER, ENTER_SHORT, EXIT = SignalAction.ENTER_LONG, SignalAction.ENTER_SHORT, SignalAction.EXIT
ORDERS, LOOK_UP = "POST /v2/orders", "GET /v2/orders:by_client_order_id"
FOR_EVER = 600
PASSES_TO_REST = 5
_ENVIRONMENT = "twin"
_STANDING = frozenset({"lag", "halt"})


@dataclass
class MarketTime:
    """The host's clock and the market's, which move together and only when somebody waits."""

    admin: TwinAdmin
    time: datetime
    _due: list[tuple[datetime, Callable[[], object]]] = field(default_factory=list)

    def now(self) -> datetime:
        """Return the time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.move_to(self.time + timedelta(seconds=seconds))

    def move_to(self, moment: datetime) -> None:
        """Let time pass up to a moment, and what was put off happen in it."""
        self.time = moment
        self.admin.move_clock(moment.isoformat())
        for each in [due for due in self._due if due[0] <= moment]:
            self._due.remove(each)
            each[1]()

    def put_off(self, seconds: float, what: Callable[[], object]) -> None:
        """Do something once so many seconds have passed."""
        self._due.append((self.time + timedelta(seconds=seconds), what))


@dataclass
class Scene:
    """The venue, the database, and execution between them."""

    twin: TwinHandle
    engine: Engine
    service: ExecutionService
    broker: AlpacaClient
    clock: MarketTime
    slot: datetime = SLOT

    # What happens

    def lie(self, kind: str, **rule: Any) -> int:
        """Have the venue lie; return the number of the rule."""
        return self.twin.admin.fault(kind=kind, **rule)

    def end(self, rule: int) -> None:
        """End one lie, which must have been told."""
        assert self.times_told(rule) > 0
        self.twin.admin.client.delete(f"/admin/faults/{rule}").raise_for_status()

    def times_told(self, rule: int) -> int:
        """Count how often a rule has met its requests."""
        return next(int(each["fired"]) for each in self.twin.admin.faults() if each["id"] == rule)

    def tell_the_truth(self) -> None:
        """End every lie. Each must have been told: a fault that met nothing tests nothing."""
        unused = [f for f in self.twin.admin.faults() if not f["fired"] and f["kind"] not in _STANDING]
        assert unused == []
        self.twin.admin.clear_faults()

    def approve(self, action: SignalAction, pair: str = PAIR, quantities: tuple[int, int] = LONG) -> None:
        """Write a signal and risk's approval for the slot of now."""
        approve(self.engine, self.slot, action, pair, quantities)

    def run(self) -> Gate:
        """Run a cycle: the gate and the slot."""
        gate = self.service.cycle.open_gate()
        self.service.cycle.execute_slot(gate)
        return gate

    def enter(self, pair: str = PAIR, quantities: tuple[int, int] = LONG) -> Gate:
        """Approve an entry and run the cycle."""
        self.approve(ENTER, pair, quantities)
        return self.run()

    def open_pair(self, *pairs: str) -> None:
        """Have open trades, and the next hour."""
        for pair in pairs or (PAIR,):
            self.approve(ENTER, pair)
        self.run()
        assert set(self.states()) == {"open"}
        self.next_hour()

    def next_hour(self) -> None:
        """Move on to the next slot."""
        self.slot += HOUR
        self.clock.move_to(self.slot + AFTER_ITS_SLOT)

    def just_before_sending(self, named: str, happens: Callable[[], object]) -> None:
        """Have something happen, once, when an order of ours is written down and not sent yet."""
        real = self.broker.submit_market_order

        def submit(name: str, symbol: str, quantity: Decimal, **options: bool) -> OrderReport:
            if name == named:
                self.broker.submit_market_order = real  # type: ignore[method-assign]
                happens()
            return real(name, symbol, quantity, **options)

        self.broker.submit_market_order = submit  # type: ignore[method-assign, assignment]

    # What is true

    @property
    def posts(self) -> int:
        """How many orders arrived at the venue, taken or not."""
        return int(self.twin.admin.state()["order_posts"])

    @property
    def orders(self) -> list[tuple[str, int, str]]:
        """Symbol, signed shares and status of our orders at the venue, oldest first."""
        ours = [o for o in self.twin.admin.state()["orders"] if _is_ours(o)]
        return [(o["symbol"], _signed(o["side"], o["qty"]), o["status"]) for o in ours]

    @property
    def held(self) -> dict[str, int]:
        """Signed shares of the account by symbol."""
        return {p["symbol"]: _signed(p["side"], p["qty"]) for p in self.twin.admin.state()["positions"]}

    # What is written down

    def states(self) -> list[str]:
        """List the states of all trades, oldest first."""
        return [state for _, state in self._trades()]

    def state_of(self, pair: str) -> str:
        """Return the state of a pair's newest trade."""
        return dict(self._trades())[pair]

    def alerts(self) -> list[tuple[str, str]]:
        """List severity and title of what people were told."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(alert.c.severity, alert.c.title))]

    def quarantined(self) -> list[str]:
        """List the kinds of what was put aside."""
        with self.engine.connect() as connection:
            return list(connection.execute(select(quarantine.c.kind)).scalars())

    def waited_before_sending(self) -> list[float]:
        """Return, for each order, the seconds between its plan and its last request."""
        with self.engine.connect() as connection:
            i = order_intent.c
            rows = connection.execute(select(i.created_at, i.sent_at).order_by(i.created_at, i.client_order_id))
            return [(sent - planned).total_seconds() for planned, sent in rows]

    def name(self, leg: int, action: OrderAction = OrderAction.OPEN, pair: str = PAIR) -> str:
        """Return the client order id of a leg's first order in the slot."""
        return client_order_id(_ENVIRONMENT, pair_trade_id(_ENVIRONMENT, pair, self.slot), leg, action.value, 1)

    def comes_to_rest(self, states: list[str], held: dict[str, int]) -> None:
        """End all lies, trade on until nothing moves, and check what is true, what is written down, and I1 to I8."""
        self.tell_the_truth()
        assert any(self._is_quiet_pass() for _ in range(PASSES_TO_REST))
        assert (self.states(), self.held) == (states, held)
        named = Counter(o["client_order_id"] for o in self.twin.admin.state()["orders"])
        assert [name for name, count in named.items() if count > 1] == []
        assert self.broken_invariants() == []

    def broken_invariants(self) -> list[str]:
        """List what breaks an invariant."""
        found = self.service.verification.run(SLOT - HOUR)
        assert [i.name for i in found] == [f"I{n}" for n in range(1, 9)]
        # Signals and decisions are written here without their events; their services tell them.
        return [f"{i.name} {b}" for i in found for b in i.breaches if not b.startswith(("signal ", "risk_", "pair "))]

    def _is_quiet_pass(self) -> bool:
        before = self.states(), self.posts
        try:
            self.run()
        except Transient:
            return False
        return (self.states(), self.posts) == before

    def _trades(self) -> list[tuple[str, str]]:
        t = pair_trade.c
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(t.pair_id, t.state).order_by(t.slot, t.pair_id))]


@contextmanager
def open_scene(database_url: str, twin: TwinHandle, read_seconds: float) -> Iterator[Scene]:
    """A scene just after its first slot, with three pairs and an honest venue where nothing has been traded."""
    twin.admin.clear_faults()
    twin.admin.post("rules", reset=True)
    start = SLOT + AFTER_ITS_SLOT
    twin.admin.move_clock(start.isoformat(), reset=True)
    twin.admin.reset()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "ENVIRONMENT": _ENVIRONMENT,
            "BASE_URL": twin.url,
            "DATA_URL": twin.url,
            "REQUESTS_PER_MINUTE": "10000",
            "READ_TIMEOUT_SECONDS": str(read_seconds),
        }.items():
            environment.setenv(f"TRADEWINDS_ALPACA_{name}", value)
        environment.setenv("TRADEWINDS_EXECUTION_POLL_SECONDS", "5")
        settings = load_settings()
    engine = make_engine(database_url, settings.database)
    with engine.begin() as connection:
        for pair in (PAIR, SHARING, ELSEWHERE):
            write_pair(connection, registered_pair(pair, SLOT))
    broker, clock = make_alpaca_client(settings), MarketTime(twin.admin, start)
    try:
        yield Scene(twin, engine, build(settings, engine, broker, clock), broker, clock)
    finally:
        twin.admin.clear_faults()
        engine.dispose()


def _is_ours(order: dict[str, Any]) -> bool:
    return str(order["client_order_id"]).startswith(client_order_prefix(_ENVIRONMENT))


def _signed(side: str, quantity: str) -> int:
    shares = abs(int(float(quantity)))
    return shares if side in ("buy", "long") else -shares
