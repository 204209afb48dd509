"""Instances on PostgreSQL: a few statements a slot, however many instances."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from src.services.strategy_engine.adapters.instance_rows import instance_of, instances_that_are
from src.services.strategy_engine.adapters.sql_strategy import SqlStrategyRepository
from src.services.strategy_engine.domain.decision import DataBlock
from src.services.strategy_engine.domain.evaluation import WatchedPair
from src.services.strategy_engine.domain.instances import (
    Fault,
    Instance,
    InstanceDecision,
    LateState,
    Standing,
    StoredState,
)
from src.services.strategy_engine.ports import StoredDecision
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import BarSeries, CloseSeries
from src.shared.domain.instances import FaultKind, InstanceMode
from src.shared.domain.pairs import FINISHED_TRADES
from src.shared.infra.database.audit import write_note
from src.shared.infra.database.closes import read_whole_bars
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.tables import instance, instance_decision, instance_fault, pair_trade

_STANDINGS = """
    SELECT i.*, s.state, s.held, s.strategy_digest, s.config_version AS state_version, s.slot,
           s.updated_at AS state_at, f.kind, f.detail, f.in_a_row, f.occurred_at, f.back_off_until,
           f.config_version AS fault_version, f.fault_id
      FROM strategy.instance i
      LEFT JOIN strategy.instance_state s USING (instance_id)
      LEFT JOIN LATERAL (
            SELECT * FROM strategy.instance_fault f WHERE f.instance_id = i.instance_id
             ORDER BY f.fault_id DESC LIMIT 1
           ) f ON true
     WHERE i.deleted_at IS NULL {more}
     ORDER BY i.instance_id
"""

_ALL = text(_STANDINGS.format(more=""))
_SOME = text(_STANDINGS.format(more="AND i.instance_id = ANY (CAST(:only AS text[]))"))
_PULSE = text("""
    SELECT i.*, s.*, (SELECT max(fault_id) FROM strategy.instance_fault)
      FROM (SELECT count(*), max(updated_at), sum(config_version), count(deleted_at),
                   count(*) FILTER (WHERE mode = 'off'), count(*) FILTER (WHERE mode = 'active')
              FROM strategy.instance) i,
           (SELECT max(slot), count(*), sum(extract(epoch FROM slot)) FROM strategy.instance_state) s
""")
_DUE = text(_STANDINGS.format(more="AND i.mode <> 'off' AND (s.slot IS NULL OR s.slot < :slot)"))

# One array in, every row out: what is late, off, gone or of an older config falls through the joins.
_ADD_DECISIONS = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
            instance_id text, slot timestamptz, config_version int, strategy_digest text, state_before jsonb,
            state_after jsonb, state_digest text, bars_digest text, given jsonb, held_after jsonb, wishes jsonb,
            numbers jsonb, log jsonb)
    ), allowed AS (
        SELECT g.*, i.mode
          FROM given g
          JOIN strategy.instance i USING (instance_id)
          LEFT JOIN strategy.instance_state s USING (instance_id)
         WHERE i.mode <> 'off' AND i.config_version = g.config_version AND (s.slot IS NULL OR s.slot < g.slot)
    ), added AS (
        INSERT INTO strategy.instance_decision
               (instance_id, slot, mode, config_version, strategy_digest, state_before, state_digest, bars_digest,
                given, wishes, numbers, log)
        SELECT instance_id, slot, mode, config_version, strategy_digest, state_before, state_digest, bars_digest,
               given, wishes, numbers, log
          FROM allowed
            ON CONFLICT DO NOTHING
        RETURNING instance_id
    ), kept AS (
        INSERT INTO strategy.instance_state
               (instance_id, state, held, strategy_digest, config_version, slot, updated_at)
        SELECT instance_id, state_after, held_after, strategy_digest, config_version, slot, :now
          FROM allowed JOIN added USING (instance_id)
            ON CONFLICT (instance_id) DO UPDATE
           SET state = excluded.state, held = excluded.held, strategy_digest = excluded.strategy_digest,
               config_version = excluded.config_version, slot = excluded.slot, updated_at = excluded.updated_at
    )
    SELECT instance_id, mode FROM allowed JOIN added USING (instance_id)
""")

# A state between slots belongs to the slot it grew from: one that was decided since is newer.
_KEEP_STATES = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
            instance_id text, state jsonb, strategy_digest text, config_version int, slot timestamptz)
    )
    UPDATE strategy.instance_state s
       SET state = g.state, strategy_digest = g.strategy_digest, updated_at = :now
      FROM given g JOIN strategy.instance i USING (instance_id)
     WHERE s.instance_id = g.instance_id AND s.slot IS NOT DISTINCT FROM g.slot AND i.mode <> 'off'
       AND s.config_version = g.config_version AND i.config_version = g.config_version
""")

# Who called at the same time has met the same failure, and has stored it.
_ADD_FAULTS = text("""
    INSERT INTO strategy.instance_fault
           (instance_id, config_version, kind, detail, in_a_row, occurred_at, back_off_until)
    SELECT instance_id, config_version, kind, detail, in_a_row, occurred_at, back_off_until
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
           instance_id text, config_version int, kind text, detail text, in_a_row int, occurred_at timestamptz,
           back_off_until timestamptz, number bigint)
     WHERE NOT EXISTS (
            SELECT FROM strategy.instance_fault f WHERE f.instance_id = g.instance_id AND f.fault_id > g.number)
""")

_WRITERS = lock_key("instance decisions")


class SqlInstanceRepository:
    """Implements `InstanceRepository` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pairs = SqlStrategyRepository(connection)

    def standings(self, only: Collection[str] | None = None) -> list[Standing]:
        """List every instance, or some."""
        if only is None:
            return [_standing(row) for row in self._connection.execute(_ALL).mappings()]
        return [_standing(row) for row in self._connection.execute(_SOME, {"only": list(only)}).mappings()]

    def pulse(self) -> tuple[object, ...]:
        """Read what changes with every change."""
        return tuple(self._connection.execute(_PULSE).one())

    def due(self, slot: datetime) -> list[Standing]:
        """List who has not decided by the slot."""
        return [_standing(row) for row in self._connection.execute(_DUE, {"slot": slot}).mappings()]

    def locked(self, instance_id: str) -> Instance | None:
        """Read and lock an instance."""
        query = instances_that_are().where(instance.c.instance_id == instance_id).with_for_update()
        row = self._connection.execute(query).mappings().first()
        return None if row is None else instance_of(row)

    def is_taken(self, instance_id: str) -> bool:
        """Look for the name, among those that are gone too."""
        query = select(instance.c.instance_id).where(instance.c.instance_id == instance_id)
        return self._connection.execute(query).first() is not None

    def add(self, made: Instance) -> None:
        """Insert an instance."""
        values = asdict(made)
        self._connection.execute(insert(instance).values(instance_id=values.pop("id"), **values))

    def change(self, changed: Instance) -> None:
        """Write what may change."""
        self._connection.execute(
            update(instance)
            .where(instance.c.instance_id == changed.id)
            .values(
                config=changed.config,
                config_version=changed.config_version,
                mode=changed.mode.value,
                note=changed.note,
                updated_at=changed.updated_at,
            )
        )

    def remove(self, instance_id: str) -> None:
        """Mark an instance as gone."""
        gone = update(instance).where(instance.c.instance_id == instance_id)
        self._connection.execute(gone.values(deleted_at=func.clock_timestamp()))

    def traded_pairs(self) -> list[str]:
        """List the pairs with a trade that is not over."""
        finished = [state.value for state in sorted(FINISHED_TRADES)]
        query = select(pair_trade.c.pair_id).distinct().where(pair_trade.c.state.not_in(finished))
        return sorted(self._connection.execute(query).scalars())

    def decisions(self, instance_id: str, most: int) -> list[StoredDecision]:
        """List decisions."""
        c = instance_decision.c
        names = list(StoredDecision.__dataclass_fields__)
        query = select(*(c[name] for name in names)).where(c.instance_id == instance_id)
        rows = self._connection.execute(query.order_by(c.slot.desc()).limit(most)).mappings()
        return [StoredDecision(**{**row, "mode": InstanceMode(row["mode"])}) for row in rows]

    def faults(self, instance_id: str, most: int) -> list[Fault]:
        """List faults."""
        c = instance_fault.c
        query = select(instance_fault).where(c.instance_id == instance_id).order_by(c.fault_id.desc()).limit(most)
        return [_fault(row, row["config_version"]) for row in self._connection.execute(query).mappings()]

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read closes on a grid."""
        return self._pairs.closes(symbols, ends)

    def bars(self, symbols: Sequence[str], ends: Sequence[datetime]) -> BarSeries:
        """Read whole bars on a grid."""
        return read_whole_bars(self._connection, symbols, ends)

    def watched_pairs(self, slot: datetime) -> list[WatchedPair]:
        """List the pairs to decide about at `slot`."""
        return self._pairs.watched_pairs(slot)

    def data_blocks(self, symbols: Sequence[str]) -> list[DataBlock]:
        """Read the verdicts in force that block."""
        return self._pairs.data_blocks(symbols)

    def add_decisions(self, decisions: Sequence[InstanceDecision], now: datetime) -> dict[str, InstanceMode]:
        """Store decisions and states in one statement; writers take turns, so that none sees another's half."""
        if not decisions:
            return {}
        self._take_turns()
        rows = self._connection.execute(_ADD_DECISIONS, {"rows": _packed(decisions), "now": now})
        return {name: InstanceMode(mode) for name, mode in rows}

    def keep_states(self, states: Sequence[LateState], now: datetime) -> None:
        """Store states that ticks have changed."""
        if states:
            self._take_turns()
            self._connection.execute(_KEEP_STATES, {"rows": _packed(states), "now": now})

    def add_faults(self, faults: Sequence[Fault]) -> None:
        """Store faults of instances that have no newer one than the caller knew; writers take turns."""
        if faults:
            self._take_turns()
            self._connection.execute(_ADD_FAULTS, {"rows": _packed(faults)})

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        write_note(self._connection, note)

    def _take_turns(self) -> None:
        self._connection.execute(select(func.pg_advisory_xact_lock(_WRITERS)))


def _packed(values: Sequence[InstanceDecision] | Sequence[LateState] | Sequence[Fault]) -> str:
    # Not asdict: it copies every state and log deeply.
    rows = [{name: getattr(value, name) for name in value.__dataclass_fields__} for value in values]
    return json.dumps(rows, default=datetime.isoformat)


def _standing(row: Mapping[Any, Any]) -> Standing:
    state = fault = None
    if row["state"] is not None:
        state = StoredState(
            row["state"], row["held"], row["strategy_digest"], row["state_version"], row["slot"], row["state_at"]
        )
    if row["kind"] is not None:
        fault = _fault(row, row["fault_version"])
    return Standing(instance_of(row), state, fault)


def _fault(row: Mapping[Any, Any], config_version: int) -> Fault:
    return Fault(
        row["instance_id"],
        config_version,
        FaultKind(row["kind"]),
        row["detail"],
        row["in_a_row"],
        row["occurred_at"],
        row["back_off_until"],
        row["fault_id"],
    )
