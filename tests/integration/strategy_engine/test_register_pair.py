from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import OperationalError

from src.services.strategy_engine.domain.fit import PairFit, fit_pair
from src.services.strategy_engine.domain.reasons import FitReason, GateReason, LifeReason
from src.services.strategy_engine.use_cases.slots import Registration, StrategyEngine
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import Direction, FoundBy, PairMode, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.tables import METADATA, pair_trade
from tests.fakes.stored_market import store_closes, store_signal, store_trade, trade_row
from tests.unit.strategy_engine.test_fit import reverting

UNTIL = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
BARS, FITTED = 1200, 800
ENDS = [end for _, end in TradingCalendar().last_spans(UNTIL, BARS)]


def pair_of(seed: int, **how: Any) -> tuple[Floats, Floats]:
    return reverting(seed, bars=BARS, **how)


def fit_of(closes_1: Floats, closes_2: Floats) -> PairFit:
    """What the first two thirds say."""
    return fit_pair(closes_1[:FITTED], closes_2[:FITTED])


def put(engine: Engine, closes_1: Floats, closes_2: Floats) -> None:
    store_closes(engine, ["KO", "PEP"], ENDS, np.column_stack([closes_1, closes_2]))


def register(
    strategy: StrategyEngine, legs: str = "KO/PEP", mode: PairMode = PairMode.ACTIVE, bars: int = BARS, **more: Any
) -> Registration:
    one, two = legs.split("/")
    return strategy.register_pair(one, two, until=UNTIL, bars=bars, mode=mode, who="ann", why="looks good", **more)


def rows(engine: Engine, table: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(METADATA.tables[table])).mappings())


def test_a_good_pair_is_registered_as_asked_with_its_fit_an_audit_line_and_an_event(
    strategy: StrategyEngine, engine: Engine
) -> None:
    put(engine, *pair_of(1))

    found = register(strategy)

    assert found.fit == fit_of(*pair_of(1))
    assert (found.reasons, found.pair.mode, found.version) == ((), PairMode.ACTIVE, 1)
    [row] = rows(engine, "strategy.pair_registry")
    assert (row["pair_id"], row["mode"], row["beta"]) == ("KO/PEP", "active", found.fit.beta)
    assert (row["fitted_from"], row["fitted_to"]) == (ENDS[0], ENDS[-1])
    [note] = rows(engine, "ops.audit_log")
    assert (note["who"], note["subject"], note["why"]) == ("ann", "KO/PEP", "looks good")
    assert note["numbers"]["half_life_bars"] == found.fit.half_life_bars
    [event] = rows(engine, "ops.outbox")
    assert event["channel"] == "tradewinds.signals.PairModeChanged"
    assert (event["payload"]["before"], event["payload"]["after"]) == (None, "active")
    [verdict] = rows(engine, "strategy.gate_verdict")
    assert (row["gate_id"], row["gate_passed"]) == (verdict["gate_id"], True)
    trial = found.tried.verdict.trial
    assert (verdict["sharpe"], verdict["win_rate"], verdict["max_drawdown"], verdict["round_trips"]) == (
        trial.sharpe,
        trial.win_rate,
        trial.max_drawdown,
        trial.round_trips,
    )
    assert (verdict["fitted_to"], verdict["judged_to"], verdict["unseen_bars"]) == (ENDS[FITTED - 1], ENDS[-1], 400)
    assert len(verdict["numbers"]["trades"]) == len(trial.trades)


def test_registering_the_same_again_changes_nothing(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *pair_of(1))

    assert register(strategy) == register(strategy)

    assert len(rows(engine, "ops.audit_log")) == len(rows(engine, "ops.outbox")) == 1


def test_a_new_fit_is_a_new_version_and_every_version_is_told(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *pair_of(1))
    register(strategy)
    put(engine, *pair_of(3))

    assert register(strategy).version == 2
    assert register(strategy, mode=PairMode.OBSERVE).version == 3
    told = [(each["channel"].rsplit(".", 1)[1], each["aggregate_version"]) for each in rows(engine, "ops.outbox")]
    assert told == [("PairModeChanged", 1), ("PairRefitted", 2), ("PairModeChanged", 3)]
    assert len(rows(engine, "ops.audit_log")) == len(rows(engine, "strategy.gate_verdict")) == 3
    assert rows(engine, "strategy.pair_registry")[0]["beta"] == fit_of(*pair_of(3)).beta


def test_a_fit_that_may_not_be_traded_is_only_observed(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *pair_of(7, pull=0.5))

    found = register(strategy)

    assert FitReason.HALF_LIFE_SHORT in found.reasons
    assert found.pair.mode is PairMode.OBSERVE
    assert rows(engine, "strategy.pair_registry")[0]["mode"] == "observe"


def test_a_pair_that_fails_its_trial_is_only_observed_and_the_number_is_named(
    strategy: StrategyEngine, engine: Engine
) -> None:
    put(engine, *pair_of(1))

    found = register(strategy, bars=300)

    assert GateReason.FEW_ROUND_TRIPS in found.reasons
    assert found.objections[-1].endswith("round trips, 10 needed")
    [row], [verdict] = rows(engine, "strategy.pair_registry"), rows(engine, "strategy.gate_verdict")
    assert (row["mode"], row["gate_passed"], verdict["passed"]) == ("observe", False, False)
    assert rows(engine, "ops.audit_log")[0]["numbers"]["judgement"] == ", ".join(found.objections)


def test_a_pair_that_passed_once_and_fails_now_is_traded_no_more(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *pair_of(1))
    assert register(strategy).pair.mode is PairMode.ACTIVE

    assert register(strategy, bars=300).pair.mode is PairMode.OBSERVE

    [row] = rows(engine, "strategy.pair_registry")
    assert (row["mode"], row["gate_passed"]) == ("observe", False)
    assert row["demoted_at"] is not None


def test_what_discovery_found_is_watched_before_a_person_can_let_it_trade(
    strategy: StrategyEngine, engine: Engine
) -> None:
    put(engine, *pair_of(1))
    register(strategy, mode=PairMode.OBSERVE, found_by=FoundBy.DISCOVERY)

    early = register(strategy, bars=1150)
    for slot in ENDS[-20:]:
        store_signal(engine, "KO/PEP", slot)
    late = register(strategy)

    assert (early.pair.mode, early.reasons) == (PairMode.OBSERVE, (LifeReason.NOT_WATCHED,))
    assert late.pair.mode is PairMode.ACTIVE
    assert rows(engine, "strategy.pair_registry")[0]["found_by"] == "discovery"


def test_one_missing_bar_in_many_is_no_obstacle(strategy: StrategyEngine, engine: Engine) -> None:
    closes_1, closes_2 = pair_of(1)
    closes_1[77] = np.nan
    put(engine, closes_1, closes_2)

    assert register(strategy).fit == fit_of(closes_1, closes_2)


@pytest.mark.parametrize(
    ("legs", "bars", "words"),
    [
        ("KO/XYZ", BARS, "No hourly bars of XYZ"),
        ("KO/PEP", 1500, "1200 common bars stored of the 1500 asked for"),
        ("KO/PEP", 20, "13 common bars are too few"),
        ("KO/KO", BARS, "pairs a symbol with itself"),
        ("ko/PEP", BARS, "is not a symbol"),
    ],
)
def test_what_can_not_be_fitted_is_refused_in_one_line_and_nothing_is_written(
    strategy: StrategyEngine, engine: Engine, legs: str, bars: int, words: str
) -> None:
    put(engine, *pair_of(1))

    with pytest.raises(InputInvalid, match=words) as refusal:
        register(strategy, legs, bars=bars)

    assert "\n" not in str(refusal.value)
    assert rows(engine, "strategy.pair_registry") == rows(engine, "ops.audit_log") == []


def test_legs_that_move_against_each_other_are_no_pair(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *pair_of(1, beta=-0.8))

    with pytest.raises(InputInvalid, match="hedge ratio is -0"):
        register(strategy)


def test_a_spread_that_does_not_revert_is_no_pair(strategy: StrategyEngine, engine: Engine) -> None:
    closes_2 = pair_of(1)[1]
    put(engine, closes_2 * 2, closes_2)

    with pytest.raises(InputInvalid, match="does not revert"):
        register(strategy)


def test_a_pair_with_a_trade_under_way_keeps_its_parameters(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *pair_of(1))
    pair = register(strategy).pair
    store_trade(engine, pair, Direction.LONG_SPREAD, ENDS[-2], PairTradeState.CLOSING)
    put(engine, *pair_of(3))

    with pytest.raises(InputInvalid, match="trade under way"):
        register(strategy)

    assert rows(engine, "strategy.pair_registry")[0]["beta"] == pair.beta


def test_no_trade_of_a_pair_begins_while_its_parameters_change(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *pair_of(1))
    pair = register(strategy).pair

    with strategy.store() as work:
        work.repo.registered(pair.id)
        with pytest.raises(OperationalError, match="lock timeout"), engine.connect() as other:
            other.execute(text("SET lock_timeout = '100ms'"))
            other.execute(insert(pair_trade).values(**trade_row(pair, Direction.LONG_SPREAD, ENDS[-2])))
