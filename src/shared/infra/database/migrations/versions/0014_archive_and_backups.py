"""What was archived, and what was backed up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create both tables. Grants are renewed after every migration."""
    op.create_table(
        "archive_file",
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("verified_at", _MOMENT, nullable=False),
        sa.Column("restored_at", _MOMENT),
        sa.PrimaryKeyConstraint("file", name=op.f("pk_archive_file")),
        sa.UniqueConstraint(
            "month", "vendor", "timeframe", "part", name=op.f("uq_archive_file_month_vendor_timeframe_part")
        ),
        sa.CheckConstraint("rows > 0 AND bytes > 0 AND part > 0", name=op.f("ck_archive_file_holds_rows")),
        schema="ops",
    )
    op.create_table(
        "backup_run",
        sa.Column("backup_run_id", sa.Uuid(), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("sha256", sa.String(64)),
        sa.Column("drill", sa.String(8), server_default="not_run", nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("backup_run_id", name=op.f("pk_backup_run")),
        sa.CheckConstraint("what IN ('trading', 'prefect')", name=op.f("ck_backup_run_what_known")),
        sa.CheckConstraint("drill IN ('not_run', 'passed', 'failed')", name=op.f("ck_backup_run_drill_known")),
        schema="ops",
    )
    op.create_index("ix_backup_run_started_at", "backup_run", ["started_at"], schema="ops")


def downgrade() -> None:
    """Drop them; the files stay."""
    op.drop_table("backup_run", schema="ops")
    op.drop_table("archive_file", schema="ops")
