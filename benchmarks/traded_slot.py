"""One slot as the trading flow trades it, call by call, against a twin: for counting and for timing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from sqlalchemy import Engine, event

from benchmarks.scratch import environment, trading_database
from src.config.settings import load_settings
from src.shared.domain.pairs import PairMode
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.prefect.tasks.wiring import Services
from tests.fakes.pairs import write_fitted_pair
from tests.fakes.twin_server import TwinAdmin, running_twin

TRADED = ("VUNO", "VEXI")
TRUE_PAIRS = (TRADED, ("ZORN", "ZEMA"), ("KELV", "KYLO"), ("JARQ", "JOVA"))
"""Pairs of the twin without a symbol in common, whose spreads stay on their sides from the first slot to the next."""

FIT_BARS = 500
FIT_UNTIL = datetime(2025, 10, 17, 20, 0, tzinfo=UTC)
# A session's first slots; at the first of them the traded pair is entered.
SLOT = datetime(2025, 10, 20, 14, 30, tzinfo=UTC)
NEXT_SLOT = SLOT + timedelta(hours=1)


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


@contextmanager
def services_on_a_twin(size: int, active: int = 1, **more: str) -> Iterator[tuple[Counted, TwinAdmin]]:
    """Wire the services on a fresh database and twin, with `size` pairs, the first `active` of them active."""
    begin = (FIT_UNTIL + timedelta(seconds=1)).isoformat()
    with trading_database() as database, running_twin(clock=begin) as twin:
        urls = {"TRADEWINDS_ALPACA_BASE_URL": twin.url, "TRADEWINDS_ALPACA_DATA_URL": twin.url}
        with environment({**os.environ, **urls, **more, "TRADEWINDS_EXECUTION_POLL_SECONDS": "0.02"}):
            counts = Counts()
            wired = Counted(load_settings(), database.engine, counts)
            _register(wired, twin.admin.get("market")["symbols"], size, active)
            counts.listen(database.engine)
            yield wired, twin.admin


def _register(wired: Counted, symbols: list[str], size: int, active: int) -> None:
    others = [symbol for symbol in symbols if symbol not in TRADED]
    every = [*TRUE_PAIRS, *((one, two) for one in others for two in others if one < two)]
    pairs = list(dict.fromkeys(every))[:size]
    names = sorted({symbol for pair in pairs for symbol in pair})
    wired.ingestion.refresh_symbols(names)
    wired.ingestion.fetch_bars(names, FIT_UNTIL, FIT_BARS)
    for number, (one, two) in enumerate(pairs):
        mode = PairMode.ACTIVE if number < active else PairMode.OBSERVE
        write_fitted_pair(wired.engine, f"{one}/{two}", FIT_UNTIL, FIT_BARS, mode)


def trade(wired: Counted, twin: TwinAdmin, slot: datetime) -> None:
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
