"""Pair trades, intents and books on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, Select, and_, case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from src.services.execution.domain.books import CASH, DOLLARS, HOLDINGS, Postings, postings
from src.services.execution.ports import Approval
from src.shared.domain.audit import AuditNote
from src.shared.domain.errors import NotTheWriter, Transient
from src.shared.domain.ids import derived_id, slot_key
from src.shared.domain.orders import DONE_ORDERS, FillReport, OrderAction, OrderIntent, OrderState
from src.shared.domain.pairs import FINISHED_TRADES, Direction, PairTrade, PairTradeState
from src.shared.domain.risk import NEEDED_BUYING_POWER, RiskState
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.alerts import condition_begins, conditions_end
from src.shared.infra.database.audit import write_note
from src.shared.infra.database.tables import (
    alert,
    fill,
    ledger_entry,
    ledger_posting,
    order_intent,
    pair_registry,
    pair_signal,
    pair_trade,
    position,
    quarantine,
    risk_decision,
    risk_state,
    writer_epoch,
)

RAW_KEPT = 4000
"""So much is kept of an object that can't be read."""

_QUIET = (*FINISHED_TRADES, PairTradeState.OPEN)
_EXITS = [action for action in SignalAction if action.is_exit]


class SqlTradeStore:
    """`TradeStore` within one transaction of a connection."""

    def __init__(self, connection: Connection, account: str) -> None:
        self._connection = connection
        self._account = account

    def approvals(self, slot: datetime) -> list[Approval]:
        """List what risk approved in a slot: exits first, then entries in the order of approval."""
        d, p, s = risk_decision, pair_registry, pair_signal
        rows = self._connection.execute(
            select(
                d,
                func.coalesce(p.c.symbol_1, s.c.symbol).label("symbol_1"),
                p.c.symbol_2,
                func.coalesce(p.c.beta, 0.0).label("beta"),
                s.c.instance_id,
                d.c.numbers[NEEDED_BUYING_POWER].astext.label("buying_power"),
            )
            .join(s, s.c.signal_id == d.c.signal_id)
            .outerjoin(p, p.c.pair_id == s.c.registered_pair)
            .where(d.c.slot == slot, d.c.approved)
            .order_by(case((d.c.action.in_(_EXITS), 0), else_=1), d.c.recorded_at, d.c.pair_id)
        )
        return [_approval(row) for row in rows.mappings()]

    def trade(self, trade_id: UUID) -> PairTrade | None:
        """Return one trade."""
        return self._one_trade(pair_trade.c.pair_trade_id == trade_id)

    def open_trade(self, pair_id: str) -> PairTrade | None:
        """Return the pair's unfinished trade, if it has one; those that a late fill reopened are not meant."""
        unfinished = pair_trade.c.state.not_in(FINISHED_TRADES)
        return self._one_trade(pair_trade.c.pair_id == pair_id, unfinished, ~pair_trade.c.reopened)

    def reopened_trade(self, pair_id: str) -> PairTrade | None:
        """Return the pair's newest trade that a late fill brought back and that is not over yet."""
        t = pair_trade.c
        query = select(pair_trade).where(t.pair_id == pair_id, t.state.not_in(FINISHED_TRADES), t.reopened)
        row = self._connection.execute(query.order_by(t.slot.desc()).limit(1)).mappings().one_or_none()
        return None if row is None else trade_of(row)

    def holding_since(self) -> dict[str, datetime]:
        """Return, by symbol that is held, the slot of the oldest trade that holds it."""
        query = (
            select(position.c.symbol, func.min(pair_trade.c.slot))
            .join(pair_trade, pair_trade.c.pair_trade_id == position.c.pair_trade_id)
            .where(position.c.quantity != 0)
            .group_by(position.c.symbol)
        )
        return {symbol: slot for symbol, slot in self._connection.execute(query)}  # noqa: C416 (typed rows)

    def known_broker_orders(self, broker_order_ids: Iterable[str]) -> frozenset[str]:
        """Return those of the broker's order ids that an intent of ours has."""
        query = select(order_intent.c.broker_order_id).where(
            order_intent.c.broker_order_id.in_(set(broker_order_ids))
        )
        return frozenset(self._connection.execute(query).scalars())

    def misbooked(self) -> list[tuple[OrderIntent, Decimal]]:
        """List orders that are done and whose booked executions are not what they filled, with the booked shares."""
        query = _misbooked()
        return [(intent_of(row), row["booked"]) for row in self._connection.execute(query).mappings()]

    def market_seen(self) -> datetime | None:
        """Return the latest market time at which a gate had heard of all orders; None before the first."""
        query = select(writer_epoch.c.market_seen).where(writer_epoch.c.account == self._account)
        return self._connection.execute(query).scalar_one_or_none()

    def note_market_time(self, now: datetime) -> None:
        """Keep the time of the broker's clock, unless a later one is known."""
        latest = func.greatest(writer_epoch.c.market_seen, now)
        mine = writer_epoch.c.account == self._account
        self._connection.execute(update(writer_epoch).where(mine).values(market_seen=latest))

    def trades_in_motion(self) -> list[PairTrade]:
        """List trades that are neither finished nor quietly open, oldest first."""
        query = select(pair_trade).where(pair_trade.c.state.not_in(_QUIET)).order_by(pair_trade.c.recorded_at)
        return [trade_of(row) for row in self._connection.execute(query).mappings()]

    def trades_at_rest(self) -> list[PairTrade]:
        """List trades that rest and might not: open ones, finished ones with shares or fills not booked, by age."""
        t, held = pair_trade.c, select(position.c.pair_trade_id).where(position.c.quantity != 0)
        unbooked = _misbooked().with_only_columns(order_intent.c.pair_trade_id)
        left = and_(t.state.in_(FINISHED_TRADES), or_(t.pair_trade_id.in_(held), t.pair_trade_id.in_(unbooked)))
        query = select(pair_trade).where(or_(t.state == PairTradeState.OPEN, left)).order_by(t.recorded_at)
        return [trade_of(row) for row in self._connection.execute(query).mappings()]

    def add_trade(self, trade: PairTrade, epoch: int) -> bool:
        """Insert a trade; False when the pair had one in this slot, or has one open. Raises NotTheWriter."""
        self.require_writer(epoch)
        statement = insert(pair_trade).values(**_trade_row(trade)).on_conflict_do_nothing()
        return self._connection.execute(statement.returning(pair_trade.c.pair_trade_id)).first() is not None

    def require_writer(self, epoch: int) -> None:
        """Hold the account's epoch for this transaction, so that a newer writer waits until it is over."""
        query = select(writer_epoch.c.epoch).where(writer_epoch.c.account == self._account).with_for_update(read=True)
        current = self._connection.execute(query).scalar_one_or_none()
        if current != epoch:
            raise NotTheWriter(f"epoch {epoch} is over, another process took {current}")

    def save_trade(self, trade: PairTrade, epoch: int) -> None:
        """Write a trade that moved on by one version. Raises NotTheWriter, or Transient when it was moved."""
        self.require_writer(epoch)
        statement = (
            update(pair_trade)
            .where(pair_trade.c.pair_trade_id == trade.id, pair_trade.c.version == trade.version - 1)
            .values(**_trade_row(trade))
        )
        if self._connection.execute(statement).rowcount != 1:
            raise Transient(f"the trade of {trade.pair_id} was moved on by another run")

    def intents(self, trade_id: UUID) -> list[OrderIntent]:
        """List a trade's orders, oldest first."""
        query = (
            select(order_intent)
            .where(order_intent.c.pair_trade_id == trade_id)
            .order_by(order_intent.c.recorded_at, order_intent.c.client_order_id)
        )
        return [intent_of(row) for row in self._connection.execute(query).mappings()]

    def add_intent(self, intent: OrderIntent) -> None:
        """Insert an intent. Raises NotTheWriter when its epoch is over."""
        self.require_writer(intent.epoch)
        self._connection.execute(insert(order_intent).values(**_intent_row(intent)))

    def save_intent(self, intent: OrderIntent, epoch: int) -> None:
        """Write an intent that moved on by one version. Raises NotTheWriter, or Transient when it was moved."""
        self.require_writer(epoch)
        statement = (
            update(order_intent)
            .where(order_intent.c.intent_id == intent.id, order_intent.c.version == intent.version - 1)
            .values(**_intent_row(intent))
        )
        if self._connection.execute(statement).rowcount != 1:
            raise Transient(f"order {intent.client_order_id} was moved on by another run")

    def booked(self, trade_id: UUID) -> dict[str, Decimal]:
        """Return signed shares booked per intent id."""
        query = (
            select(fill.c.intent_id, func.sum(fill.c.quantity))
            .join(order_intent, order_intent.c.intent_id == fill.c.intent_id)
            .where(order_intent.c.pair_trade_id == trade_id)
            .group_by(fill.c.intent_id)
        )
        return {str(intent): total for intent, total in self._connection.execute(query)}

    def book(self, intent: OrderIntent, report: FillReport, epoch: int) -> bool:
        """Book one execution and what follows from it; False when it was booked before. Raises NotTheWriter."""
        self.require_writer(epoch)
        statement = insert(fill).values(
            fill_id=report.activity_id,
            intent_id=intent.id,
            broker_order_id=report.broker_order_id,
            symbol=report.symbol,
            quantity=report.quantity,
            price=report.price,
            occurred_at=report.occurred_at,
        )
        added = self._connection.execute(statement.on_conflict_do_nothing().returning(fill.c.fill_id)).first()
        if added is None:
            return False
        entry = derived_id("ledger", report.activity_id)
        self._connection.execute(
            insert(ledger_entry).values(
                entry_id=entry,
                kind="trade",
                pair_trade_id=intent.pair_trade_id,
                fill_id=report.activity_id,
                occurred_at=report.occurred_at,
            )
        )
        self._post(entry, postings(report))
        self._move_position(intent.pair_trade_id, report.symbol, report.quantity, report.occurred_at)
        return True

    def adjusted(self, trade_id: UUID) -> dict[int, Decimal]:
        """Return, by leg, the shares of entries that no fill made."""
        query = (
            select(ledger_entry.c.leg, func.sum(ledger_posting.c.amount))
            .join(ledger_entry, ledger_entry.c.entry_id == ledger_posting.c.entry_id)
            .where(
                ledger_entry.c.pair_trade_id == trade_id,
                ledger_entry.c.leg.is_not(None),
                ledger_posting.c.account == HOLDINGS,
            )
            .group_by(ledger_entry.c.leg)
        )
        return {leg: shares for leg, shares in self._connection.execute(query)}  # noqa: C416 (typed rows)

    def realized_pnl(self, trade_id: UUID) -> Decimal:
        """Sum the dollars that a trade's executions and its companies' actions moved into cash."""
        query = (
            select(func.coalesce(func.sum(ledger_posting.c.amount), 0))
            .join(ledger_entry, ledger_entry.c.entry_id == ledger_posting.c.entry_id)
            .where(
                ledger_entry.c.pair_trade_id == trade_id,
                ledger_posting.c.account == CASH,
                ledger_posting.c.asset == DOLLARS,
            )
        )
        return Decimal(self._connection.execute(query).scalar_one())

    def holdings(self) -> dict[str, Decimal]:
        """Return signed shares by symbol over all pair trades, without zeros."""
        total = func.sum(position.c.quantity)
        shares = self._connection.execute(
            select(position.c.symbol, total)
            .where(position.c.quantity != 0)
            .group_by(position.c.symbol)
            .having(total != 0)
        )
        return {symbol: quantity for symbol, quantity in shares}  # noqa: C416 (typed rows)

    def intents_named(self, client_order_ids: Iterable[str]) -> dict[str, OrderIntent]:
        """Return those of the ids that have an intent, with it."""
        query = select(order_intent).where(order_intent.c.client_order_id.in_(list(client_order_ids)))
        return {row["client_order_id"]: intent_of(row) for row in self._connection.execute(query).mappings()}

    def risk_state(self) -> RiskState:
        """Return the account's risk state; nobody having set one means active."""
        return _risk_state(self._connection.execute(select(risk_state.c.state)).scalar_one_or_none())

    def held_risk_state(self) -> RiskState:
        """Return the risk state, its row locked: whoever changes it waits for the end of this transaction."""
        query = select(risk_state.c.state).with_for_update(read=True)
        return _risk_state(self._connection.execute(query).scalar_one_or_none())

    def quarantine(self, kind: str, reason: str, raw: str, slot: datetime, at: datetime) -> bool:
        """Keep what can't be used; the same object again is counted. False when it was there."""
        q, raw = quarantine.c, raw[:RAW_KEPT]
        statement = insert(quarantine).values(
            quarantine_id=derived_id("quarantine", kind, raw),
            kind=kind,
            reason=reason,
            raw=raw,
            slot=slot,
            first_seen=at,
            last_seen=at,
            times_seen=1,
        )
        times = self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[q.quarantine_id],
                set_={"last_seen": func.greatest(q.last_seen, at), "times_seen": q.times_seen + 1, "slot": slot},
            ).returning(q.times_seen)
        ).scalar_one()
        return bool(times == 1)

    def note_alert(self, severity: str, title: str, detail: str, about: str, slot: datetime, at: datetime) -> UUID:
        """Record something a person should know; the same title about the same thing once."""
        alert_id = derived_id("alert", title, about)
        statement = insert(alert).values(
            alert_id=alert_id,
            severity=severity,
            title=title,
            detail=detail,
            correlation_id=slot_key(slot),
            occurred_at=at,
        )
        self._connection.execute(statement.on_conflict_do_nothing())
        return alert_id

    def condition_begins(self, scope: str, about: str, at: datetime) -> int | None:
        """Note that something is so; return how often that has begun by now, None where it went on from before."""
        return condition_begins(self._connection, scope, about, at)

    def conditions_end(self, scope: str, still: Collection[str], at: datetime) -> None:
        """Note that nothing of a scope is so any more but `still`."""
        conditions_end(self._connection, scope, still, at)

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        write_note(self._connection, note)

    def _one_trade(self, *conditions: Any) -> PairTrade | None:
        row = self._connection.execute(select(pair_trade).where(*conditions)).mappings().one_or_none()
        return None if row is None else trade_of(row)

    def _post(self, entry: UUID, lines: Postings) -> None:
        rows = [{"entry_id": entry, "account": p.account, "asset": p.asset, "amount": p.amount} for p in lines]
        self._connection.execute(insert(ledger_posting), rows)

    def _move_position(self, trade_id: UUID, symbol: str, shares: Decimal, at: datetime) -> None:
        statement = insert(position).values(pair_trade_id=trade_id, symbol=symbol, quantity=shares, updated_at=at)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[position.c.pair_trade_id, position.c.symbol],
                set_={
                    "quantity": position.c.quantity + statement.excluded.quantity,
                    "updated_at": statement.excluded.updated_at,
                },
            )
        )


def _misbooked() -> Select[Any]:
    """Select orders that are done and whose booked executions are not what they filled."""
    booked = select(fill.c.intent_id, func.sum(fill.c.quantity).label("shares")).group_by(fill.c.intent_id).subquery()
    shares = func.coalesce(booked.c.shares, 0)
    return (
        select(order_intent, shares.label("booked"))
        .outerjoin(booked, booked.c.intent_id == order_intent.c.intent_id)
        .where(order_intent.c.state.in_(DONE_ORDERS), order_intent.c.filled_quantity != shares)
    )


def intent_of(row: RowMapping) -> OrderIntent:
    """Turn a row of `execution.order_intent` into an intent."""
    return OrderIntent(
        id=row["intent_id"],
        client_order_id=row["client_order_id"],
        pair_trade_id=row["pair_trade_id"],
        leg=row["leg"],
        action=OrderAction(row["action"]),
        attempt=row["attempt"],
        symbol=row["symbol"],
        quantity=row["quantity"],
        state=OrderState(row["state"]),
        slot=row["slot"],
        epoch=row["epoch"],
        version=row["version"],
        created_at=row["created_at"],
        sent_at=row["sent_at"],
        broker_order_id=row["broker_order_id"],
        filled_quantity=row["filled_quantity"],
        filled_avg_price=row["filled_avg_price"],
        reject_code=row["reject_code"],
        reason=row["reason"],
    )


def _intent_row(intent: OrderIntent) -> dict[str, object]:
    return {
        "intent_id": intent.id,
        "client_order_id": intent.client_order_id,
        "pair_trade_id": intent.pair_trade_id,
        "leg": intent.leg,
        "action": intent.action.value,
        "attempt": intent.attempt,
        "symbol": intent.symbol,
        "quantity": intent.quantity,
        "state": intent.state.value,
        "slot": intent.slot,
        "epoch": intent.epoch,
        "version": intent.version,
        "created_at": intent.created_at,
        "sent_at": intent.sent_at,
        "broker_order_id": intent.broker_order_id,
        "filled_quantity": intent.filled_quantity,
        "filled_avg_price": intent.filled_avg_price,
        "reject_code": intent.reject_code,
        "reason": intent.reason,
    }


def trade_of(row: RowMapping) -> PairTrade:
    """Turn a row of `execution.pair_trade` into a pair trade."""
    return PairTrade(
        id=row["pair_trade_id"],
        pair_id=row["pair_id"],
        symbol_1=row["symbol_1"],
        symbol_2=row["symbol_2"],
        beta=row["beta"],
        direction=Direction(row["direction"]),
        state=PairTradeState(row["state"]),
        slot=row["slot"],
        target_1=row["target_1"],
        target_2=row["target_2"],
        version=row["version"],
        closed_slot=row["closed_slot"],
        close_reason=row["close_reason"],
        realized_pnl=row["realized_pnl"],
        reopened=row["reopened"],
        instance_id=row["instance_id"],
    )


def _trade_row(trade: PairTrade) -> dict[str, object]:
    return {
        "pair_trade_id": trade.id,
        "pair_id": trade.pair_id,
        "symbol_1": trade.symbol_1,
        "symbol_2": trade.symbol_2,
        "beta": trade.beta,
        "direction": trade.direction.value,
        "state": trade.state.value,
        "slot": trade.slot,
        "target_1": trade.target_1,
        "target_2": trade.target_2,
        "version": trade.version,
        "closed_slot": trade.closed_slot,
        "close_reason": trade.close_reason,
        "realized_pnl": trade.realized_pnl,
        "reopened": trade.reopened,
        "instance_id": trade.instance_id,
    }


def _risk_state(stored: str | None) -> RiskState:
    return RiskState.ACTIVE if stored is None else RiskState(stored)


def _approval(row: RowMapping) -> Approval:
    return Approval(
        pair_id=row["pair_id"],
        symbol_1=row["symbol_1"],
        symbol_2=row["symbol_2"],
        beta=row["beta"],
        action=SignalAction(row["action"]),
        quantity_1=row["quantity_1"],
        quantity_2=row["quantity_2"],
        instance_id=row["instance_id"],
        buying_power=Decimal(row["buying_power"] or 0),
    )
