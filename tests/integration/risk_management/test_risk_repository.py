"""Risk management on a real PostgreSQL, with a broker in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, select

from src.config.settings import load_settings
from src.services.risk_management.adapters.risk_repository import SqlRiskRepository
from src.services.risk_management.bootstrap import build
from src.services.risk_management.domain.equity import DayStart, EquityPoint
from src.services.risk_management.domain.state import Standing
from src.services.risk_management.use_cases.review import RiskManagement, SlotReview
from src.shared.domain.pairs import Direction, PairMode, PairTradeState
from src.shared.domain.risk import RiskState
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.tables import (
    audit_log,
    equity_point,
    order_intent,
    outbox,
    pair_signal,
    pair_spread,
    pair_trade,
    position,
    risk_decision,
)
from tests.fakes.broker import FakeBroker
from tests.fakes.pairs import write_pair
from tests.fakes.stored_market import store_closes
from tests.unit.risk_management.examples import CLOSE, NOW, SLOT, unrelated_closes


@pytest.fixture
def risk(engine: Engine) -> RiskManagement:
    series = unrelated_closes(("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH"), 140)
    store_closes(engine, series.symbols, series.ends, series.closes)
    return build(load_settings(), engine, FakeBroker())


def review(risk: RiskManagement) -> SlotReview:
    return risk.review_slot(SLOT, NOW, True, CLOSE, True)


def register(engine: Engine, pair: str, mode: PairMode = PairMode.ACTIVE) -> None:
    first, second = pair.split("/")
    row = {
        "pair_id": pair,
        "symbol_1": first,
        "symbol_2": second,
        "alpha": 0.0,
        "beta": 1.0,
        "half_life_bars": 10.0,
        "z_window_bars": 20,
        "time_stop_bars": 30,
        "correlation": 0.9,
        "fitted_from": SLOT - timedelta(days=90),
        "fitted_to": SLOT - timedelta(days=1),
        "mode": mode.value,
        "source": "test",
        "updated_at": SLOT,
    }
    with engine.begin() as connection:
        write_pair(connection, row)


def signal(
    engine: Engine, pair: str, action: SignalAction = SignalAction.ENTER_LONG, z: float = -2.2, mode: str = "active"
) -> None:
    register(engine, pair, PairMode(mode))
    spread = {"price_1": 50.0, "price_2": 25.0, "spread": 0.7, "mean": 0.8, "sd": 0.05, "z": z, "window_bars": 20}
    row = {"signal_id": signal_id(pair, SLOT), "action": action.value, "reason": "test", "pair_mode": mode}
    with engine.begin() as connection:
        connection.execute(pair_spread.insert().values(pair_id=pair, slot=SLOT, **spread))
        connection.execute(pair_signal.insert().values(pair_id=pair, slot=SLOT, numbers={}, **row))


def trade(engine: Engine, pair: str, state: PairTradeState, slot: datetime, **more: Any) -> Any:
    first, second = pair.split("/")
    row = {
        "pair_trade_id": uuid4(),
        "pair_id": pair,
        "symbol_1": first,
        "symbol_2": second,
        "beta": 1.0,
        "direction": Direction.LONG_SPREAD.value,
        "state": state.value,
        "slot": slot,
        "target_1": Decimal(10),
        "target_2": Decimal(-20),
        "version": 1,
        **more,
    }
    with engine.begin() as connection:
        connection.execute(pair_trade.insert().values(row))
    return row["pair_trade_id"]


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_slot_is_decided_once_and_told_once(risk: RiskManagement, engine: Engine) -> None:
    signal(engine, "AAA/BBB")
    signal(engine, "CCC/DDD", mode="observe")
    signal(engine, "EEE/FFF", SignalAction.STOP, mode="closing")
    signal(engine, "GGG/HHH", SignalAction.HOLD)

    first = review(risk)
    second = review(risk)

    assert [(d.pair_id, d.code, d.quantity_1, d.quantity_2) for d in first.decisions] == [
        ("AAA/BBB", "APPROVED", Decimal(20), Decimal(-40)),
        ("CCC/DDD", "PAIR_NOT_ACTIVE", Decimal(0), Decimal(0)),
        ("EEE/FFF", "APPROVED", Decimal(0), Decimal(0)),
    ]
    assert second == replace(first, already_done=True)
    assert (count(engine, risk_decision), count(engine, outbox), count(engine, equity_point)) == (3, 3, 1)


def test_two_reviews_at_once_store_one_set(risk: RiskManagement, engine: Engine) -> None:
    for pair in ("AAA/BBB", "CCC/DDD", "EEE/FFF", "AAA/DDD"):
        signal(engine, pair)
    signal(engine, "GGG/HHH", SignalAction.EXIT)
    together = Barrier(4)

    def run(_: int) -> SlotReview:
        together.wait(timeout=10)
        return review(risk)

    with ThreadPoolExecutor(4) as pool:
        reviews = list(pool.map(run, range(4)))

    assert all(each.decisions == reviews[0].decisions for each in reviews)
    assert len(reviews[0].decisions) == 5
    assert (count(engine, risk_decision), count(engine, outbox)) == (5, 5)


def test_the_last_closed_trades_size_the_next(risk: RiskManagement, engine: Engine) -> None:
    signal(engine, "AAA/BBB")
    for i in range(120):
        slot = SLOT - timedelta(hours=200 - i)
        pnl = Decimal(100) if i >= 20 and i % 5 < 3 else Decimal(-100)  # the first 20 lost, 60 % of the rest won
        trade(engine, "AAA/BBB", PairTradeState.CLOSED, slot, closed_slot=slot, realized_pnl=pnl)
    trade(engine, "AAA/BBB", PairTradeState.UNWOUND, SLOT - timedelta(hours=9), realized_pnl=Decimal(-9000))

    (decision,) = review(risk).decisions

    sizing: Any = decision.numbers["size"]
    assert (sizing["closed_trades"], Decimal(sizing["fraction"])) == (100, Decimal("0.1"))


@pytest.mark.parametrize(
    ("state", "held", "code"),
    [
        (PairTradeState.OPEN, ("10", "-20"), "PAIR_ALREADY_OPEN"),
        (PairTradeState.OPENING, None, "PAIR_ALREADY_OPEN"),
        (PairTradeState.ORPHANED, ("10", "0"), "ORPHAN_OPEN"),
        (PairTradeState.CLOSED, ("0", "0"), "APPROVED"),
    ],
)
def test_what_is_held_counts(
    risk: RiskManagement, engine: Engine, state: PairTradeState, held: tuple[str, str] | None, code: str
) -> None:
    signal(engine, "AAA/BBB")
    opened = trade(engine, "AAA/BBB", state, SLOT - timedelta(hours=3))
    for symbol, quantity in zip(("AAA", "BBB"), held or (), strict=False):
        with engine.begin() as connection:
            connection.execute(
                position.insert().values(
                    pair_trade_id=opened, symbol=symbol, quantity=Decimal(quantity), updated_at=SLOT
                )
            )

    assert [d.code for d in review(risk).decisions] == [code]


def test_open_trades_carry_what_they_hold_or_will_hold(engine: Engine) -> None:
    for pair in ("AAA/BBB", "CCC/DDD"):
        register(engine, pair)
    opening = trade(engine, "AAA/BBB", PairTradeState.OPENING, SLOT)
    closing = trade(engine, "CCC/DDD", PairTradeState.CLOSING, SLOT)
    held = [(opening, "AAA", 4), (closing, "CCC", 3), (closing, "DDD", 0)]
    with engine.begin() as connection:
        for of, symbol, quantity in held:
            connection.execute(
                position.insert().values(pair_trade_id=of, symbol=symbol, quantity=quantity, updated_at=SLOT)
            )

    with engine.connect() as connection:
        trades = SqlRiskRepository(connection, read_closes).open_trades()

    assert [(t.pair_id, t.quantity_1, t.quantity_2) for t in trades] == [
        ("AAA/BBB", Decimal(10), Decimal(-20)),
        ("CCC/DDD", Decimal(3), Decimal(0)),
    ]


def test_orders_are_counted_by_the_minute_and_the_day(engine: Engine) -> None:
    register(engine, "AAA/BBB")
    opened = trade(engine, "AAA/BBB", PairTradeState.OPEN, SLOT)
    midnight = datetime(2026, 11, 18, 5, tzinfo=UTC)
    moments = [NOW, NOW - timedelta(seconds=61), midnight, midnight - timedelta(seconds=1), None]
    with engine.begin() as connection:
        for attempt, sent_at in enumerate(moments):
            connection.execute(order_intent.insert().values(_intent(opened, attempt, sent_at)))

    with engine.connect() as connection:
        counted = SqlRiskRepository(connection, read_closes).orders_since(NOW - timedelta(minutes=1), midnight)

    assert counted == (1, 3)


def _intent(opened: Any, attempt: int, sent_at: datetime | None) -> dict[str, Any]:
    return {
        "intent_id": uuid4(),
        "client_order_id": f"tw-twin-{attempt}",
        "pair_trade_id": opened,
        "leg": 1,
        "action": "open",
        "attempt": attempt,
        "symbol": "AAA",
        "quantity": 1,
        "state": "planned",
        "slot": SLOT,
        "epoch": 1,
        "version": 1,
        "created_at": SLOT,
        "sent_at": sent_at,
    }


def test_a_drawdown_reduces_the_account_until_a_person_starts_a_new_peak(
    risk: RiskManagement, engine: Engine
) -> None:
    signal(engine, "AAA/BBB")
    with engine.begin() as connection:
        connection.execute(_point(SLOT - timedelta(days=2), 110_000))
        connection.execute(_point(SLOT - timedelta(hours=1), 100_000))

    assert [d.code for d in review(risk).decisions] == ["DRAWDOWN"]
    assert risk.standing().state is RiskState.REDUCING
    assert count(engine, audit_log) == 2  # the limits' seed and the change of state
    assert count(engine, outbox) == 2

    risk.set_state(RiskState.ACTIVE, "ann", "looked into it", NOW - timedelta(minutes=30))

    with engine.connect() as connection:
        history = SqlRiskRepository(connection, read_closes).equity_history(
            EquityPoint(NOW, Decimal(90_000)), DayStart(NOW, NOW)
        )
    assert history.peak == Decimal(100_000)  # only the slot's own point is after the reset
    assert risk.standing() == Standing(RiskState.ACTIVE, "ann", "looked into it", 2, NOW - timedelta(minutes=30))


def _point(slot: datetime, equity: int) -> Any:
    return equity_point.insert().values(slot=slot, taken_at=slot, equity=equity, cash=equity, buying_power=equity)


@pytest.mark.parametrize(
    ("evening", "told", "start"),
    [(-1, None, 2), (-1, 5, 5), (0, None, 1), (1, 5, 1)],
)
def test_a_day_starts_after_the_close_before_it_and_begins_at_midnight_in_new_york(
    engine: Engine, evening: int, told: int | None, start: int
) -> None:
    close, midnight = datetime(2026, 11, 17, 21, tzinfo=UTC), datetime(2026, 11, 18, 5, tzinfo=UTC)
    readings = (close + timedelta(seconds=evening), 1), (midnight, 2), (SLOT, 3)
    with engine.begin() as connection:
        for slot, equity in readings:
            connection.execute(_point(slot, equity))

    with engine.connect() as connection:
        history = SqlRiskRepository(connection, read_closes).equity_history(
            EquityPoint(NOW, Decimal(3)), DayStart(midnight, close, None if told is None else Decimal(told))
        )

    assert (history.day_start, history.peak) == (Decimal(start), Decimal(3))


def test_a_new_peak_leaves_the_days_start_where_it_was(risk: RiskManagement, engine: Engine) -> None:
    close, midnight = datetime(2026, 11, 17, 21, tzinfo=UTC), datetime(2026, 11, 18, 5, tzinfo=UTC)
    with engine.begin() as connection:
        connection.execute(_point(close, 100_000))
    risk.set_state(RiskState.ACTIVE, "ann", "looked into it", NOW)

    with engine.connect() as connection:
        history = SqlRiskRepository(connection, read_closes).equity_history(
            EquityPoint(NOW, Decimal(98_000)), DayStart(midnight, close)
        )

    assert (history.day_start, history.peak) == (Decimal(100_000), Decimal(98_000))
