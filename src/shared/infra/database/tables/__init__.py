"""Every table of Tradewinds, one module per PostgreSQL schema, on one metadata."""

from src.shared.infra.database.tables.analytics import indicator_set, pair_performance, technical_indicators
from src.shared.infra.database.tables.base import METADATA, SCHEMAS
from src.shared.infra.database.tables.company import (
    company_history,
    company_info,
    company_load,
    company_officers,
    dividends,
    financial_statements,
    institutional_holders,
    key_statistics,
    stock_splits,
)
from src.shared.infra.database.tables.data_ingestion import (
    corporate_action,
    data_quality,
    data_quarantine,
    load_run,
    market_data,
    market_data_history,
    quality_look,
    series_rebase,
    symbol,
)
from src.shared.infra.database.tables.execution import (
    WRITE_OFF,
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
    archive_file,
    audit_log,
    backup_run,
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
from src.shared.infra.database.tables.strategy import (
    DISCOVERY_NUMBERS,
    discovery_result,
    discovery_run,
    discovery_scan,
    gate_verdict,
    pair_registry,
    pair_signal,
    pair_spread,
)
