"""What people ask of trades, orders and books, on PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from src.services.execution.adapters.sql_trades import SqlTradeStore, intent_of, trade_of
from src.services.execution.domain.books import surrender_postings
from src.services.execution.domain.desk import (
    Audit,
    Booked,
    Bought,
    Close,
    Decision,
    Holding,
    OrderLine,
    OrderStep,
    OrderStory,
    Split,
    Standing,
    SymbolPosition,
    TradeLine,
    TradeStory,
    WriteOff,
    average_price,
)
from src.shared.domain.bars import HOURLY
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.ids import derived_id
from src.shared.domain.orders import DONE_ORDERS, OrderAction
from src.shared.domain.pairs import FINISHED_TRADES, PairTrade
from src.shared.domain.risk import RiskState
from src.shared.infra.database.closes import ADJUSTMENT, VENDOR
from src.shared.infra.database.tables import (
    WRITE_OFF,
    audit_log,
    corporate_action,
    fill,
    instance,
    ledger_entry,
    ledger_posting,
    market_data,
    order_intent,
    outbox,
    pair_registry,
    pair_signal,
    pair_trade,
    position,
    position_snapshot,
    risk_decision,
    risk_state,
)

_CENTS_OF_A_CENT = Decimal("0.000001")
_Leg = tuple[UUID, int]


class SqlDeskStore(SqlTradeStore):
    """Implements `DeskStore` within one transaction of a connection."""

    def __init__(self, connection: Connection, account: str) -> None:
        super().__init__(connection, account)
        self._db = connection

    def standing(self) -> Standing:
        """Read the account's risk state; nobody having set one means active."""
        row = self._db.execute(select(risk_state)).one_or_none()
        if row is None:
            return Standing(RiskState.ACTIVE, "", "never changed")
        return Standing(RiskState(row.state), row.who, row.why)

    def pair_ids(self) -> list[str]:
        """List every pair of the registry."""
        return list(self._db.execute(select(pair_registry.c.pair_id).order_by(pair_registry.c.pair_id)).scalars())

    def has_instance(self, name: str) -> bool:
        """Look for an instance, among those that are gone too."""
        return bool(self._db.execute(select(exists().where(instance.c.instance_id == name))).scalar_one())

    def last_trade(self, pair_id: str) -> PairTrade | None:
        """Return the pair's newest trade."""
        query = select(pair_trade).where(pair_trade.c.pair_id == pair_id).order_by(pair_trade.c.slot.desc()).limit(1)
        row = self._db.execute(query).mappings().one_or_none()
        return None if row is None else trade_of(row)

    def unfinished_trades(self) -> list[PairTrade]:
        """List the trades that are not over, oldest first."""
        query = select(pair_trade).where(pair_trade.c.state.not_in(FINISHED_TRADES))
        rows = self._db.execute(query.order_by(pair_trade.c.slot, pair_trade.c.pair_id)).mappings()
        return [trade_of(row) for row in rows]

    def holdings_by_trade(self) -> list[Holding]:
        """List what each trade holds, by symbol and pair, without zeros."""
        t = pair_trade.c
        query = (
            select(position, t.pair_id, t.state, t.symbol_1, t.symbol_2)
            .join(pair_trade, t.pair_trade_id == position.c.pair_trade_id)
            .where(position.c.quantity != 0)
            .order_by(position.c.symbol, t.pair_id)
        )
        rows = self._db.execute(query).mappings().all()
        trades = sorted({row["pair_trade_id"] for row in rows})
        bought, splits = self._bought(trades), self._splits(trades)
        return [_holding(row, average_price(bought[leg], splits[leg])) for row in rows for leg in [_leg(row)]]

    def last_closes(self, symbols: Iterable[str]) -> dict[str, Close]:
        """Return the newest stored hourly close of each symbol that has one."""
        bar = market_data.c
        rows = self._db.execute(
            select(bar.symbol, bar.close, bar.bar_end)
            .distinct(bar.symbol)
            .where(
                bar.symbol.in_(list(symbols)),
                bar.timeframe == HOURLY,
                bar.vendor == VENDOR,
                bar.adjustment == ADJUSTMENT,
            )
            .order_by(bar.symbol, bar.bar_end.desc())
        )
        return {row.symbol: Close(Decimal(str(row.close)), row.bar_end) for row in rows}

    def orders(self, pair_id: str | None, last: int | None) -> list[OrderLine]:
        """List, oldest first, the orders that are not done; with `last` so many of the newest, done or not."""
        query = _orders().order_by(order_intent.c.recorded_at.desc(), order_intent.c.client_order_id).limit(last)
        if pair_id is not None:
            query = query.where(pair_trade.c.pair_id == pair_id)
        if last is None:
            query = query.where(order_intent.c.state.not_in(DONE_ORDERS))
        return [_order_line(row) for row in reversed(self._db.execute(query).mappings().all())]

    def order_story(self, name: str) -> OrderStory | None:
        """Find an order by client order id, broker order id or intent id, with all that was told of it."""
        named = or_(order_intent.c.client_order_id == name, order_intent.c.broker_order_id == name)
        if (identity := _as_uuid(name)) is not None:
            named = or_(named, order_intent.c.intent_id == identity)
        row = self._db.execute(_orders().where(named)).mappings().one_or_none()
        if row is None:
            return None
        told = select(outbox).where(outbox.c.aggregate == "order_intent")
        told = told.where(outbox.c.aggregate_id == str(row["intent_id"])).order_by(outbox.c.aggregate_version)
        return OrderStory(_order_line(row), tuple(_step(each) for each in self._db.execute(told).mappings()))

    def trades(self, pair_id: str | None, is_open: bool | None, last: int, slot: datetime | None) -> list[TradeLine]:
        """List the newest trades, oldest first: of a pair, unfinished or finished ones, of a slot."""
        query = select(pair_trade).order_by(pair_trade.c.slot.desc(), pair_trade.c.pair_id).limit(last)
        if pair_id is not None:
            query = query.where(pair_trade.c.pair_id == pair_id)
        if is_open is not None:
            finished = pair_trade.c.state.in_(FINISHED_TRADES)
            query = query.where(~finished if is_open else finished)
        if slot is not None:
            query = query.where(or_(pair_trade.c.slot == slot, pair_trade.c.closed_slot == slot))
        found = [trade_of(row) for row in reversed(self._db.execute(query).mappings().all())]
        held = self._held([trade.id for trade in found])
        return [_trade_line(trade, held) for trade in found]

    def trade_story(self, trade: PairTrade) -> TradeStory:
        """Tell everything that led to a trade and came of it."""
        of_trade = order_intent.c.pair_trade_id == trade.id
        orders = self._db.execute(
            _orders().where(of_trade).order_by(order_intent.c.recorded_at, order_intent.c.client_order_id)
        )
        booked = self._db.execute(
            select(fill, order_intent.c.client_order_id)
            .join(order_intent, order_intent.c.intent_id == fill.c.intent_id)
            .where(of_trade)
            .order_by(fill.c.occurred_at, fill.c.fill_id)
        )
        return TradeStory(
            line=_trade_line(trade, self._held([trade.id])),
            decisions=self._decisions(trade),
            orders=tuple(_order_line(row) for row in orders.mappings()),
            executions=tuple(_booked(row) for row in booked.mappings()),
            ledger=self._ledger(trade.id),
            audits=self._audits(trade),
        )

    def first_slot(self) -> datetime | None:
        """Return the slot of the oldest order."""
        return self._db.execute(select(func.min(order_intent.c.slot))).scalar_one_or_none()

    def write_off(self, gone: WriteOff, at: datetime, epoch: int) -> None:
        """Book shares out of a trade that nobody can give back."""
        self.require_writer(epoch)
        e = ledger_entry.c
        earlier = select(func.count()).where(e.kind == WRITE_OFF, e.pair_trade_id == gone.trade_id, e.leg == gone.leg)
        # Counted, not dated: the broker's clock may stand, and only one process writes at a time.
        number = str(self._db.execute(earlier).scalar_one())
        entry = derived_id("ledger", WRITE_OFF, str(gone.trade_id), gone.symbol, number)
        values = {"kind": WRITE_OFF, "pair_trade_id": gone.trade_id, "leg": gone.leg, "occurred_at": at}
        self._db.execute(insert(ledger_entry).values(entry_id=entry, **values))
        self._post(entry, surrender_postings(gone.symbol, gone.shares, gone.price))
        self._move_position(gone.trade_id, gone.symbol, -gone.shares, at)

    def add_snapshot(self, moment: datetime, positions: Iterable[SymbolPosition]) -> int:
        """Store positions as of a moment and return how many were new; the first word on a moment stays."""
        rows = [_snapshot(moment, each) for each in positions]
        if not rows:
            return 0
        statement = insert(position_snapshot).values(rows).on_conflict_do_nothing()
        return len(self._db.execute(statement.returning(position_snapshot.c.symbol)).all())

    def _bought(self, trades: list[UUID]) -> dict[_Leg, list[Bought]]:
        """What built the legs up; a leg keeps its number when its symbol changes."""
        i = order_intent.c
        query = (
            select(i.pair_trade_id, i.leg, fill.c.quantity, fill.c.price, fill.c.occurred_at)
            .join(order_intent, i.intent_id == fill.c.intent_id)
            .where(i.action == OrderAction.OPEN.value, i.pair_trade_id.in_(trades))
        )
        found: dict[_Leg, list[Bought]] = defaultdict(list)
        for trade, leg, *bought in self._db.execute(query):
            found[trade, leg].append(Bought(*bought))
        return found

    def _splits(self, trades: list[UUID]) -> dict[_Leg, list[Split]]:
        """What was booked for splits of the legs."""
        e, a = ledger_entry.c, corporate_action.c
        query = (
            select(e.pair_trade_id, e.leg, a.new_rate / a.old_rate, e.occurred_at)
            .join(corporate_action, a.corporate_action_id == e.corporate_action_id)
            .where(e.kind == CorporateActionKind.SPLIT.value, e.pair_trade_id.in_(trades))
        )
        found: dict[_Leg, list[Split]] = defaultdict(list)
        for trade, leg, *split in self._db.execute(query):
            found[trade, leg].append(Split(*split))
        return found

    def _held(self, trades: list[UUID]) -> dict[tuple[UUID, str], Decimal]:
        query = select(position).where(position.c.pair_trade_id.in_(trades))
        return {(row.pair_trade_id, row.symbol): row.quantity for row in self._db.execute(query)}

    def _decisions(self, trade: PairTrade) -> tuple[Decision, ...]:
        """The signals of the slots in which it was opened and closed, with what risk said to them."""
        rows = self._db.execute(
            select(
                pair_signal.c.slot,
                pair_signal.c.action,
                pair_signal.c.reason.label("signal_reason"),
                pair_signal.c.numbers.label("signal_numbers"),
                risk_decision.c.code,
                risk_decision.c.reason.label("risk_reason"),
                risk_decision.c.numbers.label("risk_numbers"),
            )
            .outerjoin(risk_decision, risk_decision.c.signal_id == pair_signal.c.signal_id)
            .where(
                pair_signal.c.pair_id == trade.pair_id,
                pair_signal.c.slot.in_([moment for moment in (trade.slot, trade.closed_slot) if moment]),
            )
            .order_by(pair_signal.c.slot)
        )
        return tuple(Decision(**row) for row in rows.mappings())

    def _ledger(self, trade: UUID) -> dict[tuple[str, str], Decimal]:
        p = ledger_posting.c
        rows = self._db.execute(
            select(p.account, p.asset, func.sum(p.amount))
            .join(ledger_entry, ledger_entry.c.entry_id == p.entry_id)
            .where(ledger_entry.c.pair_trade_id == trade)
            .group_by(p.account, p.asset)
            .order_by(p.account, p.asset)
        )
        return {(account, asset): amount for account, asset, amount in rows}

    def _audits(self, trade: PairTrade) -> tuple[Audit, ...]:
        a = audit_log.c
        of_trade = a.numbers["pair_trade_id"].astext == str(trade.id)
        query = select(a.who, a.what, a.why, a.numbers, a.recorded_at).where(of_trade).order_by(a.audit_id)
        return tuple(Audit(**row) for row in self._db.execute(query).mappings())


def _orders() -> Any:
    return select(order_intent, pair_trade.c.pair_id).join(
        pair_trade, pair_trade.c.pair_trade_id == order_intent.c.pair_trade_id
    )


def _order_line(row: RowMapping) -> OrderLine:
    return OrderLine(row["pair_id"], intent_of(row))


def _step(row: RowMapping) -> OrderStep:
    said = row["payload"]
    average = said["filled_avg_price"]
    return OrderStep(
        event=row["channel"].rpartition(".")[2],
        version=row["aggregate_version"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        filled_quantity=Decimal(said["filled_quantity"]),
        filled_avg_price=None if average is None else Decimal(average),
        reason=said["reason"],
    )


def _leg(row: RowMapping) -> _Leg:
    """Name the leg that a position is; 0 where its symbol is neither of the trade's any more."""
    return row["pair_trade_id"], {row["symbol_1"]: 1, row["symbol_2"]: 2}.get(row["symbol"], 0)


def _holding(row: RowMapping, average: Decimal | None) -> Holding:
    return Holding(
        symbol=row["symbol"],
        pair_id=row["pair_id"],
        pair_trade_id=row["pair_trade_id"],
        state=row["state"],
        quantity=row["quantity"],
        avg_price=None if average is None else average.quantize(_CENTS_OF_A_CENT),
    )


def _trade_line(trade: PairTrade, held: dict[tuple[UUID, str], Decimal]) -> TradeLine:
    shares = defaultdict(Decimal, held)
    first, *second = [shares[trade.id, symbol] for symbol in trade.symbols]
    return TradeLine(trade, first, second[0] if second else Decimal(0))


def _booked(row: RowMapping) -> Booked:
    return Booked(row["client_order_id"], row["symbol"], row["quantity"], row["price"], row["occurred_at"])


def _snapshot(moment: datetime, each: SymbolPosition) -> dict[str, object]:
    return {
        "taken_at": moment,
        "symbol": each.symbol,
        "ours": each.ours,
        "broker": each.broker,
        "price": each.price,
        "unrealized_pnl": each.unrealized_pnl,
    }


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
