"""A whole slot in a process of its own, on a database and a twin that are set back to the same beginning each time.

At the beginning (`SLOT`, its bars not yet stored) one trade is open and its exit is due, one is being closed by a
process that died between saying that it sends an order and sending it, three pairs are about to be entered, of which
the twin will fill some only in part, and an instance is about to buy a symbol for itself. Another one's entry was
given up and its order cancelled, which the twin filled all the same: the gate of the slot is the first to hear of it,
as it is of a dividend, over whose day the open trade was held. When the slot is traded, the portfolio
is watched, people set a limit and the risk state, somebody sells a share of ours by hand, a gate finds that while the
broker spoils one of its answers, and the share is bought back.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from queue import Queue
from typing import Any
from uuid import uuid4

import httpx
import pytest
from loguru import logger
from sqlalchemy import Connection, Engine, select, text

from src.config.settings import Settings, load_settings
from src.services.execution.bootstrap import ExecutionService, HostClock, build
from src.services.execution.ports import WallClock
from src.services.execution.use_cases.desk import Person
from src.services.strategy_engine.bootstrap import build_slots
from src.shared.domain.errors import DuplicateOrderId
from src.shared.domain.instances import InstanceMode
from src.shared.domain.risk import RiskState
from src.shared.failpoints import arm
from src.shared.infra.bus.consumer import Consumer
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import alert, ledger_entry, order_intent, outbox, pair_trade
from src.shared.infra.embedded.postgres import EmbeddedPostgres
from src.shared.infra.embedded.stack import redis_url, trading_database_url
from src.shared.infra.postgres_roles import APP_ROLE
from src.shared.messages.envelope import Envelope
from src.shared.prefect.tasks.wiring import Services
from tests.chaos.nursery import TRANSIENT, Nursery, nursery
from tests.fakes.pairs import write_fitted_pair
from tests.fakes.strategy_runner import InlineRunner
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.forked import context

SLOT = datetime(2025, 10, 21, 17, 30, tzinfo=UTC)
BEFORE = (datetime(2025, 10, 20, 14, 30, tzinfo=UTC), datetime(2025, 10, 21, 15, 30, tzinfo=UTC))
"""Slots in which the trades are entered that there are at the beginning."""

FIT_UNTIL = datetime(2025, 10, 17, 20, 0, tzinfo=UTC)
FIT_BARS = 300
PAIRS = (("VUNO", "VEXI"), ("ZORN", "ZEMA"), ("JARQ", "JOVA"))
SINGLE, SYMBOL = "single", "KELV"
"""An instance that holds one symbol, which is no pair's."""

BELATED, FILLED_LATE = "belated", "QVEL"
"""An instance whose only order, in `BEFORE`, was filled after it was cancelled."""

PARTIAL = 0.3
"""Of the orders of `SLOT`; drawn by client order id, so that the same ones are filled in part each time."""

DIVIDEND = {"type": "cash_dividend", "symbol": "JOVA", "ex_date": f"{SLOT:%Y-%m-%d}", "rate": "0.25"}
"""Of what is held over its day; told as late as `SLOT`."""

SPOILT = {"kind": "extra", "endpoint": "GET /v2/orders", "remove": ["client_order_id"], "times": 1}
_TWIN = "TRADEWINDS_ALPACA_BASE_URL"
SOMEBODY = Person("test", "chaos")

_BY_SOMEBODY: dict[str, Any] = {"who": SOMEBODY.who, "why": SOMEBODY.why, "now": SLOT}

DIES_AT = "execution.before_post:kill:3"
"""Where the process of the slot before `SLOT` dies: the first order of the second exit is being sent."""

CONSUMER = "matrix"
EFFECTS = "matrix_effect"
CONSUMED = "tradewinds.orders.Pair%"
LONGEST_SECONDS = 60.0
RETRIES = 2
"""Of a run with a transient failure: on a busy machine the twin may take longer than the short deadlines here."""

LANES = 2
"""So many slots are traded at the same time, each on its own database and twin."""

ROOT = Path(__file__).resolve().parents[2]

QUICK = {
    "TRADEWINDS_ENV_FILE": os.devnull,
    "TRADEWINDS_EXECUTION_UNKNOWN_WINDOW_SECONDS": "0.06",
    "TRADEWINDS_EXECUTION_POLL_SECONDS": "0.01",
    "TRADEWINDS_EXECUTION_LEG_DEADLINE_SECONDS": "0.05",
    "TRADEWINDS_EXECUTION_WRITER_WAIT_SECONDS": "30",
    "TRADEWINDS_ALPACA_REQUESTS_PER_MINUTE": "10000",
}
BUSY = {
    "TRADEWINDS_STRATEGY_ENTRY_Z": "0.8",
    "TRADEWINDS_STRATEGY_EXIT_Z": "0.7",
    "TRADEWINDS_STRATEGY_STOP_Z": "9",
    "TRADEWINDS_STRATEGY_HISTORY_BARS": "60",
    "TRADEWINDS_STRATEGY_OVERNIGHT": "true",
    "TRADEWINDS_RISK_CORRELATION_BARS": "30",
    "TRADEWINDS_RISK_MAX_CORRELATION": "1",
    "TRADEWINDS_RISK_MAX_NET_FRACTION": "4",
    "TRADEWINDS_RISK_MAX_GROSS_FRACTION": "4",
    "TRADEWINDS_RISK_MAX_SYMBOL_FRACTION": "1",
}


@dataclass(frozen=True)
class Hurried:
    """The host's clock; who waits by it waits a hundredth."""

    real: WallClock

    def now(self) -> datetime:
        return self.real.now()

    def sleep(self, seconds: float) -> None:
        self.real.sleep(seconds / 100)


@dataclass(frozen=True)
class HurriedServices(Services):
    """The wiring of every run, with a second look at a difference that comes sooner and an engine that stays."""

    @cached_property
    def engine(self) -> Engine:
        url = trading_database_url(self.settings)
        if url not in _ENGINES:
            _ENGINES[url] = make_engine(url, self.settings.database)
        return _ENGINES[url]

    @cached_property
    def execution(self) -> ExecutionService:
        return build(self.settings, self.engine, self.broker, Hurried(HostClock()))


_ENGINES: dict[str, Engine] = {}
_ENVIRONMENT = threading.Lock()


def give_connections_back() -> None:
    """Leave the engines without a connection, for others to be forked."""
    for engine in _ENGINES.values():
        engine.dispose()


@dataclass(frozen=True)
class Outcome:
    """What a slot came to.

    Trades with their states and with their results, entries of the ledger that no fill made, shares at the broker,
    and its orders with what was filled of each.
    """

    trades: Mapping[str, str]
    results: Mapping[str, Decimal | None]
    entries: Mapping[str, int]
    held: Mapping[str, str]
    orders: Mapping[str, str]


def trade_slot(environment: dict[str, str], failpoints: str) -> None:
    """Do what the flow of the slot does and what goes on beside it; the whole of a child process."""
    logger.remove()
    os.environ.update(environment)
    arm(failpoints)
    wired = HurriedServices(_settings())
    _trade(wired)
    _watch(wired)
    _meddle(wired)
    _deliver(wired)


@cache
def _settings() -> Settings:
    """Read the environment once: a process and its forks trade on one database."""
    return load_settings()


def _trade(wired: Services, symbol: str = SYMBOL) -> None:
    cycle = wired.execution.cycle
    gate = cycle.open_gate()
    symbols = [*wired.strategy.symbols_to_watch(), symbol]
    wired.ingestion.fetch_bars(symbols, gate.slot, wired.settings.strategy.history_bars)
    market = gate.market
    slots = build_slots(wired.settings, wired.engine, InlineRunner(wired.settings.strategy_folder))
    slots.run_instances(gate.slot, market.now, market.next_close)
    wired.strategy.evaluate_slot(gate.slot, market.now, market.next_close)
    wired.risk.review_slot(gate.slot, market.now, market.is_open, market.next_close, gate.reconciled)
    cycle.execute_slot(gate)
    wired.analytics.record_results(gate.slot)


def _watch(wired: Services) -> None:
    """Do what the other flows do, and what people do to limits."""
    now = wired.execution.cycle.market_clock().now
    wired.watch.raise_alerts(wired.watch.monitor(now))
    wired.quality.validate([], now)
    wired.execution.desk.record_positions()
    wired.limits.set("max_orders_per_day", "99999", SOMEBODY.who, SOMEBODY.why, now)
    for state in (RiskState.REDUCING, RiskState.ACTIVE):
        wired.risk.set_state(state, SOMEBODY.who, SOMEBODY.why, now)


def _meddle(wired: Services) -> None:
    """Sell one of our shares by hand, let a gate find it that can't read everything, and buy it back."""
    with wired.execution.cycle.store() as work:
        symbol = min(name for name, shares in work.repo.holdings().items() if shares > 1)
    _by_hand(wired, "by-hand-sell", symbol, -1)
    with httpx.Client(base_url=os.environ[_TWIN], verify=False) as admin:  # noqa: S501 (it is served on loopback)
        admin.post("/admin/faults", json=SPOILT).raise_for_status()
        wired.execution.desk.reconcile(SOMEBODY)
        admin.delete("/admin/faults").raise_for_status()
    _by_hand(wired, "by-hand-buy", symbol, 1)


def _by_hand(wired: Services, name: str, symbol: str, shares: int) -> None:
    try:
        wired.broker.submit_market_order(name, symbol, Decimal(shares))
    except DuplicateOrderId:
        logger.debug("{} was done before", name)


def _deliver(wired: Services) -> None:
    OutboxRelay(wired.engine, RedisBus(redis_url(wired.settings))).drain()
    Consumer(CONSUMER, wired.engine, _note_effect, patterns=[CONSUMED.replace("%", "*")]).catch_up()


def _note_effect(connection: Connection, envelope: Envelope) -> None:
    connection.execute(text(f"INSERT INTO {EFFECTS} VALUES (:id)"), {"id": envelope.event_id})  # noqa: S608


@dataclass
class Lane:
    """A database of one name and a twin, and where processes come from that trade on them."""

    server: EmbeddedPostgres
    twin: TwinHandle
    template: str
    history: list[dict[str, Any]]
    environment: dict[str, str]
    database: str
    keeper: Nursery | None = None

    @contextmanager
    def fresh(self) -> Iterator[Stage]:
        """A database and a twin at the beginning of the slot."""
        self.server.provision_trading(self.database, self.template)
        with self.server.connect() as connection:
            # It is our process that dies here, not the server: it need not wait for the disk.
            connection.execute(f"ALTER DATABASE {self.database} SET synchronous_commit = off")
        try:
            self._set_back_the_twin()
            yield Stage(self.twin, self.environment, self.keeper)
        finally:
            self.server.drop_database(self.database)

    def _set_back_the_twin(self) -> None:
        admin = self.twin.admin
        admin.clear_faults()
        admin.post("settings", partial_fill_probability=0.0)
        admin.move_clock((FIT_UNTIL + timedelta(seconds=1)).isoformat(), reset=True)
        admin.reset()
        _announce(self.twin)
        for now, orders in groupby(self.history, lambda order: order["clock"]):
            admin.move_clock(now)
            for order in orders:
                self._send_again(order)
        admin.move_clock(_clock_at(SLOT))
        admin.post("settings", partial_fill_probability=PARTIAL)

    def _send_again(self, order: dict[str, Any]) -> None:
        """Send an order as it was sent then; one that was cancelled is filled after it was cancelled."""
        admin = self.twin.admin
        if order["was_canceled"]:
            admin.fault(kind="no_fill", symbol=FILLED_LATE)
            admin.fault(kind="late_fill_after_cancel", symbol=FILLED_LATE)
        answer = admin.client.post("/v2/orders", json=order["request"], headers=_KEYS)
        assert answer.is_success, answer.text
        if order["was_canceled"]:
            admin.client.delete(f"/v2/orders/{answer.json()['id']}", headers=_KEYS).raise_for_status()
            admin.clear_faults()


@dataclass(frozen=True)
class Scene:
    """The beginning of the slot, as often as one likes, and on several lanes at once."""

    lanes: Queue[Lane]

    @contextmanager
    def fresh(self) -> Iterator[Stage]:
        """A database and a twin at the beginning of the slot, once a lane is free."""
        lane = self.lanes.get()
        try:
            with lane.fresh() as stage:
                yield stage
        finally:
            self.lanes.put(lane)


_KEYS = {"APCA-API-KEY-ID": "chaos", "APCA-API-SECRET-KEY": "chaos"}


def _announce(twin: TwinHandle) -> None:
    twin.admin.post("corporate-actions", **DIVIDEND, announced_at=SLOT.isoformat())


@dataclass
class Stage:
    """One database and the twin, and this process's own view of both."""

    twin: TwinHandle
    environment: dict[str, str]
    keeper: Nursery | None

    def run(self, failpoints: str = "") -> int:
        """Trade the slot in a process of its own; returns how that ended."""
        assert self.keeper is not None
        return self.keeper.run(self.environment, failpoints, LONGEST_SECONDS)

    def run_until_done(self, *failpoints: str) -> list[int]:
        """Run it armed with each text in turn, then unarmed; says how each armed run ended."""
        ends = [self._run_as_a_flow(each) for each in failpoints]
        assert set(ends) <= {0, -signal.SIGKILL}, f"ended {ends}"
        last = self._run_as_a_flow()
        assert last == 0, f"ended {last} undisturbed"
        return ends

    def _run_as_a_flow(self, failpoints: str = "") -> int:
        """Run it again when a retry may mend its failure, as its flow does; returns how the last of them ended."""
        ends = (self.run(failpoints) for _ in range(1 + RETRIES))
        return next((end for end in ends if end != TRANSIENT), TRANSIENT)

    def outcome(self) -> Outcome:
        """Say what it came to."""
        with self.services() as wired, wired.engine.connect() as connection:
            trades = {f"{t.pair_id} {t.slot:%d %H:%M}": t for t in connection.execute(select(pair_trade))}
            kinds = connection.execute(select(ledger_entry.c.kind).where(ledger_entry.c.kind != "trade")).scalars()
            entries = dict(Counter(kinds))
        states = {name: trade.state for name, trade in trades.items()}
        results = {name: trade.realized_pnl for name, trade in trades.items()}
        truth = self.twin.admin.state()
        orders = {
            each["client_order_id"]: f"{each['side']} {each['qty']} {each['symbol']}, {each['filled_qty']} filled"
            for each in truth["orders"]
        }
        held = {each["symbol"]: each["qty"] for each in truth["positions"]}
        return Outcome(states, results, entries, held, orders)

    def differences(self, expected: Outcome) -> list[str]:
        """Say what came to something else; if anything did, also why trades ended and what people were told."""
        outcome, found = self.outcome(), []
        for part in fields(Outcome):
            was, should = getattr(outcome, part.name), getattr(expected, part.name)
            keys = (key for key in sorted({*was, *should}) if was.get(key) != should.get(key))
            found += [f"{part.name}: {key}: {was.get(key)} instead of {should.get(key)}" for key in keys]
        return found + self._story() if found else []

    def _story(self) -> list[str]:
        with self.services() as wired, wired.engine.connect() as connection:
            t, a = pair_trade.c, alert.c
            ends = connection.execute(select(t.pair_id, t.slot, t.close_reason).order_by(t.slot)).all()
            told = connection.execute(select(a.title, a.detail).order_by(a.occurred_at)).all()
        return [*(f"{pair} of {slot:%d %H:%M}: {why}" for pair, slot, why in ends), *map(": ".join, told)]

    def complaints(self) -> list[str]:
        """Say what is wrong: with the invariants, with the twin's own truth, with the events."""
        with self.services() as wired:
            # Effects before the invariants: their experiment must not be what makes them good.
            found = [*_doubled_orders(self.twin), *_events(wired)]
            checked = wired.execution.verification.run(FIT_UNTIL - timedelta(days=1))
            assert [each.name for each in checked] == [f"I{n}" for n in range(1, 9)]
            return found + [f"{each.name} {breach}" for each in checked for breach in each.breaches]

    @contextmanager
    def services(self) -> Iterator[HurriedServices]:
        """Wire the services here; their engine is without connections afterwards."""
        wired = HurriedServices(self._settings())
        try:
            yield wired
        finally:
            wired.engine.dispose()

    def _settings(self) -> Settings:
        with _ENVIRONMENT, pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return load_settings()


def _doubled_orders(twin: TwinHandle) -> list[str]:
    names = Counter(order["client_order_id"] for order in twin.admin.state()["orders"])
    return [f"{name}: {count} orders at the broker" for name, count in names.items() if count > 1]


def _events(wired: Services) -> list[str]:
    with wired.engine.connect() as connection:
        unpublished = connection.execute(select(outbox.c.channel).where(outbox.c.published_at.is_(None))).scalars()
        found = [f"{channel} was not published" for channel in unpublished]
        assert connection.execute(select(order_intent.c.intent_id)).first(), "nothing was traded"
        told = Counter(connection.execute(select(outbox.c.event_id).where(outbox.c.channel.like(CONSUMED))).scalars())
        effects = Counter(connection.execute(text(f"SELECT event_id FROM {EFFECTS}")).scalars())  # noqa: S608
    if effects != told:
        found.append(f"{sum(told.values())} events had {sum(effects.values())} effects")
    return found


@contextmanager
def scene(server: EmbeddedPostgres, empty: str, redis: str) -> Iterator[Scene]:
    """Trade up to the beginning of the slot, once; what came to be is the template of every run."""
    template = f"chaos_template_{uuid4().hex[:8]}"
    server.provision_trading(template, empty)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        # The server of processes takes its path from here alone.
        patch.setenv("PYTHONPATH", str(ROOT))
        stack.callback(server.drop_database, template)
        with server.connect(template) as connection:
            connection.execute(f"CREATE TABLE {EFFECTS} (event_id uuid NOT NULL)")
            connection.execute(f"GRANT SELECT, INSERT ON {EFFECTS} TO {APP_ROLE}")
        twins = [stack.enter_context(running_twin(clock=FIT_UNTIL.isoformat())) for _ in range(LANES)]
        history = _reach_the_beginning(server, template, redis, twins[0])
        lanes: Queue[Lane] = Queue()
        for twin in twins:
            database = f"chaos_{uuid4().hex[:12]}"
            environment = _environment(server, database, redis, twin)
            lane = Lane(server, twin, template, history, environment, database)
            with lane.fresh():
                lane.keeper = stack.enter_context(nursery(trade_slot, give_connections_back, environment))
            lanes.put(lane)
        yield Scene(lanes)


def _environment(server: EmbeddedPostgres, database: str, redis: str, twin: TwinHandle) -> dict[str, str]:
    return {
        **QUICK,
        **BUSY,
        "TRADEWINDS_DATABASE_URL": server.url(database, APP_ROLE, "psycopg"),
        "TRADEWINDS_REDIS_URL": redis,
        _TWIN: twin.url,
        "TRADEWINDS_ALPACA_DATA_URL": twin.url,
    }


def _reach_the_beginning(
    server: EmbeddedPostgres, database: str, redis: str, twin: TwinHandle
) -> list[dict[str, Any]]:
    """Trade in the database that is to be the template; returns the orders that a twin was sent by then."""
    stage = Stage(twin, _environment(server, database, redis, twin), None)
    _announce(twin)
    with stage.services() as wired:
        wired.ingestion.refresh_symbols(sorted({SYMBOL, FILLED_LATE, *(symbol for pair in PAIRS for symbol in pair)}))
        wired.ingestion.fetch_bars([symbol for pair in PAIRS for symbol in pair], FIT_UNTIL, FIT_BARS)
        for one, two in PAIRS:
            write_fitted_pair(wired.engine, f"{one}/{two}", FIT_UNTIL, FIT_BARS)
        _hold(wired, BELATED, FILLED_LATE)
        twin.admin.fault(kind="no_fill", symbol=FILLED_LATE)
        for slot in BEFORE:
            twin.admin.move_clock(_clock_at(slot))
            _trade(wired, FILLED_LATE)
            wired.instances.mode(BELATED, InstanceMode.OFF, **_BY_SOMEBODY)
        twin.admin.clear_faults()
        _deliver(wired)
    twin.admin.move_clock(_clock_at(SLOT - timedelta(hours=1)))
    died = context().Process(target=trade_slot, args=(stage.environment, DIES_AT))
    died.start()
    died.join(LONGEST_SECONDS)
    assert died.exitcode == -signal.SIGKILL
    with stage.services() as wired:
        _hold(wired, SINGLE, SYMBOL)
    with server.connect(database) as connection:
        # The broker's announcements of the day have not been asked for yet.
        connection.execute("DELETE FROM execution.corporate_action_look")
    return _history(twin)


def _hold(wired: Services, instance: str, symbol: str) -> None:
    """Have an instance buy a symbol in the next slot."""
    wired.instances.create(instance, "buy_and_hold", {"symbols": [symbol], "fraction": 0.05}, **_BY_SOMEBODY)
    wired.instances.mode(instance, InstanceMode.ACTIVE, **_BY_SOMEBODY)


def _history(twin: TwinHandle) -> list[dict[str, Any]]:
    orders = sorted(twin.admin.state()["orders"], key=lambda each: each["created_at"])
    names = ("client_order_id", "symbol", "side", "qty", "type", "time_in_force")
    return [
        {
            "clock": each["created_at"][:19] + "Z",
            "request": {name: each[name] for name in names},
            "was_canceled": each["status"] == "canceled",
        }
        for each in orders
    ]


def _clock_at(slot: datetime) -> str:
    return (slot + timedelta(seconds=5)).isoformat()
