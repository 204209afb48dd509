"""By what it is remembered that a key opened the account of this database: a digest, never the key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Grants are renewed after every migration. The next look at the account remembers its key."""
    op.add_column("environment", sa.Column("confirmed_key", sa.String(64), nullable=True), schema="ops")
    op.create_check_constraint(
        op.f("ck_environment_key_is_a_digest"), "environment", "confirmed_key ~ '^[0-9a-f]{64}$'", schema="ops"
    )


def downgrade() -> None:
    """Every key has to be confirmed again."""
    op.drop_column("environment", "confirmed_key", schema="ops")
