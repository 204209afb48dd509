"""Schema `data_ingestion`, companies: splits, dividends, who they are, figures, books, holders, and their past."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from src.shared.infra.database.tables.base import (
    METADATA,
    Moment,
    Quantity,
    finite,
    one_of,
    recorded_at,
    symbol_check,
    symbol_column,
)

_SCHEMA = "data_ingestion"
DIVIDEND_KINDS = ("regular", "special", "long_term_gain", "short_term_gain")


def _load_run() -> Column[object]:
    return Column("load_run_id", Uuid, ForeignKey("data_ingestion.load_run.load_run_id"), nullable=False)


def _bounded(*columns: str) -> CheckConstraint:
    # NaN sorts above every number in PostgreSQL, so a bound keeps it and infinity out.
    return CheckConstraint(" AND ".join(f"abs({name}) <= 1e18" for name in columns), name="figures_sane")


# From ex_date on, old_shares are new_shares: 1 and 3 for three for one.
stock_splits = Table(
    "stock_splits",
    METADATA,
    symbol_column(),
    Column("vendor", String(16), nullable=False),
    Column("ex_date", Date, nullable=False),
    Column("old_shares", Quantity, nullable=False),
    Column("new_shares", Quantity, nullable=False),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "vendor", "ex_date"),
    symbol_check(),
    CheckConstraint("old_shares > 0 AND new_shares > 0", name="shares_sane"),
    finite("old_shares", "new_shares"),
    schema="data_ingestion",
)

# Cash a share.
dividends = Table(
    "dividends",
    METADATA,
    symbol_column(),
    Column("vendor", String(16), nullable=False),
    Column("ex_date", Date, nullable=False),
    Column("kind", String(16), nullable=False, server_default="regular"),
    Column("amount", Quantity, nullable=False),
    Column("currency", String(3), nullable=False, server_default="USD"),
    Column("declared_on", Date),
    Column("recorded_on", Date),
    Column("paid_on", Date),
    Column("times_a_year", Integer),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "vendor", "ex_date", "kind"),
    symbol_check(),
    one_of("kind", DIVIDEND_KINDS),
    CheckConstraint("amount > 0", name="amount_sane"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_code"),
    CheckConstraint("times_a_year >= 0", name="times_sane"),
    finite("amount"),
    schema="data_ingestion",
)

Index("ix_stock_splits_ex_date", stock_splits.c.ex_date)
Index("ix_dividends_ex_date", dividends.c.ex_date)

# When a company tells what it earned: from first_day to last_day, which are one day once it is fixed.
earnings_dates = Table(
    "earnings_dates",
    METADATA,
    symbol_column(),
    Column("vendor", String(16), nullable=False),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("is_estimate", Boolean, nullable=False),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "vendor", "first_day"),
    symbol_check(),
    CheckConstraint("first_day <= last_day", name="days_ordered"),
    schema=_SCHEMA,
)

Index("ix_earnings_dates_last_day", earnings_dates.c.last_day)

company_info = Table(
    "company_info",
    METADATA,
    symbol_column(primary_key=True),
    *(
        Column(name, Text)
        for name in (
            "name",
            "quote_type",
            "exchange",
            "currency",
            "sector",
            "industry",
            "country",
            "state",
            "city",
            "phone",
            "website",
        )
    ),
    Column("employees", Integer),
    Column("summary", Text),
    _load_run(),
    recorded_at(),
    symbol_check(),
    CheckConstraint("employees >= 0", name="employees_sane"),
    schema=_SCHEMA,
)

company_officers = Table(
    "company_officers",
    METADATA,
    symbol_column(),
    Column("name", Text, nullable=False),
    Column("title", Text),
    Column("age", Integer),
    Column("year_born", Integer),
    Column("fiscal_year", Integer),
    Column("total_pay", Double),
    Column("exercised_value", Double),
    Column("unexercised_value", Double),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "name"),
    symbol_check(),
    _bounded("total_pay", "exercised_value", "unexercised_value"),
    schema=_SCHEMA,
)

STATISTICS = (
    "market_cap",
    "enterprise_value",
    "trailing_pe",
    "forward_pe",
    "peg_ratio",
    "price_to_sales",
    "price_to_book",
    "enterprise_to_revenue",
    "enterprise_to_ebitda",
    "profit_margin",
    "gross_margin",
    "operating_margin",
    "return_on_assets",
    "return_on_equity",
    "revenue",
    "ebitda",
    "net_income",
    "free_cash_flow",
    "operating_cash_flow",
    "eps_trailing",
    "eps_forward",
    "book_value_per_share",
    "total_cash",
    "total_debt",
    "debt_to_equity",
    "current_ratio",
    "dividend_rate",
    "dividend_yield",
    "payout_ratio",
    "beta",
    "high_52_weeks",
    "low_52_weeks",
    "average_volume",
    "shares_outstanding",
    "shares_float",
    "shares_short",
    "short_ratio",
    "short_fraction_of_float",
    "held_by_insiders",
    "held_by_institutions",
)

key_statistics = Table(
    "key_statistics",
    METADATA,
    symbol_column(),
    Column("as_of", Date, nullable=False),
    *(Column(name, Double) for name in STATISTICS),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "as_of"),
    symbol_check(),
    _bounded(*STATISTICS),
    schema=_SCHEMA,
)

financial_statements = Table(
    "financial_statements",
    METADATA,
    symbol_column(),
    Column("statement", String(16), nullable=False),
    Column("period", String(16), nullable=False),
    Column("period_end", Date, nullable=False),
    Column("item", String(96), nullable=False),
    Column("value", Double, nullable=False),
    Column("currency", String(3)),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "statement", "period", "period_end", "item"),
    symbol_check(),
    one_of("statement", ["income", "balance_sheet", "cash_flow"]),
    one_of("period", ["quarterly", "annual"]),
    _bounded("value"),
    schema=_SCHEMA,
)

institutional_holders = Table(
    "institutional_holders",
    METADATA,
    symbol_column(),
    Column("organization", Text, nullable=False),
    Column("report_date", Date, nullable=False),
    Column("shares", Double),
    Column("value", Double),
    Column("held", Double),
    Column("changed", Double),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "organization", "report_date"),
    symbol_check(),
    _bounded("shares", "value", "held", "changed"),
    schema=_SCHEMA,
)

# What a row of the tables above was before the vendor said otherwise, or nothing any more.
company_history = Table(
    "company_history",
    METADATA,
    Column("history_id", Uuid, primary_key=True),
    Column("vendor", String(16), nullable=False),
    Column("dataset", String(32), nullable=False),
    symbol_column(),
    Column("earlier", JSONB, nullable=False),
    Column("load_run_id", Uuid, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("superseded_by", Uuid, nullable=False),
    Column("superseded_at", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("reason", String(16), nullable=False),
    symbol_check(),
    one_of("reason", ["restated", "withdrawn"]),
    schema=_SCHEMA,
)

Index("ix_company_history_symbol", company_history.c.symbol, company_history.c.dataset)

# When each dataset of a company was last asked for with success: it says what is due again.
company_load = Table(
    "company_load",
    METADATA,
    Column("vendor", String(16), nullable=False),
    symbol_column(),
    Column("dataset", String(32), nullable=False),
    Column("loaded_at", Moment, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    _load_run(),
    PrimaryKeyConstraint("vendor", "symbol", "dataset"),
    symbol_check(),
    one_of("outcome", ["stored", "unchanged", "empty"]),
    schema=_SCHEMA,
)
