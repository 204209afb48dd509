"""A world to trade in, all in one thread: the real twin, the real client, the real services, the real database.

Only time, the wire and the moments at which processes end are simulated. Nothing in it depends on real time or on
chance other than the seed's, so the same seed makes the same requests.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import anyio.to_thread
import psycopg
from loguru import logger
from psycopg import sql
from sqlalchemy import Connection, create_engine, insert

from src.config.settings import Settings, load_settings
from src.services.execution.use_cases.cycle import Gate
from src.services.strategy_engine.domain.evaluation import Evaluation
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.domain.symbol_trades import Asked, SymbolMarket, signals_of
from src.services.strategy_engine.use_cases.instance_slots import _raised as _told
from src.services.strategy_engine.use_cases.slots import _raised
from src.services.twin.bootstrap import TwinConfig, build_app, build_market
from src.services.twin.domain.market import Market
from src.services.twin.domain.moments import to_micros
from src.shared.domain.bars import HOURLY
from src.shared.domain.errors import TradewindsError, Transient
from src.shared.domain.ids import client_order_prefix
from src.shared.domain.instances import InstanceMode
from src.shared.domain.sessions import Session, TradingCalendar
from src.shared.domain.signals import Signal, SignalAction, SpreadReading
from src.shared.failpoints import Crashed
from src.shared.infra.alpaca import client as alpaca_client
from src.shared.infra.alpaca import wire as alpaca_wire
from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.closes import ADJUSTMENT, VENDOR
from src.shared.infra.database.migrate import upgrade
from src.shared.infra.database.tables import instance, load_run, market_data
from src.shared.infra.embedded.postgres import EmbeddedPostgres
from src.shared.infra.postgres_roles import APP_ROLE, OWNER_ROLE
from src.shared.messages.envelope import Envelope
from tests.fakes.pairs import write_pair
from tests.simulation.clock import SimClock
from tests.simulation.network import Network
from tests.simulation.process import Database, Process, Surroundings

TEMPLATE = "simulation_template"
MARKET_SEED = 7
STARTS = tuple(
    datetime(*day, 14, 0, tzinfo=UTC)
    for day in ((2025, 3, 3), (2025, 3, 6), (2025, 6, 10), (2025, 11, 24), (2025, 12, 22))
)
"""A plain week, one with a change to summer time, a plain one, and two with a half day and a holiday."""

BARS_BEFORE, BARS_AFTER = timedelta(days=40), timedelta(days=45)
PAIRS = (
    ("KELV", "KYLO", 1.1),
    ("QVEL", "QORT", 0.85),
    ("ZORN", "ZEMA", 0.7),
    ("JARQ", "JOVA", 1.45),
    ("KELV", "QVEL", 1.2),
    ("ZEMA", "KYLO", 0.9),
)
"""Pairs and their betas; the last two share their symbols with others."""

INSTANCE, SINGLES = "single", ("KELV", "ZORN")
"""An instance that trades in two of the pairs' symbols, each by itself."""

SYMBOLS = tuple(sorted({symbol for first, second, _ in PAIRS for symbol in (first, second)}))
BETA = {f"{first}/{second}": beta for first, second, beta in PAIRS}

_SETTINGS = {
    "TRADEWINDS_EXECUTION_WRITER_WAIT_SECONDS": "0.02",
    "TRADEWINDS_EXECUTION_POLL_SECONDS": "5",
    "TRADEWINDS_RISK_MAX_CORRELATION": "1",
    "TRADEWINDS_RISK_MAX_ORDERS_PER_DAY": "10000",
    "TRADEWINDS_RISK_BOOTSTRAP_FRACTION": "0.05",
    "TRADEWINDS_RISK_MAX_SYMBOL_FRACTION": "1",
    "TRADEWINDS_RISK_KELLY_MIN_TRADES": "1000",
    "TRADEWINDS_RISK_KELLY_LOOKBACK_TRADES": "1000",
    "TRADEWINDS_ALPACA_ENVIRONMENT": "twin",
}
_SENT_FIRST = 2
"""The version of an intent that was planned and is sent for the first time."""

_SENT_BEFORE = """
    SELECT count(*) FROM execution.order_intent other JOIN execution.order_intent mine USING (pair_trade_id)
     WHERE mine.client_order_id = %s AND other.sent_at IS NOT NULL AND other.intent_id <> mine.intent_id
"""
_EFFECTS = (
    "CREATE SCHEMA simulation; CREATE TABLE simulation.effect (event_id uuid NOT NULL); "
    f"GRANT USAGE ON SCHEMA simulation TO {APP_ROLE}; GRANT SELECT, INSERT ON simulation.effect TO {APP_ROLE}"
)


class Violation(Exception):
    """Something that must hold does not."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
        self.step = 0


def simulation_settings() -> Settings:
    """Return settings for trading a lot, and for waiting in few steps."""
    with mock.patch.dict(os.environ, _SETTINGS):
        return load_settings()


def make_template(server: EmbeddedPostgres) -> None:
    """Make the database that every seed starts from: migrated, with pairs and bars, and a place for effects."""
    server.provision_trading(TEMPLATE)
    upgrade(server.url(TEMPLATE, OWNER_ROLE))
    with server.connect(TEMPLATE, OWNER_ROLE) as connection:
        connection.execute(_EFFECTS)
    engine = create_engine(server.url(TEMPLATE, OWNER_ROLE))
    with engine.begin() as connection:
        _fill_template(connection, build_market(MARKET_SEED, None))
    engine.dispose()


def _fill_template(connection: Connection, market: Market) -> None:
    for first, second, beta in PAIRS:
        write_pair(connection, _registered(first, second, beta))
    values = {"strategy": "momentum", "account": "main", "market": "XNYS", "config": {}, "mode": "active"}
    connection.execute(insert(instance).values(instance_id=INSTANCE, **values, updated_at=STARTS[0]))
    run = uuid4()
    first_bar, last_bar = STARTS[0] - BARS_BEFORE, STARTS[-1] + BARS_AFTER
    connection.execute(insert(load_run).values(**_loaded(run, first_bar, last_bar)))
    spans = sorted({span for start in STARTS for span in _spans(start)})
    add_months(connection, spans[0][1], spans[-1][1])
    connection.execute(
        insert(market_data), [_bar(run, symbol, *span, market) for span in spans for symbol in SYMBOLS]
    )


def _spans(start: datetime) -> list[tuple[datetime, datetime]]:
    return TradingCalendar().spans_between(start - BARS_BEFORE, start + BARS_AFTER)


def _bar(run: UUID, symbol: str, start: datetime, end: datetime, market: Market) -> dict[str, object]:
    close = market.last_close(symbol, market.sessions.finished_slots(to_micros(end)))
    return {
        "symbol": symbol,
        "timeframe": HOURLY,
        "bar_start": start,
        "bar_end": end,
        "vendor": VENDOR,
        "adjustment": ADJUSTMENT,
        **dict.fromkeys(("open", "high", "low", "close"), close),
        "volume": 1000.0,
        "load_run_id": run,
    }


def _loaded(run: UUID, first: datetime, last: datetime) -> dict[str, object]:
    # Failed: a load that was told of would have an event, and nobody loaded these.
    return {
        "load_run_id": run,
        "vendor": VENDOR,
        "timeframe": HOURLY,
        "symbols": list(SYMBOLS),
        "window_start": first,
        "window_end": last,
        "state": "failed",
        "started_at": first,
    }


def _registered(first: str, second: str, beta: float) -> dict[str, object]:
    return {
        "pair_id": f"{first}/{second}",
        "symbol_1": first,
        "symbol_2": second,
        "alpha": 0.0,
        "beta": beta,
        "half_life_bars": 8.0,
        "z_window_bars": 16,
        "time_stop_bars": 24,
        "correlation": 0.9,
        "fitted_from": STARTS[0] - BARS_BEFORE,
        "fitted_to": STARTS[0],
        "mode": "active",
        "version": 0,
        "source": "simulation",
        "updated_at": STARTS[0],
    }


@dataclass
class Trace:
    """What was done and what went over the wire, in order."""

    lines: list[str] = field(default_factory=list)
    shown: Callable[[str], None] | None = None

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if self.shown is not None:
            self.shown(line)


class World:
    """Everything there is in one seed. `begin` starts it anew; it can be used for many seeds, one after the other."""

    def __init__(self, server: EmbeddedPostgres, shown: Callable[[str], None] | None = None) -> None:
        self._server = server
        self._shown = shown
        self._folder = tempfile.TemporaryDirectory(prefix="tradewinds-sim-")
        self.clock = SimClock()
        self.clock.set(STARTS[0])
        self.calendar = TradingCalendar()
        self.settings = simulation_settings()
        config = TwinConfig(
            store=Path(self._folder.name),
            seed=MARKET_SEED,
            clock=f"{STARTS[0]:%Y-%m-%dT%H:%M:%SZ}",
            requests_per_minute=0,
        )
        self._app = build_app(config, wall=lambda: self.clock.micros)
        self.trace = Trace()
        self.network = Network(self._app, self.clock, self._tell)
        self._database = f"simulation_{os.getpid()}"
        self._databases: list[Database] = []

    @contextmanager
    def seed(self, seed: int) -> Iterator[None]:
        """Begin a seed in a fresh database, with the twin's account empty; clear up afterwards."""
        self.random = Random(seed)  # noqa: S311 (it is to be repeated)
        self._key = seed
        self.trace = Trace(shown=self._shown)
        self.network.forget()
        self.clock.set(self.random.choice(STARTS))
        self.noticed: list[Violation] = []
        self.gates: list[Gate] = []
        self.began = self.clock.true()
        self.fills_late = self.clock_lies = False
        self._orders_by_hand = 0
        self._paid_in = Decimal(0)
        self._begin_twin()
        self._server.drop_database(self._database)
        self._server.provision_trading(self._database, TEMPLATE)
        with self._admin() as admin, self._watched_logs(), self._simulated_time():
            self.around = Surroundings(
                self.settings,
                self.clock,
                self.network,
                self._server.url(self._database, APP_ROLE),
                admin,
                self._before_request,
                _note_effect,
                self._databases,
            )
            try:
                yield
            finally:
                for process in list(self.around.alive):
                    process.bury()
        self._server.drop_database(self._database)

    def close(self) -> None:
        """Let go of everything."""
        self.clock.close()
        self._folder.cleanup()

    # The twin

    def admin(self, path: str, **body: Any) -> Any:
        """Ask the twin's steering wheel: POST with a body, else GET."""
        return self._steer("POST", path, json.dumps(body).encode()) if body else self._steer("GET", path)

    def _steer(self, method: str, path: str, content: bytes = b"") -> Any:
        headers = {"content-type": "application/json", "content-length": str(len(content))}
        answer = self.clock.run(self.network.direct(method, f"/admin/{path}", headers, content))
        if answer.status != 200:
            raise RuntimeError(f"the twin refused {path} {content.decode()}: {answer.body.decode()}")
        return json.loads(answer.body)

    def _begin_twin(self) -> None:
        self.admin("clock", now=self.clock.true().isoformat(), rate=1.0, reset=True)
        self.venue_is_well()

    def trade_by_hand(self, symbol: str, side: str, shares: int) -> int:
        """Let somebody send an order of their own from another program; return the venue's status."""
        self._orders_by_hand += 1
        order = {
            "symbol": symbol,
            "side": side,
            "qty": str(shares),
            "type": "market",
            "time_in_force": "day",
            "client_order_id": f"by-hand-{self._orders_by_hand}",
        }
        headers = {"apca-api-key-id": "HAND", "apca-api-secret-key": "hand", "content-type": "application/json"}
        return self.clock.run(self.network.direct("POST", "/v2/orders", headers, json.dumps(order).encode())).status

    def pay(self, dollars: int) -> None:
        """Pay cash into the account, or out of it."""
        self.admin("cash", amount=dollars)
        self._paid_in += dollars

    def external(self, fills: list[dict[str, Any]]) -> tuple[dict[str, Decimal], Decimal]:
        """Sum what others than we moved: shares by symbol, and cash, by orders of their own or by paying it in."""
        prefix = client_order_prefix(self.settings.environment)
        shares: dict[str, Decimal] = defaultdict(Decimal)
        cash = self._paid_in
        for fill in fills:
            if not fill["client_order_id"].startswith(prefix):
                shares[fill["symbol"]] += _shares(fill)
                cash -= _shares(fill) * Decimal(fill["price"])
        return shares, cash

    def take_back_what_was_traded_by_hand(self) -> None:
        """Let that somebody do the opposite: what is missing of a trade's shares only they can put back."""
        state = self.admin("state")
        account = {each["symbol"]: Decimal(each["qty"]) for each in state["positions"]}
        shares, _ = self.external(state["fills"])
        for symbol, held in sorted(shares.items()):
            there = account.get(symbol, Decimal(0))
            # An order that turns the account's position round is refused: the rest follows the next time.
            size = min(abs(held), abs(there)) if held * there > 0 else abs(held)
            if held:
                self.trade_by_hand(symbol, "sell" if held > 0 else "buy", int(size))

    # Time

    def next_slot(self) -> None:
        """Let time pass to shortly after the next end of a bar at which the market is open."""
        now = self.clock.true()
        for slot in self.calendar.slots_between(now + timedelta(seconds=1), now + timedelta(days=7)):
            moment = slot + timedelta(seconds=5)
            if self.calendar.session_at(moment) is not None:
                self.clock.sleep_until(moment)
                return
        raise RuntimeError(f"no slot in the week after {now}")

    def next_session(self) -> Session:
        """Return the first session that opens after now."""
        now = self.clock.true()
        return next(s for s in self.calendar.sessions(now.date(), now.date() + timedelta(days=7)) if s.open > now)

    def next_close(self) -> datetime:
        """Return the end of the session that is open, or of the next one."""
        return (self.calendar.session_at(self.clock.true()) or self.next_session()).close

    def calm(self) -> None:
        """End every fault."""
        self.network.faults.clear()
        self.clock.skew = timedelta(0)
        self.venue_is_well()

    def venue_is_well(self) -> None:
        """Let the venue keep its promises again."""
        self._steer("DELETE", "faults")
        self.admin("rules", reset=True)
        self.admin("settings", partial_fill_probability=0.0)
        self.clock_lies = False

    # Processes

    def start(self) -> Process:
        """Start a process."""
        return Process(self.around)

    def attempt(self, process: Process, work: Callable[[Process], object]) -> str:
        """Let a process do something and say how it ended; one that was killed is cleared away."""
        try:
            work(process)
        except Crashed:
            process.bury()
            return "killed"
        except TradewindsError as error:
            return f"{type(error).__name__}: {error}"
        except Exception as error:
            self.notice("unforeseen", f"{type(error).__name__}: {error}")
        return "done"

    def cycle(self, process: Process) -> None:
        """Do what the flow of a cycle does, with its one retry."""
        try:
            self._cycle_once(process)
        except Transient:
            self.clock.sleep(60.0)
            self._cycle_once(process)

    def gate(self, process: Process) -> Gate:
        """Open the gate."""
        process.gate_was_reconciled = False
        gate = process.execution.cycle.open_gate()
        process.gate_was_reconciled = gate.reconciled
        self.trace(f"    {process.name} gate {gate.slot:%m-%d %H:%M} {'; '.join(gate.differences) or 'reconciled'}")
        return gate

    def watch(self, process: Process) -> None:
        """Do what the flow that watches over the portfolio does."""
        now = process.execution.cycle.market_clock().now
        process.watch.raise_alerts(process.watch.monitor(now))

    def _cycle_once(self, process: Process) -> None:
        if not process.execution.cycle.market_clock().is_open:
            return
        gate = self.gate(process)
        self.gates.append(gate)
        self._raise_signals(process, gate.slot)
        self._raise_targets(process, gate.slot)
        market = gate.market
        try:
            review = process.risk.review_slot(
                gate.slot, market.now, market.is_open, market.next_close, gate.reconciled
            )
        except Transient:
            process.execution.cycle.execute_slot(gate)
            raise
        for decision in review.decisions:
            self.trace(f"    {decision.pair_id} {decision.action} {decision.code}")
        summary = process.execution.cycle.execute_slot(gate)
        self.trace(f"    {process.name} left {summary.states}")

    def _raise_signals(self, process: Process, slot: datetime) -> None:
        """Say what the strategy might: wishes are drawn from seed and slot alone, so a second run has the same."""
        wishes = Random(f"{self._key}:{slot:%Y%m%d%H%M}")  # noqa: S311
        with process.strategy() as work:
            if work.repo.stored_signals(slot):
                return
            watched = work.repo.watched_pairs(slot)
            series = work.repo.closes(SYMBOLS, [slot])
            prices = {symbol: float(series.column(symbol)[-1]) for symbol in SYMBOLS}
            found = []
            for each in watched:
                action = _wish(wishes, each.trade is not None)
                legs = prices[each.pair.symbol_1], prices[each.pair.symbol_2]
                reading = SpreadReading(*legs, 0.01, 0.0, 0.004, 2.0 + wishes.random() / 2, 16)
                signal = Signal(each.pair.id, slot, action, Reason.ENTRY_Z, reading)
                found.append(Evaluation(signal, each.pair, {}))
            added = work.repo.add_evaluations(found)
            work.repo.tell([_raised(each) for each in found if each.pair.id in added])
            work.commit()

    def _raise_targets(self, process: Process, slot: datetime) -> None:
        """Ask for what an instance might, drawn as the wishes of pairs are, and store what that comes to."""
        drawn = Random(f"{self._key}:{INSTANCE}:{slot:%Y%m%d%H%M}")  # noqa: S311
        targets = {symbol: drawn.choice((0.0, 0.03, -0.03)) for symbol in SINGLES if drawn.random() < 0.6}
        asked = Asked(INSTANCE, InstanceMode.ACTIVE, targets, frozenset(SINGLES), 1)
        with process.instances() as work:
            series = work.repo.closes(SINGLES, [slot])
            market = SymbolMarket(slot, series.last_closes(), equity=work.repo.equity(slot))
            signals = signals_of(asked, work.repo.symbol_trades(), market)
            added = work.repo.add_symbol_signals(signals)
            work.repo.tell([_told(each) for each in signals if each.name in added])
            work.commit()

    # What is seen on the way

    def notice(self, name: str, detail: str) -> None:
        """Keep what must not be: raising here would be taken for a failure of the request."""
        self.noticed.append(Violation(name, detail))

    def _before_request(self, process: Process, method: str, url: str, body: bytes) -> None:
        if method != "POST":
            return
        order = json.loads(body)
        name = order["client_order_id"]
        row = self.around.admin.execute(
            "SELECT state, action, version FROM execution.order_intent WHERE client_order_id = %s", [name]
        ).fetchone()
        if row is None:
            self.notice("write-ahead", f"{name} is sent without a committed intent")
            return
        state, action, version = row
        # A process that was held may send what another has settled since: the venue refuses the second of an id.
        if process.was_held:
            return
        if state != "sending":
            self.notice("write-ahead", f"{name} is sent while its intent is {state}")
        if self.calendar.session_at(self.clock.true()) is None and not self.clock_lies:
            self.notice("I7", f"{name} is sent while the market is closed")
        risk = self._risk_state()
        if risk == "halted" or (risk == "reducing" and action == "open"):
            self.notice("I7", f"{name} is sent while the account is {risk}")
        begins = action == "open" and version == _SENT_FIRST and self._begins_entry(name)
        if begins and not process.gate_was_reconciled:
            self.notice("I7", f"{name} begins an entry, but the gate was not reconciled")

    def _risk_state(self) -> str:
        row = self.around.admin.execute("SELECT state FROM risk.risk_state").fetchone()
        return row[0] if row else "active"

    def _begins_entry(self, name: str) -> bool:
        row = self.around.admin.execute(_SENT_BEFORE, [name]).fetchone()
        return row is not None and row[0] == 0

    def _tell(self, line: str) -> None:
        self.trace(line)

    @contextmanager
    def _watched_logs(self) -> Iterator[None]:
        """Whatever is caught with its traceback was not foreseen: a failure of ours is told in one line."""

        def keep(message: Any) -> None:
            exception = message.record["exception"]
            if exception is not None:
                said = f"{message.record['message']} ({exception.type.__name__}: {exception.value})"
                self.notice("unforeseen", said)

        logger.remove()
        logger.add(keep, level="WARNING", format="{message}", catch=False)
        shown = self._shown
        if shown is not None:
            logger.add(lambda m: shown(f"      {m.strip()}"), level="INFO", format="{level} {message}")
        try:
            yield
        finally:
            logger.remove()

    @contextmanager
    def _simulated_time(self) -> Iterator[None]:
        host = self.clock.host()
        with (
            mock.patch.object(alpaca_client, "time", host),
            mock.patch.object(alpaca_wire, "time", host),
            mock.patch.object(anyio.to_thread, "run_sync", _in_this_thread),
        ):
            yield

    @contextmanager
    def _admin(self) -> Iterator[psycopg.Connection]:
        with self._server.connect(self._database) as admin:
            # Nothing here outlives the server. What waits for a lock waits for a process that is held, so in vain.
            for setting in ("synchronous_commit = off", "lock_timeout = '50ms'"):
                change = sql.SQL("ALTER DATABASE {} SET " + setting)
                admin.execute(change.format(sql.Identifier(self._database)))
            yield admin


async def _in_this_thread(work: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
    return work(*arguments)


def _shares(fill: dict[str, Any]) -> Decimal:
    return Decimal(fill["qty"]) * (1 if fill["side"] == "buy" else -1)


def _wish(wishes: Random, has_trade: bool) -> SignalAction:
    if has_trade:
        exits = (SignalAction.EXIT, SignalAction.STOP, SignalAction.EXPIRE)
        return wishes.choice(exits) if wishes.random() < 0.4 else SignalAction.HOLD
    entries = (SignalAction.ENTER_LONG, SignalAction.ENTER_SHORT)
    return wishes.choice(entries) if wishes.random() < 0.5 else SignalAction.STAY_OUT


def _note_effect(connection: Connection, envelope: Envelope) -> None:
    connection.exec_driver_sql("INSERT INTO simulation.effect (event_id) VALUES (%s)", (envelope.event_id,))
