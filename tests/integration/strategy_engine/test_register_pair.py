from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import OperationalError

from src.services.strategy_engine.domain.fit import fit_pair
from src.services.strategy_engine.domain.reasons import FitReason
from src.services.strategy_engine.use_cases.slots import Registration, StrategyEngine
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import Direction, PairMode, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.tables import METADATA, pair_trade
from tests.fakes.stored_market import store_closes, store_trade, trade_row
from tests.unit.strategy_engine.test_fit import reverting

UNTIL = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
ENDS = [end for _, end in TradingCalendar().last_spans(UNTIL, 400)]


def put(engine: Engine, closes_1: Floats, closes_2: Floats) -> None:
    store_closes(engine, ["KO", "PEP"], ENDS, np.column_stack([closes_1, closes_2]))


def register(
    strategy: StrategyEngine, legs: str = "KO/PEP", mode: PairMode = PairMode.ACTIVE, bars: int = 400
) -> Registration:
    one, two = legs.split("/")
    return strategy.register_pair(one, two, until=UNTIL, bars=bars, mode=mode, who="ann", why="looks good")


def rows(engine: Engine, table: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(METADATA.tables[table])).mappings())


def test_a_good_pair_is_registered_as_asked_with_its_fit_an_audit_line_and_an_event(
    strategy: StrategyEngine, engine: Engine
) -> None:
    put(engine, *reverting(1))

    found = register(strategy)

    assert found.fit == fit_pair(*reverting(1))
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


def test_registering_the_same_again_changes_nothing(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *reverting(1))

    assert register(strategy) == register(strategy)

    assert len(rows(engine, "ops.audit_log")) == len(rows(engine, "ops.outbox")) == 1


def test_a_new_fit_is_a_new_version_and_only_a_new_mode_is_an_event(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *reverting(1))
    register(strategy)
    put(engine, *reverting(3))

    assert register(strategy).version == 2
    assert len(rows(engine, "ops.outbox")) == 1
    assert register(strategy, mode=PairMode.OBSERVE).version == 3
    assert [event["payload"]["after"] for event in rows(engine, "ops.outbox")] == ["active", "observe"]
    assert len(rows(engine, "ops.audit_log")) == 3
    assert rows(engine, "strategy.pair_registry")[0]["beta"] == fit_pair(*reverting(3)).beta


def test_a_fit_that_may_not_be_traded_is_only_observed(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *reverting(1, pull=0.5))

    found = register(strategy)

    assert found.reasons == (FitReason.HALF_LIFE_SHORT,)
    assert found.pair.mode is PairMode.OBSERVE
    assert rows(engine, "strategy.pair_registry")[0]["mode"] == "observe"


def test_one_missing_bar_in_many_is_no_obstacle(strategy: StrategyEngine, engine: Engine) -> None:
    closes_1, closes_2 = reverting(1)
    closes_1[77] = np.nan
    put(engine, closes_1, closes_2)

    assert register(strategy).fit == fit_pair(closes_1, closes_2)


@pytest.mark.parametrize(
    ("legs", "bars", "words"),
    [
        ("KO/XYZ", 400, "No hourly bars of XYZ"),
        ("KO/PEP", 500, "400 common bars stored of the 500 asked for"),
        ("KO/PEP", 20, "20 common bars are too few"),
        ("KO/KO", 400, "pairs a symbol with itself"),
        ("ko/PEP", 400, "is not a symbol"),
    ],
)
def test_what_can_not_be_fitted_is_refused_in_one_line_and_nothing_is_written(
    strategy: StrategyEngine, engine: Engine, legs: str, bars: int, words: str
) -> None:
    put(engine, *reverting(1))

    with pytest.raises(InputInvalid, match=words) as refusal:
        register(strategy, legs, bars=bars)

    assert "\n" not in str(refusal.value)
    assert rows(engine, "strategy.pair_registry") == rows(engine, "ops.audit_log") == []


def test_legs_that_move_against_each_other_are_no_pair(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *reverting(1, beta=-0.8))

    with pytest.raises(InputInvalid, match="hedge ratio is -0"):
        register(strategy)


def test_a_spread_that_does_not_revert_is_no_pair(strategy: StrategyEngine, engine: Engine) -> None:
    closes_2 = reverting(1)[1]
    put(engine, closes_2 * 2, closes_2)

    with pytest.raises(InputInvalid, match="does not revert"):
        register(strategy)


def test_a_pair_with_a_trade_under_way_keeps_its_parameters(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *reverting(1))
    pair = register(strategy).pair
    store_trade(engine, pair, Direction.LONG_SPREAD, ENDS[-2], PairTradeState.CLOSING)
    put(engine, *reverting(3))

    with pytest.raises(InputInvalid, match="trade under way"):
        register(strategy)

    assert rows(engine, "strategy.pair_registry")[0]["beta"] == pair.beta


def test_no_trade_of_a_pair_begins_while_its_parameters_change(strategy: StrategyEngine, engine: Engine) -> None:
    put(engine, *reverting(1))
    pair = register(strategy).pair

    with strategy.store() as work:
        work.repo.registered(pair.id)
        with pytest.raises(OperationalError, match="lock timeout"), engine.connect() as other:
            other.execute(text("SET lock_timeout = '100ms'"))
            other.execute(insert(pair_trade).values(**trade_row(pair, Direction.LONG_SPREAD, ENDS[-2])))
