"""The repository of risk management on PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, and_, cast, exists, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from src.services.risk_management.domain.equity import CashFlow, DayStart, EquityPoint, equity_history, restated
from src.services.risk_management.domain.events import EarningsReport, MarketEvent
from src.services.risk_management.domain.review import OpenTrade, SlotSignal
from src.services.risk_management.domain.state import EquityHistory, Standing
from src.services.risk_management.domain.values import LimitChange, LimitRow
from src.services.risk_management.ports import PairFit, Reading
from src.services.risk_management.use_cases.review import PEAK_RESET
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.instances import InstanceMode
from src.shared.domain.orders import AccountReport
from src.shared.domain.pairs import FINISHED_TRADES, PairMode, PairTradeState
from src.shared.domain.quantities import plain
from src.shared.domain.risk import RiskDecision, RiskState
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.alerts import write_alert
from src.shared.infra.database.audit import write_note
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.tables import (
    audit_log,
    cash_flow,
    corporate_action,
    earnings_dates,
    equity_point,
    instance,
    ledger_entry,
    limit_change,
    order_intent,
    outbox,
    pair_registry,
    pair_signal,
    pair_spread,
    pair_trade,
    portfolio_reading,
    position,
    risk_decision,
    risk_state,
)
from src.shared.infra.database.tables.base import Moment
from src.shared.infra.database.unit_of_work import outbox_row
from src.shared.messages.base import Event
from src.shared.messages.ops import AlertRaised

ClosesReader = Callable[[Connection, Sequence[str], Sequence[datetime]], CloseSeries]

_ASKING = [action.value for action in SignalAction if action.is_entry or action.is_exit]
_FINISHED = [state.value for state in FINISHED_TRADES]
_LOCK = lock_key("risk")


class SqlRiskRepository:
    """Implements `RiskRepository` on one connection. `read_closes` reads the closes of finished hourly bars."""

    def __init__(self, connection: Connection, read_closes: ClosesReader) -> None:
        self._connection = connection
        self._read_closes = read_closes

    def lock(self) -> None:
        """Take the advisory lock that all reviews share, until the transaction ends."""
        self._connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})

    def signals(self, slot: datetime) -> list[SlotSignal]:
        """Read the slot's signals that ask for an entry or an exit, with the spread or price they were read from."""
        said = pair_signal.c.numbers
        spread_of_signal = and_(pair_spread.c.pair_id == pair_signal.c.pair_id, pair_spread.c.slot == slot)
        rows = self._connection.execute(
            select(
                pair_signal.c.signal_id,
                pair_signal.c.pair_id,
                func.coalesce(pair_registry.c.symbol_1, pair_signal.c.symbol).label("symbol_1"),
                pair_registry.c.symbol_2,
                func.coalesce(pair_registry.c.beta, 0.0).label("beta"),
                pair_signal.c.action,
                pair_signal.c.pair_mode,
                func.coalesce(pair_registry.c.mode, instance.c.mode).label("mode"),
                func.coalesce(pair_spread.c.price_1, said["price"].as_float()).label("price_1"),
                pair_spread.c.price_2,
                pair_spread.c.z,
                pair_signal.c.instance_id,
                said["asked_fraction"].as_float().label("asked_fraction"),
            )
            .outerjoin_from(pair_signal, pair_registry, pair_registry.c.pair_id == pair_signal.c.registered_pair)
            .outerjoin(instance, instance.c.instance_id == pair_signal.c.instance_id)
            .outerjoin(pair_spread, spread_of_signal)
            .where(pair_signal.c.slot == slot, pair_signal.c.action.in_(_ASKING))
            .order_by(pair_signal.c.pair_id)
        )
        return [_signal(row) for row in rows]

    def decisions(self, slot: datetime) -> list[RiskDecision]:
        """Read the slot's decisions as they were stored, by pair id."""
        rows = self._connection.execute(
            select(risk_decision).where(risk_decision.c.slot == slot).order_by(risk_decision.c.pair_id)
        )
        return [_decision(row) for row in rows]

    def add_decisions(self, decisions: Sequence[RiskDecision]) -> None:
        """Store decisions in one statement."""
        if decisions:
            self._connection.execute(insert(risk_decision), [_row(decision) for decision in decisions])

    def tell(self, events: Sequence[Event]) -> None:
        """Put events into the outbox in one statement; an event id that is there stays as it is."""
        if events:
            statement = insert(outbox).values([outbox_row(event) for event in events])
            self._connection.execute(statement.on_conflict_do_nothing(index_elements=[outbox.c.event_id]))

    def standing(self) -> Standing:
        """Read the risk state; nobody having set one means active."""
        row = self._connection.execute(select(risk_state)).one_or_none()
        if row is None:
            return Standing()
        return Standing(RiskState(row.state), row.who, row.why, row.version, row.since)

    def save_standing(self, standing: Standing, since: datetime) -> None:
        """Replace the risk state by one in force since this moment."""
        values = {
            "state": standing.state.value,
            "who": standing.who,
            "why": standing.why,
            "version": standing.version,
            "since": since,
        }
        statement = insert(risk_state).values(id=1, **values)
        self._connection.execute(statement.on_conflict_do_update(index_elements=[risk_state.c.id], set_=values))

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        write_note(self._connection, note)

    def has_equity(self, slot: datetime) -> bool:
        """Say whether the slot's equity is stored."""
        return bool(self._connection.execute(select(exists().where(equity_point.c.slot == slot))).scalar_one())

    def last_equity_at(self) -> datetime | None:
        """Find when equity was last read, for a slot or by the monitor."""
        slots, readings = (
            select(func.max(t.c.taken_at)).scalar_subquery() for t in (equity_point, portfolio_reading)
        )
        last: datetime | None = self._connection.execute(select(func.greatest(slots, readings))).scalar_one()
        return last

    def record_equity(self, slot: datetime, taken_at: datetime, account: AccountReport) -> None:
        """Store the slot's equity; the first word on a slot stays."""
        money = {"equity": account.equity, "cash": account.cash, "buying_power": account.buying_power}
        statement = insert(equity_point).values(slot=slot, taken_at=taken_at, **money)
        self._connection.execute(statement.on_conflict_do_nothing(index_elements=[equity_point.c.slot]))

    def equity_history(self, now: EquityPoint, day: DayStart) -> EquityHistory:
        """Read equity since the last reset and since the close before the day, and compare it with `now`."""
        peak_from: datetime | None = self._connection.execute(
            select(func.max(cast(audit_log.c.numbers["peak_from"].astext, Moment))).where(
                audit_log.c.what == PEAK_RESET
            )
        ).scalar_one()
        since = None if peak_from is None else min(peak_from, day.close)
        points = self._points(since, now.at)
        return equity_history(points, self._flows(since), now, day, peak_from)

    def equity_points(self, since: datetime, now: EquityPoint) -> list[EquityPoint]:
        """Read equity since a moment and up to now, without deposits and withdrawals."""
        return restated([*self._points(since, now.at), now], self._flows(since))

    def add_reading(self, reading: Reading) -> None:
        """Store what the monitor saw; the first word on a moment stays."""
        statement = insert(portfolio_reading).values(asdict(reading))
        self._connection.execute(statement.on_conflict_do_nothing(index_elements=[portfolio_reading.c.taken_at]))

    def add_cash_flows(self, flows: Sequence[CashFlow]) -> list[CashFlow]:
        """Store flows by the broker's id; return those that were not known."""
        if not flows:
            return []
        rows = [
            {
                "flow_id": flow.id,
                "kind": flow.kind,
                "amount": flow.amount,
                "earliest": flow.earliest,
                "latest": flow.latest,
            }
            for flow in flows
        ]
        statement = insert(cash_flow).values(rows).on_conflict_do_nothing(index_elements=[cash_flow.c.flow_id])
        added = set(self._connection.execute(statement.returning(cash_flow.c.flow_id)).scalars())
        return [flow for flow in flows if flow.id in added]

    def limit_rows(self) -> list[LimitRow]:
        """Read the last row of every limit."""
        newest = limit_change.c.name, limit_change.c.version.desc()
        rows = self._connection.execute(select(limit_change).distinct(limit_change.c.name).order_by(*newest))
        return [_limit(row) for row in rows]

    def limit_history(self, name: str) -> list[LimitRow]:
        """Read every row of a limit, oldest first."""
        query = select(limit_change).where(limit_change.c.name == name).order_by(limit_change.c.version)
        return [_limit(row) for row in self._connection.execute(query)]

    def add_limits(self, changes: Sequence[LimitChange]) -> None:
        """Add rows in one statement, in the order given."""
        self._connection.execute(insert(limit_change), [asdict(change) for change in changes])

    def booked_since(self, moment: datetime) -> Decimal:
        """Sum the P&L of all finished trades with an entry in the ledger, or an end, since a moment."""
        # The slot of the end is that in which closing began: an orphan may be sold a week later.
        ended = func.coalesce(pair_trade.c.closed_slot, pair_trade.c.slot) >= moment
        with_entry = select(ledger_entry.c.pair_trade_id).where(ledger_entry.c.occurred_at >= moment)
        booked = func.coalesce(func.sum(pair_trade.c.realized_pnl), Decimal(0))
        lately = pair_trade.c.state.in_(_FINISHED), or_(pair_trade.c.pair_trade_id.in_(with_entry), ended)
        return Decimal(self._connection.execute(select(booked).where(*lately)).scalar_one())

    def upcoming_events(self, symbols: Sequence[str], first: date, last: date) -> list[MarketEvent]:
        """Read the companies' announced actions with their day from `first` to `last`, by day."""
        action = corporate_action.c
        rows = self._connection.execute(
            select(action.symbol, action.ex_date, action.kind)
            .where(action.symbol.in_(symbols), action.ex_date.between(first, last))
            .order_by(action.ex_date, action.symbol, action.corporate_action_id)
        )
        return [MarketEvent(row.symbol, row.ex_date, row.kind.replace("_", " ")) for row in rows]

    def earnings_reports(self, symbols: Sequence[str], since: date) -> list[EarningsReport]:
        """Read days of earnings that are not over before `since`, whoever told them."""
        e = earnings_dates.c
        rows = self._connection.execute(
            select(e.symbol, e.first_day, e.last_day, e.is_estimate)
            .where(e.symbol.in_(symbols), e.last_day >= since)
            .order_by(e.first_day, e.symbol)
        )
        return [EarningsReport(row.symbol, row.first_day, row.last_day, row.is_estimate) for row in rows]

    def pair_fit(self, pair_id: str) -> PairFit | None:
        """Read a registered pair."""
        row = self._connection.execute(select(pair_registry).where(pair_registry.c.pair_id == pair_id)).one_or_none()
        return None if row is None else PairFit(row.pair_id, row.symbol_1, row.symbol_2, row.beta)

    def add_alert(self, alert: AlertRaised) -> bool:
        """Store an alert under its own id; False when it is there already."""
        return write_alert(self._connection, alert)

    def _points(self, since: datetime | None, until: datetime) -> list[EquityPoint]:
        # What the monitor read and what the slots began with are one series.
        slots = select(equity_point.c.taken_at.label("at"), equity_point.c.equity)
        readings = select(portfolio_reading.c.taken_at.label("at"), portfolio_reading.c.equity)
        series = slots.union_all(readings).subquery()
        query = select(series.c.at, series.c.equity).where(series.c.at <= until).order_by(series.c.at)
        if since is not None:
            query = query.where(series.c.at >= since)
        return [EquityPoint(row.at, row.equity) for row in self._connection.execute(query)]

    def _flows(self, since: datetime | None) -> list[CashFlow]:
        query = select(cash_flow).order_by(cash_flow.c.latest, cash_flow.c.flow_id)
        if since is not None:
            query = query.where(cash_flow.c.latest > since)
        return [
            CashFlow(row.flow_id, row.kind, row.amount, row.earliest, row.latest)
            for row in self._connection.execute(query)
        ]

    def open_trades(self) -> list[OpenTrade]:
        """Read all pair trades that are not finished, with what they hold, by pair id."""
        held_1, held_2 = position.alias("held_1"), position.alias("held_2")
        of_trade = pair_trade.c.pair_trade_id
        rows = self._connection.execute(
            select(pair_trade, held_1.c.quantity.label("held_1"), held_2.c.quantity.label("held_2"))
            .outerjoin(held_1, and_(held_1.c.pair_trade_id == of_trade, held_1.c.symbol == pair_trade.c.symbol_1))
            .outerjoin(held_2, and_(held_2.c.pair_trade_id == of_trade, held_2.c.symbol == pair_trade.c.symbol_2))
            .where(pair_trade.c.state.not_in(_FINISHED))
            .order_by(pair_trade.c.pair_id)
        )
        return [_open_trade(row) for row in rows]

    def closed_results(self, owners: Sequence[str], count: int) -> dict[str, list[Decimal]]:
        """Read the booked P&L of each owner's last `count` closed trades in dollars, oldest first."""
        newest_first = pair_trade.c.closed_slot.desc(), pair_trade.c.slot.desc()
        owner = func.coalesce(pair_trade.c.instance_id, pair_trade.c.pair_id)
        ranked = (
            select(
                owner.label("owner"),
                pair_trade.c.realized_pnl,
                func.row_number().over(partition_by=owner, order_by=newest_first).label("age"),
            )
            .where(
                owner.in_(owners),
                pair_trade.c.state == PairTradeState.CLOSED.value,
                pair_trade.c.realized_pnl.is_not(None),
            )
            .subquery()
        )
        results: dict[str, list[Decimal]] = defaultdict(list)
        rows = self._connection.execute(select(ranked).where(ranked.c.age <= count).order_by(ranked.c.age.desc()))
        for row in rows:
            results[row.owner].append(row.realized_pnl)
        return dict(results)

    def orders_since(self, minute_ago: datetime, midnight: datetime) -> tuple[int, int]:
        """Count the orders sent since each of two moments."""
        sent = order_intent.c.sent_at
        row = self._connection.execute(
            select(func.count().filter(sent > minute_ago).label("minute"), func.count().label("day")).where(
                sent >= min(midnight, minute_ago)
            )
        ).one()
        return row.minute, row.day

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read the closes of finished hourly bars on the grid of `ends`, NaN where there is none."""
        return self._read_closes(self._connection, symbols, ends)


def _limit(row: Row[Any]) -> LimitRow:
    # The column has nine places; a limit of 10 is no 10.000000000 to people.
    return LimitRow(
        row.name, Decimal(plain(row.value)), row.who, row.why, row.version, row.recorded_at, row.change_id
    )


def _signal(row: Row[Any]) -> SlotSignal:
    mode = PairMode if row.instance_id is None else InstanceMode
    return SlotSignal(
        row.signal_id,
        row.pair_id,
        row.symbol_1,
        row.symbol_2,
        row.beta,
        SignalAction(row.action),
        mode(row.pair_mode),
        mode(row.mode),
        row.price_1,
        row.price_2,
        row.z,
        row.instance_id,
        row.asked_fraction,
    )


def _decision(row: Row[Any]) -> RiskDecision:
    return RiskDecision(
        row.pair_id,
        row.slot,
        row.signal_id,
        SignalAction(row.action),
        row.approved,
        row.code,
        row.reason,
        row.quantity_1,
        row.quantity_2,
        row.numbers,
    )


def _row(decision: RiskDecision) -> dict[str, object]:
    return {
        "decision_id": decision.id,
        "signal_id": decision.signal_id,
        "pair_id": decision.pair_id,
        "slot": decision.slot,
        "action": decision.action.value,
        "approved": decision.approved,
        "code": decision.code,
        "reason": decision.reason,
        "quantity_1": decision.quantity_1,
        "quantity_2": decision.quantity_2,
        "numbers": dict(decision.numbers),
    }


def _open_trade(row: Row[Any]) -> OpenTrade:
    state = PairTradeState(row.state)
    held = row.held_1, row.held_2
    quantities = [_expected(state, *leg) for leg in zip(held, (row.target_1, row.target_2), strict=True)]
    return OpenTrade(
        row.pair_id,
        row.slot,
        row.symbol_1,
        row.symbol_2,
        quantities[0],
        quantities[1],
        state is PairTradeState.ORPHANED,
    )


def _expected(state: PairTradeState, held: Decimal | None, target: Decimal) -> Decimal:
    # A trade that is opening will hold its target; without a row of what is held, the target is the safe guess.
    if held is None:
        return target
    return max(held, target, key=abs) if state is PairTradeState.OPENING else held
