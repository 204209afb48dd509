"""Limits as rows, the watch and cash flows on a real PostgreSQL, with a twin for a broker where money moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy.exc
from sqlalchemy import Engine, func, select, text

from src.config.settings import load_settings
from src.services.risk_management.adapters.risk_repository import SqlRiskRepository
from src.services.risk_management.bootstrap import build_limits, build_watch
from src.services.risk_management.domain.events import EarningsReport, MarketEvent
from src.services.risk_management.use_cases.limits import LimitBook
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import PairTradeState
from src.shared.domain.risk import RiskState
from src.shared.domain.risk_limits import LIMIT_BOUNDS
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.tables import (
    alert,
    audit_log,
    cash_flow,
    corporate_action,
    equity_point,
    ledger_entry,
    limit_change,
    outbox,
    portfolio_reading,
)
from tests.fakes.stored_market import store_earnings
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.integration.risk_management.test_risk_repository import count, register, trade
from tests.unit.risk_management.examples import NOW, SLOT

ROW = {"name": "max_open_pairs", "value": Decimal(5), "who": "ann", "why": "test", "version": 2}


@pytest.fixture
def limits(engine: Engine) -> LimitBook:
    return build_limits(load_settings(), engine)


@pytest.fixture
def twin() -> Iterator[TwinHandle]:
    with running_twin(clock="2026-11-18T17:31:00Z") as running:
        yield running


@pytest.fixture
def broker(twin: TwinHandle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AlpacaClient:
    for name, value in {"HOME": str(tmp_path), "ALPACA_BASE_URL": twin.url, "ALPACA_DATA_URL": twin.url}.items():
        monkeypatch.setenv(f"TRADEWINDS_{name}", value)
    return make_alpaca_client(load_settings())


def test_a_change_is_one_transaction_with_its_audit_and_its_event(limits: LimitBook, engine: Engine) -> None:
    limits.settle()
    limits.settle()

    before, after = limits.set("max_gross_fraction", "120%", "ann", "less", NOW)

    assert (before.value, after.value, after.version) == (Decimal("1.5"), Decimal("1.2"), 2)
    assert count(engine, limit_change) == len(LIMIT_BOUNDS) + 1
    assert (count(engine, audit_log), count(engine, outbox)) == (2, 1)
    assert [row.who for row in limits.history("max_gross_fraction")] == ["settings", "ann"]
    assert limits.differing() == {"max_gross_fraction": (Decimal("1.5"), Decimal("1.2"))}


def test_a_contradiction_changes_nothing(limits: LimitBook, engine: Engine) -> None:
    limits.settle()

    with pytest.raises(InputInvalid, match="must not be above"):
        limits.set("max_net_fraction", "2", "ann", "more", NOW)

    assert count(engine, limit_change) == len(LIMIT_BOUNDS)
    assert count(engine, outbox) == 0


@pytest.mark.parametrize("statement", ["UPDATE risk.limit_change SET value = 4", "DELETE FROM risk.limit_change"])
def test_the_history_of_a_limit_can_not_be_rewritten(limits: LimitBook, engine: Engine, statement: str) -> None:
    limits.settle()

    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(
    "bad",
    [
        {"value": Decimal("NaN")},
        {"value": Decimal(0)},
        {"value": Decimal(10**9)},
        {"value": Decimal("2.5")},
        {"name": "x"},
    ],
)
def test_the_database_itself_refuses_what_no_limit_may_be(engine: Engine, bad: dict[str, object]) -> None:
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="value_in_bounds"), engine.begin() as connection:
        connection.execute(limit_change.insert().values({**ROW, **bad}))


def test_every_bound_is_the_databases_bound_too(engine: Engine) -> None:
    with engine.begin() as connection:
        for bounds in LIMIT_BOUNDS.values():
            for version, value in enumerate((bounds.least, bounds.most), start=1):
                row = {**ROW, "name": bounds.name, "value": value, "version": version}
                connection.execute(limit_change.insert().values(row))


def test_money_in_and_out_of_the_twin_is_no_result(twin: TwinHandle, broker: AlpacaClient, engine: Engine) -> None:
    watch = build_watch(load_settings(), engine, broker)
    watch.monitor(NOW)
    for minutes, dollars in ((15, -40_000), (30, 250_000)):
        twin.admin.post("cash", amount=dollars)
        look = watch.monitor(NOW + timedelta(minutes=minutes))

        assert look.portfolio.equity.drawdown == look.portfolio.equity.daily_loss == 0

    assert look.portfolio.equity.now == Decimal(310_000)
    assert look.portfolio.standing.state is RiskState.ACTIVE
    assert (count(engine, cash_flow), count(engine, portfolio_reading), count(engine, equity_point)) == (2, 3, 0)


def test_the_last_equity_is_of_a_slot_or_of_a_reading(engine: Engine) -> None:
    found = []
    reading = {"taken_at": NOW, "equity": 1, "gross": 0, "net": 0, "numbers": {}}
    point = {"slot": SLOT, "taken_at": SLOT, "equity": 1, "cash": 1, "buying_power": 1}
    for statement in (
        select(1),
        equity_point.insert().values(point),
        portfolio_reading.insert().values(reading),
        equity_point.insert().values(
            point | {"slot": SLOT - timedelta(hours=1), "taken_at": NOW + timedelta(seconds=1)}
        ),
    ):
        with engine.begin() as connection:
            connection.execute(statement)
            found.append(SqlRiskRepository(connection, read_closes).last_equity_at())

    assert found == [None, SLOT, NOW, NOW + timedelta(seconds=1)]


def test_a_loss_between_the_slots_reduces_the_account_and_is_told_once(broker: AlpacaClient, engine: Engine) -> None:
    evening = datetime(2026, 11, 17, 21, 1, tzinfo=UTC)
    with engine.begin() as connection:
        values = {"slot": SLOT, "taken_at": evening, "equity": 110_000, "cash": 110_000, "buying_power": 110_000}
        connection.execute(equity_point.insert().values(values))
    watch = build_watch(load_settings(), engine, broker)

    look = watch.monitor(NOW)
    told, again = watch.raise_alerts(look), watch.raise_alerts(watch.monitor(NOW + timedelta(minutes=15)))

    assert look.portfolio.standing.state is RiskState.REDUCING
    assert {each.about for each in told} >= {"max_drawdown_fraction", "max_daily_loss_fraction"}
    assert again == []
    assert count(engine, alert) == len(told)
    with engine.connect() as connection:
        names = connection.execute(select(outbox.c.channel).order_by(outbox.c.channel)).scalars().all()
    assert names.count("tradewinds.ops.AlertRaised") == len(told)
    assert names.count("tradewinds.risk.RiskStateChanged") == 1


def test_a_rolling_loss_sums_what_was_booked_by_closed_and_unwound_trades(engine: Engine) -> None:
    register(engine, "AAA/BBB")
    since = datetime(2026, 11, 14, 5, tzinfo=UTC)
    for days, state, pnl in (
        (1, PairTradeState.CLOSED, -100),
        (3, PairTradeState.UNWOUND, -40),
        (4.6, PairTradeState.CLOSED, -7),
    ):
        slot = SLOT - timedelta(days=days)
        trade(engine, "AAA/BBB", state, slot, closed_slot=slot, realized_pnl=Decimal(pnl))
    trade(engine, "AAA/BBB", PairTradeState.OPEN, SLOT)

    with engine.connect() as connection:
        assert SqlRiskRepository(connection, read_closes).booked_since(since) == Decimal(-140)
        assert SqlRiskRepository(connection, read_closes).booked_since(SLOT) == 0


def test_a_result_counts_from_the_day_it_was_booked_not_from_when_closing_began(engine: Engine) -> None:
    register(engine, "AAA/BBB")
    for closing, pnl, bookings in (
        (9, -6000, [9, 1]),  # orphaned meanwhile
        (8, -50, [8]),
        (2, -7, [2]),
    ):
        slot = SLOT - timedelta(days=closing)
        result = {"closed_slot": slot, "realized_pnl": Decimal(pnl)}
        closed = trade(engine, "AAA/BBB", PairTradeState.CLOSED, slot, **result)
        for days in bookings:
            _book(engine, closed, SLOT - timedelta(days=days))

    with engine.connect() as connection:
        repo = SqlRiskRepository(connection, read_closes)
        booked = [repo.booked_since(SLOT - timedelta(days=days)) for days in (10, 5, 1, 0.5)]

    assert booked == [-6057, -6007, -6000, 0]


def _book(engine: Engine, of: Any, at: datetime) -> None:
    entry = {"entry_id": uuid4(), "kind": "write_off", "leg": 1, "pair_trade_id": of, "occurred_at": at}
    with engine.begin() as connection:
        connection.execute(ledger_entry.insert().values(entry))


def test_announced_actions_are_the_events_of_their_day(engine: Engine) -> None:
    row = {
        "corporate_action_id": "a",
        "symbol": "AAA",
        "kind": "cash_dividend",
        "vendor_type": "cash_dividends",
        "ex_date": date(2026, 11, 19),
        "old_rate": 1,
        "new_rate": 1,
        "cash_per_share": Decimal("0.5"),
        "raw": {},
    }
    with engine.begin() as connection:
        connection.execute(corporate_action.insert().values(row))

    with engine.connect() as connection:
        repo = SqlRiskRepository(connection, read_closes)
        found = repo.upcoming_events(["AAA", "BBB"], date(2026, 11, 18), date(2026, 11, 19))
        none = repo.upcoming_events(["AAA"], date(2026, 11, 20), date(2026, 11, 29))

    assert found == [MarketEvent("AAA", date(2026, 11, 19), "cash dividend")]
    assert none == []


def test_reports_that_are_over_before_the_day_are_not_read(engine: Engine) -> None:
    store_earnings(engine, "AAA", date(2026, 11, 16), date(2026, 11, 17))
    store_earnings(engine, "BBB", date(2026, 11, 18), date(2026, 11, 20))
    store_earnings(engine, "CCC", date(2026, 11, 18))

    with engine.connect() as connection:
        found = SqlRiskRepository(connection, read_closes).earnings_reports(["AAA", "BBB"], date(2026, 11, 18))

    assert found == [EarningsReport("BBB", date(2026, 11, 18), date(2026, 11, 20), is_estimate=True)]


def test_the_peaks_reset_is_found_by_an_index(engine: Engine) -> None:
    with engine.connect() as connection:
        named = connection.execute(
            select(func.count()).select_from(text("pg_indexes")).where(text("indexname = 'ix_audit_log_what'"))
        )
        assert named.scalar_one() == 1
