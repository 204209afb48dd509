"""Read everything that the invariants are checked on, in one consistent look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, func, literal, select, text

from src.services.execution.adapters.sql_trades import intent_of, trade_of
from src.services.execution.domain.books import CASH, DOLLARS, HOLDINGS
from src.services.execution.domain.invariants import (
    A_DOLLARS_FINEST_PART,
    Aggregate,
    Facts,
    RiskChanged,
    Said,
    Sent,
)
from src.shared.domain.orders import FillReport, OrderReport, PositionReport
from src.shared.domain.quantities import plain
from src.shared.domain.risk import WAS_RECONCILED, RiskState
from src.shared.domain.signals import SignalAction
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
    risk_state,
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
    ("risk_state", literal("account"), risk_state.c.version),
)

# Everything that grows when something happens: events, entries of the ledger, executions.
_GROWING = (outbox, ledger_entry, fill)

_MISBOOKED = text("""
    SELECT f.fill_id, e.entry_id, e.pair_trade_id = i.pair_trade_id AS is_its_trade, f.quantity, f.price,
           sum(p.amount) FILTER (WHERE p.account = :holdings AND p.asset = f.symbol) AS shares,
           sum(p.amount) FILTER (WHERE p.account = :cash AND p.asset = :dollars) AS dollars
      FROM execution.fill f
      JOIN execution.order_intent i USING (intent_id)
      LEFT JOIN execution.ledger_entry e ON e.fill_id = f.fill_id
      LEFT JOIN execution.ledger_posting p ON p.entry_id = e.entry_id
     GROUP BY f.fill_id, e.entry_id, i.pair_trade_id
    HAVING count(p) = 0 OR e.pair_trade_id <> i.pair_trade_id
        OR sum(p.amount) FILTER (WHERE p.account = :holdings AND p.asset = f.symbol) IS DISTINCT FROM f.quantity
        OR abs(coalesce(sum(p.amount) FILTER (WHERE p.account = :cash AND p.asset = :dollars), 0)
               + f.quantity * f.price) > :finest
     ORDER BY f.fill_id
""")


class SqlFacts:
    """Builds `Facts` from one repeatable-read transaction and the broker's reports."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def load(
        self,
        broker_orders: Iterable[OrderReport],
        broker_positions: Iterable[PositionReport],
        broker_fills: Iterable[FillReport],
        since: datetime | None,
    ) -> Facts:
        """Read all of it. The broker's reports, all after `since`, must have been read while nobody traded."""
        with translated_errors(self._engine), self._engine.connect() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            return _facts(connection, tuple(broker_orders), tuple(broker_positions), tuple(broker_fills), since)

    def changes(self) -> int:
        """Count everything that was ever said and booked: it grows with every change of state."""
        with translated_errors(self._engine), self._engine.connect() as connection:
            return sum(connection.execute(select(func.count()).select_from(each)).scalar_one() for each in _GROWING)


def _facts(
    connection: Connection,
    orders: tuple[OrderReport, ...],
    positions: tuple[PositionReport, ...],
    fills: tuple[FillReport, ...],
    since: datetime | None,
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
        approved=_approved(connection),
        cash=_cash(connection),
        broker_orders=orders,
        broker_positions=positions,
        broker_fills=fills,
        log=_log(connection),
        adjusted=_adjusted(connection),
        misbooked=_misbooked(connection),
        since=since,
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


def _cash(connection: Connection) -> dict[UUID, Decimal]:
    e, p = ledger_entry.c, ledger_posting.c
    query = select(e.pair_trade_id, func.sum(p.amount)).join(ledger_entry, e.entry_id == p.entry_id)
    return _sums(connection, query.where(p.account == CASH, p.asset == DOLLARS).group_by(e.pair_trade_id))


def _misbooked(connection: Connection) -> tuple[str, ...]:
    named = {"holdings": HOLDINGS, "cash": CASH, "dollars": DOLLARS, "finest": A_DOLLARS_FINEST_PART}
    return tuple(_how_misbooked(row) for row in connection.execute(_MISBOOKED, named))


def _how_misbooked(row: Row[Any]) -> str:
    if row.entry_id is None:
        return f"execution {row.fill_id} is not in the ledger"
    if not row.is_its_trade:
        return f"execution {row.fill_id} is booked for another trade than its order's"
    booked = f"{plain(row.shares or Decimal(0))} shares for {plain(row.dollars or Decimal(0))} dollars"
    return f"execution {row.fill_id} of {plain(row.quantity)} at {plain(row.price)} is booked as {booked}"


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


def _paged(connection: Connection) -> dict[str, datetime]:
    paged: dict[str, datetime] = {}
    pages = select(alert.c.detail, alert.c.occurred_at).where(alert.c.severity == "critical")
    for detail, at in connection.execute(pages.order_by(alert.c.occurred_at)):
        # A name may have a colon of its own, but no blank behind it.
        paged[detail.partition(": ")[0]] = at
    return paged


def _log(connection: Connection) -> tuple[Said, ...]:
    o = outbox.c
    channels = {RiskStateChanged.channel(): _risk_changed, OrderSent.channel(): _sent}
    query = select(o.channel, o.payload).where(o.channel.in_(channels)).order_by(o.recorded_at, o.aggregate_version)
    return tuple(channels[channel](payload) for channel, payload in connection.execute(query))


def _risk_changed(payload: dict[str, Any]) -> Said:
    return RiskChanged(RiskState(payload["before"]), RiskState(payload["after"]))


def _sent(payload: dict[str, Any]) -> Said:
    return Sent(payload["client_order_id"])


def _approved(connection: Connection) -> dict[tuple[str, datetime], tuple[Decimal, Decimal]]:
    d = risk_decision.c
    entries = [action.value for action in SignalAction if action.is_entry]
    agreed = d.numbers[WAS_RECONCILED].astext.is_distinct_from("false")
    query = select(d.pair_id, d.slot, d.quantity_1, d.quantity_2).where(d.approved, d.action.in_(entries), agreed)
    return {(pair, slot): (first, second) for pair, slot, first, second in connection.execute(query)}
