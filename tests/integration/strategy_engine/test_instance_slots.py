"""What instances do to a slot: pairs under instances, and every other strategy, on a real database."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from src.config.settings import load_settings
from src.services.strategy_engine.adapters.cell import Budget
from src.services.strategy_engine.adapters.cells import Cells
from src.services.strategy_engine.adapters.sql_instances import SqlInstanceRepository
from src.services.strategy_engine.adapters.strategy_files import StrategyFiles
from src.services.strategy_engine.bootstrap import thresholds
from src.services.strategy_engine.domain.instances import BackOff, Failed, Job, Stepped
from src.services.strategy_engine.ports import Market, StrategyRunner
from src.services.strategy_engine.use_cases.instance_slots import InstanceSlots
from src.services.strategy_engine.use_cases.instances import Instances
from src.services.strategy_engine.use_cases.slots import StrategyEngine
from src.shared.domain.instances import DEFAULT_PAIRS, FaultKind, InstanceMode
from src.shared.domain.pairs import Direction
from src.shared.domain.signals import SignalAction
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes.stored_market import store_closes, store_pairs, store_trade
from tests.fakes.strategy_runner import InlineRunner
from tests.fakes.trouble import RANGE, TROUBLE
from tests.integration.strategy_engine.test_evaluate_slot import (
    CALENDAR,
    CLOSE,
    NEXT_SLOT,
    SLOT,
    SOON,
    WINDOW,
    decisions,
    ends_to,
    evaluate,
    put,
    rows,
)
from tests.unit.strategy_engine.builders import make_pair

PERSON: dict[str, Any] = {"who": "ada", "why": "to see", "now": SLOT}
BACK_OFF = BackOff(timedelta(seconds=30), timedelta(hours=1))
MORNING = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class Desk:
    """Instances of one database, and slots of them on a runner; the wall clock is moved by hand."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        (folder / "trouble.py").write_text(TROUBLE)
        self.engine, self.folder, self.now = engine, folder, MORNING
        self.store = SqlUnitOfWork(engine, SqlInstanceRepository)
        self.instances = Instances(self.store, StrategyFiles(folder, lambda: nullcontext(InlineRunner(folder))))

    def on(self, name: str, strategy: str = "trouble", mode: str = "observe", **config: Any) -> None:
        self.instances.create(name, strategy, config, **PERSON)
        self.instances.mode(name, InstanceMode(mode), **PERSON)

    def slots(self, runner: StrategyRunner | None = None) -> InstanceSlots:
        limits = thresholds(load_settings().strategy)
        wired = runner or InlineRunner(self.folder)
        return InstanceSlots(self.store, wired, CALENDAR, limits, BACK_OFF, lambda: self.now)

    def stored(self, name: str) -> list[Any]:
        return [dict(row) for row in rows(self.engine, DECISIONS) if row["instance_id"] == name]


DECISIONS = "SELECT * FROM strategy.instance_decision ORDER BY instance_id, slot"


@pytest.fixture
def at_desk(engine: Engine, tmp_path: Path) -> Desk:
    desk = Desk(engine, tmp_path)
    desk.instances.mode(DEFAULT_PAIRS, InstanceMode.OFF, **PERSON)
    store_closes(engine, ["KO"], [SLOT, NEXT_SLOT], np.array([[60.0], [61.0]]))
    return desk


def run(slots: InstanceSlots, slot: datetime = SLOT) -> Any:
    return slots.run_instances(slot, slot + SOON, CLOSE)


def test_a_pair_without_an_instance_that_is_on_is_not_entered_but_its_trade_is_closed(
    strategy: StrategyEngine, at_desk: Desk
) -> None:
    flat, held = make_pair("KO", "PEP", window=WINDOW), make_pair("V", "MA", window=WINDOW)
    store_pairs(at_desk.engine, [flat, held])
    store_trade(at_desk.engine, held, Direction.LONG_SPREAD, CALENDAR.last_spans(SLOT, 3)[0][1])
    put(at_desk.engine, flat, "-2.5")
    put(at_desk.engine, held, "-3.7")

    found = decisions(evaluate(strategy))

    assert found == {
        "KO/PEP": (SignalAction.STAY_OUT, "INSTANCE_OFF"),
        "V/MA": (SignalAction.STOP, "STOP_Z"),
    }


def test_an_observing_instance_lets_an_active_pair_only_be_observed(strategy: StrategyEngine, at_desk: Desk) -> None:
    pair = make_pair("KO", "PEP", window=WINDOW)
    store_pairs(at_desk.engine, [pair])
    put(at_desk.engine, pair, "-2.5")
    at_desk.instances.mode(DEFAULT_PAIRS, InstanceMode.OBSERVE, **PERSON)

    assert decisions(evaluate(strategy)) == {"KO/PEP": (SignalAction.ENTER_LONG, "OBSERVED_ENTRY_Z")}
    (signal,) = rows(at_desk.engine, "SELECT pair_mode, numbers FROM strategy.pair_signal")
    assert (signal["pair_mode"], signal["numbers"]["instance"]) == ("observe", DEFAULT_PAIRS)


def test_each_pair_is_held_against_the_thresholds_of_its_own_instance(
    strategy: StrategyEngine, at_desk: Desk
) -> None:
    pairs = [make_pair("KO", "PEP", window=WINDOW), make_pair("V", "MA", window=WINDOW)]
    store_pairs(at_desk.engine, pairs)
    for pair in pairs:
        put(at_desk.engine, pair, "-2.5")
    at_desk.instances.mode(DEFAULT_PAIRS, InstanceMode.ACTIVE, **PERSON)
    at_desk.on("patient", "pairs", "active", pairs=["V/MA"], entry_z=2.8)

    assert decisions(evaluate(strategy)) == {
        "KO/PEP": (SignalAction.ENTER_LONG, "ENTRY_Z"),
        "V/MA": (SignalAction.STAY_OUT, "BELOW_ENTRY"),
    }


def test_a_config_that_was_poisoned_past_every_check_gives_no_entry(strategy: StrategyEngine, at_desk: Desk) -> None:
    pair = make_pair("KO", "PEP", window=WINDOW)
    store_pairs(at_desk.engine, [pair])
    put(at_desk.engine, pair, "-2.5")
    at_desk.instances.mode(DEFAULT_PAIRS, InstanceMode.ACTIVE, **PERSON)
    with at_desk.engine.begin() as connection:
        poison = """UPDATE strategy.instance SET config = '{"pairs": "all", "entry_z": "NaN"}', config_version = 2"""
        connection.execute(text(poison))

    assert decisions(evaluate(strategy)) == {"KO/PEP": (SignalAction.STAY_OUT, "INSTANCE_OFF")}


def test_an_observing_instance_records_what_it_would_have_done_and_remembers(at_desk: Desk) -> None:
    at_desk.on("mine")

    first, again, second = run(at_desk.slots()), run(at_desk.slots()), run(at_desk.slots(), NEXT_SLOT)

    assert (first.decided, again.decided) == ({"mine": InstanceMode.OBSERVE}, {})
    assert list(second.decided) == ["mine"]
    one, two = at_desk.stored("mine")
    assert one["wishes"] == [{"kind": "target", "symbol": "KO", "fraction": 0.5, "reason": ""}]
    assert (one["numbers"], one["log"], one["mode"]) == ({"calls": 1, "price": 60.0}, ["well"], "observe")
    assert (one["state_before"], two["state_before"]) == (None, {"calls": 1, "ticks": 0})
    assert (one["given"]["held"]["fractions"], two["given"]["held"]["fractions"]) == ({}, {"KO": 0.5})
    assert (two["numbers"], two["bars_digest"] != one["bars_digest"]) == ({"calls": 2, "price": 61.0}, True)
    assert rows(at_desk.engine, "SELECT 1 FROM strategy.pair_signal") == []


def test_whole_bars_reach_those_who_read_them_and_name_what_was_given(at_desk: Desk) -> None:
    (at_desk.folder / "range.py").write_text(RANGE)
    for name, strategy, symbol in (
        ("whole", "range", "KO"),
        ("closes", "trouble", "KO"),
        ("other", "trouble", "PEP"),
    ):
        at_desk.on(name, strategy, symbol=symbol)
    run(at_desk.slots())
    with at_desk.engine.begin() as connection:
        connection.execute(text("UPDATE data_ingestion.market_data SET high = high + 1"))
    at_desk.on("whole-later", "range")
    at_desk.on("closes-later")

    run(at_desk.slots())

    (whole,), (later,) = at_desk.stored("whole"), at_desk.stored("whole-later")
    (closes,), (closes_later,) = at_desk.stored("closes"), at_desk.stored("closes-later")
    assert whole["numbers"] == {"high": 60.0, "open": 60.0, "last": 1000.0}
    assert (later["numbers"]["high"], whole["bars_digest"] == later["bars_digest"]) == (61.0, False)
    assert (closes["numbers"]["price"], closes["bars_digest"]) == (60.0, closes_later["bars_digest"])
    assert [each["given"]["whole_bars"] for each in (whole, closes)] == [True, False]
    assert at_desk.stored("other")[0]["numbers"]["price"] is None


def test_another_config_begins_anew_for_that_instance_alone(at_desk: Desk) -> None:
    at_desk.on("mine")
    at_desk.on("yours")
    run(at_desk.slots())
    at_desk.instances.set("mine", {"symbol": "PEP"}, **PERSON)

    run(at_desk.slots(), NEXT_SLOT)

    assert [each["numbers"]["calls"] for each in at_desk.stored("mine")] == [1, 1]
    assert [each["numbers"]["calls"] for each in at_desk.stored("yours")] == [1, 2]
    assert [each["config_version"] for each in at_desk.stored("mine")] == [1, 2]


def test_the_hourly_run_and_the_engine_at_once_store_one_decision(at_desk: Desk) -> None:
    for name in ("a", "b", "c"):
        at_desk.on(name)
    together = threading.Barrier(2)

    class Waiting(InlineRunner):
        def steps(self, market: Market, jobs: Sequence[Job]) -> list[Stepped | Failed]:
            together.wait(20)
            return super().steps(market, jobs)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, [at_desk.slots(Waiting(at_desk.folder)) for _ in range(2)]))

    assert sorted([*found[0].decided, *found[1].decided]) == ["a", "b", "c"]
    assert len(rows(at_desk.engine, DECISIONS)) == 3
    assert {row["state"]["calls"] for row in rows(at_desk.engine, "SELECT state FROM strategy.instance_state")} == {1}


def test_a_fault_that_the_hourly_run_and_the_engine_meet_at_once_is_recorded_once(at_desk: Desk) -> None:
    at_desk.on("mine", how="raises")
    together = threading.Barrier(2)

    class Waiting(InlineRunner):
        def steps(self, market: Market, jobs: Sequence[Job]) -> list[Stepped | Failed]:
            together.wait(20)
            return super().steps(market, jobs)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, [at_desk.slots(Waiting(at_desk.folder)) for _ in range(2)]))
    once = at_desk.instances.show("mine").faults
    at_desk.now += timedelta(seconds=30)
    run(at_desk.slots())

    assert [[fault.instance_id for fault in each.failed] for each in found] == [["mine"]] * 2
    assert [fault.in_a_row for fault in once] == [1]
    assert [fault.in_a_row for fault in at_desk.instances.show("mine").faults] == [2, 1]


def test_what_is_switched_off_or_set_while_it_decides_has_not_decided(at_desk: Desk) -> None:
    at_desk.on("off")
    at_desk.on("set")
    at_desk.on("stays")

    class Interrupted(InlineRunner):
        def steps(self, market: Market, jobs: Sequence[Job]) -> list[Stepped | Failed]:
            at_desk.instances.mode("off", InstanceMode.OFF, **PERSON)
            at_desk.instances.set("set", {"symbol": "PEP"}, **PERSON)
            return super().steps(market, jobs)

    assert list(run(at_desk.slots(Interrupted(at_desk.folder))).decided) == ["stays"]


def test_those_that_act_decide_apart_from_those_that_do_not(at_desk: Desk) -> None:
    at_desk.instances.mode(DEFAULT_PAIRS, InstanceMode.ACTIVE, **PERSON)
    at_desk.on("watches")
    at_desk.on("acts", mode="active")
    slots = at_desk.slots()

    first = slots.run_instances(SLOT, SLOT + SOON, CLOSE, acting=True)
    rest = slots.run_instances(SLOT, SLOT + SOON, CLOSE, acting=False)

    assert list(first.decided) == ["acts"]
    assert list(rest.decided) == [DEFAULT_PAIRS, "watches"]


def test_killed_around_its_commit_a_slot_is_decided_once(at_desk: Desk) -> None:
    at_desk.on("mine")

    with armed("strategy_engine.before_decisions:exc"), pytest.raises(Crashed):
        run(at_desk.slots())
    assert at_desk.stored("mine") == []
    with armed("strategy_engine.decisions_stored:exc"), pytest.raises(Crashed):
        run(at_desk.slots())

    assert run(at_desk.slots()).decided == {}
    assert [each["numbers"]["calls"] for each in at_desk.stored("mine")] == [1]


def test_a_slot_before_the_last_one_is_not_decided_afterwards(at_desk: Desk) -> None:
    at_desk.on("mine")
    run(at_desk.slots(), NEXT_SLOT)

    assert run(at_desk.slots(), SLOT).decided == {}


def test_an_observed_pairs_instance_decides_by_its_own_config_as_the_signals_do(
    strategy: StrategyEngine, at_desk: Desk
) -> None:
    pair = make_pair("KO", "PEP", window=WINDOW)
    store_pairs(at_desk.engine, [pair])
    store_closes(at_desk.engine, ["KO", "PEP"], ends_to(SLOT), np.full((40, 2), 100.0))
    put(at_desk.engine, pair, "-2.5")
    at_desk.instances.mode(DEFAULT_PAIRS, InstanceMode.ACTIVE, **PERSON)
    at_desk.on("patient", "pairs", "observe", pairs=["KO/PEP"], entry_z=2.8)

    run(at_desk.slots())

    (signal,) = evaluate(strategy).signals
    (usual,), (patient,) = at_desk.stored(DEFAULT_PAIRS), at_desk.stored("patient")
    assert usual["wishes"][0]["pair_id"] == "KO/PEP"
    assert usual["wishes"][0]["direction"] == signal.action.direction.value
    assert patient["wishes"] == []
    assert patient["given"]["config"]["exit_z"] == 0.5


def test_slow_ones_keep_a_slot_no_longer_than_all_calls_may_take(at_desk: Desk) -> None:
    for number in range(20):
        at_desk.on(f"slow-{number:02}", how="sleeps")
    at_desk.on("built-in", "buy_and_hold", symbols=["KO"])

    with Cells(at_desk.folder, Budget(seconds=2, all_seconds=5)) as cells:
        found = run(at_desk.slots(cells))

    assert list(found.decided) == ["built-in"]
    assert {fault.kind for fault in found.failed} == {FaultKind.TIME_OUT}
    assert len(found.failed) == 20
    assert "the calls of all instances took more than 5 s" in found.failed[-1].detail


def test_one_that_raises_loops_sleeps_eats_or_leaves_harms_no_other(at_desk: Desk) -> None:
    kinds = {
        "raises": FaultKind.EXCEPTION,
        "loops": FaultKind.TIME_OUT,
        "sleeps": FaultKind.TIME_OUT,
        "eats": FaultKind.MEMORY,
        "leaves": FaultKind.DIED,
    }
    for how in kinds:
        at_desk.on(how, how=how)
    for name in ("a-first", "z-last"):
        at_desk.on(name)
    at_desk.on("built-in", "buy_and_hold", symbols=["KO"])
    with Cells(at_desk.folder, Budget(cpu_seconds=0.5, seconds=6, megabytes=256)) as cells:
        found = run(at_desk.slots(cells))
        at_desk.now += timedelta(seconds=29)
        early = run(at_desk.slots(cells))
        at_desk.now += timedelta(seconds=1)
        later = run(at_desk.slots(cells))

    assert list(found.decided) == ["a-first", "built-in", "z-last"]
    assert {fault.instance_id: fault.kind for fault in found.failed} == kinds
    assert (early.decided, early.resting) == ({}, tuple(sorted(kinds)))
    assert {fault.instance_id: fault.in_a_row for fault in later.failed} == dict.fromkeys(kinds, 2)
    story = at_desk.instances.show("loops")
    assert [fault.in_a_row for fault in story.faults] == [2, 1]
    assert "more than 0.5 s of CPU" in story.faults[0].detail
    assert story.faults[0].back_off_until - story.faults[0].occurred_at == timedelta(seconds=60)
    at_desk.instances.set("loops", {"how": "well"}, **PERSON)
    assert list(run(at_desk.slots()).decided) == ["loops"]
    assert at_desk.instances.show("loops").standing.open_fault is None
