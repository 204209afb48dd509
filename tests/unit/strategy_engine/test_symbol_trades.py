"""What targets come to: the table of entries, exits and what is left as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.strategy_engine.domain.decision import DataBlock
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.domain.symbol_trades import Asked, SymbolMarket, SymbolTrade, signals_of
from src.shared.domain.instances import InstanceMode
from src.shared.domain.pairs import FINISHED_TRADES, Direction, PairTradeState
from src.shared.domain.signals import SignalAction, signal_id

SLOT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
LONG, SHORT = Direction.LONG_SPREAD, Direction.SHORT_SPREAD
ACTIVE, OBSERVE, OFF = InstanceMode.ACTIVE, InstanceMode.OBSERVE, InstanceMode.OFF
EQUITY = Decimal(100_000)
A, R = SignalAction, Reason


def trade(direction: Direction = LONG, state: PairTradeState = PairTradeState.OPEN, shares: int = 10) -> SymbolTrade:
    return SymbolTrade(
        "trend", "KO", direction, state, SLOT - timedelta(hours=2), Decimal(direction.sign * shares), 50.0
    )


def asked(target: float | None = None, mode: InstanceMode = ACTIVE, symbols: tuple[str, ...] = ("KO",)) -> Asked:
    return Asked("trend", mode, {} if target is None else {"KO": target}, frozenset(symbols), 3)


def decided(what: Asked, *trades: SymbolTrade, block: DataBlock | None = None) -> list[tuple[SignalAction, Reason]]:
    market = SymbolMarket(SLOT, {"KO": 60.0}, {"KO": block} if block else {}, {}, EQUITY)
    return [(each.action, each.reason) for each in signals_of(what, trades, market)]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (asked(0.5), [(A.ENTER_LONG, R.TARGET)]),
        (asked(-0.5), [(A.ENTER_SHORT, R.TARGET)]),
        (asked(0.0), []),
        (asked(), []),
        (asked(0.5, OBSERVE), []),
        (asked(0.5, OFF), []),
    ],
)
def test_without_a_trade_only_an_active_instance_enters(
    what: Asked, expected: list[tuple[SignalAction, Reason]]
) -> None:
    assert decided(what) == expected


@pytest.mark.parametrize("direction", [LONG, SHORT])
@pytest.mark.parametrize(
    ("target", "mode", "symbols", "expected"),
    [
        (0.5, ACTIVE, ("KO",), (A.HOLD, R.HOLDING)),
        (None, ACTIVE, ("KO",), (A.HOLD, R.HOLDING)),
        (0.0, ACTIVE, ("KO",), (A.EXIT, R.TARGET_ZERO)),
        (-0.5, ACTIVE, ("KO",), (A.EXIT, R.TARGET_TURNED)),
        (0.0, OBSERVE, ("KO",), (A.EXIT, R.TARGET_ZERO)),
        (-0.5, OBSERVE, ("KO",), (A.EXIT, R.TARGET_TURNED)),
        (0.5, OBSERVE, ("KO",), (A.HOLD, R.HOLDING)),
        (None, OBSERVE, ("KO",), (A.HOLD, R.HOLDING)),
        (None, ACTIVE, ("PEP",), (A.EXIT, R.NOT_ITS_SYMBOL)),
        (None, OFF, (), (A.EXIT, R.INSTANCE_OFF)),
    ],
)
def test_an_open_trade_is_held_or_left(
    direction: Direction,
    target: float | None,
    mode: InstanceMode,
    symbols: tuple[str, ...],
    expected: tuple[SignalAction, Reason],
) -> None:
    wanted = None if target is None else target * direction.sign

    assert decided(asked(wanted, mode, symbols), trade(direction)) == [expected]


@pytest.mark.parametrize("state", [s for s in PairTradeState if s not in {*FINISHED_TRADES, PairTradeState.OPEN}])
@pytest.mark.parametrize("what", [asked(0.0), asked(-0.5), asked(None, OFF, ())])
def test_a_trade_in_motion_is_executions(state: PairTradeState, what: Asked) -> None:
    assert decided(what, trade(state=state)) == [(A.HOLD, R.IN_MOTION)]


def test_bars_in_doubt_keep_from_entering_and_not_from_leaving() -> None:
    block = DataBlock("KO", "gaps", "a bar is missing", {})

    assert decided(asked(0.5), block=block) == [(A.NO_DECISION, R.DATA_BLOCKED)]
    assert decided(asked(0.0), trade(), block=block) == [(A.EXIT, R.TARGET_ZERO)]


def test_others_trades_are_not_its_own() -> None:
    assert decided(asked(0.5), replace(trade(), instance_id="other")) == [(A.ENTER_LONG, R.TARGET)]


def test_a_signal_is_named_after_instance_symbol_and_slot_and_keeps_its_numbers() -> None:
    market = SymbolMarket(SLOT, {"KO": 60.0}, bars_since={trade().slot: 2}, equity=EQUITY)
    (found,) = signals_of(asked(0.0), [trade()], market)

    assert (found.name, found.id, found.held_bars) == ("trend:KO", signal_id("trend:KO", SLOT), 2)
    assert found.numbers == {
        "asked_fraction": 0.0,
        "price": 60.0,
        "mode": "active",
        "config_version": 3,
        "direction": "long_spread",
        "trade_state": "open",
        "held_shares": "10",
        "held_fraction": 10 * 60.0 / 100_000,
        "equity": "100000",
    }


@pytest.mark.parametrize(
    ("close", "equity", "expected"),
    [(60.0, EQUITY, 0.006), (None, EQUITY, 0.005), (60.0, None, 1.0), (60.0, Decimal(0), 1.0)],
)
def test_what_is_held_is_never_taken_for_nothing(
    close: float | None, equity: Decimal | None, expected: float
) -> None:
    assert trade().fraction(close, equity) == pytest.approx(expected)
    assert trade(SHORT).fraction(close, equity) == pytest.approx(-expected)
    assert trade(shares=0).fraction(close, equity) == 0.0


@given(
    target=st.none() | st.floats(-1, 1),
    mode=st.sampled_from(InstanceMode),
    direction=st.none() | st.sampled_from(Direction),
    state=st.sampled_from([s for s in PairTradeState if s not in FINISHED_TRADES]),
)
def test_only_active_instances_enter_and_nothing_turns_in_one_step(
    target: float | None, mode: InstanceMode, direction: Direction | None, state: PairTradeState
) -> None:
    held = [] if direction is None else [trade(direction, state)]
    for action, _ in decided(asked(target, mode), *held):
        if action.is_entry:
            assert mode is ACTIVE
            assert not held
            assert target
            assert target * action.direction.sign > 0
        if action.is_exit:
            assert held
            assert state is PairTradeState.OPEN
