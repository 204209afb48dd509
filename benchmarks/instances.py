"""How long many instances of strategies take: a slot of them, following their rows, and a tick that all look at.

A slot is measured as the hourly run does it, with the processes of strategies running: instances read, bars read in
one go, each strategy called, decisions and states stored in one statement, committed. The reference is the obvious
loop in the same run: for each instance its bars are read, its strategy is called in our own process, and its decision
and state are inserted and committed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, text

from benchmarks.rows import Row, median_milliseconds
from benchmarks.scratch import trading_database
from src.config.settings import load_settings
from src.services.strategy_engine.adapters.cells import Cells
from src.services.strategy_engine.bootstrap import build_slots
from src.services.strategy_engine.domain.evaluation import SlotTime
from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER, Loader
from src.services.strategy_engine.sdk.slot import SlotData
from src.services.strategy_engine.sdk.step import step
from src.services.strategy_engine.use_cases.engine import InstanceEngine
from src.services.strategy_engine.use_cases.instance_slots import InstanceSlots
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.ticks import Tick
from src.shared.infra.database.closes import read_closes
from tests.fakes.stored_market import store_closes

SIZES = (10, 1_000, 10_000)
SLOT_SIZE = 1_000
SLOT_AIM_MS = 1_000.0
REPEATS = 5
SYMBOLS = 200
BARS = 120
STRATEGY = "mean_reversion"
SLOT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
CLOSE = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
LOOP = "loop over instances: a read, a call in our own process, two inserts, a commit each"

# None of the built-in strategies looks at ticks.
_COUNTER = '''
from src.services.strategy_engine.sdk import Strategy


class Counter(Strategy):
    """Counts the ticks above the last close."""

    CONFIG_SCHEMA = {"symbol": {"type": "symbol"}, "turn": {"type": "int", "default": 0}}
    STATE = {"above": 0}

    def on_bar(self, context, bar):
        context.note(above=context.state["above"])

    def on_tick(self, context, tick):
        context.state["above"] += int(tick.price > context.history(tick.symbol, 1)[-1])
'''

_MAKE = text("""
    INSERT INTO strategy.instance (instance_id, strategy, account, market, config, mode, updated_at)
    SELECT i.name, :strategy, 'main', 'XNYS', CAST(i.config AS jsonb), 'observe', now()
      FROM unnest(CAST(:names AS text[]), CAST(:configs AS text[])) AS i(name, config)
""")
_ADD_DECISION = text("""
    INSERT INTO strategy.instance_decision
           (instance_id, slot, mode, config_version, strategy_digest, state_digest, bars_digest, given, wishes,
            numbers, log)
    VALUES (:name, :slot, 'observe', 1, '', '', '', '{}', '[]', CAST(:numbers AS jsonb), '[]')
""")
_ADD_STATE = text("""
    INSERT INTO strategy.instance_state (instance_id, state, held, strategy_digest, config_version, slot, updated_at)
    VALUES (:name, CAST(:state AS jsonb), '{}', '', 1, :slot, now())
        ON CONFLICT (instance_id) DO UPDATE SET state = excluded.state, slot = excluded.slot
""")
_SWITCH_OFF = text("UPDATE strategy.instance SET mode = 'off' WHERE mode <> 'off'")


def rows() -> list[Row]:
    """Measure on a PostgreSQL of its own."""
    with trading_database() as database:
        return measure(database.engine)


def measure(engine: Engine, slot_size: int = SLOT_SIZE, sizes: Sequence[int] = SIZES) -> list[Row]:
    """Measure a slot of `slot_size` instances, and an engine of each of `sizes`.

    `engine` is a migrated trading database without bars, which is filled here.
    """
    calendar = TradingCalendar()
    ends = [end for _, end in calendar.last_spans(SLOT, BARS + REPEATS)]
    steps = np.random.default_rng(7).normal(0, 0.005, (len(ends), SYMBOLS))
    store_closes(engine, _symbols(), ends, 80.0 * np.exp(steps.cumsum(axis=0)))
    found = [_slot(engine, slot_size, ends)]
    return [*found, *(row for size in sizes for row in _engine(engine, size))]


def _slot(engine: Engine, size: int, ends: Sequence[datetime]) -> Row:
    with engine.begin() as connection:
        connection.execute(_SWITCH_OFF)
    names = _make(engine, "slot", STRATEGY, size)
    with _cells() as cells:
        slots = build_slots(load_settings(), engine, cells)
        waiting = iter(ends[-REPEATS - 1 :])
        _run(slots, next(waiting), size)
        taken = median_milliseconds(lambda: _run(slots, next(waiting), size), REPEATS)
    loop = median_milliseconds(lambda: _loop(engine, names, ends), 1)
    return Row(f"slot of {size} instances", taken, "ms", LOOP, loop, SLOT_AIM_MS)


def _run(slots: InstanceSlots, slot: datetime, size: int) -> None:
    run = slots.run_instances(slot, slot + timedelta(seconds=5), CLOSE + timedelta(days=1))
    if len(run.decided) != size:
        raise RuntimeError(f"{len(run.decided)} of {size} instances decided: {run.counts}")


def _loop(engine: Engine, names: Sequence[str], ends: Sequence[datetime]) -> None:
    kind = Loader().load(BUILT_IN_FOLDER / f"{STRATEGY}.py", built_in=True)
    slot = ends[0] - timedelta(hours=1)
    for place, name in enumerate(names):
        config = kind.config.validate({"symbol": _symbol(place)})
        with engine.begin() as connection:
            series = read_closes(connection, [_symbol(place)], ends[-kind.warmup_bars(config) :])
            time = SlotTime(series.ends[-1], series.ends[-1], CLOSE)
            result = step(kind, config, None, SlotData(time, series))
            said = {"name": name, "slot": slot, "numbers": json.dumps(dict(result.numbers))}
            connection.execute(_ADD_DECISION, said)
            connection.execute(_ADD_STATE, {"name": name, "slot": slot, "state": json.dumps(result.state)})


def _engine(database: Engine, size: int) -> list[Row]:
    with database.begin() as connection:
        connection.execute(_SWITCH_OFF)
    names = _make(database, f"engine{size}", "counter", size)
    with _cells() as cells:
        slots = build_slots(load_settings(), database, cells)
        slots.run_instances(SLOT, SLOT + timedelta(seconds=5), CLOSE)
        engine = InstanceEngine(slots)
        start = median_milliseconds(engine.reconcile, 1)
        engine.look()
        still = median_milliseconds(engine.look, REPEATS)
        prices = iter(range(1, REPEATS + 3))

        def tick() -> None:
            if engine.take({_symbol(0): Tick(_symbol(0), 1e6 + next(prices), SLOT)}) != size:
                raise RuntimeError("not every instance looked at the tick")

        tick()
        ticked = median_milliseconds(tick, REPEATS)
        kept = median_milliseconds(engine.flush, 1)

        def change_one() -> None:
            with database.begin() as connection:
                connection.execute(_RENEW, {"name": names[-1]})

        renewed = median_milliseconds(lambda: engine.reconcile(names[-1:]), REPEATS, change_one)
    what = f"{size} instances"
    return [
        Row(f"engine: nothing to reconcile, {what}", still, "ms", details={"the first time, all started": start}),
        Row(f"engine: one config changed, {what}", renewed, "ms"),
        Row(f"engine: a tick that all look at, {what}", ticked, "ms", details={"then storing their states": kept}),
    ]


_RENEW = text("""
    UPDATE strategy.instance SET config = config || jsonb_build_object('turn', config_version),
           config_version = config_version + 1 WHERE instance_id = :name
""")


def _make(engine: Engine, prefix: str, strategy: str, size: int) -> list[str]:
    names = [f"{prefix}-{place}" for place in range(size)]
    configs = [json.dumps({"symbol": _symbol(place if strategy == STRATEGY else 0)}) for place in range(size)]
    with engine.begin() as connection:
        connection.execute(_MAKE, {"strategy": strategy, "names": names, "configs": configs})
    return names


@contextmanager
def _cells() -> Iterator[Cells]:
    with tempfile.TemporaryDirectory(prefix="tradewinds-bench-") as folder, Cells(Path(folder)) as cells:
        (Path(folder) / "counter.py").write_text(_COUNTER)
        yield cells


def _symbols() -> list[str]:
    return [_symbol(place) for place in range(SYMBOLS)]


def _symbol(place: int) -> str:
    return f"S{place % SYMBOLS:03d}"
