"""Read everything that the invariants are checked on, in one consistent look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, and_, func, literal, select, text

from src.services.execution.adapters.sql_trades import intent_of, trade_of
from src.services.execution.domain.books import HOLDINGS
from src.services.execution.domain.invariants import Aggregate, Facts, RiskChanged, Said, Sent
from src.shared.domain.orders import FillReport, OrderAction, OrderReport, PositionReport
from src.shared.domain.risk import RiskState
from src.shared.infra.database.engine import translated_errors
from src.shared.infra.database.tables import (
    alert,
    fill,
    ledger_entry,
    ledger_posting,
    load_run,
    order_intent,
    outbox,
    pair_performance,
    pair_registry,
    pair_signal,
    pair_trade,
    position,
    risk_decision,
)
from src.shared.messages.orders import OrderSent
from src.shared.messages.risk import RiskStateChanged

# What has a life in the outbox: table, id column, version column (None: told once).
_TOLD: tuple[tuple[str, Any, Any], ...] = (
    ("order_intent", order_intent.c.intent_id, order_intent.c.version),
    ("pair_trade", pair_trade.c.pair_trade_id, pair_trade.c.version),
    ("signal", pair_signal.c.signal_id, None),
    ("risk_decision", risk_decision.c.decision_id, None),
    ("pair_performance", pair_performance.c.pair_trade_id, pair_performance.c.version),
    ("pair", pair_registry.c.pair_id, pair_registry.c.version),
)


class SqlFacts:
    """Builds `Facts` from one repeatable-read transaction and the broker's reports."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def load(
        self,
        broker_orders: Iterable[OrderReport],
        broker_positions: Iterable[PositionReport],
        broker_fills: Iterable[FillReport],
    ) -> Facts:
        """Read all of it. The broker's reports must have been read while nobody traded."""
        with translated_errors(self._engine), self._engine.connect() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            return _facts(connection, tuple(broker_orders), tuple(broker_positions), tuple(broker_fills))

    def changes(self) -> int:
        """Count everything that was ever said: it grows with every change of state."""
        with translated_errors(self._engine), self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(outbox)).scalar_one())


def _facts(
    connection: Connection,
    orders: tuple[OrderReport, ...],
    positions: tuple[PositionReport, ...],
    fills: tuple[FillReport, ...],
) -> Facts:
    return Facts(
        intents=tuple(intent_of(row) for row in connection.execute(select(order_intent)).mappings()),
        trades=tuple(trade_of(row) for row in connection.execute(select(pair_trade)).mappings()),
        filled=_sums(connection, select(fill.c.intent_id, func.sum(fill.c.quantity)).group_by(fill.c.intent_id)),
        held=_sums(connection, select(position.c.symbol, func.sum(position.c.quantity)).group_by(position.c.symbol)),
        ledger_shares=_ledger_shares(connection),
        leg_shares={
            (trade, symbol): quantity
            for trade, symbol, quantity in connection.execute(
                select(position.c.pair_trade_id, position.c.symbol, position.c.quantity)
            )
        },
        unbalanced=_unbalanced(connection),
        ledger_entries=int(connection.execute(select(func.count()).select_from(ledger_entry)).scalar_one()),
        versions=_versions(connection),
        told=_told(connection),
        paged=_paged(connection),
        forbidden=_forbidden(connection),
        broker_orders=orders,
        broker_positions=positions,
        broker_fills=fills,
        log=_log(connection),
        adjusted=_adjusted(connection),
    )


def _sums(connection: Connection, query: Any) -> dict[Any, Decimal]:
    return {key: total for key, total in connection.execute(query)}  # noqa: C416 (typed rows)


def _ledger_shares(connection: Connection) -> dict[str, Decimal]:
    p = ledger_posting.c
    return _sums(connection, select(p.asset, func.sum(p.amount)).where(p.account == HOLDINGS).group_by(p.asset))


def _adjusted(connection: Connection) -> dict[tuple[UUID, int], Decimal]:
    e, p = ledger_entry.c, ledger_posting.c
    query = (
        select(e.pair_trade_id, e.leg, func.sum(p.amount))
        .join(ledger_entry, e.entry_id == p.entry_id)
        .where(p.account == HOLDINGS, e.leg.is_not(None))
        .group_by(e.pair_trade_id, e.leg)
    )
    return {(trade, leg): shares for trade, leg, shares in connection.execute(query)}


def _unbalanced(connection: Connection) -> tuple[str, ...]:
    p = ledger_posting.c
    query = (
        select(p.entry_id, p.asset, func.sum(p.amount)).group_by(p.entry_id, p.asset).having(func.sum(p.amount) != 0)
    )
    return tuple(f"entry {entry}: {asset} sums to {total}" for entry, asset, total in connection.execute(query))


def _versions(connection: Connection) -> dict[Aggregate, int]:
    found: dict[Aggregate, int] = {}
    for name, key, version in _TOLD:
        rows = connection.execute(select(key, literal(1) if version is None else version))
        found.update({(name, str(identity)): at for identity, at in rows})
    # A load that brought nothing changed nothing; one that failed half way still tells what it stored. Of company
    # data nothing is told: nobody decides on it.
    brought = select(load_run.c.load_run_id).where(load_run.c.rows_written > 0, load_run.c.dataset == "bars")
    found.update({("load_run", str(identity)): 1 for (identity,) in connection.execute(brought)})
    return found


def _told(connection: Connection) -> dict[Aggregate, tuple[int, ...]]:
    names = [name for name, _, _ in _TOLD] + ["load_run"]
    o = outbox.c
    rows = connection.execute(select(o.aggregate, o.aggregate_id, o.aggregate_version).where(o.aggregate.in_(names)))
    told: dict[Aggregate, list[int]] = defaultdict(list)
    for aggregate, identity, version in rows:
        told[aggregate, identity].append(version)
    return {key: tuple(versions) for key, versions in told.items()}


def _paged(connection: Connection) -> frozenset[str]:
    details = connection.execute(select(alert.c.detail).where(alert.c.severity == "critical")).scalars()
    # A name may have a colon of its own, but no blank behind it.
    return frozenset(detail.partition(": ")[0] for detail in details)


def _log(connection: Connection) -> tuple[Said, ...]:
    o = outbox.c
    channels = {RiskStateChanged.channel(): _risk_changed, OrderSent.channel(): _sent}
    query = select(o.channel, o.payload).where(o.channel.in_(channels)).order_by(o.recorded_at, o.aggregate_version)
    return tuple(channels[channel](payload) for channel, payload in connection.execute(query))


def _risk_changed(payload: dict[str, Any]) -> Said:
    return RiskChanged(RiskState(payload["before"]), RiskState(payload["after"]))


def _sent(payload: dict[str, Any]) -> Said:
    return Sent(payload["client_order_id"])


def _forbidden(connection: Connection) -> tuple[str, ...]:
    """Entries whose pair has no approval in the slot of its trade."""
    approved = and_(
        risk_decision.c.pair_id == pair_trade.c.pair_id,
        risk_decision.c.slot == pair_trade.c.slot,
        risk_decision.c.approved,
    )
    query = (
        select(order_intent.c.client_order_id)
        .join(pair_trade, pair_trade.c.pair_trade_id == order_intent.c.pair_trade_id)
        .outerjoin(risk_decision, approved)
        .where(order_intent.c.action == OrderAction.OPEN.value, risk_decision.c.decision_id.is_(None))
    )
    return tuple(f"{name}: no approval" for name in connection.execute(query).scalars())
