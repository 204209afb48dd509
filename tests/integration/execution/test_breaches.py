"""Rows that are made wrong by hand are found, each by the invariant that it breaks, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from src.config.settings import load_settings
from src.services.execution.bootstrap import ExecutionService, build
from src.services.execution.domain.invariants import Facts
from src.services.execution.use_cases.verify import verify_books
from src.shared.domain.errors import NotTheWriter
from src.shared.domain.orders import FillReport
from src.shared.domain.signals import SignalAction
from tests.conftest import TradingDatabase
from tests.fakes.broker import FakeClock
from tests.integration.execution.desk import HOUR, SLOT, Desk

LONG_AGO = SLOT - timedelta(days=300)

Corrupt = Callable[..., object]


@pytest.fixture
def corrupt(trading_database: TradingDatabase) -> Iterator[Corrupt]:
    """Change rows as only the server's owner can: the triggers that keep the books append-only are asleep."""
    with trading_database.server.connect(trading_database.name) as connection:
        connection.execute("SET session_replication_role = replica")
        yield lambda statement, *values: connection.execute(statement, values)


@pytest.fixture
def entered(desk: Desk) -> Desk:
    """One pair is held, and all is well."""
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    assert desk.broken_invariants() == []
    return desk


@pytest.fixture
def beside(entered: Desk, monkeypatch: pytest.MonkeyPatch) -> ExecutionService:
    """Another process on the same database, which does not wait for its turn."""
    monkeypatch.setenv("TRADEWINDS_EXECUTION_WRITER_WAIT_SECONDS", "0.01")
    return build(load_settings(), entered.engine, entered.broker, FakeClock())


def an_execution(desk: Desk) -> str:
    with desk.engine.connect() as connection:
        return str(connection.execute(text("SELECT fill_id FROM execution.fill WHERE symbol = 'AAA'")).scalar_one())


def only_breach(desk: Desk) -> str:
    (breach,) = desk.broken_invariants()
    return breach


def breaches_of_the_books(desk: Desk) -> list[str]:
    found = verify_books(desk.service.verification.facts, Decimal("0.05"))
    return [breach for invariant in found for breach in invariant.breaches]


def test_entries_where_an_exit_was_approved(entered: Desk, corrupt: Corrupt) -> None:
    corrupt("UPDATE risk.risk_decision SET action = 'exit', quantity_1 = 0, quantity_2 = 0")

    assert [re.sub("tw-.*:", "an order:", breach) for breach in entered.broken_invariants()] == [
        "I7 an order: no approval",
        "I7 an order: no approval",
    ]


def test_an_entry_that_was_approved_while_books_and_broker_disagreed(entered: Desk, corrupt: Corrupt) -> None:
    corrupt("""UPDATE risk.risk_decision SET numbers = '{"reconciled": {"reconciled": false}}'""")

    assert {breach.partition(": ")[2] for breach in entered.broken_invariants()} == {"no approval"}


def test_an_order_that_the_broker_has_twice(entered: Desk, corrupt: Corrupt) -> None:
    corrupt("UPDATE execution.order_intent SET broker_order_id = 'another' WHERE symbol = 'AAA'")

    assert re.fullmatch("I1 tw-twin-.*: broker order .*, booked another", only_breach(entered))


def test_an_entry_of_the_ledger_that_does_not_sum_to_zero(entered: Desk, corrupt: Corrupt) -> None:
    corrupt(
        "UPDATE execution.ledger_posting SET amount = amount + 1 WHERE account = 'exchange' AND asset = 'USD'"
        " AND entry_id = (SELECT entry_id FROM execution.ledger_entry WHERE fill_id = %s)",
        an_execution(entered),
    )

    assert re.fullmatch("I4 entry .*: USD sums to 1(\\.0*)?", only_breach(entered))


def test_an_entry_of_more_shares_than_were_approved(entered: Desk, corrupt: Corrupt) -> None:
    corrupt("UPDATE risk.risk_decision SET quantity_1 = 9")

    assert re.fullmatch("I7 tw-.*: 10 shares, 9 approved", only_breach(entered))


def test_an_entry_that_was_sent_a_day_after_its_slot(entered: Desk, corrupt: Corrupt) -> None:
    corrupt("UPDATE execution.order_intent SET sent_at = slot + interval '30 hours' WHERE symbol = 'AAA'")

    assert only_breach(entered).endswith("sent 1 day, 6:00:00 after its slot")


def test_an_execution_that_is_not_in_the_ledger(entered: Desk, corrupt: Corrupt) -> None:
    corrupt(
        "DELETE FROM execution.ledger_posting p USING execution.ledger_entry e"
        " WHERE e.entry_id = p.entry_id AND e.fill_id = %s",
        an_execution(entered),
    )
    corrupt("DELETE FROM execution.ledger_entry WHERE fill_id = %s", an_execution(entered))

    assert f"I3 execution {an_execution(entered)} is not in the ledger" in entered.broken_invariants()


def test_an_execution_that_is_booked_with_twice_its_dollars(entered: Desk, corrupt: Corrupt) -> None:
    corrupt(
        "UPDATE execution.ledger_posting p SET amount = p.amount * 2 FROM execution.ledger_entry e"
        " WHERE e.entry_id = p.entry_id AND p.asset = 'USD' AND e.fill_id = %s",
        an_execution(entered),
    )

    assert re.fullmatch(
        r"I3 execution \S+ of 10 at \S+ is booked as 10 shares for -\S+ dollars", only_breach(entered)
    )


def test_an_execution_that_is_booked_for_another_trade(entered: Desk, corrupt: Corrupt) -> None:
    entered.approve(SignalAction.ENTER_LONG, slot=entered.next_hour(), quantities=(4, -3), pair="DDD/EEE")
    entered.run()
    corrupt(
        "UPDATE execution.ledger_entry SET pair_trade_id = t.pair_trade_id FROM execution.pair_trade t"
        " WHERE t.pair_id = 'DDD/EEE' AND fill_id = %s",
        an_execution(entered),
    )

    wrong = f"I3 execution {an_execution(entered)} is booked for another trade than its order's"
    assert wrong in entered.broken_invariants()


def test_a_result_that_is_not_the_ledgers(entered: Desk, corrupt: Corrupt) -> None:
    entered.approve(SignalAction.EXIT, slot=entered.next_hour())
    entered.run()
    assert entered.broken_invariants() == []
    corrupt("UPDATE execution.pair_trade SET realized_pnl = 1000000000")

    assert only_breach(entered).startswith("I3 AAA/BBB closed: its result is 1000000000, the ledger's cash ")


def test_a_leg_whose_pair_had_its_alert_before_this_trade(entered: Desk, corrupt: Corrupt) -> None:
    corrupt(
        "INSERT INTO ops.alert (alert_id, severity, title, detail, correlation_id, occurred_at)"
        " VALUES (gen_random_uuid(), 'critical', 'a leg', 'AAA/BBB: hangs', '', %s)",
        LONG_AGO,
    )
    corrupt("UPDATE execution.pair_trade SET state = 'orphaned'")

    # A gate would page, and there would be an alert of today.
    assert "AAA/BBB orphaned without an alert" in breaches_of_the_books(entered)


def test_a_risk_state_that_was_changed_past_the_commands(entered: Desk, corrupt: Corrupt) -> None:
    corrupt("UPDATE risk.risk_state SET version = 7")

    assert "risk_state account is at version 7, the outbox tells []" in breaches_of_the_books(entered)


def test_a_check_that_somebody_trades_beside_keeps_him_from_nothing_and_cries_no_wolf(
    entered: Desk, beside: ExecutionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered.approve(SignalAction.EXIT, slot=entered.next_hour())
    real, verification = entered.broker.fills_since, entered.service.verification

    def meanwhile(since: datetime) -> list[FillReport]:
        told = real(since)
        if since < SLOT - 2 * HOUR:
            monkeypatch.setattr(entered.broker, "fills_since", real)
            beside.cycle.execute_slot(beside.cycle.open_gate())
        return told

    monkeypatch.setattr(entered.broker, "fills_since", meanwhile)

    found = verification.run(SLOT - 3 * HOUR)

    assert entered.trade_states() == ["closed"]
    breaches = [breach for each in found for breach in each.breaches]
    assert [breach for breach in breaches if not breach.startswith(("signal ", "risk_", "pair "))] == []


def test_nobody_trades_while_a_check_looks_at_the_books(
    entered: Desk, beside: ExecutionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = entered.service.verification.facts
    real = facts.load

    def meanwhile(*looks: Any) -> Facts:
        with pytest.raises(NotTheWriter):
            beside.cycle.open_gate()
        return real(*looks)

    monkeypatch.setattr(facts, "load", meanwhile)

    assert entered.broken_invariants() == []
