"""What companies do to an open pair, with a real PostgreSQL and a twin: booked once, frozen, closed, reconciled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert, select, text

from src.config.settings import load_settings
from src.services.execution.bootstrap import ExecutionService, build, build_look
from src.services.execution.use_cases.cycle import Gate
from src.services.execution.use_cases.look import Look
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.failpoints import Crashed, armed
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import (
    alert,
    corporate_action,
    ledger_entry,
    ledger_posting,
    pair_freeze,
    pair_signal,
    pair_trade,
    position,
    risk_decision,
)
from tests.conftest import TradingDatabase
from tests.fakes.pairs import write_pair
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.integration.execution.processes import QUICK

SLOT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
PAIR = "KELV/KYLO"
EX_DATE = "2025-03-04"
MORNING = datetime(2025, 3, 4, 14, 35, tzinfo=UTC)


@dataclass
class Desk:
    """The service on a twin, with a pair that trades."""

    service: ExecutionService
    look: Look
    broker: AlpacaClient
    twin: TwinHandle
    engine: Engine

    def open_pair(self, quantities: tuple[int, int] = (25, -20)) -> None:
        self._approve(SignalAction.ENTER_LONG, SLOT, quantities)
        self.service.cycle.execute_slot(self.service.cycle.open_gate())
        assert self.trade().state == "open"

    def _approve(self, action: SignalAction, slot: datetime, quantities: tuple[int, int]) -> None:
        told: dict[str, Any] = {"numbers": {}, "action": action.value, "slot": slot, "pair_id": PAIR}
        identity = signal_id(PAIR, slot)
        approved = {"approved": True, "code": "APPROVED", "reason": "within limits"}
        shares = {"quantity_1": quantities[0], "quantity_2": quantities[1]}
        with self.engine.begin() as connection:
            connection.execute(
                insert(pair_signal).values(signal_id=identity, reason="ENTRY_Z", pair_mode="active", **told)
            )
            connection.execute(
                insert(risk_decision).values(decision_id=uuid4(), signal_id=identity, **approved, **shares, **told)
            )

    def act(self, kind: str, symbol: str = "KELV", **terms: Any) -> str:
        body = {"type": kind, "symbol": symbol, "ex_date": EX_DATE, **terms}
        return str(self.twin.admin.post("corporate-actions", **body)["id"])

    def morning(self, moment: datetime = MORNING) -> Gate:
        self.twin.admin.move_clock(moment.isoformat())
        return self.service.cycle.open_gate()

    def no_fills(self, *symbols: str) -> None:
        for symbol in symbols:
            self.twin.admin.rules(symbol, no_fill=True)

    def trade(self) -> Any:
        return self._rows(select(pair_trade))[0]

    def entries(self) -> list[str]:
        made = ledger_entry.c.kind != "trade"
        return [row.kind for row in self._rows(select(ledger_entry).where(made).order_by(ledger_entry.c.recorded_at))]

    def frozen(self) -> list[tuple[str, str]]:
        return [(row.pair_id, row.kind) for row in self._rows(select(pair_freeze))]

    def books_against_twin(self) -> tuple[dict[str, str], dict[str, str]]:
        ours = {row.symbol: f"{row.quantity.normalize():f}" for row in self._rows(select(position)) if row.quantity}
        theirs = {row["symbol"]: row["qty"] for row in self.twin.admin.state()["positions"]}
        return ours, theirs

    def cash_gained(self) -> Decimal:
        return Decimal(self.twin.admin.state()["cash"]) - 100_000

    def breaches(self) -> list[str]:
        found = self.service.verification.run(SLOT - timedelta(hours=1))
        # Signals and decisions are written here without their events; their services tell them.
        return [f"{i.name} {b}" for i in found for b in i.breaches if not b.startswith(("signal ", "risk_", "pair "))]

    def _rows(self, query: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(query))


@pytest.fixture
def desk(trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with running_twin(clock=(SLOT + timedelta(seconds=5)).isoformat()) as twin:
        for name, value in QUICK.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", twin.url)
        monkeypatch.setenv("TRADEWINDS_ALPACA_DATA_URL", twin.url)
        settings = load_settings()
        engine = make_engine(trading_database.app_url, settings.database)
        with engine.begin() as connection:
            write_pair(connection, _pair())
        broker = make_alpaca_client(settings)
        yield Desk(build(settings, engine, broker), build_look(settings, engine), broker, twin, engine)
        engine.dispose()


def test_fault_32_a_split_overnight_is_booked_and_the_real_quantity_closed_to_the_cent(desk: Desk) -> None:
    desk.open_pair()
    desk.act("forward_split", old_rate=1, new_rate=3)

    gate = desk.morning()

    assert gate.reconciled
    assert gate.differences == ()
    assert (desk.trade().state, desk.trade().close_reason) == ("closed", "corporate_action")
    assert desk.frozen() == [(PAIR, "split")]
    assert {(o["symbol"], o["side"], o["filled_qty"]) for o in desk.twin.admin.state()["orders"]} == {
        ("KYLO", "sell", "20"),
        ("KELV", "buy", "25"),
        ("KELV", "sell", "75"),
        ("KYLO", "buy", "20"),
    }
    assert desk.books_against_twin() == ({}, {})
    assert desk.trade().realized_pnl == desk.cash_gained()
    assert desk.breaches() == []


def test_fault_32_a_reverse_split_books_the_cash_for_the_fraction_to_the_cent(desk: Desk) -> None:
    desk.open_pair()
    desk.act("reverse_split", old_rate=10, new_rate=1)

    gate = desk.morning()

    assert gate.reconciled
    assert desk.entries() == ["split", "cash_in_lieu"]
    assert desk.trade().state == "closed"
    assert desk.trade().realized_pnl == desk.cash_gained()
    assert desk.breaches() == []


def test_between_the_split_and_the_close_books_and_broker_agree(desk: Desk) -> None:
    desk.open_pair()
    desk.act("reverse_split", old_rate=10, new_rate=1)
    desk.no_fills("KELV", "KYLO")

    with armed("execution.action_booked:exc:2"), pytest.raises(Crashed):
        desk.morning()

    assert desk.books_against_twin() == ({"KELV": "2", "KYLO": "-20"}, {"KELV": "2", "KYLO": "-20"})
    assert desk.trade().target_1 == 2


@pytest.mark.parametrize(
    ("kind", "terms", "symbol", "shares"),
    [
        ("forward_split", {"old_rate": 1, "new_rate": 3}, "KELV", "75"),
        ("reverse_split", {"old_rate": 10, "new_rate": 1}, "KELV", "2"),
        ("name_change", {"new_symbol": "KLVN"}, "KLVN", "25"),
    ],
)
def test_what_is_held_after_an_action_is_shown_at_what_each_share_of_it_cost(
    desk: Desk, kind: str, terms: dict[str, Any], symbol: str, shares: str
) -> None:
    desk.open_pair()
    desk.act(kind, **terms)
    desk.no_fills("KELV", "KYLO")

    with armed("execution.action_booked:exc:1"), pytest.raises(Crashed):
        desk.morning()

    held = {each.symbol: each for each in desk.look.positions(desk.broker)}
    told = {row["symbol"]: row for row in desk.twin.admin.state()["positions"]}
    assert held.keys() == told.keys() == {symbol, "KYLO"}
    assert held[symbol].ours == Decimal(shares)
    for each in held.values():
        [holding] = each.holdings
        assert holding.avg_price == Decimal(told[each.symbol]["avg_entry_price"])
        assert each.unrealized_pnl is not None
        assert abs(each.unrealized_pnl - Decimal(told[each.symbol]["unrealized_pl"])) < Decimal("0.001")


@pytest.mark.parametrize("place", ["before_action", "action_booked"])
@pytest.mark.parametrize("nth", [1, 2])
def test_fault_32_a_run_that_ends_between_the_steps_of_booking_is_carried_on_once(
    desk: Desk, place: str, nth: int
) -> None:
    desk.open_pair()
    desk.act("reverse_split", old_rate=10, new_rate=1)

    with armed(f"execution.{place}:exc:{nth}"), pytest.raises(Crashed):
        desk.morning()
    gate = desk.morning()

    assert gate.reconciled
    assert desk.entries() == ["split", "cash_in_lieu"]
    assert desk.trade().realized_pnl == desk.cash_gained()
    assert desk.breaches() == []


def test_fault_33_a_dividend_on_the_short_leg_is_charged_and_the_trade_goes_on(desk: Desk) -> None:
    desk.open_pair()
    desk.act("cash_dividend", "KYLO", rate="0.37")

    before = desk.cash_gained()
    gate = desk.morning()

    assert gate.reconciled
    assert desk.trade().state == "open"
    assert desk.frozen() == [(PAIR, "cash_dividend")]
    assert desk.cash_gained() - before == Decimal("-7.40")
    with desk.engine.connect() as connection:
        charged = connection.execute(
            select(ledger_posting.c.account, ledger_posting.c.amount)
            .join(ledger_entry, ledger_entry.c.entry_id == ledger_posting.c.entry_id)
            .where(ledger_entry.c.kind == "cash_dividend")
        ).all()
    assert sorted(charged) == [("cash", Decimal("-7.4")), ("income", Decimal("7.4"))]
    assert desk.breaches() == []


def test_a_dividend_counts_in_the_result_of_the_trade(desk: Desk) -> None:
    desk.open_pair()
    desk.act("cash_dividend", "KELV", rate="0.37")
    desk.morning()
    desk._approve(SignalAction.EXIT, datetime(2025, 3, 4, 15, 30, tzinfo=UTC), (0, 0))

    gate = desk.morning(datetime(2025, 3, 4, 15, 30, 5, tzinfo=UTC))
    desk.service.cycle.execute_slot(gate)

    assert desk.trade().state == "closed"
    assert desk.trade().realized_pnl == desk.cash_gained()


def test_fault_33_a_new_symbol_takes_the_shares_along_and_is_what_is_closed(desk: Desk) -> None:
    desk.open_pair()
    desk.act("name_change", new_symbol="KLVN")

    gate = desk.morning()

    assert gate.reconciled
    assert (desk.trade().symbol_1, desk.trade().state) == ("KLVN", "closed")
    assert desk.twin.admin.state()["positions"] == []
    assert desk.trade().realized_pnl == desk.cash_gained()
    assert desk.breaches() == []


@pytest.mark.parametrize(("kind", "rate"), [("delisting", "0"), ("cash_merger", "98.76")])
def test_fault_33_a_company_that_ends_leaves_the_other_leg_to_be_closed(desk: Desk, kind: str, rate: str) -> None:
    desk.open_pair()
    desk.act(kind, rate=rate)

    gate = desk.morning()

    assert gate.reconciled
    assert desk.trade().state == "closed"
    assert desk.trade().realized_pnl == desk.cash_gained()
    assert desk.breaches() == []


def test_fault_32_a_split_that_nobody_announced_shows_as_drift_until_it_is_told(desk: Desk) -> None:
    desk.open_pair()
    desk.act("forward_split", old_rate=1, new_rate=2, announced_at="2025-03-05T12:00:00+00:00")

    first = desk.morning()
    untold = desk.trade().state
    second = desk.morning(MORNING + timedelta(days=1))

    assert not first.reconciled
    assert "books say 25, the broker says 50" in first.differences[0]
    assert untold == "open"
    assert second.reconciled
    assert desk.trade().realized_pnl == desk.cash_gained()


def test_fault_32_a_frozen_pair_takes_no_entry_from_the_session_before(desk: Desk) -> None:
    desk.act("forward_split", old_rate=1, new_rate=2)
    desk._approve(SignalAction.ENTER_LONG, SLOT, (25, -20))

    desk.service.cycle.execute_slot(desk.service.cycle.open_gate())

    assert desk.trade().state == "abandoned"
    assert desk.trade().close_reason == "frozen: split of KELV"
    assert desk.twin.admin.state()["orders"] == []


def test_announcements_are_read_once_a_day_and_once_more_for_a_new_symbol(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    companies = desk.service.cycle.companies
    real = companies.broker.corporate_actions

    def counted(symbols: Any, *window: Any) -> Any:
        asked.append(list(symbols))
        return real(symbols, *window)

    monkeypatch.setattr(companies.broker, "corporate_actions", counted)
    for _ in range(3):
        desk.service.cycle.open_gate()
    with desk.engine.begin() as connection:
        write_pair(connection, _pair() | {"pair_id": "KELV/ZORN", "symbol_2": "ZORN"})
    desk.service.cycle.open_gate()
    desk.morning()

    assert asked == [["KELV", "KYLO"], ["ZORN"], ["KELV", "KYLO", "ZORN"]]


def test_two_trades_in_a_symbol_share_whole_shares_and_cash(desk: Desk) -> None:
    desk.open_pair()
    with desk.engine.begin() as connection:
        write_pair(connection, _pair() | {"pair_id": "KELV/ZORN", "symbol_2": "ZORN"})
        trade, other = connection.execute(select(pair_trade.c.pair_trade_id)).scalar_one(), uuid4()
        # A second trade that took over 11 of the 25 shares: the account's position stays what the twin says.
        connection.execute(text(_SECOND_TRADE), {"other": other, "trade": trade, "entry": uuid4()})
    desk.act("reverse_split", old_rate=10, new_rate=1)

    with armed("execution.action_booked:exc:4"), pytest.raises(Crashed):
        desk.morning()

    with desk.engine.connect() as connection:
        rows = connection.execute(select(position).where(position.c.symbol == "KELV"))
        held = {row.pair_trade_id: row.quantity for row in rows}
    assert held == {trade: 1, other: 1}
    assert desk.entries().count("cash_in_lieu") == 2


def test_a_position_that_the_ledger_does_not_explain_is_a_breach(desk: Desk) -> None:
    desk.open_pair()
    desk.act("cash_dividend", "KYLO", rate="0.37")
    desk.morning()
    assert desk.breaches() == []

    with desk.engine.begin() as connection:
        connection.execute(position.update().where(position.c.symbol == "KELV").values(quantity=50))

    broken = desk.breaches()
    assert any("KELV: positions 50" in breach for breach in broken)
    assert any("leg 1: holds 50" in breach for breach in broken)


def test_the_alert_of_a_freeze_is_told_once(desk: Desk) -> None:
    desk.open_pair()
    desk.act("forward_split", old_rate=1, new_rate=2)

    for _ in range(2):
        desk.morning()

    with desk.engine.connect() as connection:
        told = connection.execute(select(alert.c.detail).where(alert.c.title.contains("frozen"))).scalars().all()
        known = connection.execute(select(corporate_action.c.vendor_type)).scalars().all()
    assert told == ["KELV/KYLO: forward split of KELV on 2025-03-04"]
    assert known == ["forward_split"]


_SECOND_TRADE = """
    WITH trade AS (
        INSERT INTO execution.pair_trade (pair_trade_id, pair_id, symbol_1, symbol_2, beta, direction, state, slot,
                                          target_1, target_2, version)
        SELECT :other, 'KELV/ZORN', 'KELV', 'ZORN', beta, direction, 'open', slot, 11, -1, 1
          FROM execution.pair_trade WHERE pair_trade_id = :trade
        RETURNING pair_trade_id
    ), cut AS (
        UPDATE execution.position SET quantity = 14 WHERE pair_trade_id = :trade AND symbol = 'KELV' RETURNING 1
    ), held AS (
        INSERT INTO execution.position SELECT pair_trade_id, 'KELV', 11, now() FROM trade RETURNING 1
    ), action AS (
        INSERT INTO data_ingestion.corporate_action (corporate_action_id, symbol, kind, vendor_type, ex_date,
                                                     old_rate, new_rate, cash_per_share, raw)
        VALUES ('moved', 'KELV', 'other', 'moved', '2024-01-02', 1, 1, 0, '{}') RETURNING corporate_action_id
    ), entry AS (
        INSERT INTO execution.ledger_entry (entry_id, kind, pair_trade_id, corporate_action_id, leg, occurred_at)
        SELECT e.id, 'split', e.trade, corporate_action_id, 1, '2025-03-03T16:00Z'
          FROM action, (SELECT CAST(:entry AS uuid) AS id, CAST(:other AS uuid) AS trade
                        UNION ALL SELECT gen_random_uuid(), CAST(:trade AS uuid)) e
        RETURNING entry_id, pair_trade_id
    )
    INSERT INTO execution.ledger_posting (entry_id, account, asset, amount)
    SELECT entry_id, account, 'KELV', sign * CASE WHEN pair_trade_id = :other THEN 11 ELSE -11 END
      FROM entry, (VALUES ('holdings', 1), ('exchange', -1)) AS side(account, sign)
"""


def _pair() -> dict[str, Any]:
    return {
        "pair_id": PAIR,
        "symbol_1": "KELV",
        "symbol_2": "KYLO",
        "alpha": 0.0,
        "beta": 1.1,
        "half_life_bars": 8.0,
        "z_window_bars": 16,
        "time_stop_bars": 24,
        "correlation": 0.9,
        "fitted_from": SLOT - timedelta(days=90),
        "fitted_to": SLOT - timedelta(days=1),
        "mode": "active",
        "source": "test",
        "updated_at": SLOT,
    }
