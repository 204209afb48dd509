"""One cycle of execution: get straight with the broker, then act on what risk approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from loguru import logger

from src.services.execution.domain.precheck import Surroundings, objection
from src.services.execution.domain.reconciliation import Reconciliation, compare
from src.services.execution.ports import Approval, TradeStore, WallClock, WriterLock
from src.services.execution.use_cases.drive import Cycle, Driver
from src.shared.domain.errors import Transient
from src.shared.domain.ids import client_order_prefix, pair_trade_id, slot_key
from src.shared.domain.orders import MarketClock
from src.shared.domain.pairs import PairTrade, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.messages.ops import AlertRaised
from src.shared.ports.broker import Broker
from src.shared.ports.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class Gate:
    """What a cycle starts from. `market` is the broker's clock; `reconciled` says whether entries are safe."""

    slot: datetime
    market: MarketClock
    reconciled: bool
    differences: tuple[str, ...]


@dataclass(frozen=True)
class ExecutionSummary:
    """Pair trades by the state in which this cycle left them, and what could not be finished."""

    slot: datetime
    states: dict[str, int]
    unfinished: tuple[str, ...]


@dataclass
class Execution:
    """The verbs of the execution service."""

    store: UnitOfWork[TradeStore]
    broker: Broker
    clock: WallClock
    calendar: TradingCalendar
    become_writer: WriterLock
    make_driver: Callable[[Cycle], Driver]
    environment: str

    def market_clock(self) -> MarketClock:
        """Read market time. Raises as the broker's port says."""
        return self.broker.clock()

    def open_gate(self) -> Gate:
        """Carry on what an earlier run left unfinished, then compare our books with the broker's.

        Raises:
            NotTheWriter: another process is trading this account now.
            Transient: the broker or the database can't be read; nothing was begun.
        """
        market = self.broker.clock()
        slot = self.calendar.last_slot(market.now)
        with self.become_writer() as epoch:
            self._resume(self.make_driver(Cycle(slot, market.now, epoch, market.is_open)))
            result = self._compare_twice()
        if not result.clean:
            self._report(result, slot, market.now)
        return Gate(slot, market, result.clean, tuple(sorted(f"{d.subject}: {d.detail}" for d in result.drifts)))

    def execute_slot(self, gate: Gate) -> ExecutionSummary:
        """Act on every approval of the gate's slot: exits first, then entries. A second run finds the work done.

        Raises:
            NotTheWriter: another process is trading this account now.
            Transient: a trade could not be carried on; the others were.
        """
        with self.become_writer() as epoch:
            driver = self.make_driver(Cycle(gate.slot, gate.market.now, epoch, gate.market.is_open))
            with self.store() as work:
                approvals = work.repo.approvals(gate.slot)
            return self._act_on_all(driver, gate, approvals)

    def _act_on_all(self, driver: Driver, gate: Gate, approvals: list[Approval]) -> ExecutionSummary:
        states: Counter[str] = Counter()
        unfinished: list[str] = []
        for approval in approvals:
            try:
                trade = self._act(driver, gate, approval)
            except Transient as error:
                logger.warning("{} is not finished: {}", approval.pair_id, error)
                unfinished.append(f"{approval.pair_id}: {error}")
            else:
                states.update([trade.state.value] if trade else [])
        if unfinished:
            raise Transient("; ".join(unfinished))
        return ExecutionSummary(gate.slot, dict(states), tuple(unfinished))

    def _act(self, driver: Driver, gate: Gate, approval: Approval) -> PairTrade | None:
        return self._close(driver, approval) if approval.action.is_exit else self._open(driver, gate, approval)

    def _close(self, driver: Driver, approval: Approval) -> PairTrade | None:
        with self.store() as work:
            trade = work.repo.open_trade(approval.pair_id)
        if trade is None:
            return None
        if trade.state is PairTradeState.OPEN:
            trade = driver.move(trade, PairTradeState.CLOSING, approval.action.value)
        return driver.drive(trade)

    def _open(self, driver: Driver, gate: Gate, approval: Approval) -> PairTrade | None:
        trade = self._new_trade(gate.slot, approval)
        with self.store() as work:
            known = work.repo.trade(trade.id)
        if known is not None:
            return driver.drive(known)
        why_not = self._why_not(gate, trade)
        if not driver.begin(trade):
            return None
        return driver.move(trade, PairTradeState.ABANDONED, why_not) if why_not else driver.drive(trade)

    def _new_trade(self, slot: datetime, approval: Approval) -> PairTrade:
        return PairTrade(
            id=pair_trade_id(self.environment, approval.pair_id, slot),
            pair_id=approval.pair_id,
            symbol_1=approval.symbol_1,
            symbol_2=approval.symbol_2,
            beta=approval.beta,
            direction=approval.action.direction,
            state=PairTradeState.OPENING,
            slot=slot,
            target_1=approval.quantity_1,
            target_2=approval.quantity_2,
            version=1,
        )

    def _why_not(self, gate: Gate, trade: PairTrade) -> str | None:
        if not gate.reconciled:
            return "books and broker disagree"
        if not gate.market.is_open:
            return "the market is closed"
        return objection(trade, self._surroundings(trade))

    def _surroundings(self, trade: PairTrade) -> Surroundings:
        with self.store() as work:
            held = work.repo.holdings()
        positions = self.broker.positions()
        return Surroundings(
            assets=self.broker.assets([trade.symbol_1, trade.symbol_2]),
            ours=held,
            external={p.symbol: p.quantity for p in positions if p.symbol not in held},
            working=frozenset(order.symbol for order in self.broker.open_orders()),
        )

    def _resume(self, driver: Driver) -> None:
        with self.store() as work:
            unfinished = work.repo.trades_in_motion()
        for trade in unfinished:
            logger.info("carrying on {} ({})", trade.pair_id, trade.state)
            driver.drive(trade)

    def _compare_twice(self) -> Reconciliation:
        """One look may catch the broker's lists out of step with each other; drift is what two looks agree on."""
        first = self._compare()
        if first.clean:
            return first
        self.clock.sleep(1.0)
        second = self._compare()
        return Reconciliation(first.drifts & second.drifts, second.external, second.external_orders)

    def _compare(self) -> Reconciliation:
        positions, orders = self.broker.positions(), self.broker.open_orders()
        with self.store() as work:
            held = work.repo.holdings()
            known = work.repo.known_orders(order.client_order_id for order in orders)
        return compare(held, known, positions, orders, client_order_prefix(self.environment))

    def _report(self, result: Reconciliation, slot: datetime, at: datetime) -> None:
        title = "books and broker disagree"
        detail = "; ".join(sorted(f"{d.kind} {d.subject}: {d.detail}" for d in result.drifts))
        logger.error("{}: {}", title, detail)
        with self.store() as work:
            alert = work.repo.note_alert("critical", title, detail, slot, at)
            work.record(AlertRaised.of(alert, 1, at, slot_key(slot), severity="critical", title=title, detail=detail))
            work.commit()
