"""Verdicts can only be added and are found by when they were written; looks at series; loads that are repairs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_SCHEMA = "data_ingestion"
_SERIES = ("symbol", "timeframe", "vendor", "adjustment")


def upgrade() -> None:
    """Grants are renewed after every migration."""
    op.create_table(
        "quality_look",
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("adjustment", sa.String(8), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(*_SERIES, name=op.f("pk_quality_look")),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_quality_look_symbol_is_symbol")),
        schema=_SCHEMA,
    )
    _index_verdicts_by("recorded_at")
    _let_load_runs_be("running", "complete", "partial", "failed", "repaired")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON data_ingestion.data_quality"
        " FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()"
    )


def downgrade() -> None:
    """Verdicts stay, and may be changed again; a repair is a load like others."""
    op.execute("UPDATE data_ingestion.load_run SET state = 'partial' WHERE state = 'repaired'")
    _let_load_runs_be("running", "complete", "partial", "failed")
    op.execute("DROP TRIGGER append_only ON data_ingestion.data_quality")
    _index_verdicts_by("judged_at")
    op.drop_table("quality_look", schema=_SCHEMA)


def _index_verdicts_by(moment: str) -> None:
    op.drop_index("ix_data_quality_series", "data_quality", schema=_SCHEMA)
    op.create_index("ix_data_quality_series", "data_quality", [*_SERIES, "rule", moment], schema=_SCHEMA)


def _let_load_runs_be(*states: str) -> None:
    listed = ", ".join(f"'{state}'" for state in states)
    op.drop_constraint(op.f("ck_load_run_state_known"), "load_run", schema=_SCHEMA)
    op.create_check_constraint(op.f("ck_load_run_state_known"), "load_run", f"state IN ({listed})", schema=_SCHEMA)
