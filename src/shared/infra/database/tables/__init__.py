"""Every table of Tradewinds, one module per PostgreSQL schema, on one metadata."""

from src.shared.infra.database.tables.analytics import pair_performance
from src.shared.infra.database.tables.base import METADATA, SCHEMAS
from src.shared.infra.database.tables.data_ingestion import (
    corporate_action,
    data_quality,
    data_quarantine,
    load_run,
    market_data,
    market_data_history,
    quality_look,
    symbol,
)
from src.shared.infra.database.tables.execution import (
    corporate_action_look,
    fill,
    ledger_entry,
    ledger_posting,
    order_intent,
    pair_freeze,
    pair_trade,
    position,
    position_snapshot,
    quarantine,
    writer_epoch,
)
from src.shared.infra.database.tables.ops import (
    alert,
    audit_log,
    consumed_event,
    consumer_position,
    environment,
    outbox,
)
from src.shared.infra.database.tables.risk import (
    cash_flow,
    equity_point,
    limit_change,
    portfolio_reading,
    risk_decision,
    risk_state,
)
from src.shared.infra.database.tables.strategy import pair_registry, pair_signal, pair_spread

__all__ = [
    "METADATA",
    "SCHEMAS",
    "alert",
    "audit_log",
    "cash_flow",
    "consumed_event",
    "consumer_position",
    "corporate_action",
    "corporate_action_look",
    "data_quality",
    "data_quarantine",
    "environment",
    "equity_point",
    "fill",
    "ledger_entry",
    "ledger_posting",
    "limit_change",
    "load_run",
    "market_data",
    "market_data_history",
    "order_intent",
    "outbox",
    "pair_freeze",
    "pair_performance",
    "pair_registry",
    "pair_signal",
    "pair_spread",
    "pair_trade",
    "portfolio_reading",
    "position",
    "position_snapshot",
    "quality_look",
    "quarantine",
    "risk_decision",
    "risk_state",
    "symbol",
    "writer_epoch",
]
