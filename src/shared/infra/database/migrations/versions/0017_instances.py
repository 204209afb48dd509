"""Instances of strategies, their state, decisions and faults; the instance that trades every pair, as before."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_SCHEMA = "strategy"
_APPEND_ONLY = ("instance_config", "instance_decision", "instance_fault")

_KEEP_IDENTITY = """
CREATE FUNCTION strategy.keep_instance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'an instance is kept for its decisions: set deleted_at' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (NEW.instance_id, NEW.strategy, NEW.account, NEW.market)
       IS DISTINCT FROM (OLD.instance_id, OLD.strategy, OLD.account, OLD.market) THEN
        RAISE EXCEPTION 'id, strategy, account and market of instance % never change', OLD.instance_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'instance % is gone for good', OLD.instance_id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.config_version <> OLD.config_version + (NEW.config IS DISTINCT FROM OLD.config)::int THEN
        RAISE EXCEPTION 'the config of instance % has a version of its own', OLD.instance_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$
"""

_KEEP_CONFIG = """
CREATE FUNCTION strategy.keep_instance_config() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO strategy.instance_config (instance_id, config_version, config)
    VALUES (NEW.instance_id, NEW.config_version, NEW.config) ON CONFLICT DO NOTHING;
    PERFORM pg_notify('strategy_instance', NEW.instance_id);
    RETURN NULL;
END $$
"""

_SEED = """
INSERT INTO strategy.instance (instance_id, strategy, account, market, config, mode, note, updated_at)
VALUES ('default-pairs', 'pairs', 'main', 'XNYS', '{"pairs": "all"}', 'active',
        'Every registered pair, under the thresholds of the settings.', now())
"""


def upgrade() -> None:
    """Grants are renewed after every migration."""
    _create_instance()
    _create_config_and_state()
    _create_decision()
    _create_fault()
    _create_triggers()
    op.execute(_SEED)


def downgrade() -> None:
    """Drop them, with every decision: pairs are traded under the settings again."""
    for table in ("instance_fault", "instance_decision", "instance_state", "instance_config", "instance"):
        op.drop_table(table, schema=_SCHEMA)
    op.execute("DROP FUNCTION strategy.keep_instance()")
    op.execute("DROP FUNCTION strategy.keep_instance_config()")


def _create_triggers() -> None:
    op.execute(_KEEP_IDENTITY)
    op.execute(_KEEP_CONFIG)
    op.execute(
        "CREATE TRIGGER keep_instance BEFORE UPDATE OR DELETE ON strategy.instance "
        "FOR EACH ROW EXECUTE FUNCTION strategy.keep_instance()"
    )
    op.execute(
        "CREATE TRIGGER keep_instances BEFORE TRUNCATE ON strategy.instance "
        "FOR EACH STATEMENT EXECUTE FUNCTION strategy.keep_instance()"
    )
    op.execute(
        "CREATE TRIGGER keep_instance_config AFTER INSERT OR UPDATE ON strategy.instance "
        "FOR EACH ROW EXECUTE FUNCTION strategy.keep_instance_config()"
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON strategy.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()"
        )


def _create_instance() -> None:
    op.create_table(
        "instance",
        sa.Column("instance_id", sa.String(48), nullable=False),
        sa.Column("strategy", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("market", sa.String(8), nullable=False),
        _json("config"),
        sa.Column("config_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        _moment("updated_at"),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        _recorded_at(),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_instance")),
        sa.CheckConstraint("instance_id ~ '^[a-z][a-z0-9-]{0,47}$'", name=op.f("ck_instance_id_is_name")),
        sa.CheckConstraint("jsonb_typeof(config) = 'object'", name=op.f("ck_instance_config_is_object")),
        sa.CheckConstraint("config_version > 0", name=op.f("ck_instance_version_counts")),
        sa.CheckConstraint("deleted_at IS NULL OR mode = 'off'", name=op.f("ck_instance_gone_is_off")),
        sa.CheckConstraint("mode IN ('off', 'observe', 'active')", name=op.f("ck_instance_mode_known")),
        schema=_SCHEMA,
    )


def _create_config_and_state() -> None:
    op.create_table(
        "instance_config",
        sa.Column("instance_id", sa.String(48), nullable=False),
        sa.Column("config_version", sa.Integer(), nullable=False),
        _json("config"),
        _recorded_at(),
        sa.PrimaryKeyConstraint("instance_id", "config_version", name=op.f("pk_instance_config")),
        _of_instance("instance_config"),
        schema=_SCHEMA,
    )
    op.create_table(
        "instance_state",
        sa.Column("instance_id", sa.String(48), nullable=False),
        _json("state"),
        _json("held"),
        sa.Column("strategy_digest", sa.String(64), nullable=False),
        sa.Column("config_version", sa.Integer(), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True)),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_instance_state")),
        _of_instance("instance_state"),
        schema=_SCHEMA,
    )


def _create_decision() -> None:
    op.create_table(
        "instance_decision",
        sa.Column("instance_id", sa.String(48), nullable=False),
        _moment("slot"),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("config_version", sa.Integer(), nullable=False),
        sa.Column("strategy_digest", sa.String(64), nullable=False),
        sa.Column("state_before", postgresql.JSONB(astext_type=sa.Text())),
        sa.Column("state_digest", sa.String(64), nullable=False),
        sa.Column("bars_digest", sa.String(64), nullable=False),
        _json("given"),
        _json("wishes"),
        _json("numbers"),
        _json("log"),
        _recorded_at(),
        sa.PrimaryKeyConstraint("instance_id", "slot", name=op.f("pk_instance_decision")),
        sa.ForeignKeyConstraint(
            ["instance_id", "config_version"],
            ["strategy.instance_config.instance_id", "strategy.instance_config.config_version"],
            name=op.f("fk_instance_decision_instance_id_config_version_instance_config"),
        ),
        sa.CheckConstraint("mode IN ('observe', 'active')", name=op.f("ck_instance_decision_mode_known")),
        schema=_SCHEMA,
    )
    op.create_index("ix_instance_decision_slot", "instance_decision", ["slot"], schema=_SCHEMA)


def _create_fault() -> None:
    op.create_table(
        "instance_fault",
        sa.Column("fault_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("instance_id", sa.String(48), nullable=False),
        sa.Column("config_version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("in_a_row", sa.Integer(), nullable=False),
        _moment("occurred_at"),
        _moment("back_off_until"),
        _recorded_at(),
        sa.PrimaryKeyConstraint("fault_id", name=op.f("pk_instance_fault")),
        _of_instance("instance_fault"),
        sa.CheckConstraint(
            "kind IN ('exception', 'time_out', 'memory', 'died', 'broken')", name=op.f("ck_instance_fault_kind_known")
        ),
        sa.CheckConstraint("in_a_row > 0", name=op.f("ck_instance_fault_row_counts")),
        schema=_SCHEMA,
    )
    op.create_index("ix_instance_fault_instance_id", "instance_fault", ["instance_id", "fault_id"], schema=_SCHEMA)


def _of_instance(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_instance_id_instance")
    return sa.ForeignKeyConstraint(["instance_id"], ["strategy.instance.instance_id"], name=name)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=False)


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _recorded_at() -> sa.Column[Any]:
    return sa.Column(
        "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
    )
