"""Nothing lets a pair become active that did not pass the gate with this very fit: every way is tried."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy.exc
from sqlalchemy import Engine, insert, select, text

from src.config.settings import load_settings
from src.services.strategy_engine.bootstrap import build_life
from src.services.strategy_engine.use_cases.slots import StrategyEngine
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import PairMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.tables import gate_verdict, pair_registry
from tests.conftest import TradingDatabase
from tests.fakes.pairs import passing_verdict, registered_pair, write_pair
from tests.fakes.stored_market import store_closes, store_signal
from tests.unit.strategy_engine.test_fit import reverting

NOW = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
ROW = registered_pair("KO/PEP", NOW)
Row = dict[str, Any]
REFUSED = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError, sqlalchemy.exc.ProgrammingError)


def add(engine: Engine, verdict: Row, row: Row) -> None:
    """Write both as the role of the running services does."""
    with engine.begin() as connection:
        if verdict:
            connection.execute(insert(gate_verdict).values(verdict))
        connection.execute(insert(pair_registry).values(row))


def active(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        r = pair_registry.c
        return list(connection.execute(select(r.pair_id).where(r.mode == "active")).scalars())


def failing(row: Row) -> Row:
    return passing_verdict(row) | {"sharpe": 0.1}


def test_with_a_passing_verdict_about_its_fit_a_pair_may_be_active(engine: Engine) -> None:
    verdict = passing_verdict(ROW)

    add(engine, verdict, ROW | {"gate_id": verdict["gate_id"], "gate_passed": True})

    assert active(engine) == ["KO/PEP"]


INSERTS: list[tuple[str, Callable[[Row], Row], Callable[[Row], Row]]] = [
    ("without a verdict", lambda _: {}, lambda _: {}),
    ("without a verdict, but said to have passed", lambda _: {}, lambda _: {"gate_passed": True}),
    ("with a verdict that there is not", lambda _: {}, lambda _: {"gate_id": uuid4(), "gate_passed": True}),
    ("with a verdict that is not said to pass", passing_verdict, lambda v: {"gate_id": v["gate_id"]}),
    ("with one that failed", failing, lambda v: {"gate_id": v["gate_id"], "gate_passed": True}),
    (
        "with one about a fit that is none",
        lambda row: passing_verdict(row) | {"objections": ["HALF_LIFE_LONG"]},
        lambda v: {"gate_id": v["gate_id"], "gate_passed": True},
    ),
    (
        "with one about another pair",
        lambda row: passing_verdict(row | {"pair_id": "PEP/KO"}),
        lambda v: {"gate_id": v["gate_id"], "gate_passed": True},
    ),
    *[
        (
            f"with one about another {name}",
            lambda row, name=name, value=value: passing_verdict(row | {name: value}),
            lambda v: {"gate_id": v["gate_id"], "gate_passed": True},
        )
        for name, value in {
            "alpha": 1e-12, "beta": 0.8 + 1e-15, "half_life_bars": 9.0, "z_window_bars": 17, "time_stop_bars": 25
        }.items()
    ],
]  # fmt: skip


def test_no_row_is_active_otherwise(engine: Engine) -> None:
    for way, verdict, claim in INSERTS:
        made = verdict(ROW)
        try:
            add(engine, made, ROW | claim(made))
        except REFUSED:
            continue
        pytest.fail(f"a pair is active {way}")


UPDATES = [
    "mode = 'active'",
    "mode = 'active', gate_passed = true",
    "mode = 'active', gate_passed = true, gate_id = gen_random_uuid()",
    "mode = 'active', gate_passed = true, gate_id = (SELECT gate_id FROM strategy.gate_verdict WHERE passed LIMIT 1)",
    "mode = 'active', gate_passed = true, gate_id = (SELECT gate_id FROM strategy.gate_verdict WHERE NOT passed)",
]


def test_no_update_makes_an_observed_pair_active(engine: Engine) -> None:
    with engine.begin() as connection:
        write_pair(connection, registered_pair("V/MA", NOW))
    refused = failing(ROW)
    add(engine, refused, ROW | {"mode": "observe", "gate_id": refused["gate_id"]})

    for change in UPDATES:
        with pytest.raises(REFUSED), engine.begin() as connection:
            connection.execute(text(f"UPDATE strategy.pair_registry SET {change} WHERE pair_id = 'KO/PEP'"))  # noqa: S608

    assert active(engine) == ["V/MA"]


CHANGES = [
    "beta = 0.9",
    "alpha = alpha + 1e-9",
    "z_window_bars = 20",
    "half_life_bars = 9",
    "time_stop_bars = 30",
    "gate_id = NULL",
    "gate_passed = false",
    "pair_id = 'KO/MA', symbol_2 = 'MA'",
]


def test_an_active_pair_keeps_the_fit_that_was_judged(engine: Engine) -> None:
    with engine.begin() as connection:
        write_pair(connection, ROW)

    for change in CHANGES:
        with pytest.raises(REFUSED), engine.begin() as connection:
            connection.execute(text(f"UPDATE strategy.pair_registry SET {change}"))  # noqa: S608


BENT: list[Row] = [
    {"least_sharpe": -1.0},
    {"least_win_rate": -0.1},
    {"most_drawdown": 0.9},
    {"least_round_trips": 0},
    {"sharpe": math.nan},
    {"sharpe": math.inf},
    {"win_rate": math.nan},
    {"win_rate": 1.5},
    {"max_drawdown": -0.1},
    {"max_drawdown": math.nan},
    {"round_trips": -1},
    {"least_sharpe": math.nan},
    {"objections": {}},
    {"judged_to": NOW.replace(year=2020)},
]


def test_no_verdict_has_bounds_that_are_none_or_numbers_that_can_not_be(engine: Engine) -> None:
    for bent in BENT:
        with pytest.raises(REFUSED), engine.begin() as connection:
            connection.execute(insert(gate_verdict).values(passing_verdict(ROW) | bent))


def test_the_database_itself_works_out_who_passed(engine: Engine) -> None:
    poor: list[Row] = [{"sharpe": 0.5}, {"win_rate": 0.45}, {"max_drawdown": 0.15}, {"round_trips": 9}]
    with engine.begin() as connection:
        for each in ({}, *poor):
            connection.execute(insert(gate_verdict).values(passing_verdict(ROW) | each))

    with engine.connect() as connection:
        v = gate_verdict.c
        said = connection.execute(select(v.passed).order_by(v.recorded_at)).scalars()
        assert list(said) == [True, False, False, False, False]


def test_nobody_writes_that_a_verdict_passed_and_nobody_changes_one(
    engine: Engine, trading_database: TradingDatabase
) -> None:
    with engine.begin() as connection:
        connection.execute(insert(gate_verdict).values(failing(ROW)))
    columns = ", ".join(passing_verdict(ROW))
    by_hand = (
        f"INSERT INTO strategy.gate_verdict ({columns}, passed) SELECT {columns}, true FROM strategy.gate_verdict"  # noqa: S608
    )
    for words, match in (
        (by_hand, "passed"),
        ("UPDATE strategy.gate_verdict SET passed = true", "passed|permission denied"),
        ("UPDATE strategy.gate_verdict SET sharpe = 9", "permission denied"),
        ("DELETE FROM strategy.gate_verdict", "permission denied"),
        ("TRUNCATE strategy.gate_verdict CASCADE", "permission denied"),
        (
            "ALTER TABLE strategy.pair_registry DROP CONSTRAINT ck_pair_registry_active_passed_the_gate",
            "must be owner",
        ),
    ):
        with pytest.raises(sqlalchemy.exc.ProgrammingError, match=match), engine.begin() as connection:
            connection.execute(text(words))
    owner = sqlalchemy.create_engine(trading_database.owner_url)
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="append-only"), owner.begin() as connection:
        connection.execute(text("UPDATE strategy.gate_verdict SET sharpe = 9"))
    owner.dispose()


def test_no_use_case_lets_a_pair_trade_that_the_gate_refused(strategy: StrategyEngine, engine: Engine) -> None:
    ends = [end for _, end in TradingCalendar().last_spans(NOW, 300)]
    store_closes(engine, ["KO", "PEP"], ends, np.column_stack(reverting(1, bars=300)))
    lives = build_life(load_settings(), engine)
    asked = {"until": NOW, "bars": 300, "who": "ann", "why": "I want it"}

    for _ in range(2):
        strategy.register_pair("KO", "PEP", mode=PairMode.ACTIVE, **asked)  # type: ignore[arg-type]
        assert active(engine) == []
    for slot in ends[-40:]:
        store_signal(engine, "KO/PEP", slot)
    with pytest.raises(InputInvalid, match=r"KO/PEP is not promoted: the gate refused it: .*round trips, 10 needed"):
        lives.promote("KO/PEP", at=NOW, who="ann", why="I insist")
    for may in (False, True):
        replace(lives, auto_promote=may).review(NOW)
        assert active(engine) == []
    lives.retire("KO/PEP", at=NOW, who="ann", why="no use")
    strategy.register_pair("KO", "PEP", mode=PairMode.ACTIVE, **asked)  # type: ignore[arg-type]

    assert active(engine) == []
