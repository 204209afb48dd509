"""Announcements of companies, what is booked for them, and frozen pairs, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, and_, case, exists, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from src.services.execution.adapters.sql_trades import SqlTradeStore, trade_of
from src.services.execution.domain.books import HOLDINGS, IN_LIEU, shares_moved
from src.services.execution.domain.company_actions import Booking, Fraction, Times
from src.shared.domain.corporate_actions import CorporateAction, CorporateActionKind
from src.shared.domain.ids import derived_id
from src.shared.domain.pairs import FINISHED_TRADES, PairMode, PairTrade, PairTradeState
from src.shared.infra.database.tables import (
    corporate_action,
    corporate_action_look,
    fill,
    ledger_entry,
    ledger_posting,
    order_intent,
    pair_freeze,
    pair_registry,
    pair_trade,
)

_FINISHED = [state.value for state in sorted(FINISHED_TRADES)]
_WATCHED = [PairMode.OBSERVE.value, PairMode.ACTIVE.value, PairMode.CLOSING.value]

_UNREAD = text("""
    SELECT leg.symbol
      FROM strategy.pair_registry r
      LEFT JOIN execution.pair_trade t ON t.pair_id = r.pair_id AND t.state <> ALL(:finished)
     CROSS JOIN LATERAL (VALUES (r.symbol_1), (r.symbol_2), (t.symbol_1), (t.symbol_2)) AS leg(symbol)
     WHERE leg.symbol IS NOT NULL AND (r.mode = ANY(:modes) OR t.pair_trade_id IS NOT NULL)
     UNION
    SELECT symbol_1 FROM execution.pair_trade WHERE instance_id IS NOT NULL AND state <> ALL(:finished)
    EXCEPT
    SELECT symbol FROM execution.corporate_action_look WHERE account = :account AND looked_on >= :day
""")


class SqlActionStore(SqlTradeStore):
    """`ActionStore` within one transaction of a connection."""

    def unread_symbols(self, day: date) -> list[str]:
        """List watched and held symbols without a look on `day` or later."""
        asked = {"finished": _FINISHED, "modes": _WATCHED, "account": self._account, "day": day}
        return sorted(self._connection.execute(_UNREAD, asked).scalars())

    def note_look(self, symbols: Sequence[str], day: date) -> None:
        """Remember the day of a look."""
        rows = [{"account": self._account, "symbol": symbol, "looked_on": day} for symbol in symbols]
        statement = insert(corporate_action_look)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["account", "symbol"], set_={"looked_on": statement.excluded.looked_on}
            ),
            rows,
        )

    def add_actions(self, actions: Sequence[CorporateAction]) -> None:
        """Store announcements; corrected until something is booked for them."""
        names = [action.id for action in actions]
        known = select(ledger_entry.c.corporate_action_id).where(ledger_entry.c.corporate_action_id.in_(names))
        booked = set(self._connection.execute(known).scalars())
        for action in actions:
            if action.id not in booked:
                values = asdict(action) | {"kind": action.kind.value, "vendor_type": action.vendor_type[:32]}
                statement = insert(corporate_action).values(corporate_action_id=values.pop("id"), **values)
                self._connection.execute(
                    statement.on_conflict_do_update(index_elements=["corporate_action_id"], set_=values)
                )

    def actions_between(self, first: date, last: date) -> list[CorporateAction]:
        """List stored actions by their day."""
        day = corporate_action.c.ex_date
        query = select(corporate_action).where(day.between(first, last))
        rows = self._connection.execute(query.order_by(day, corporate_action.c.corporate_action_id)).mappings()
        return [_action(row) for row in rows]

    def held_before(self, symbol: str, moment: datetime) -> dict[UUID, Decimal]:
        """Add up the holdings of each trade before a moment."""
        total = func.sum(ledger_posting.c.amount)
        query = (
            select(ledger_entry.c.pair_trade_id, total)
            .join(ledger_entry, ledger_entry.c.entry_id == ledger_posting.c.entry_id)
            .where(
                ledger_posting.c.account == HOLDINGS,
                ledger_posting.c.asset == symbol,
                ledger_entry.c.occurred_at < moment,
            )
            .group_by(ledger_entry.c.pair_trade_id)
            .having(total != 0)
            .order_by(ledger_entry.c.pair_trade_id)
        )
        return {trade: shares for trade, shares in self._connection.execute(query)}  # noqa: C416 (typed rows)

    def unsettled_trades(self, symbol: str) -> list[PairTrade]:
        """List unfinished trades in a symbol with an order whose fills are not all booked."""
        booked = (
            select(func.coalesce(func.sum(fill.c.quantity), 0))
            .where(fill.c.intent_id == order_intent.c.intent_id)
            .scalar_subquery()
        )
        open_question = or_(
            booked != order_intent.c.filled_quantity, order_intent.c.state.in_(["sending", "unknown"])
        )
        has_one = exists().where(
            order_intent.c.pair_trade_id == pair_trade.c.pair_trade_id, order_intent.c.symbol == symbol, open_question
        )
        query = select(pair_trade).where(pair_trade.c.state.not_in(_FINISHED), has_one)
        return [trade_of(row) for row in self._connection.execute(query).mappings()]

    def book_action(self, booking: Booking, epoch: int) -> bool:
        """Make one entry, once, and move what follows from it."""
        self.require_writer(epoch)
        leg = self._leg(booking.trade_id, booking.symbol)
        entry = derived_id("ledger", booking.action_id, str(booking.trade_id), booking.kind)
        statement = insert(ledger_entry).values(
            entry_id=entry,
            kind=booking.kind,
            pair_trade_id=booking.trade_id,
            corporate_action_id=booking.action_id,
            leg=leg,
            occurred_at=booking.occurred_at,
        )
        once = statement.on_conflict_do_nothing().returning(ledger_entry.c.entry_id)
        if self._connection.execute(once).first() is None:
            return False
        self._post(entry, booking.lines)
        for symbol, shares in shares_moved(booking.lines).items():
            self._move_position(booking.trade_id, symbol, shares, booking.occurred_at)
        self._restate_leg(booking, leg)
        return True

    def fractions_due(self) -> list[Fraction]:
        """List what waits in the account for its cash."""
        total = func.sum(ledger_posting.c.amount)
        keys = (ledger_entry.c.corporate_action_id, ledger_entry.c.pair_trade_id, ledger_posting.c.asset)
        query = (
            select(*keys, corporate_action.c.ex_date, total)
            .join(ledger_entry, ledger_entry.c.entry_id == ledger_posting.c.entry_id)
            .join(corporate_action, corporate_action.c.corporate_action_id == ledger_entry.c.corporate_action_id)
            .where(ledger_posting.c.account == IN_LIEU)
            .group_by(*keys, corporate_action.c.ex_date)
            .having(total != 0)
            .order_by(*keys)
        )
        return [Fraction(*row) for row in self._connection.execute(query)]

    def freeze(self, action: CorporateAction, times: Times, basis_kept: bool) -> list[str]:
        """Freeze every pair that was fitted before the action and has its symbol, or a trade in it."""
        values = {
            "corporate_action_id": action.id,
            "symbol": action.symbol,
            "kind": action.kind.value,
            "since": times.since,
            "effective_at": times.effective_at,
            "until": times.day_over if basis_kept else None,
        }
        unfinished = and_(
            pair_trade.c.pair_id == pair_registry.c.pair_id,
            pair_trade.c.state.not_in(_FINISHED),
            or_(pair_trade.c.symbol_1 == action.symbol, pair_trade.c.symbol_2 == action.symbol),
        )
        chosen = select(
            pair_registry.c.pair_id,
            *(literal(value, pair_freeze.c[name].type).label(name) for name, value in values.items()),
        ).where(
            pair_registry.c.fitted_to < times.effective_at,
            or_(
                pair_registry.c.symbol_1 == action.symbol,
                pair_registry.c.symbol_2 == action.symbol,
                exists().where(unfinished),
            ),
        )
        statement = insert(pair_freeze).from_select(["pair_id", *values], chosen).on_conflict_do_nothing()
        return sorted(self._connection.execute(statement.returning(pair_freeze.c.pair_id)).scalars())

    def frozen(self, pair_id: str, moment: datetime) -> str | None:
        """Say what freezes a pair at a moment."""
        f = pair_freeze.c
        query = select(f.kind, f.symbol).where(
            f.pair_id == pair_id,
            f.released_at.is_(None),
            f.since <= moment,
            or_(f.until.is_(None), f.until > moment),
        )
        row = self._connection.execute(query.order_by(f.effective_at).limit(1)).first()
        return None if row is None else f"frozen: {row.kind.replace('_', ' ')} of {row.symbol}"

    def open_in_one_symbol(self, symbols: Sequence[str], before: datetime) -> list[PairTrade]:
        """List open trades of instances by their symbols."""
        c = pair_trade.c
        query = select(pair_trade).where(
            c.instance_id.is_not(None), c.symbol_1.in_(symbols), c.state == PairTradeState.OPEN.value, c.slot < before
        )
        return [trade_of(row) for row in self._connection.execute(query.order_by(c.pair_id)).mappings()]

    def trades_to_close(self, moment: datetime) -> list[PairTrade]:
        """List open trades that were opened before their pair lost its basis."""
        f = pair_freeze.c
        query = select(pair_trade).where(
            pair_trade.c.state == PairTradeState.OPEN.value,
            exists().where(
                f.pair_id == pair_trade.c.pair_id,
                f.released_at.is_(None),
                f.kind != CorporateActionKind.CASH_DIVIDEND.value,
                f.effective_at <= moment,
                f.effective_at > pair_trade.c.slot,
            ),
        )
        return [trade_of(row) for row in self._connection.execute(query.order_by(pair_trade.c.pair_id)).mappings()]

    def _leg(self, trade_id: UUID, symbol: str) -> int:
        """Name the leg that a symbol is, or was before a change of its name."""
        of_order = (
            select(func.max(order_intent.c.leg))
            .where(order_intent.c.pair_trade_id == trade_id, order_intent.c.symbol == symbol)
            .scalar_subquery()
        )
        leg = case((pair_trade.c.symbol_1 == symbol, 1), (pair_trade.c.symbol_2 == symbol, 2), else_=of_order)
        return int(self._connection.execute(select(leg).where(pair_trade.c.pair_trade_id == trade_id)).scalar_one())

    def _restate_leg(self, booking: Booking, leg: int) -> None:
        """Put the trade's own terms on the new basis: its target in shares, and its symbol."""
        target, symbol = pair_trade.c[f"target_{leg}"], pair_trade.c[f"symbol_{leg}"]
        values: Mapping[Any, Any] = {target.name: target * booking.scale}
        if booking.new_symbol is not None:
            values = {**values, symbol.name: booking.new_symbol}
        statement = update(pair_trade).where(pair_trade.c.pair_trade_id == booking.trade_id)
        self._connection.execute(statement.values(**values))


def _action(row: RowMapping) -> CorporateAction:
    return CorporateAction(
        id=row["corporate_action_id"],
        kind=CorporateActionKind(row["kind"]),
        vendor_type=row["vendor_type"],
        symbol=row["symbol"],
        ex_date=row["ex_date"],
        old_rate=row["old_rate"],
        new_rate=row["new_rate"],
        cash_per_share=row["cash_per_share"],
        new_symbol=row["new_symbol"],
        raw=row["raw"],
    )
