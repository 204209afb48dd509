"""Count what happened, in one look."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select

from src.services.analytics.domain.activity import Activity, TradeLine
from src.shared.domain.orders import OrderAction
from src.shared.infra.database.engine import translated_errors
from src.shared.infra.database.tables import (
    alert,
    consumed_event,
    fill,
    order_intent,
    outbox,
    pair_signal,
    pair_trade,
    risk_decision,
)


class SqlActivity:
    """Reads `Activity` from PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> Activity:
        """Count everything there is. Raises Transient or Unreachable as the database's state is."""
        with translated_errors(self._engine), self._engine.connect() as connection:
            return Activity(
                signals=_by(connection, select(pair_signal.c.action, func.count()).group_by(pair_signal.c.action)),
                approvals=_one(connection, select(func.count()).where(risk_decision.c.approved)),
                denials=_by(connection, _denials()),
                orders=_by(connection, select(order_intent.c.state, func.count()).group_by(order_intent.c.state)),
                fills=_one(connection, select(func.count()).select_from(fill)),
                trades=_trades(connection),
                outbox=_outbox(connection),
                alerts=_one(connection, select(func.count()).select_from(alert)),
            )

    def unpublished(self) -> int:
        """Count events that the relay has not published yet."""
        with translated_errors(self._engine), self._engine.connect() as connection:
            return _one(connection, select(func.count()).where(outbox.c.published_at.is_(None)))


def _denials() -> Select[Any]:
    code = risk_decision.c.code
    return select(code, func.count()).where(~risk_decision.c.approved).group_by(code)


def _trades(connection: Connection) -> tuple[TradeLine, ...]:
    filled = (
        select(
            order_intent.c.pair_trade_id, order_intent.c.leg, func.sum(order_intent.c.filled_quantity).label("shares")
        )
        .where(order_intent.c.action == OrderAction.OPEN.value)
        .group_by(order_intent.c.pair_trade_id, order_intent.c.leg)
        .subquery()
    )
    legs = [filled.alias(f"leg_{number}") for number in (1, 2)]
    query = select(pair_trade, *[func.coalesce(leg.c.shares, 0).label(leg.name) for leg in legs])
    for number, leg in enumerate(legs, start=1):
        query = query.outerjoin(leg, (leg.c.pair_trade_id == pair_trade.c.pair_trade_id) & (leg.c.leg == number))
    rows = connection.execute(query.order_by(pair_trade.c.slot, pair_trade.c.pair_id)).mappings()
    return tuple(
        TradeLine(
            pair_id=row["pair_id"],
            direction=row["direction"],
            state=row["state"],
            opened_slot=row["slot"],
            closed_slot=row["closed_slot"],
            quantity_1=row["leg_1"],
            quantity_2=row["leg_2"],
            reason=row["close_reason"],
            realized_pnl=row["realized_pnl"],
        )
        for row in rows
    )


def _outbox(connection: Connection) -> dict[str, int]:
    return {
        "recorded": _one(connection, select(func.count()).select_from(outbox)),
        "published": _one(connection, select(func.count()).where(outbox.c.published_at.is_not(None))),
        "consumed": _one(connection, select(func.count()).select_from(consumed_event)),
    }


def _by(connection: Connection, query: Select[Any]) -> dict[str, int]:
    return {str(key): int(count) for key, count in connection.execute(query)}


def _one(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(query).scalar_one())
