"""What goes on and was told: alerts are named by it, no longer by their text."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Grants are renewed after every migration. What goes on at the time is told once more."""
    op.create_table(
        "alert_condition",
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("is_so", sa.Boolean(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "about", name=op.f("pk_alert_condition")),
        sa.CheckConstraint("times > 0", name=op.f("ck_alert_condition_times_count")),
        schema="ops",
    )


def downgrade() -> None:
    """Alerts stay."""
    op.drop_table("alert_condition", schema="ops")
