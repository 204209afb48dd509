"""How long it takes from the request of a trading run to the broker's order, through a worker and inline."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import httpx
from sqlalchemy import Engine, func, select

from benchmarks.rows import Row
from benchmarks.scratch import environment, scratch_home, variables
from src.config.settings import Settings
from src.services.cli.commands.suite import shown_on
from src.services.cli.demo.plan import Plan, Request, Runner, make_plan, read_market
from src.services.cli.demo.replay import SlotRun, replay
from src.services.cli.demo.stage import Twin, prepare
from src.services.cli.lifecycle import Suite
from src.services.cli.pair_fits import fit_pairs
from src.shared.domain.ids import slot_key
from src.shared.domain.orders import OrderAction
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import order_intent, outbox
from src.shared.infra.embedded.stack import trading_database_url
from src.shared.messages.orders import OrderSent
from src.shared.prefect.config import prefect_settings
from src.shared.prefect.tasks.wiring import Services

AIM_SECONDS = 5.0
LONGEST_SECONDS = 600.0
REFERENCE = "the flow inline in a warm process, at the next slot that opens a pair"
_POLL_SECONDS = 0.02


@dataclass
class OrderWatch:
    """Looks at the twin from a thread of its own and notes when it has its first order more than before."""

    url: str
    seen_at: float | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look until the block ends."""
        with httpx.Client(base_url=self.url, timeout=10) as client:
            before = self._orders(client)
            thread = threading.Thread(target=self._look, args=(client, before))
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join()

    def _look(self, client: httpx.Client, before: int) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            if self._orders(client) > before:
                self.seen_at = time.time()
                return

    @staticmethod
    def _orders(client: httpx.Client) -> int:
        return int(client.get("/admin/state").raise_for_status().json()["counts"]["orders"])


@dataclass(frozen=True)
class Stage:
    """A stack with pairs fitted, just before the first slot."""

    settings: Settings
    twin: Twin
    plan: Plan
    engine: Engine


def rows() -> list[Row]:
    """Trade the first slot of the synthetic market by a worker, later ones inline until a pair is opened again."""
    with _stage() as stage:
        seconds, steps = _by_worker(stage)
        inline = _inline(stage)
    name = "slot to order at the broker, through a worker"
    return [Row(name, seconds, "s", REFERENCE, inline, AIM_SECONDS, steps)]


@contextmanager
def _stage() -> Iterator[Stage]:
    from rich.console import Console

    with scratch_home() as home, environment(variables(home)):
        request = Request(None, (), None, None, "worker")
        settings = prepare(home / "demo", request)
        suite = Suite(settings, shown_on(Console(stderr=True, quiet=True)))
        with suite.claimed():
            try:
                suite.start()
                yield _set(settings, request)
            finally:
                suite.stop(drain=False)


def _set(settings: Settings, request: Request) -> Stage:
    twin = Twin(settings.twin_url)
    plan = make_plan(request, read_market(settings.twin.seed, None), TradingCalendar())
    twin.begin_at(plan.fit_until + timedelta(seconds=1))
    wired = Services(settings)
    fit_pairs(wired, plan.pairs, until=plan.fit_until, bars=plan.fit_bars, who="bench", why="measured")
    return Stage(settings, twin, plan, make_engine(trading_database_url(settings), settings.database))


def _by_worker(stage: Stage) -> tuple[float, Mapping[str, float]]:
    slot = stage.plan.slots[0]
    ordered = _ordered_at(stage, slot, "worker")
    sent = _first_sent(stage.engine, slot)
    if ordered is None or sent is None:
        raise RuntimeError("the slot that should open a pair sent no order")
    moments = asyncio.run(_moments(stage.settings, slot))
    begin = moments["Scheduled"]
    marks = {
        "request → Pending": moments["Pending"],
        "→ Submitting": moments.get("Submitting", moments["Pending"]),
        "→ Running (process start, imports)": moments["Running"],
        "→ first order sent": sent,
        "→ seen at the broker": ordered,
        "→ Completed": moments["Completed"],
    }
    gaps = [later - earlier for earlier, later in pairwise([begin, *marks.values()])]
    if min(gaps) < -1 or max(gaps) > LONGEST_SECONDS:
        raise RuntimeError(f"the marks of the slot do not follow each other: {marks}")
    return ordered - begin, dict(zip(marks, gaps, strict=True))


def _inline(stage: Stage) -> float:
    # The first one warms the process up: imports, connections, the calendar.
    _run(stage, stage.plan.slots[1], "inline")
    for slot in stage.plan.slots[2:]:
        run, ended = _run(stage, slot, "inline")
        sent = _first_sent(stage.engine, slot)
        if sent is not None and _opens(stage.engine, slot):
            return sent - (ended - run.seconds)
    raise RuntimeError("no later slot opened a pair")


def _run(stage: Stage, slot: datetime, runner: Runner) -> tuple[SlotRun, float]:
    plan = replace(stage.plan, slots=(slot,))
    ends: list[float] = []
    (run,) = replay(stage.settings, stage.twin, plan, runner, lambda _: ends.append(time.time()))
    if not run.completed:
        raise RuntimeError(f"the run of {slot_key(slot)} ended {run.state}: {run.message}")
    return run, ends[0]


def _ordered_at(stage: Stage, slot: datetime, runner: Runner) -> float | None:
    watch = OrderWatch(stage.settings.twin_url)
    with watch.watching():
        _run(stage, slot, runner)
    return watch.seen_at


async def _moments(settings: Settings, slot: datetime) -> dict[str, float]:
    """Say when the run of `slot` first was in each of its states."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

    key = FlowRunFilterIdempotencyKey(any_=[slot_key(slot)])
    with prefect_settings(settings):
        async with get_client() as client:
            (run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=key))
            states = await client.read_flow_run_states(run.id)
    found: dict[str, float] = {}
    for state in sorted(states, key=lambda each: each.timestamp):
        found.setdefault(str(state.name), state.timestamp.timestamp())
    return found


def _first_sent(engine: Engine, slot: datetime) -> float | None:
    # By the database's clock: an intent's own `sent_at` is the market's time, which is replayed here.
    sent = select(func.min(outbox.c.recorded_at)).where(
        outbox.c.channel == OrderSent.channel(), outbox.c.correlation_id == slot_key(slot)
    )
    with engine.connect() as connection:
        moment = connection.execute(sent).scalar()
    return None if moment is None else float(moment.timestamp())


def _opens(engine: Engine, slot: datetime) -> bool:
    opening = select(order_intent.c.intent_id).where(
        order_intent.c.slot == slot, order_intent.c.action == OrderAction.OPEN.value
    )
    with engine.connect() as connection:
        return connection.execute(opening).first() is not None
