"""One cycle of execution: get straight with the broker, then act on what risk approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial

from loguru import logger

from src.services.execution.domain.precheck import Surroundings, objection
from src.services.execution.domain.reconciliation import Drift, compare, late_news
from src.services.execution.ports import Approval, TradeStore, TradingBroker, WallClock, WriterLock
from src.services.execution.use_cases.drive import Cycle, Driver
from src.shared.domain.errors import NotTheWriter, Refused, Terminal, TradewindsError, Transient
from src.shared.domain.ids import client_order_prefix, pair_trade_id, slot_key
from src.shared.domain.orders import MarketClock, OrderIntent, OrderReport
from src.shared.domain.pairs import PairTrade, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.messages.ops import AlertRaised
from src.shared.ports.unit_of_work import UnitOfWork

_NO_WORD = (Transient, Refused)
_BARS_LOOKED_BACK = 14
_ROWS_THAT_COUNT = frozenset({"position", "order", "fill"})


@dataclass(frozen=True)
class Gate:
    """What a cycle starts from. `market` is the broker's clock; `reconciled` says whether entries are safe."""

    slot: datetime
    market: MarketClock
    reconciled: bool
    differences: tuple[str, ...]


@dataclass(frozen=True)
class ExecutionSummary:
    """Pair trades by the state in which this cycle left them."""

    slot: datetime
    states: dict[str, int]


@dataclass(frozen=True)
class Trouble:
    """What kept one trade from being carried on."""

    pair_id: str
    error: Exception

    def __str__(self) -> str:
        return f"{self.pair_id}: {self.error}"


@dataclass
class Execution:
    """The verbs of the execution service."""

    store: UnitOfWork[TradeStore]
    broker: TradingBroker
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
            Transient: the broker's clock or the database can't be read.
        """
        market = self.broker.clock()
        slot = self.calendar.last_slot(market.now)
        with self.become_writer() as epoch:
            # What is begun is carried on; the first leg of an entry waits for the cycle that has seen the gate.
            driver = self.make_driver(Cycle(slot, market, self.clock.now(), epoch, may_enter=False))
            drifts = self._resume(driver) | self._compare_twice(slot) | self._unread()
        if drifts:
            self._report(drifts, slot, market.now)
        return Gate(slot, market, not drifts, tuple(sorted(f"{d.subject}: {d.detail}" for d in drifts)))

    def carry_on(self, wait: bool = True) -> tuple[str, ...]:
        """Take in late fills and carry on what is in motion, without comparing the books; return what could not be.

        Args:
            wait: wait for another run that trades the account; else do nothing while there is one.

        Raises:
            NotTheWriter: another process is trading this account now.
            Transient: the broker's clock or the database can't be read.
        """
        market = self.broker.clock()
        slot = self.calendar.last_slot(market.now)
        with self.become_writer(wait) as epoch:
            drifts = self._resume(self.make_driver(Cycle(slot, market, self.clock.now(), epoch, may_enter=False)))
        return tuple(sorted(f"{drift.subject}: {drift.detail}" for drift in drifts))

    def execute_slot(self, gate: Gate) -> ExecutionSummary:
        """Act on every approval of the gate's slot: exits first, then entries. A second run finds the work done.

        One trade that fails does not stop the exits of the others; entries wait until it is mended.

        Raises:
            NotTheWriter: another process is trading this account now.
            Transient: a trade could not be carried on now; the others were.
            Terminal: a trade needs a person; the others were carried on.
        """
        with self.become_writer() as epoch:
            # Between the gate and here signals and limits took their time: the market may have closed.
            gate = replace(gate, market=self.broker.clock())
            driver = self.make_driver(Cycle(gate.slot, gate.market, self.clock.now(), epoch, may_enter=True))
            with self.store() as work:
                approvals = work.repo.approvals(gate.slot)
            return self._act_on_all(driver, gate, approvals)

    def _act_on_all(self, driver: Driver, gate: Gate, approvals: list[Approval]) -> ExecutionSummary:
        states: Counter[str] = Counter()
        troubles: list[Trouble] = []
        for approval in approvals:
            if troubles and approval.action.is_entry:
                troubles.append(Trouble(approval.pair_id, Transient("waits for the trades that are not finished")))
                continue
            try:
                trade = self._act(driver, gate, approval)
            except NotTheWriter:
                raise
            except Exception as error:  # whatever is wrong with one trade, the exits of the others go on
                troubles.append(_troubled(approval.pair_id, error))
            else:
                states.update([trade.state.value] if trade else [])
        self._raise(troubles, gate)
        return ExecutionSummary(gate.slot, dict(states))

    def _raise(self, troubles: list[Trouble], gate: Gate) -> None:
        lasting = [trouble for trouble in troubles if not isinstance(trouble.error, Transient)]
        for trouble in lasting:
            self._alert("a trade can't be carried on", str(trouble), gate.slot, gate.market.now)
        if troubles:
            text = "; ".join(map(str, troubles))
            raise Terminal(text) if lasting else Transient(text)

    def _act(self, driver: Driver, gate: Gate, approval: Approval) -> PairTrade | None:
        return self._close(driver, gate, approval) if approval.action.is_exit else self._open(driver, gate, approval)

    def _close(self, driver: Driver, gate: Gate, approval: Approval) -> PairTrade | None:
        with self.store() as work:
            trade = work.repo.open_trade(approval.pair_id)
        # A run that comes late must not close the trade that was opened after its slot.
        if trade is None or trade.slot >= gate.slot:
            return None
        if trade.state is PairTradeState.OPEN:
            trade = driver.move(trade, PairTradeState.CLOSING, approval.action.value)
        return driver.drive(trade)

    def _open(self, driver: Driver, gate: Gate, approval: Approval) -> PairTrade | None:
        trade = self._new_trade(gate.slot, approval)
        with self.store() as work:
            known = work.repo.trade(trade.id)
            is_sent = bool(work.repo.intents(trade.id))
        if is_sent or (known is not None and known.state is not PairTradeState.OPENING):
            return driver.drive(known or trade)
        why_not = self._why_not(gate, trade)
        if known is not None:
            return driver.move(known, PairTradeState.ABANDONED, why_not) if why_not else driver.drive(known)
        if why_not:
            trade = _abandoned(trade, why_not)
        return driver.drive(trade) if driver.begin(trade) else None

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
        if self.calendar.last_slot(gate.market.now) != gate.slot:
            return "its hour is over"
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

    def _resume(self, driver: Driver) -> frozenset[Drift]:
        """Carry on each trade for itself: one that can't be must not keep the others from their exits."""
        troubles = self._hear_late_fills(driver)
        with self.store() as work:
            unfinished = work.repo.trades_in_motion()
        for trade in unfinished:
            logger.info("carrying on {} ({})", trade.pair_id, trade.state)
            troubles += self._try(trade.pair_id, partial(driver.drive, trade))
        for trouble in troubles:
            self._alert("a trade can't be carried on", str(trouble), driver.cycle.slot, driver.cycle.market.now)
        return frozenset(Drift("trade", trouble.pair_id, str(trouble.error)) for trouble in troubles)

    def _hear_late_fills(self, driver: Driver) -> list[Trouble]:
        try:
            reports = self.broker.orders_since(self._recently(driver.cycle.slot))
        except _NO_WORD as error:
            return [_troubled("recent orders", error)]
        with self.store() as work:
            ours = work.repo.intents_named(report.client_order_id for report in reports)
        troubles: list[Trouble] = []
        for report in late_news(ours, reports):
            intent = ours[report.client_order_id]
            logger.warning("{} was filled after its end", intent.client_order_id)
            troubles += self._try(intent.client_order_id, partial(self._hear_late, driver, intent, report))
        return troubles

    def _hear_late(self, driver: Driver, intent: OrderIntent, report: OrderReport) -> None:
        driver.hear(intent, report)
        with self.store() as work:
            trade = work.repo.trade(intent.pair_trade_id)
        if trade is not None:
            driver.drive(trade)

    def _try(self, subject: str, act: Callable[[], object]) -> list[Trouble]:
        try:
            act()
        except NotTheWriter:
            raise
        except Exception as error:
            return [_troubled(subject, error)]
        return []

    def _recently(self, slot: datetime) -> datetime:
        """The beginning of the session before the slot's: a day order's last word is not later than that."""
        return self.calendar.last_spans(slot, _BARS_LOOKED_BACK)[0][0]

    def _compare_twice(self, slot: datetime) -> frozenset[Drift]:
        """One look may catch the broker's lists out of step with each other; drift is what two looks agree on."""
        first = self._compare(slot)
        if not first:
            return first
        self.clock.sleep(1.0)
        second = self._compare(slot)
        return second if _is_blind(first) or _is_blind(second) else first & second

    def _compare(self, slot: datetime) -> frozenset[Drift]:
        try:
            positions, working = self.broker.positions(), self.broker.open_orders()
            recent = self.broker.orders_since(self._recently(slot))
        except _NO_WORD as error:
            return frozenset({Drift("unread", "broker", f"could not be compared with our books: {error}")})
        with self.store() as work:
            held = work.repo.holdings()
            ours = work.repo.intents_named(order.client_order_id for order in [*working, *recent])
        prefix = client_order_prefix(self.environment)
        return compare(held, ours, positions, recent, working, prefix)

    def _unread(self) -> frozenset[Drift]:
        """Rows that could not be read: without them nobody can say that books and broker agree."""
        rows = [row for row in self.broker.take_quarantined() if row.kind in _ROWS_THAT_COUNT]
        return frozenset(Drift("unread", row.kind, f"{row.reason} in {row.raw[:200]}") for row in rows)

    def _report(self, drifts: frozenset[Drift], slot: datetime, at: datetime) -> None:
        detail = "; ".join(sorted(f"{d.kind} {d.subject}: {d.detail}" for d in drifts))
        self._alert("books and broker disagree", detail, slot, at)

    def _alert(self, title: str, detail: str, slot: datetime, at: datetime) -> None:
        logger.error("{}: {}", title, detail)
        with self.store() as work:
            alert = work.repo.note_alert("critical", title, detail, slot, at)
            work.record(AlertRaised.of(alert, 1, at, slot_key(slot), severity="critical", title=title, detail=detail))
            work.commit()


def _abandoned(trade: PairTrade, why: str) -> PairTrade:
    """Write the entry that must not be sent and its end in one step: nothing between them can be carried on."""
    return replace(
        trade,
        state=PairTradeState.ABANDONED,
        closed_slot=trade.slot,
        close_reason=why,
        realized_pnl=Decimal(0),
    )


def _is_blind(drifts: frozenset[Drift]) -> bool:
    return any(drift.kind == "unread" for drift in drifts)


def _troubled(pair_id: str, error: Exception) -> Trouble:
    known = isinstance(error, TradewindsError)
    logger.opt(exception=None if known else error).error("{} is not finished: {}", pair_id, error)
    return Trouble(pair_id, error)
