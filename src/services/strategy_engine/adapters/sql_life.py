"""Where pairs stand in their lives, on PostgreSQL: one statement for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, text

from src.services.strategy_engine.adapters.sql_strategy import (
    FAULTS,
    FINISHED,
    OBSERVED_BARS,
    SqlStrategyRepository,
    registered_row,
)
from src.services.strategy_engine.domain.gate import GateBounds, gate_failures
from src.services.strategy_engine.domain.life import GateRecord, Standing
from src.services.strategy_engine.ports import AuditLine, LastSignal, PairCard
from src.shared.infra.database.tables import audit_log

# More booked results than sizing may ever look back on are not needed.
_MOST_RESULTS = 10_000

_CARDS = text(f"""
    SELECT r.*, to_jsonb(v) AS verdict, v.recorded_at AS judged_at, s.slot, s.action, s.reason, s.z,
           EXISTS (
            SELECT FROM execution.pair_trade t WHERE t.pair_id = r.pair_id AND t.state <> ALL(:finished)
           ) AS is_held,
           booked.results AS booked, booked.recent AS record,
           ({OBSERVED_BARS}) AS watched_bars, frozen.action AS company_action
      FROM strategy.pair_registry r
      LEFT JOIN strategy.gate_verdict v ON v.gate_id = r.gate_id
      LEFT JOIN LATERAL (
            SELECT l.slot, l.action, l.reason, p.z
              FROM strategy.pair_signal l
              LEFT JOIN strategy.pair_spread p ON p.pair_id = l.pair_id AND p.slot = l.slot
             WHERE l.pair_id = r.pair_id ORDER BY l.slot DESC LIMIT 1
           ) s ON true
      LEFT JOIN LATERAL (
            SELECT array_agg(t.realized_pnl ORDER BY t.closed_slot, t.slot) AS results,
                   array_agg(t.realized_pnl ORDER BY t.closed_slot, t.slot)
                     FILTER (WHERE t.recorded_at >= r.mode_since) AS recent
              FROM (SELECT * FROM execution.pair_trade c
                     WHERE c.pair_id = r.pair_id AND c.state = 'closed' AND c.realized_pnl IS NOT NULL
                     ORDER BY c.closed_slot DESC, c.slot DESC LIMIT :most) t
           ) booked ON true
      LEFT JOIN LATERAL (
            SELECT min(f.symbol || ' had a ' || replace(f.kind, '_', ' ') || ' on '
                       || to_char(f.effective_at, 'YYYY-MM-DD')) AS action
              FROM execution.pair_freeze f
             WHERE f.pair_id = r.pair_id AND f.released_at IS NULL AND f.kind <> 'cash_dividend'
           ) frozen ON true
     WHERE CAST(:pair_ids AS text[]) IS NULL OR r.pair_id = ANY(:pair_ids)
     ORDER BY r.pair_id
""")  # noqa: S608


class SqlLifeRepository(SqlStrategyRepository):
    """Implements `LifeRepository` within one transaction."""

    def cards(self, pair_ids: Sequence[str] | None = None) -> list[PairCard]:
        """Read pairs by id."""
        wanted = None if pair_ids is None else list(pair_ids)
        parameters = {"pair_ids": wanted, "finished": FINISHED, "faults": FAULTS, "most": _MOST_RESULTS}
        return [_card(row) for row in self._connection.execute(_CARDS, parameters).mappings()]

    def history(self, pair_id: str) -> list[AuditLine]:
        """Read what the audit log says of a pair."""
        a = audit_log.c
        query = (
            select(a.recorded_at, a.who, a.what, a.why, a.numbers).where(a.subject == pair_id).order_by(a.audit_id)
        )
        return [AuditLine(*row) for row in self._connection.execute(query)]


def _card(row: Mapping[Any, Any]) -> PairCard:
    registered = registered_row(row)
    standing = Standing(
        pair_id=row["pair_id"],
        mode=registered.pair.mode,
        found_by=registered.found_by,
        after_closing=registered.after_closing,
        gate=_gate(row),
        demoted_at=row["demoted_at"],
        watched_bars=row["watched_bars"],
        is_held=row["is_held"],
        record=tuple(row["record"] or ()),
        booked=tuple(row["booked"] or ()),
        action=_told_action(row),
    )
    signal = None if row["slot"] is None else LastSignal(row["slot"], row["action"], row["reason"], row["z"])
    return PairCard(registered, standing, row["verdict"], signal, row["source"])


def _told_action(row: Mapping[Any, Any]) -> str | None:
    if row["company_action"] is None:
        return None
    return f"{row['company_action']}: `tradewinds pairs rebase {row['pair_id']}` fits it anew"


def _gate(row: Mapping[Any, Any]) -> GateRecord | None:
    verdict = row["verdict"]
    if verdict is None:
        return None
    bounds = GateBounds(
        verdict["least_sharpe"], verdict["least_win_rate"], verdict["most_drawdown"], verdict["least_round_trips"]
    )
    numbers = verdict["sharpe"], verdict["win_rate"], verdict["max_drawdown"], verdict["round_trips"]
    failures = (*verdict["objections"], *map(str, gate_failures(*numbers, bounds)))
    return GateRecord(row["gate_id"], verdict["passed"], row["judged_at"], failures)
