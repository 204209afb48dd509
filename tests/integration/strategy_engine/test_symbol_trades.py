"""An instance that trades in one symbol, from its target to the books: strategy, risk, execution and a twin."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from src.services.execution.use_cases.desk import Person
from src.services.strategy_engine.adapters.sql_instances import SqlInstanceRepository
from src.services.strategy_engine.adapters.strategy_files import StrategyFiles
from src.services.strategy_engine.bootstrap import build_slots
from src.services.strategy_engine.use_cases.instances import Instances
from src.shared.domain.errors import InputInvalid
from src.shared.domain.instances import InstanceMode
from src.shared.domain.risk import RiskState
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes.desk import SLOT, Installation
from tests.fakes.strategy_runner import InlineRunner

BARS = 60
SYMBOLS = ["QVEL", "ZORN"]
NAME = "mine:QVEL"
ASKS = '''
from src.services.strategy_engine.sdk import Strategy


class Asks(Strategy):
    """Asks for what its config says, and notes what it holds."""

    CONFIG_SCHEMA = {
        "symbol": {"type": "symbol", "default": "QVEL"},
        "fraction": {"type": "float", "default": 0.5, "min": -1, "max": 1},
        "silent": {"type": "bool", "default": False},
    }
    TRADES = "symbols"

    def on_bar(self, context, bar):
        context.note(held=context.position.fraction(context.config.symbol))
        if not context.config.silent:
            context.orders.target(context.config.symbol, context.config.fraction)
'''
SOMEBODY: dict[str, Any] = {"who": "ada", "why": "to see", "now": SLOT}


class Floor:
    """An installation with one instance, and hours of it."""

    def __init__(self, desk: Installation, folder: Path) -> None:
        (folder / "asks.py").write_text(ASKS)
        self.desk, self.folder, self.slot = desk, folder, SLOT
        self.store = SqlUnitOfWork(desk.services.engine, SqlInstanceRepository)
        self.instances = Instances(self.store, StrategyFiles(folder, lambda: nullcontext(InlineRunner(folder))))
        self.instances.create("mine", "asks", {}, **SOMEBODY)
        self.mode("active")

    def mode(self, mode: str) -> None:
        self.instances.mode("mine", InstanceMode(mode), **SOMEBODY)

    def set(self, **config: Any) -> None:
        self.instances.set("mine", config, **SOMEBODY)

    def decide(self) -> None:
        wired = self.desk.services
        slots = build_slots(wired.settings, wired.engine, InlineRunner(self.folder))
        clock = wired.execution.cycle.market_clock()
        slots.run_instances(self.slot, clock.now, clock.next_close, acting=True)

    def hour(self, decides: bool = True) -> None:
        """Do what the flow of a slot does, but for pairs."""
        wired = self.desk.services
        gate = wired.execution.cycle.open_gate()
        wired.ingestion.fetch_bars(SYMBOLS, gate.slot, BARS)
        if decides:
            self.decide()
        market = gate.market
        wired.risk.review_slot(gate.slot, market.now, market.is_open, market.next_close, gate.reconciled)
        wired.execution.cycle.execute_slot(gate)
        wired.analytics.record_results(gate.slot)

    def next_hour(self, decides: bool = True) -> None:
        self.slot += timedelta(hours=1)
        self.desk.move_to(self.slot + timedelta(seconds=5))
        self.hour(decides)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.desk.services.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def signals(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT pair_id, action, reason FROM strategy.pair_signal ORDER BY slot, pair_id")

    def denials(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT pair_id, code FROM risk.risk_decision WHERE NOT approved ORDER BY slot")

    def broken(self) -> list[str]:
        checked = self.desk.services.execution.verification.run(SLOT - timedelta(days=1))
        # The desk's pair is written past the services that would tell of it.
        return [f"{each.name} {breach}" for each in checked for breach in each.breaches if "KYLO" not in breach]


@pytest.fixture
def floor(desk: Installation, tmp_path: Path) -> Floor:
    return Floor(desk, tmp_path)


def test_a_target_becomes_one_order_and_zero_gives_back_what_was_filled(floor: Floor) -> None:
    floor.hour()
    (bought,) = floor.desk.orders()
    held = floor.desk.held()

    floor.set(fraction=0.0)
    floor.next_hour()

    assert floor.signals() == [(NAME, "enter_long", "TARGET"), (NAME, "exit", "TARGET_ZERO")]
    assert held == {"QVEL": bought[1]}
    assert floor.desk.orders() == [bought, ("QVEL", -bought[1])]
    assert floor.desk.held() == {}
    assert floor.desk.states() == ["closed"]
    assert floor.desk.trade_results() == [floor.desk.cash_of_fills()]
    assert floor.rows("SELECT pair_id, realized_pnl FROM analytics.pair_performance") == [
        (NAME, floor.desk.cash_of_fills())
    ]
    assert floor.broken() == []


def test_its_size_is_the_least_of_what_is_asked_for_and_what_risk_allows(floor: Floor) -> None:
    floor.hour()

    ((quantity, numbers),) = floor.rows("SELECT quantity_1, numbers -> 'size' FROM risk.risk_decision")
    assert numbers["asked_fraction"] == 0.5
    assert numbers["basis"] == "bootstrap"
    # 2 % of equity: less than the half that is asked for, and than the cap of a leg.
    assert Decimal(numbers["gross_target"]) == Decimal("0.02") * Decimal(numbers["equity"])
    assert quantity == Decimal(numbers["gross_target"]) // Decimal(str(numbers["price_1"]))


def test_the_same_hour_again_decides_and_sends_nothing_more(floor: Floor) -> None:
    floor.hour()
    orders = floor.desk.orders()

    floor.hour()

    assert floor.desk.orders() == orders
    assert len(floor.signals()) == 1
    assert len(floor.rows("SELECT 1 FROM risk.risk_decision")) == 1
    assert floor.broken() == []


def test_what_it_holds_is_what_is_booked_and_the_size_stays_as_it_was(floor: Floor) -> None:
    floor.hour()
    floor.set(fraction=1.0)
    floor.next_hour()

    assert floor.signals()[-1] == (NAME, "hold", "HOLDING")
    ((shares, close, equity),) = floor.rows(
        "SELECT numbers ->> 'held_shares', numbers ->> 'price', numbers ->> 'equity' FROM strategy.pair_signal"
        " WHERE action = 'hold'"
    )
    (*_, (noted,)) = floor.rows(
        "SELECT numbers -> 'held' FROM strategy.instance_decision WHERE instance_id = 'mine' ORDER BY slot"
    )
    assert noted == pytest.approx(float(shares) * float(close) / float(equity))
    assert 0 < noted < 0.02
    assert len(floor.desk.orders()) == 1


@pytest.mark.parametrize("fraction", [0.5, -0.5])
def test_the_other_side_is_entered_an_hour_after_the_first_was_left(floor: Floor, fraction: float) -> None:
    floor.set(fraction=fraction)
    floor.hour()
    floor.set(fraction=-fraction)
    floor.next_hour()
    floor.next_hour()

    first, second = ("enter_long", "enter_short") if fraction > 0 else ("enter_short", "enter_long")
    assert [action for _, action, _ in floor.signals()] == [first, "exit", second]
    assert floor.signals()[1][2] == "TARGET_TURNED"
    (shares,) = floor.desk.held().values()
    assert shares * fraction < 0
    assert floor.broken() == []


def test_a_symbol_that_is_not_named_stays_as_it_is(floor: Floor) -> None:
    floor.hour()
    floor.set(silent=True)
    floor.next_hour()

    assert floor.signals()[-1] == (NAME, "hold", "HOLDING")
    assert floor.desk.states() == ["open"]


def _off(floor: Floor) -> None:
    floor.mode("off")


def _another_symbol(floor: Floor) -> None:
    floor.set(symbol="ZORN", silent=True)


@pytest.mark.parametrize(
    ("change", "reason"), [(_off, "INSTANCE_OFF"), (_another_symbol, "NOT_ITS_SYMBOL")], ids=["off", "another symbol"]
)
def test_what_nobody_manages_any_more_is_closed(floor: Floor, change: Callable[[Floor], None], reason: str) -> None:
    floor.hour()
    change(floor)
    # Though its instance does not name it any more, the slot has to know its price.
    assert "QVEL" in floor.desk.services.strategy.symbols_to_watch()
    floor.next_hour()

    assert floor.signals()[-1] == (NAME, "exit", reason)
    assert floor.desk.states() == ["closed"]
    assert floor.broken() == []


def test_in_observe_it_enters_nothing_and_its_exits_are_honoured(floor: Floor) -> None:
    floor.hour()
    floor.mode("observe")
    floor.next_hour()
    assert floor.desk.states() == ["open"]

    floor.set(fraction=0.0)
    floor.next_hour()
    assert floor.desk.states() == ["closed"]

    floor.set(fraction=0.5)
    floor.next_hour()
    assert floor.desk.states() == ["closed"]
    assert [action for _, action, _ in floor.signals()] == ["enter_long", "hold", "exit"]


def test_an_instance_that_was_switched_after_it_asked_enters_nothing(floor: Floor) -> None:
    floor.desk.services.ingestion.fetch_bars(SYMBOLS, SLOT, BARS)
    floor.decide()
    floor.mode("observe")
    floor.hour(decides=False)

    assert floor.denials() == [(NAME, "PAIR_NOT_ACTIVE")]
    assert floor.desk.orders() == []


def test_an_instance_can_go_once_it_holds_nothing(floor: Floor) -> None:
    floor.hour()
    floor.mode("off")
    with pytest.raises(InputInvalid, match="mine holds QVEL: it can go once those trades are closed"):
        floor.instances.delete("mine", who="ada", why="done")
    floor.next_hour()

    floor.instances.delete("mine", who="ada", why="done")

    assert floor.broken() == []


def test_a_symbol_that_nobody_knows_is_denied_with_its_code(floor: Floor) -> None:
    floor.set(symbol="NOSUCH")
    floor.hour()

    assert floor.denials() == [("mine:NOSUCH", "DATA_STALE")]
    assert floor.desk.orders() == []


def test_a_halt_between_decision_and_order_stops_the_order(floor: Floor) -> None:
    wired = floor.desk.services
    gate = wired.execution.cycle.open_gate()
    wired.ingestion.fetch_bars(SYMBOLS, gate.slot, BARS)
    floor.decide()
    market = gate.market
    wired.risk.review_slot(gate.slot, market.now, market.is_open, market.next_close, gate.reconciled)
    wired.risk.set_state(RiskState.HALTED, "ada", "to see", market.now)
    wired.execution.cycle.execute_slot(gate)

    assert floor.desk.orders() == []
    assert floor.desk.states() == ["abandoned"]
    assert floor.broken() == []


@pytest.mark.parametrize("place", ["strategy_engine.before_decisions", "strategy_engine.decisions_stored"])
def test_a_process_that_dies_at_its_decision_is_finished_by_the_next_run_once(floor: Floor, place: str) -> None:
    with pytest.raises(Crashed), armed(f"{place}:exc"):
        floor.hour()
    stored = len(floor.rows("SELECT 1 FROM strategy.instance_decision WHERE instance_id = 'mine'"))
    assert len(floor.signals()) == stored

    floor.hour()

    assert floor.signals() == [(NAME, "enter_long", "TARGET")]
    assert len(floor.desk.orders()) == 1
    assert floor.broken() == []


def test_a_person_closes_it_by_its_name(floor: Floor) -> None:
    floor.hour()

    closing = floor.desk.services.execution.desk.close(NAME, Person("ada", "enough"))

    assert [each.is_flat for each in closing.trades] == [True]
    assert floor.desk.held() == {}
    assert floor.broken() == []
