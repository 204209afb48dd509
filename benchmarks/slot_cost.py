"""What one slot asks of the broker and of the database: requests and commits, idle and opening a pair."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from sqlalchemy import Engine, event

from benchmarks.rows import Row
from benchmarks.scratch import environment, trading_database
from src.config.settings import load_settings
from src.shared.domain.pairs import PairMode
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.prefect.tasks.wiring import Services
from tests.fakes.twin_server import TwinAdmin, running_twin

TRADED = ("VUNO", "VEXI")
FIT_BARS = 500
FIT_UNTIL = datetime(2025, 10, 17, 20, 0, tzinfo=UTC)
# A session's first slots; at the first of them the traded pair is entered.
SLOT = datetime(2025, 10, 20, 14, 30, tzinfo=UTC)
NEXT_SLOT = SLOT + timedelta(hours=1)
SIZES = (1, 20)
IDLE_AIM = 12
OPENING_AIM = 25
LOCAL = "the same slot with one pair"


@dataclass
class Counts:
    """Requests sent and commits made; as a limiter it is asked before each request."""

    found: Counter[str] = field(default_factory=Counter)

    def take(self, *, urgent: bool = False) -> None:  # noqa: ARG002
        """Count a request."""
        self.found["requests"] += 1

    def pause(self, seconds: float) -> None:
        """Nothing is held back here."""

    def listen(self, engine: Engine) -> None:
        """Count what `engine` does."""
        for name in ("commit", "rollback", "after_cursor_execute"):
            event.listen(engine, name, lambda *_, name=name: self.found.update([name]))


@dataclass(frozen=True)
class Counted(Services):
    """The wiring of every run, on an engine and a broker whose use is counted."""

    on: Engine
    counts: Counts

    @cached_property
    def engine(self) -> Engine:
        """The counted engine."""
        return self.on

    @cached_property
    def broker(self) -> AlpacaClient:
        """The counted client."""
        return make_alpaca_client(self.settings, self.counts)


@dataclass(frozen=True)
class Measured:
    """What the slots of one number of pairs cost."""

    idle: Counter[str]
    opening: Counter[str]


def rows() -> list[Row]:
    """Count on a fresh database and a fresh twin for each number of pairs."""
    found = {size: _measure(size) for size in SIZES}
    one = found[SIZES[0]]
    return [row for size in SIZES for row in _rows(size, found[size], one)]


def _rows(size: int, found: Measured, one: Measured) -> Iterator[Row]:
    for what, counts, alone, aim in (
        ("idle slot", found.idle, one.idle, IDLE_AIM),
        ("slot that opens one pair", found.opening, one.opening, OPENING_AIM),
    ):
        name = f"{what}, {_pairs(size)}: broker requests"
        details = {"commits": counts["commit"], "statements": counts["after_cursor_execute"]}
        yield Row(name, counts["requests"], "", LOCAL, alone["requests"], aim, details)
    alone_commits = one.idle["commit"]
    yield Row(f"idle slot, {_pairs(size)}: commits", found.idle["commit"], "", LOCAL, alone_commits, 20)


def _pairs(size: int) -> str:
    return "1 pair" if size == 1 else f"{size} pairs"


def _measure(size: int) -> Measured:
    with _services(size) as (wired, twin):
        wired.counts.found.clear()
        _trade(wired, twin, SLOT)
        opening = Counter(wired.counts.found)
        assert wired.activity.read().count("open") == 1
    # With entries switched off the same market gives a slot that opens nothing.
    with _services(size, TRADEWINDS_RISK_TRADING_ENABLED="false") as (wired, twin):
        _trade(wired, twin, SLOT)
        wired.counts.found.clear()
        _trade(wired, twin, NEXT_SLOT)
        idle = Counter(wired.counts.found)
        assert not wired.activity.read().trades
    return Measured(idle, opening)


@contextmanager
def _services(size: int, **more: str) -> Iterator[tuple[Counted, TwinAdmin]]:
    begin = (FIT_UNTIL + timedelta(seconds=1)).isoformat()
    with trading_database() as database, running_twin(clock=begin) as twin:
        urls = {"TRADEWINDS_ALPACA_BASE_URL": twin.url, "TRADEWINDS_ALPACA_DATA_URL": twin.url}
        with environment({**os.environ, **urls, **more, "TRADEWINDS_EXECUTION_POLL_SECONDS": "0.02"}):
            counts = Counts()
            wired = Counted(load_settings(), database.engine, counts)
            _register(wired, twin.admin.get("market")["symbols"], size)
            counts.listen(database.engine)
            yield wired, twin.admin


def _register(wired: Counted, symbols: list[str], size: int) -> None:
    others = [symbol for symbol in symbols if symbol not in TRADED]
    pairs = [TRADED, *((one, two) for one in others for two in others if one < two)][:size]
    names = sorted({symbol for pair in pairs for symbol in pair})
    wired.ingestion.refresh_symbols(names)
    wired.ingestion.fetch_bars(names, FIT_UNTIL, FIT_BARS)
    for one, two in pairs:
        mode = PairMode.ACTIVE if (one, two) == TRADED else PairMode.OBSERVE
        wired.strategy.register_pair(one, two, until=FIT_UNTIL, bars=FIT_BARS, mode=mode, who="bench", why="counted")


def _trade(wired: Counted, twin: TwinAdmin, slot: datetime) -> None:
    """Do what the trading flow does, call by call, without Prefect."""
    twin.move_clock((slot + timedelta(seconds=5)).isoformat())
    wired.execution.cycle.market_clock()
    gate = wired.execution.cycle.open_gate()
    wired.ingestion.fetch_bars(wired.strategy.symbols_to_watch(), gate.slot)
    market = gate.market
    wired.strategy.evaluate_slot(gate.slot, market.now, market.next_close)
    wired.risk.review_slot(gate.slot, market.now, market.is_open, market.next_close, gate.reconciled)
    wired.execution.cycle.execute_slot(gate)
    wired.analytics.record_results(gate.slot)
