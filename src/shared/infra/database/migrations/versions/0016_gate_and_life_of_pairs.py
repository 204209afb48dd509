"""Verdicts of the gate, without which no pair is active; what a pair's life needs to know of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_SCHEMA = "strategy"
_FIT = ("gate_id", "pair_id", "alpha", "beta", "half_life_bars", "z_window_bars", "time_stop_bars")
_PASSED = (
    "objections = '[]'::jsonb AND sharpe > least_sharpe AND win_rate > least_win_rate"
    " AND max_drawdown < most_drawdown AND round_trips >= least_round_trips"
)
_FINITE = ("alpha", "beta", "half_life_bars", "correlation", "sharpe", "win_rate", "max_drawdown", "net_return")
_WHO, _WHY = "upgrade", "no verdict of the gate is known for it: judge it with `tradewinds pairs add`"


def upgrade() -> None:
    """Grants are renewed after every migration."""
    _create_verdicts()
    for column in (
        sa.Column("gate_id", sa.Uuid()),
        sa.Column("found_by", sa.String(16), nullable=False, server_default="person"),
        sa.Column(
            "mode_since", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
        ),
        sa.Column("demoted_at", sa.DateTime(timezone=True)),
        sa.Column("after_closing", sa.String(16)),
    ):
        op.add_column("pair_registry", column, schema=_SCHEMA)
    # Nothing has been judged yet, whatever was written into this column.
    op.execute("UPDATE strategy.pair_registry SET gate_passed = false")
    _demote_active_pairs()
    for name, rule in (
        ("found_by_known", "found_by IN ('person', 'discovery')"),
        (
            "after_closing_known",
            "after_closing IS NULL OR (mode = 'closing' AND after_closing IN ('observe', 'retired'))",
        ),
        ("gate_named", "gate_id IS NOT NULL OR NOT gate_passed"),
        ("active_passed_the_gate", "mode <> 'active' OR gate_passed"),
    ):
        op.create_check_constraint(op.f(f"ck_pair_registry_{name}"), "pair_registry", rule, schema=_SCHEMA)
    op.create_foreign_key(
        op.f("fk_pair_registry_gate_verdict"),
        "pair_registry",
        "gate_verdict",
        [*_FIT, "gate_passed"],
        [*_FIT, "passed"],
        source_schema=_SCHEMA,
        referent_schema=_SCHEMA,
    )


def downgrade() -> None:
    """Pairs keep their modes; what the gate said of them is lost."""
    op.drop_constraint(op.f("fk_pair_registry_gate_verdict"), "pair_registry", schema=_SCHEMA)
    for name in ("active_passed_the_gate", "gate_named", "after_closing_known", "found_by_known"):
        op.drop_constraint(op.f(f"ck_pair_registry_{name}"), "pair_registry", schema=_SCHEMA)
    for column in ("after_closing", "demoted_at", "mode_since", "found_by", "gate_id"):
        op.drop_column("pair_registry", column, schema=_SCHEMA)
    op.drop_table("gate_verdict", schema=_SCHEMA)


def _create_verdicts() -> None:
    op.create_table(
        "gate_verdict",
        sa.Column("gate_id", sa.Uuid(), nullable=False),
        sa.Column("pair_id", sa.String(21), nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("beta", sa.Double(), nullable=False),
        sa.Column("half_life_bars", sa.Double(), nullable=False),
        sa.Column("z_window_bars", sa.Integer(), nullable=False),
        sa.Column("time_stop_bars", sa.Integer(), nullable=False),
        sa.Column("correlation", sa.Double(), nullable=False),
        sa.Column("fitted_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fitted_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("judged_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unseen_bars", sa.Integer(), nullable=False),
        sa.Column("unseen_sessions", sa.Integer(), nullable=False),
        sa.Column("objections", postgresql.JSONB(), nullable=False),
        sa.Column("sharpe", sa.Double(), nullable=False),
        sa.Column("win_rate", sa.Double(), nullable=False),
        sa.Column("max_drawdown", sa.Double(), nullable=False),
        sa.Column("net_return", sa.Double(), nullable=False),
        sa.Column("round_trips", sa.Integer(), nullable=False),
        sa.Column("least_sharpe", sa.Double(), nullable=False),
        sa.Column("least_win_rate", sa.Double(), nullable=False),
        sa.Column("most_drawdown", sa.Double(), nullable=False),
        sa.Column("least_round_trips", sa.Integer(), nullable=False),
        sa.Column("numbers", postgresql.JSONB(), nullable=False),
        sa.Column("passed", sa.Boolean(), sa.Computed(_PASSED, persisted=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
        ),
        sa.PrimaryKeyConstraint("gate_id", name=op.f("pk_gate_verdict")),
        sa.CheckConstraint(
            " AND ".join(f"abs({column}) < 1e12" for column in _FINITE), name=op.f("ck_gate_verdict_numbers_finite")
        ),
        sa.CheckConstraint(
            "fitted_from < fitted_to AND fitted_to < judged_to", name=op.f("ck_gate_verdict_unseen_part_is_later")
        ),
        sa.CheckConstraint("jsonb_typeof(objections) = 'array'", name=op.f("ck_gate_verdict_objections_listed")),
        sa.CheckConstraint(
            "win_rate BETWEEN 0 AND 1 AND max_drawdown >= 0 AND round_trips >= 0",
            name=op.f("ck_gate_verdict_trial_sane"),
        ),
        sa.CheckConstraint(
            "least_sharpe BETWEEN 0 AND 100 AND least_win_rate BETWEEN 0 AND 1"
            " AND most_drawdown BETWEEN 0 AND 0.5 AND least_round_trips BETWEEN 5 AND 1000",
            name=op.f("ck_gate_verdict_bounds_sane"),
        ),
        sa.UniqueConstraint(*_FIT, "passed", name=op.f("uq_gate_verdict_fit")),
        schema=_SCHEMA,
    )
    op.create_index("ix_gate_verdict_pair", "gate_verdict", ["pair_id", "recorded_at"], schema=_SCHEMA)
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON strategy.gate_verdict"
        " FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()"
    )


def _demote_active_pairs() -> None:
    """Let active pairs be observed from now on, those with a trade once it is closed; audit and tell each."""
    connection = op.get_bind()
    demoted = connection.execute(
        sa.text("""
            UPDATE strategy.pair_registry r
               SET mode = CASE WHEN t.held THEN 'closing' ELSE 'observe' END,
                   after_closing = CASE WHEN t.held THEN 'observe' END,
                   version = r.version + 1, updated_at = clock_timestamp(), demoted_at = clock_timestamp()
              FROM (SELECT a.pair_id, EXISTS (
                           SELECT FROM execution.pair_trade p
                            WHERE p.pair_id = a.pair_id AND p.state NOT IN ('closed', 'unwound', 'abandoned')
                           ) AS held
                      FROM strategy.pair_registry a WHERE a.mode = 'active') t
             WHERE r.pair_id = t.pair_id
            RETURNING r.pair_id, r.mode, r.version, r.updated_at
        """)
    ).mappings()
    for row in demoted.all():
        _note(connection, row)
        _tell(connection, row)


def _note(connection: sa.Connection, row: Mapping[Any, Any]) -> None:
    said = {"who": _WHO, "why": _WHY, "pair": row["pair_id"]}
    numbers = json.dumps({"before": "active", "after": row["mode"], "reason": "NOT_JUDGED"})
    connection.execute(
        sa.text(
            "INSERT INTO ops.audit_log (who, what, subject, why, numbers)"
            " VALUES (:who, 'pair demoted', :pair, :why, CAST(:numbers AS jsonb))"
        ),
        {**said, "numbers": numbers},
    )


def _tell(connection: sa.Connection, row: Mapping[Any, Any]) -> None:
    pair, version, at = row["pair_id"], row["version"], row["updated_at"].isoformat()
    event = _event_id(pair, version)
    payload = {
        "event_id": str(event),
        "aggregate_id": pair,
        "aggregate_version": version,
        "occurred_at": at,
        "correlation_id": "upgrade",
        "pair_id": pair,
        "before": "active",
        "after": row["mode"],
        "who": _WHO,
        "why": _WHY,
    }
    connection.execute(
        sa.text(
            "INSERT INTO ops.outbox (event_id, channel, schema_version, aggregate, aggregate_id, aggregate_version,"
            " correlation_id, occurred_at, payload)"
            " VALUES (:event, 'tradewinds.signals.PairModeChanged', 1, 'pair', :pair, :version, 'upgrade', :at,"
            " CAST(:payload AS jsonb)) ON CONFLICT DO NOTHING"
        ),
        {"event": event, "pair": pair, "version": version, "at": row["updated_at"], "payload": json.dumps(payload)},
    )


def _event_id(pair: str, version: int) -> UUID:
    # As the application names the event of a pair's version.
    return uuid5(uuid5(NAMESPACE_URL, "tradewinds"), "\x1f".join(("event", "pair", pair, str(version))))
