"""What the database itself refuses, whoever writes."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy.exc
from sqlalchemy import Engine, Table, func, insert, select, text

from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.grants import APPEND_ONLY
from src.shared.infra.database.tables import (
    audit_log,
    corporate_action,
    equity_point,
    fill,
    ledger_entry,
    ledger_posting,
    market_data,
    pair_registry,
    pair_spread,
)
from tests.fakes.events import SLOT
from tests.integration.database.rows import (
    ACTION,
    BAR,
    FILL,
    PAIR,
    READING,
    add_entry,
    add_fill,
    add_intent,
    add_load,
    add_trade,
    post,
)


def test_a_ledger_entry_that_balances_is_kept(as_app: Engine) -> None:
    with as_app.begin() as connection:
        entry = add_entry(connection, *add_fill(connection))
        post(connection, entry, "holdings", "SPY", "10")
        post(connection, entry, "exchange", "SPY", "-10")
        post(connection, entry, "cash", "USD", "-5000")
        post(connection, entry, "exchange", "USD", "5000")

    with as_app.connect() as connection:
        assert connection.execute(select(func.count()).select_from(ledger_posting)).scalar_one() == 4


@pytest.mark.parametrize(
    "postings",
    [
        [("holdings", "SPY", "10")],
        [("holdings", "SPY", "10"), ("exchange", "SPY", "-9.999999999")],
        # Balanced in sum, but not per asset.
        [("holdings", "SPY", "10"), ("cash", "USD", "-10")],
    ],
)
def test_a_ledger_entry_that_does_not_balance_fails_at_commit(
    as_app: Engine, postings: list[tuple[str, str, str]]
) -> None:
    with as_app.connect() as connection:
        entry = add_entry(connection, *add_fill(connection))
        for posting in postings:
            post(connection, entry, *posting)

        with pytest.raises(sqlalchemy.exc.IntegrityError, match="does not balance"):
            connection.commit()

    with as_app.connect() as connection:
        assert connection.execute(select(func.count()).select_from(ledger_posting)).scalar_one() == 0


def test_a_later_posting_cannot_unbalance_an_entry(as_app: Engine) -> None:
    with as_app.begin() as connection:
        entry = add_entry(connection, *add_fill(connection))
        post(connection, entry, "holdings", "SPY", "10")
        post(connection, entry, "exchange", "SPY", "-10")

    with as_app.connect() as connection:
        post(connection, entry, "holdings", "SPY", "1")
        with pytest.raises(sqlalchemy.exc.IntegrityError, match="does not balance"):
            connection.commit()


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET recorded_at = now()", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_append_only_tables_refuse_even_their_owner(as_owner: Engine, table: str, statement: str) -> None:
    change = statement.format(table)
    if table == "execution.ledger_posting":
        change = change.replace("recorded_at = now()", "amount = 0")
    with as_owner.connect() as connection:
        add_entry(connection, *add_fill(connection))
        connection.execute(insert(audit_log).values(who="me", what="did", subject="it", why="because"))

        with pytest.raises(sqlalchemy.exc.IntegrityError, match="is append-only"):
            connection.execute(text(change))


def test_the_app_may_not_even_try_to_change_a_fill(as_app: Engine) -> None:
    with as_app.connect() as connection, pytest.raises(sqlalchemy.exc.ProgrammingError, match="permission denied"):
        connection.execute(text("DELETE FROM execution.fill"))


EQUITY = {"slot": SLOT, "taken_at": SLOT, "equity": Decimal(1), "cash": Decimal(1), "buying_power": Decimal(1)}
NUMBERS = [math.nan, math.inf, -math.inf]


def _refuses(engine: Engine, table: Table, row: dict[str, Any]) -> None:
    with engine.connect() as connection:
        if table is pair_spread:
            connection.execute(insert(pair_registry).values(PAIR))
        if table is market_data:
            row = {**row, "load_run_id": add_load(connection)}
            add_months(connection, BAR["bar_end"], BAR["bar_end"])
        with pytest.raises((sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError)):
            connection.execute(insert(table).values(row))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("column", ["price_1", "price_2", "spread", "mean", "sd", "z"])
def test_a_reading_holds_no_nan_and_no_infinity(as_app: Engine, column: str, number: float) -> None:
    _refuses(as_app, pair_spread, READING | {column: number})


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("column", ["alpha", "beta", "half_life_bars", "correlation"])
def test_a_fit_holds_no_nan_and_no_infinity(as_app: Engine, column: str, number: float) -> None:
    _refuses(as_app, pair_registry, PAIR | {column: number})


@pytest.mark.parametrize("number", [*NUMBERS, -1.0])
@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_a_bar_holds_no_nan_no_infinity_and_nothing_negative(as_app: Engine, column: str, number: float) -> None:
    _refuses(as_app, market_data, BAR | {column: number})


@pytest.mark.parametrize("column", ["equity", "cash", "buying_power"])
def test_money_is_never_nan(as_app: Engine, column: str) -> None:
    _refuses(as_app, equity_point, EQUITY | {column: Decimal("NaN")})


@pytest.mark.parametrize(
    "bent", [{"price": Decimal("NaN")}, {"quantity": Decimal("NaN")}, {"price": Decimal(0)}, {"quantity": Decimal(0)}]
)
def test_a_fill_has_a_price_and_a_quantity(as_app: Engine, bent: dict[str, Any]) -> None:
    with as_app.connect() as connection:
        row = FILL | {"fill_id": "x", "intent_id": add_intent(connection, add_trade(connection))} | bent

        with pytest.raises(sqlalchemy.exc.IntegrityError):
            connection.execute(insert(fill).values(row))


@pytest.mark.parametrize(
    "symbol", ["", "spy", "1SPY", "A'; DROP--", "../orders", "SPY ", "SPY\n", "<b>", "TOOLONGNAME"]
)
def test_what_is_no_symbol_is_refused(as_app: Engine, symbol: str) -> None:
    _refuses(as_app, market_data, BAR | {"symbol": symbol})


def test_a_load_that_a_bar_names_can_not_be_deleted_and_any_other_can(as_app: Engine) -> None:
    with as_app.begin() as connection:
        add_months(connection, BAR["bar_end"], BAR["bar_end"])
        run_id = add_load(connection)
        connection.execute(insert(market_data).values(BAR | {"load_run_id": run_id}))
    delete = text("DELETE FROM data_ingestion.load_run WHERE load_run_id = :run_id")
    with as_app.connect() as connection, pytest.raises(sqlalchemy.exc.IntegrityError, match="has brought bars"):
        connection.execute(delete, {"run_id": run_id})

    with as_app.begin() as connection:
        connection.execute(text("DELETE FROM data_ingestion.market_data"))
        assert connection.execute(delete, {"run_id": run_id}).rowcount == 1


def test_rows_that_fit_are_taken(as_app: Engine) -> None:
    with as_app.begin() as connection:
        add_months(connection, BAR["bar_end"], BAR["bar_end"])
        connection.execute(insert(market_data).values(BAR | {"symbol": "BRK.B", "load_run_id": add_load(connection)}))
        connection.execute(insert(pair_registry).values(PAIR))
        connection.execute(insert(pair_spread).values(READING))
        connection.execute(insert(equity_point).values(EQUITY))


def test_a_corporate_action_is_booked_once_for_a_trade_and_an_entry_has_one_cause(as_app: Engine) -> None:
    with as_app.begin() as connection:
        trade, fill_id = add_fill(connection)
        connection.execute(insert(corporate_action).values(ACTION))
        connection.execute(insert(ledger_entry).values(_action_entry(trade)))

    for broken in (
        _action_entry(trade),
        _action_entry(trade) | {"kind": "cash_dividend", "fill_id": fill_id},
        _action_entry(trade) | {"kind": "cash_dividend", "leg": None},
        _action_entry(trade) | {"kind": "trade"},
        _action_entry(trade) | {"kind": "gift"},
    ):
        with pytest.raises(sqlalchemy.exc.IntegrityError), as_app.begin() as connection:
            connection.execute(insert(ledger_entry).values(broken))


@pytest.mark.parametrize(
    "change",
    [{"old_rate": Decimal(0)}, {"new_rate": Decimal("NaN")}, {"kind": "x"}, {"new_symbol": "B"}, {"symbol": "../x"}],
)
def test_a_corporate_action_that_makes_no_sense_is_refused(as_app: Engine, change: dict[str, Any]) -> None:
    with pytest.raises(sqlalchemy.exc.IntegrityError), as_app.begin() as connection:
        connection.execute(insert(corporate_action).values(ACTION | change))


def _action_entry(trade: UUID) -> dict[str, Any]:
    return {
        "entry_id": uuid4(),
        "kind": "split",
        "pair_trade_id": trade,
        "corporate_action_id": "action-1",
        "leg": 1,
        "occurred_at": SLOT,
    }
