"""Bars of several vendors: a schema of the service's own name, bars by month, history, verdicts, rejected rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SCHEMA = "data_ingestion"
_MOMENT = sa.DateTime(timezone=True)
_IS_SYMBOL = "symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'"

# Attached and not created as partitions: only that leaves the readers of other months alone.
_ADD_MONTHS = """
CREATE FUNCTION data_ingestion.add_months(first timestamptz, last timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    month timestamp := date_trunc('month', first AT TIME ZONE 'UTC');
    month_after timestamp;
    name text;
    added integer := 0;
BEGIN
    IF first < '1970-01-01Z' OR last > '2100-01-01Z' THEN
        RAISE EXCEPTION 'bars from % to % are outside 1970 to 2100', first, last;
    END IF;
    WHILE month <= last AT TIME ZONE 'UTC' LOOP
        month_after := month + interval '1 month';
        name := 'market_data_' || to_char(month, '"y"YYYY"m"MM');
        IF to_regclass('data_ingestion.' || name) IS NULL THEN
            PERFORM pg_advisory_xact_lock(hashtext('data_ingestion.market_data'));
            -- Asked of the catalogue and not by name: a name that was looked up before is remembered as unknown.
            IF NOT EXISTS (
                SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relname = name AND n.nspname = 'data_ingestion'
            ) THEN
                EXECUTE format(
                    'CREATE TABLE data_ingestion.%I'
                    ' (LIKE data_ingestion.market_data INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                    name
                );
                EXECUTE format(
                    'ALTER TABLE data_ingestion.market_data'
                    ' ATTACH PARTITION data_ingestion.%I FOR VALUES FROM (%L) TO (%L)',
                    name, month AT TIME ZONE 'UTC', month_after AT TIME ZONE 'UTC'
                );
                added := added + 1;
            END IF;
        END IF;
        month := month_after;
    END LOOP;
    RETURN added;
END $$
"""

# In place of a foreign key from the bars, which would be checked row by row.
_KEEP_USED_LOADS = """
CREATE FUNCTION data_ingestion.keep_used_loads() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM data_ingestion.market_data AS bar
        WHERE bar.symbol = ANY (OLD.symbols) AND bar.timeframe = OLD.timeframe AND bar.load_run_id = OLD.load_run_id
    ) THEN
        RAISE foreign_key_violation USING
            MESSAGE = format('load %s has brought bars that are stored', OLD.load_run_id);
    END IF;
    RETURN OLD;
END $$
"""

_KEEP_VALUES = (
    "symbol, timeframe, bar_end, vendor, adjustment, bar_start, open, high, low, close, volume, load_run_id, "
    "recorded_at"
)


def upgrade() -> None:
    """Rename the schema, split the bars by month, add what is new. Grants are renewed after every migration."""
    op.execute("ALTER SCHEMA market RENAME TO data_ingestion")
    op.add_column(
        "symbol", sa.Column("status", sa.String(16), server_default="active", nullable=False), schema=_SCHEMA
    )
    op.add_column("symbol", sa.Column("status_since", _MOMENT), schema=_SCHEMA)
    op.add_column("symbol", sa.Column("status_reason", sa.Text(), server_default="", nullable=False), schema=_SCHEMA)
    op.create_check_constraint(
        op.f("ck_symbol_status_known"), "symbol", "status IN ('active', 'inactive', 'delisted')", schema=_SCHEMA
    )
    op.add_column(
        "load_run", sa.Column("adjustment", sa.String(8), server_default="split", nullable=False), schema=_SCHEMA
    )
    op.add_column("load_run", sa.Column("client", sa.Text(), server_default="", nullable=False), schema=_SCHEMA)
    op.add_column("load_run", sa.Column("digest", sa.LargeBinary()), schema=_SCHEMA)
    op.create_index("ix_load_run_started_at", "load_run", ["started_at"], schema=_SCHEMA)
    op.create_index("ix_load_run_symbols", "load_run", ["symbols"], schema=_SCHEMA, postgresql_using="gin")
    _replace_bars("PARTITION BY RANGE (bar_end)")
    _create_history()
    _create_rebases()
    _create_quality()


def downgrade() -> None:
    """Put the bars back into one table under the old name."""
    op.drop_table("data_quality", schema=_SCHEMA)
    op.drop_table("quarantine", schema=_SCHEMA)
    op.drop_table("series_rebase", schema=_SCHEMA)
    op.drop_table("market_data_history", schema=_SCHEMA)
    _replace_bars("")
    op.execute("DROP FUNCTION data_ingestion.add_months")
    op.drop_index("ix_load_run_symbols", "load_run", schema=_SCHEMA)
    op.drop_index("ix_load_run_started_at", "load_run", schema=_SCHEMA)
    for column in ("digest", "client", "adjustment"):
        op.drop_column("load_run", column, schema=_SCHEMA)
    op.drop_constraint(op.f("ck_symbol_status_known"), "symbol", schema=_SCHEMA)
    for column in ("status_reason", "status_since", "status"):
        op.drop_column("symbol", column, schema=_SCHEMA)
    op.execute("ALTER SCHEMA data_ingestion RENAME TO market")


def _replace_bars(partitioned: str) -> None:
    """Move the bars into a table that is partitioned by month, or into one that is not."""
    op.execute("ALTER TABLE data_ingestion.market_data RENAME TO market_data_before")
    op.execute(
        "ALTER TABLE data_ingestion.market_data_before RENAME CONSTRAINT pk_market_data TO pk_market_data_before"
    )
    op.execute("ALTER INDEX IF EXISTS data_ingestion.ix_market_data_bar_end RENAME TO ix_market_data_before_bar_end")
    op.execute(
        "CREATE TABLE data_ingestion.market_data (LIKE data_ingestion.market_data_before INCLUDING DEFAULTS"
        f" INCLUDING CONSTRAINTS) {partitioned}"
    )
    op.create_primary_key(
        op.f("pk_market_data"),
        "market_data",
        ["symbol", "timeframe", "vendor", "adjustment", "bar_end"],
        schema=_SCHEMA,
    )
    if partitioned:
        op.execute(_KEEP_USED_LOADS)
        op.execute(
            "CREATE TRIGGER keep_used_loads BEFORE DELETE ON data_ingestion.load_run"
            " FOR EACH ROW EXECUTE FUNCTION data_ingestion.keep_used_loads()"
        )
        op.execute(_ADD_MONTHS)
        op.execute(
            "SELECT data_ingestion.add_months(min(bar_end), max(bar_end)) FROM data_ingestion.market_data_before"
            " HAVING count(*) > 0"
        )
    op.execute(
        f"INSERT INTO data_ingestion.market_data ({_KEEP_VALUES}) SELECT {_KEEP_VALUES}"  # noqa: S608
        " FROM data_ingestion.market_data_before"
    )
    op.drop_table("market_data_before", schema=_SCHEMA)
    if not partitioned:
        _look_up_each_row()


def _look_up_each_row() -> None:
    """Let the server check each row's load again, and find bars by time where no month does."""
    op.execute("DROP TRIGGER keep_used_loads ON data_ingestion.load_run")
    op.execute("DROP FUNCTION data_ingestion.keep_used_loads")
    op.create_index("ix_market_data_bar_end", "market_data", ["bar_end"], schema=_SCHEMA)
    op.create_foreign_key(
        op.f("fk_market_data_load_run_id_load_run"),
        "market_data",
        "load_run",
        ["load_run_id"],
        ["load_run_id"],
        source_schema=_SCHEMA,
        referent_schema=_SCHEMA,
    )


def _create_history() -> None:
    op.create_table(
        "market_data_history",
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("bar_end", _MOMENT, nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("adjustment", sa.String(8), nullable=False),
        sa.Column("bar_start", _MOMENT, nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("open", "high", "low", "close", "volume")),
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        sa.Column("superseded_by", sa.Uuid(), nullable=False),
        sa.Column("superseded_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.CheckConstraint(_IS_SYMBOL, name=op.f("ck_market_data_history_symbol_is_symbol")),
        sa.CheckConstraint(
            "reason IN ('restated', 'rebased', 'repaired')", name=op.f("ck_market_data_history_reason_known")
        ),
        schema=_SCHEMA,
    )
    op.create_index(
        "ix_market_data_history_series",
        "market_data_history",
        ["symbol", "timeframe", "vendor", "adjustment", "bar_end"],
        schema=_SCHEMA,
    )


def _create_rebases() -> None:
    op.create_table(
        "series_rebase",
        sa.Column("rebase_id", sa.Uuid(), nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("adjustment", sa.String(8), nullable=False),
        sa.Column("factor", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("effective_at", _MOMENT, nullable=False),
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("rebase_id", name=op.f("pk_series_rebase")),
        sa.CheckConstraint(_IS_SYMBOL, name=op.f("ck_series_rebase_symbol_is_symbol")),
        sa.CheckConstraint("factor > 0 AND factor < 1e9", name=op.f("ck_series_rebase_factor_sane")),
        schema=_SCHEMA,
    )
    op.create_index(
        "ix_series_rebase_series",
        "series_rebase",
        ["symbol", "timeframe", "vendor", "adjustment", "effective_at"],
        schema=_SCHEMA,
    )


def _create_quality() -> None:
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.Uuid(), nullable=False),
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("dataset", sa.String(32), nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timeframe", sa.String(8)),
        sa.Column("bar_end", _MOMENT),
        sa.Column("rule", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.dialects.postgresql.JSONB(), nullable=False),
        sa.Column("recorded_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("pk_quarantine")),
        sa.CheckConstraint(_IS_SYMBOL, name=op.f("ck_quarantine_symbol_is_symbol")),
        schema=_SCHEMA,
    )
    op.create_index("ix_quarantine_symbol", "quarantine", ["symbol", "recorded_at"], schema=_SCHEMA)
    op.create_table(
        "data_quality",
        sa.Column("verdict_id", sa.Uuid(), nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("adjustment", sa.String(8), nullable=False),
        sa.Column("rule", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("numbers", sa.dialects.postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("window_start", _MOMENT, nullable=False),
        sa.Column("window_end", _MOMENT, nullable=False),
        sa.Column("judged_at", _MOMENT, nullable=False),
        sa.Column("recorded_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("verdict_id", name=op.f("pk_data_quality")),
        sa.CheckConstraint(_IS_SYMBOL, name=op.f("ck_data_quality_symbol_is_symbol")),
        sa.CheckConstraint("severity IN ('info', 'warning', 'block')", name=op.f("ck_data_quality_severity_known")),
        schema=_SCHEMA,
    )
    op.create_index(
        "ix_data_quality_series",
        "data_quality",
        ["symbol", "timeframe", "vendor", "adjustment", "rule", "judged_at"],
        schema=_SCHEMA,
    )
