"""Every table of Tradewinds, one module per PostgreSQL schema, on one metadata."""

from src.shared.infra.database.tables.analytics import pair_performance
from src.shared.infra.database.tables.base import METADATA, SCHEMAS
from src.shared.infra.database.tables.execution import (
    fill,
    ledger_entry,
    ledger_posting,
    order_intent,
    pair_trade,
    position,
    quarantine,
    writer_epoch,
)
from src.shared.infra.database.tables.market import load_run, market_data, symbol
from src.shared.infra.database.tables.ops import (
    alert,
    audit_log,
    consumed_event,
    consumer_position,
    environment,
    outbox,
)
from src.shared.infra.database.tables.risk import equity_point, risk_decision, risk_state
from src.shared.infra.database.tables.strategy import pair_registry, pair_signal, pair_spread

__all__ = [
    "METADATA",
    "SCHEMAS",
    "alert",
    "audit_log",
    "consumed_event",
    "consumer_position",
    "environment",
    "equity_point",
    "fill",
    "ledger_entry",
    "ledger_posting",
    "load_run",
    "market_data",
    "order_intent",
    "outbox",
    "pair_performance",
    "pair_registry",
    "pair_signal",
    "pair_spread",
    "pair_trade",
    "position",
    "quarantine",
    "risk_decision",
    "risk_state",
    "symbol",
    "writer_epoch",
]
