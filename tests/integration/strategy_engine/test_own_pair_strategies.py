"""A strategy of somebody's own that decides about registered pairs: its wishes are the pairs' signals of the slot."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from src.services.strategy_engine.adapters.sql_replay import SqlReplayStore
from src.services.strategy_engine.use_cases.replay import Replay
from src.services.strategy_engine.use_cases.slots import StrategyEngine
from src.shared.domain.errors import InputInvalid
from src.shared.domain.instances import DEFAULT_PAIRS, InstanceMode
from src.shared.domain.pairs import Direction, PairMode
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes.stored_market import store_pairs, store_trade
from tests.fakes.strategy_runner import InlineRunner
from tests.integration.strategy_engine.test_evaluate_slot import (
    CALENDAR,
    SLOT,
    WINDOW,
    decisions,
    evaluate,
    put,
)
from tests.integration.strategy_engine.test_instance_slots import PERSON, Desk, run
from tests.unit.strategy_engine.builders import make_pair

A = SignalAction
KO, V = make_pair("KO", "PEP", window=WINDOW), make_pair("V", "MA", window=WINDOW)
OWN = '''
from src.services.strategy_engine.sdk import Direction, Strategy


class Own(Strategy):
    """Asks for what its config says."""

    CONFIG_SCHEMA = {
        "pairs": {"type": "pairs"},
        "how": {"type": "str", "default": "nothing"},
    }
    TRADES = "pairs"

    def on_bar(self, context, bar):
        for each in context.pairs:
            if context.config.how == "raises":
                raise ValueError("by design")
            if context.config.how == "exit":
                context.orders.exit_pair(each.pair.id)
            elif context.config.how != "nothing":
                context.orders.enter_pair(each.pair.id, Direction(context.config.how))
'''


@pytest.fixture
def own(engine: Engine, tmp_path: Path) -> Desk:
    """Two pairs under default-pairs, and an active instance that names the first."""
    (tmp_path / "own.py").write_text(OWN)
    desk = Desk(engine, tmp_path)
    store_pairs(engine, [KO, V])
    desk.on("own", "own", "active", pairs=["KO/PEP"])
    return desk


def decided(own: Desk, strategy: StrategyEngine, how: str, z: str = "0", slot: datetime = SLOT) -> Any:
    """Run instances, then the pairs, as the hourly run does."""
    own.instances.set("own", {"how": how}, **PERSON)
    put(own.engine, KO, z)
    put(own.engine, V, "-2.5")
    run(own.slots(InlineRunner(own.folder)), slot)
    return decisions(evaluate(strategy, slot))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("long_spread", (A.ENTER_LONG, "ASKED")),
        ("short_spread", (A.ENTER_SHORT, "ASKED")),
        ("nothing", (A.STAY_OUT, "NOT_ASKED")),
        ("exit", (A.STAY_OUT, "NOT_ASKED")),
        ("raises", (A.STAY_OUT, "NOT_ASKED")),
    ],
)
def test_what_it_asks_for_is_the_signal_of_its_pair_and_others_keep_their_rules(
    own: Desk, strategy: StrategyEngine, how: str, expected: tuple[SignalAction, str]
) -> None:
    # By the rules of pairs there would be an entry at this z whatever it asks for.
    found = decided(own, strategy, how, "-2.5")

    assert found == {"KO/PEP": expected, "V/MA": (A.ENTER_LONG, "ENTRY_Z")}


@pytest.mark.parametrize(
    ("how", "z", "expected"),
    [
        ("nothing", "0", (A.HOLD, "HOLDING")),
        ("long_spread", "0", (A.HOLD, "HOLDING")),
        ("exit", "-2.5", (A.EXIT, "ASKED")),
        ("nothing", "-3.7", (A.STOP, "STOP_Z")),
        ("raises", "-3.7", (A.STOP, "STOP_Z")),
    ],
)
def test_it_says_when_a_trade_is_left_and_the_stop_stays(
    own: Desk, strategy: StrategyEngine, how: str, z: str, expected: tuple[SignalAction, str]
) -> None:
    store_trade(own.engine, KO, Direction.LONG_SPREAD, CALENDAR.last_spans(SLOT, 3)[0][1])

    assert decided(own, strategy, how, z)["KO/PEP"] == expected


def test_a_pair_of_its_that_is_only_observed_is_not_traded(own: Desk, strategy: StrategyEngine) -> None:
    store_pairs(own.engine, [replace(make_pair("A", "B", window=WINDOW), mode=PairMode.OBSERVE)])
    own.instances.set("own", {"pairs": ["A/B"]}, **PERSON)
    put(own.engine, make_pair("A", "B", window=WINDOW), "0")
    found = decided(own, strategy, "long_spread")

    assert found["A/B"] == (A.ENTER_LONG, "ASKED")
    with own.engine.connect() as connection:
        mode = connection.exec_driver_sql("SELECT pair_mode FROM strategy.pair_signal WHERE pair_id = 'A/B'").scalar()
    assert mode == "observe"


@pytest.mark.parametrize("mode", [InstanceMode.OFF, InstanceMode.OBSERVE])
def test_without_it_the_pair_is_traded_by_the_rules_again(
    own: Desk, strategy: StrategyEngine, mode: InstanceMode
) -> None:
    own.instances.mode("own", mode, **PERSON)

    assert decided(own, strategy, "nothing", "-2.5")["KO/PEP"] == (A.ENTER_LONG, "ENTRY_Z")


def test_a_pair_is_decided_about_by_one_of_them(own: Desk) -> None:
    own.instances.create("rival", "own", {"pairs": ["KO/PEP"]}, **PERSON)
    with pytest.raises(InputInvalid, match="rival can't be active: own, which is, decides about KO/PEP"):
        own.instances.mode("rival", InstanceMode.ACTIVE, **PERSON)
    own.instances.set("rival", {"pairs": ["V/MA"]}, **PERSON)
    own.instances.mode("rival", InstanceMode.ACTIVE, **PERSON)

    with pytest.raises(InputInvalid, match="rival can't be active: own, which is, decides about KO/PEP"):
        own.instances.set("rival", {"pairs": ["V/MA", "KO/PEP"]}, **PERSON)
    with pytest.raises(InputInvalid, match="default-pairs can't be active: own, which is, decides about KO/PEP"):
        own.instances.set(DEFAULT_PAIRS, {"pairs": ["KO/PEP"]}, **PERSON)


def test_it_has_to_name_its_pairs(own: Desk) -> None:
    own.instances.create("greedy", "own", {"pairs": "all"}, **PERSON)

    with pytest.raises(InputInvalid, match="greedy can't be active before its config names the pairs"):
        own.instances.mode("greedy", InstanceMode.ACTIVE, **PERSON)


@pytest.mark.parametrize("how", ["long_spread", "nothing"])
def test_a_replay_takes_its_decisions_again(own: Desk, strategy: StrategyEngine, how: str) -> None:
    decided(own, strategy, how)
    replay = Replay(SqlUnitOfWork(own.engine, SqlReplayStore), CALENDAR, InlineRunner(own.folder))

    replayed = replay.day(SLOT.date(), SLOT.date())

    assert {each.cause.value for each in replayed.decisions} == {"same"}
