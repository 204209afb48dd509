"""Companies: who they are, officers, key statistics, statements, holders, their history, and when each was loaded."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_SCHEMA = "data_ingestion"
_MOMENT = sa.DateTime(timezone=True)
_TABLES = (
    "company_load",
    "company_history",
    "institutional_holders",
    "financial_statements",
    "key_statistics",
    "company_officers",
    "company_info",
)
_TEXTS = (
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
_STATISTICS = (
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


def upgrade() -> None:
    """Create the tables. Grants are renewed after every migration."""
    op.add_column(
        "load_run", sa.Column("dataset", sa.String(32), server_default="bars", nullable=False), schema=_SCHEMA
    )
    _create(
        "company_info",
        ["symbol"],
        *(sa.Column(name, sa.Text()) for name in _TEXTS),
        sa.Column("employees", sa.Integer()),
        sa.Column("summary", sa.Text()),
        sa.CheckConstraint("employees >= 0", name=op.f("ck_company_info_employees_sane")),
    )
    pay = ("total_pay", "exercised_value", "unexercised_value")
    _create(
        "company_officers",
        ["symbol", "name"],
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text()),
        *(sa.Column(name, sa.Integer()) for name in ("age", "year_born", "fiscal_year")),
        *_figures("company_officers", pay),
    )
    _create(
        "key_statistics",
        ["symbol", "as_of"],
        sa.Column("as_of", sa.Date(), nullable=False),
        *_figures("key_statistics", _STATISTICS),
    )
    _create(
        "financial_statements",
        ["symbol", "statement", "period", "period_end", "item"],
        sa.Column("statement", sa.String(16), nullable=False),
        sa.Column("period", sa.String(16), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column("item", sa.String(96), nullable=False),
        *_figures("financial_statements", ["value"], nullable=False),
        sa.Column("currency", sa.String(3)),
        _one_of("financial_statements", "statement", "income", "balance_sheet", "cash_flow"),
        _one_of("financial_statements", "period", "quarterly", "annual"),
    )
    _create(
        "institutional_holders",
        ["symbol", "organization", "report_date"],
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("report_date", sa.Date(), nullable=False),
        *_figures("institutional_holders", ("shares", "value", "held", "changed")),
    )
    _create_history()
    _create_loads()


def downgrade() -> None:
    """Drop them."""
    for table in _TABLES:
        op.drop_table(table, schema=_SCHEMA)
    op.drop_column("load_run", "dataset", schema=_SCHEMA)


def _create(table: str, key: list[str], *columns: sa.schema.SchemaItem) -> None:
    """Create a table whose rows are said of a symbol and know the load that brought them."""
    op.create_table(
        table,
        sa.Column("symbol", sa.String(10), nullable=False),
        *columns,
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
        *_of_load_and_symbol(table),
        schema=_SCHEMA,
    )


def _of_load_and_symbol(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.ForeignKeyConstraint(
            ["load_run_id"], ["data_ingestion.load_run.load_run_id"], name=op.f(f"fk_{table}_load_run_id_load_run")
        ),
        _is_symbol(table),
    )


def _is_symbol(table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f(f"ck_{table}_symbol_is_symbol"))


def _figures(table: str, names: Iterable[str], *, nullable: bool = True) -> tuple[sa.schema.SchemaItem, ...]:
    bounds = " AND ".join(f"abs({name}) <= 1e18" for name in names)
    return (
        *(sa.Column(name, sa.Double(), nullable=nullable) for name in names),
        sa.CheckConstraint(bounds, name=op.f(f"ck_{table}_figures_sane")),
    )


def _one_of(table: str, column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}_known"))


def _create_history() -> None:
    op.create_table(
        "company_history",
        sa.Column("history_id", sa.Uuid(), nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("dataset", sa.String(32), nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("earlier", sa.dialects.postgresql.JSONB(), nullable=False),
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        sa.Column("superseded_by", sa.Uuid(), nullable=False),
        sa.Column("superseded_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("history_id", name=op.f("pk_company_history")),
        _is_symbol("company_history"),
        _one_of("company_history", "reason", "restated", "withdrawn"),
        schema=_SCHEMA,
    )
    op.create_index("ix_company_history_symbol", "company_history", ["symbol", "dataset"], schema=_SCHEMA)


def _create_loads() -> None:
    op.create_table(
        "company_load",
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("dataset", sa.String(32), nullable=False),
        sa.Column("loaded_at", _MOMENT, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("vendor", "symbol", "dataset", name=op.f("pk_company_load")),
        *_of_load_and_symbol("company_load"),
        _one_of("company_load", "outcome", "stored", "unchanged", "empty"),
        schema=_SCHEMA,
    )
