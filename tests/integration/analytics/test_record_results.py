from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, insert, select, update

from src.config.settings import load_settings
from src.services.analytics.bootstrap import build
from src.services.analytics.use_cases.results import Analytics
from src.shared.domain.errors import Terminal
from src.shared.domain.ids import derived_id
from src.shared.domain.pairs import Direction, Pair, PairTradeState
from src.shared.infra.database.tables import (
    fill,
    ledger_entry,
    ledger_posting,
    order_intent,
    outbox,
    pair_performance,
    pair_trade,
)
from tests.fakes.stored_market import store_pairs, store_trade
from tests.unit.strategy_engine.builders import SLOT, make_pair

OPENED, CLOSED = SLOT, SLOT + timedelta(hours=3)
KO_PEP, V_MA = make_pair(), make_pair("V", "MA")

# leg, action, signed shares, price: gains 10 · 1.00 on the first leg, loses 4 · 1.00 on the second.
ROUND_TRIP = [
    (1, "open", "10", "60.00"),
    (2, "open", "-4", "150.00"),
    (1, "close", "-6", "61.00"),
    (1, "close", "-4", "61.00"),
    (2, "close", "4", "151.00"),
]


@pytest.fixture
def engine(engine: Engine) -> Engine:
    store_pairs(engine, [KO_PEP, V_MA])
    return engine


@pytest.fixture
def analytics(engine: Engine) -> Analytics:
    return build(load_settings(), engine)


def book(engine: Engine, trade: UUID, pair: Pair, fills: list[tuple[int, str, str, str]], first: int = 1) -> None:
    """Book each fill as one order of its own, with the four postings of the ledger."""
    for attempt, (leg, action, shares, price) in enumerate(fills, first):
        symbol = pair.symbol_1 if leg == 1 else pair.symbol_2
        name, quantity = f"{trade.hex[:8]}-{attempt}", Decimal(shares)
        intent, entry = derived_id("intent", name), derived_id("entry", name)
        cash = -quantity * Decimal(price)
        postings = [("holdings", symbol, quantity), ("exchange", symbol, -quantity)]
        postings += [("cash", "USD", cash), ("exchange", "USD", -cash)]
        order = {"intent_id": intent, "client_order_id": name, "pair_trade_id": trade, "leg": leg, "action": action}
        state = {
            "attempt": attempt,
            "state": "filled",
            "epoch": 1,
            "version": 1,
            "slot": OPENED,
            "created_at": OPENED,
        }
        traded = {"symbol": symbol, "quantity": quantity}
        with engine.begin() as connection:
            connection.execute(insert(order_intent).values(**order, **state, **traded, filled_quantity=quantity))
            at_broker = {"intent_id": intent, "broker_order_id": name, "occurred_at": OPENED}
            connection.execute(insert(fill).values(fill_id=name, **at_broker, **traded, price=Decimal(price)))
            told = {"kind": "trade", "pair_trade_id": trade, "fill_id": name, "occurred_at": OPENED}
            connection.execute(insert(ledger_entry).values(entry_id=entry, **told))
            rows = [{"entry_id": entry, "account": a, "asset": asset, "amount": x} for a, asset, x in postings]
            connection.execute(insert(ledger_posting), rows)


def finished(
    engine: Engine,
    pair: Pair = KO_PEP,
    fills: list[tuple[int, str, str, str]] = ROUND_TRIP,
    state: PairTradeState = PairTradeState.CLOSED,
    closed_slot: datetime | None = CLOSED,
) -> UUID:
    trade = store_trade(engine, pair, Direction.LONG_SPREAD, OPENED, state)
    values = {"closed_slot": closed_slot, "close_reason": "EXIT_Z" if closed_slot else None}
    with engine.begin() as connection:
        connection.execute(update(pair_trade).where(pair_trade.c.pair_trade_id == trade).values(**values))
    book(engine, trade, pair, fills)
    return trade


def rows(engine: Engine, table: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table)).mappings())


def test_a_closed_trade_is_recorded_once_with_its_event(analytics: Analytics, engine: Engine) -> None:
    trade = finished(engine)

    assert [analytics.record_results(CLOSED) for _ in range(2)] == [1, 0]

    [row] = rows(engine, pair_performance)
    assert (row["pair_trade_id"], row["holding_bars"], row["close_reason"]) == (trade, 3, "EXIT_Z")
    assert (row["realized_pnl"], row["gross_entry"], row["return_on_gross"]) == (Decimal(6), Decimal(1200), 0.005)
    [event] = rows(engine, outbox)
    assert event["channel"] == "tradewinds.portfolio.PerformanceRecorded"
    assert Decimal(event["payload"]["realized_pnl"]) == Decimal(6)


def test_two_runs_at_once_record_a_result_once(analytics: Analytics, engine: Engine) -> None:
    finished(engine)
    finished(engine, V_MA)

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(analytics.record_results, [CLOSED, CLOSED]))

    assert sum(counts) == len(rows(engine, pair_performance)) == len(rows(engine, outbox)) == 2


def test_an_unwound_trade_counts_and_takes_the_slot_when_it_has_none_of_its_own(
    analytics: Analytics, engine: Engine
) -> None:
    fills = [(2, "open", "-4", "150.00"), (2, "unwind", "4", "150.50")]
    finished(engine, fills=fills, state=PairTradeState.UNWOUND, closed_slot=None)

    analytics.record_results(CLOSED)

    [row] = rows(engine, pair_performance)
    assert (row["realized_pnl"], row["gross_entry"]) == (Decimal(-2), Decimal(600))
    assert (row["closed_slot"], row["close_reason"]) == (CLOSED, "unwound")


@pytest.mark.parametrize("state", sorted(set(PairTradeState) - {PairTradeState.CLOSED, PairTradeState.UNWOUND}))
def test_no_other_trade_has_a_result(analytics: Analytics, engine: Engine, state: PairTradeState) -> None:
    finished(engine, state=state)

    assert analytics.record_results(CLOSED) == 0


def test_a_finished_trade_that_holds_shares_is_told_and_the_others_are_recorded(
    analytics: Analytics, engine: Engine
) -> None:
    finished(engine, fills=ROUND_TRIP[:-1])
    finished(engine, V_MA)

    with pytest.raises(Terminal, match="the books hold -4 PEP"):
        analytics.record_results(CLOSED)

    assert [row["pair_id"] for row in rows(engine, pair_performance)] == ["V/MA"]


def test_the_summary_reads_what_was_recorded(analytics: Analytics, engine: Engine) -> None:
    finished(engine)
    finished(engine, V_MA, [(1, "open", "1", "300"), (1, "close", "-1", "290")])
    analytics.record_results(CLOSED)

    summary = analytics.performance_summary()

    assert (summary.overall.trades, summary.overall.wins, summary.overall.total_pnl) == (2, 1, Decimal(-4))
    assert summary.pairs["V/MA"].mean_pnl == Decimal(-10)


def test_a_late_fill_corrects_the_result_and_says_so_once(analytics: Analytics, engine: Engine) -> None:
    trade = finished(engine)
    finished(engine, V_MA)
    analytics.record_results(CLOSED)
    # One share more was bought at 60 and sold at 59; meanwhile the trade was orphaned, closing, and closed again.
    book(
        engine, trade, KO_PEP, [(1, "unwind", "1", "60.00"), (1, "unwind", "-1", "59.00")], first=len(ROUND_TRIP) + 1
    )
    with engine.begin() as connection:
        connection.execute(update(pair_trade).where(pair_trade.c.pair_trade_id == trade).values(version=7))

    assert [analytics.record_results(CLOSED) for _ in range(2)] == [1, 0]

    corrected = {row["pair_id"]: (row["realized_pnl"], row["version"]) for row in rows(engine, pair_performance)}
    assert corrected == {"KO/PEP": (Decimal(5), 2), "V/MA": (Decimal(6), 1)}
    told = sorted((row["aggregate_version"], row["payload"]["realized_pnl"]) for row in rows(engine, outbox))
    assert [version for version, _ in told] == [1, 1, 2]
    assert Decimal(told[-1][1]) == Decimal(5)
