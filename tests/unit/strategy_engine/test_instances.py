"""Instances as values: what to run, how long to rest, under whose rules a pair is."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from src.services.strategy_engine.domain.decision import DataBlock, Freeze, Thresholds
from src.services.strategy_engine.domain.evaluation import Rules, UnfinishedTrade, WatchedPair
from src.services.strategy_engine.domain.given import watched_from, watched_json
from src.services.strategy_engine.domain.instances import (
    BackOff,
    Fault,
    Instance,
    PairCover,
    Standing,
    StoredState,
    covers_of,
    limited_by,
    next_fault,
    reconcile,
    rules_of,
)
from src.services.strategy_engine.sdk.slot import Held
from src.services.strategy_engine.sdk.stored import held_from, held_json
from src.shared.domain.instances import FaultKind, InstanceMode
from src.shared.domain.pairs import Direction, PairMode, PairTradeState
from tests.unit.strategy_engine.builders import make_pair

NOW = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
USUAL = Thresholds(2.0, 0.5, 3.0, timedelta(minutes=15), overnight=False)
BACK_OFF = BackOff(timedelta(seconds=30), timedelta(minutes=10))


def instance(name: str, mode: str = "active", version: int = 1, **config: Any) -> Instance:
    return Instance(name, "pairs", "main", "XNYS", config, version, InstanceMode(mode), "", NOW)


def fault_at(moment: datetime, in_a_row: int = 1, version: int = 1) -> Fault:
    return Fault("a", version, FaultKind.DIED, "it died", in_a_row, moment, moment + BACK_OFF.after(in_a_row))


def state_at(moment: datetime, version: int = 1) -> StoredState:
    return StoredState({"n": 1}, {}, "digest", version, NOW, moment)


def test_an_engine_starts_renews_switches_and_stops_what_the_rows_ask_for() -> None:
    running = {each.id: each for each in (instance("kept"), instance("set"), instance("switched"), instance("gone"))}
    running["off"] = instance("off")
    wanted = [
        instance("new"), instance("kept"), instance("set", version=2), instance("switched", "observe"),
        instance("off", "off"), instance("still-off", "off"),
    ]  # fmt: skip

    changes = reconcile(running, wanted)

    assert changes.start == ("new",)
    assert changes.renew == ("set",)
    assert changes.change_mode == ("switched",)
    assert changes.stop == ("gone", "off")
    assert reconcile({each.id: each for each in wanted if each.mode is not InstanceMode.OFF}, wanted).is_empty


@pytest.mark.parametrize(("before", "after"), list(product(InstanceMode, InstanceMode)))
def test_every_switch_of_mode_is_followed(before: InstanceMode, after: InstanceMode) -> None:
    running = {} if before is InstanceMode.OFF else {"a": instance("a", before)}

    changes = reconcile(running, [instance("a", after)])

    off = InstanceMode.OFF
    assert bool(changes.start) == (before is off and after is not off)
    assert bool(changes.stop) == (before is not off and after is off)
    assert bool(changes.change_mode) == (off not in (before, after) and before is not after)


def test_rest_doubles_with_each_fault_in_a_row_up_to_the_longest() -> None:
    standing, rests = Standing(instance("a")), []
    for _ in range(7):
        fault = next_fault(standing, FaultKind.DIED, "it died", NOW, BACK_OFF)
        rests.append((fault.back_off_until - NOW).total_seconds())
        standing = Standing(instance("a"), None, fault)

    assert rests == [30, 60, 120, 240, 480, 600, 600]
    assert BACK_OFF.after(100_000) == timedelta(minutes=10)


def test_a_fault_is_over_after_a_call_that_went_well_or_another_config() -> None:
    failed = Standing(instance("a"), state_at(NOW - timedelta(hours=1)), fault_at(NOW))

    assert failed.rests(NOW + timedelta(seconds=29))
    assert not failed.rests(NOW + timedelta(seconds=30))
    assert not Standing(instance("a"), state_at(NOW + timedelta(seconds=1)), fault_at(NOW)).rests(NOW)
    assert not Standing(instance("a", version=2), None, fault_at(NOW)).rests(NOW)


def test_a_state_of_another_config_is_not_remembered() -> None:
    assert Standing(instance("a"), state_at(NOW)).remembered is not None
    assert Standing(instance("a", version=2), state_at(NOW)).remembered is None


@pytest.mark.parametrize(
    ("instances", "covered"),
    [
        ([], None),
        ([instance("all", pairs="all")], "all"),
        ([instance("all")], "all"),
        ([instance("other", pairs=["V/MA"])], None),
        ([instance("all", pairs="all"), instance("own", pairs=["KO/PEP"])], "own"),
        ([instance("all", pairs="all"), instance("own", "observe", pairs=["KO/PEP"])], "all"),
        ([instance("all", "off", pairs="all"), instance("own", "observe", pairs=["KO/PEP"])], "own"),
        ([instance("b", pairs=["KO/PEP"]), instance("a", pairs=["KO/PEP"])], "a"),
        ([instance("b", pairs=["KO/PEP"]), instance("a", "observe", pairs=["KO/PEP"])], "b"),
        ([instance("poisoned", pairs=7), instance("own", pairs=["KO/PEP"])], "own"),
        ([instance("poisoned", pairs=[None, {}])], None),
    ],
)
def test_a_pair_is_under_the_instance_that_may_do_most_and_names_it(
    instances: list[Instance], covered: str | None
) -> None:
    assert covers_of(["KO/PEP"], instances)["KO/PEP"].instance_id == covered


def test_rules_are_the_instances_own_over_the_usual_ones() -> None:
    cover = PairCover("a", InstanceMode.OBSERVE, {"entry_z": 2.5, "overnight": True})

    rules = rules_of(cover, USUAL)

    assert (rules.instance, rules.is_on) == ("a", True)
    assert rules.thresholds == Thresholds(2.5, 0.5, 3.0, timedelta(minutes=15), overnight=True)


@pytest.mark.parametrize(
    "config",
    [
        {"entry_z": "NaN"}, {"entry_z": math.nan}, {"stop_z": math.inf}, {"exit_z": 0}, {"exit_z": -1},
        {"entry_z": 3.5}, {"entry_z": None}, {"stop_z": []}, {"max_slot_age_seconds": "soon"},
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_meant_gives_no_entries_and_the_usual_exits(config: dict[str, Any]) -> None:
    assert rules_of(PairCover("a", InstanceMode.ACTIVE, config), USUAL) == Rules("a", is_on=False, thresholds=USUAL)


@pytest.mark.parametrize(("mode", "pair_mode"), list(product(InstanceMode, PairMode)))
def test_an_instance_only_ever_takes_from_what_a_pair_may_do(mode: InstanceMode, pair_mode: PairMode) -> None:
    limited = limited_by(make_pair("KO", "PEP", mode=pair_mode), PairCover("a", mode)).mode

    is_lowered = mode is InstanceMode.OBSERVE and pair_mode is PairMode.ACTIVE
    assert limited is (PairMode.OBSERVE if is_lowered else pair_mode)


def test_what_was_given_comes_back_from_storage_as_it_was() -> None:
    trade = UnfinishedTrade(Direction.SHORT_SPREAD, PairTradeState.OPEN, NOW)
    block = DataBlock("KO", "holes", "three bars are missing", {"missing": 3})
    rules = Rules("calm", is_on=True, thresholds=USUAL)
    watched = WatchedPair(make_pair("KO", "PEP"), trade, NOW, Freeze.NO_ENTRY, block, rules)
    held = Held({"KO": -0.5}, {"KO/PEP": trade})

    assert watched_from(json.loads(json.dumps(watched_json(watched)))) == watched
    assert watched_from(json.loads(json.dumps(watched_json(WatchedPair(make_pair("V", "MA")))))).trade is None
    assert held_from(json.loads(json.dumps(held_json(held)))) == held
    assert held_from({}) == Held()
