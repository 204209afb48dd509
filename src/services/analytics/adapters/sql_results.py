"""The repository of results on PostgreSQL: reads execution's books, writes pair performance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from src.services.analytics.domain.results import FinishedTrade, TradeResult
from src.shared.domain.orders import OrderAction
from src.shared.domain.pairs import PairTradeState
from src.shared.infra.database.tables import pair_performance

_RESULT_STATES = [PairTradeState.CLOSED.value, PairTradeState.UNWOUND.value]

_UNRECORDED = text("""
    SELECT t.pair_trade_id, t.version AS trade_version, t.pair_id, t.slot AS opened_slot,
           coalesce(t.closed_slot, :slot) AS closed_slot,
           coalesce(t.close_reason, t.state) AS close_reason,
           coalesce(cash.flow, 0) AS cash_flow,
           coalesce(entry.notional, 0) AS entry_notional,
           coalesce(held.holdings, '{}') AS holdings
      FROM execution.pair_trade t
      LEFT JOIN analytics.pair_performance p ON p.pair_trade_id = t.pair_trade_id
      LEFT JOIN LATERAL (
            SELECT sum(l.amount) AS flow
              FROM execution.ledger_entry e JOIN execution.ledger_posting l ON l.entry_id = e.entry_id
             WHERE e.pair_trade_id = t.pair_trade_id AND l.account = 'cash' AND l.asset = 'USD'
           ) cash ON true
      LEFT JOIN LATERAL (
            SELECT sum(abs(f.quantity) * f.price) AS notional
              FROM execution.order_intent i JOIN execution.fill f ON f.intent_id = i.intent_id
             WHERE i.pair_trade_id = t.pair_trade_id AND i.action = :entry_action
           ) entry ON true
      LEFT JOIN LATERAL (
            SELECT jsonb_object_agg(asset, shares::text) AS holdings
              FROM (SELECT l.asset, sum(l.amount) AS shares
                      FROM execution.ledger_entry e JOIN execution.ledger_posting l ON l.entry_id = e.entry_id
                     WHERE e.pair_trade_id = t.pair_trade_id AND l.account = 'holdings'
                     GROUP BY l.asset) AS by_asset
           ) held ON true
     WHERE t.state = ANY(:states) AND (p.pair_trade_id IS NULL OR p.trade_version < t.version)
     ORDER BY t.pair_trade_id
""")


class SqlResultsRepository:
    """Implements `ResultsRepository` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def unrecorded_trades(self, slot: datetime) -> list[FinishedTrade]:
        """List finished trades whose result is not recorded as they stand now.

        Always in one order: two runs at once can't lock each other out.
        """
        parameters = {"slot": slot, "states": _RESULT_STATES, "entry_action": OrderAction.OPEN.value}
        return [_finished(row) for row in self._connection.execute(_UNRECORDED, parameters).mappings()]

    def save_result(self, result: TradeResult) -> int | None:
        """Store a result, or correct the one that was taken from an earlier state of the trade."""
        values = asdict(result)
        p = pair_performance.c
        statement = insert(pair_performance).values(**values, version=1)
        statement = statement.on_conflict_do_update(
            index_elements=[p.pair_trade_id],
            set_={**values, "version": p.version + 1, "recorded_at": func.clock_timestamp()},
            where=p.trade_version < result.trade_version,
        )
        return self._connection.execute(statement.returning(p.version)).scalar_one_or_none()

    def results(self) -> list[TradeResult]:
        """Read all results, oldest first."""
        columns = [column for column in pair_performance.c if column.name not in ("recorded_at", "version")]
        query = select(*columns).order_by(pair_performance.c.closed_slot, pair_performance.c.pair_trade_id)
        return [TradeResult(**row) for row in self._connection.execute(query).mappings()]


def _finished(row: Mapping[Any, Any]) -> FinishedTrade:
    holdings = {symbol: Decimal(shares) for symbol, shares in row["holdings"].items()}
    return FinishedTrade(**{**row, "holdings": holdings})
