"""One cycle of execution: get straight with the broker, then act on what risk approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from loguru import logger

from src.services.execution.domain.order_reports import works
from src.services.execution.domain.precheck import Surroundings, objection
from src.services.execution.domain.reconciliation import Blocks, Finding, Kind, late_news, revenants
from src.services.execution.ports import Approval, TradeStore, TradingBroker, UnreadRow, WallClock, WriterLock
from src.services.execution.use_cases.alerts import condition, end_others, raise_begun
from src.services.execution.use_cases.companies import Companies
from src.services.execution.use_cases.compare import NO_WORD, Comparison
from src.services.execution.use_cases.drive import Cycle, Driver, Frozen
from src.shared.domain.errors import NotTheWriter, Refused, Terminal, TradewindsError, Transient, Unreachable
from src.shared.domain.ids import pair_trade_id
from src.shared.domain.orders import MarketClock, OrderIntent, OrderReport, OrderState
from src.shared.domain.pairs import PairTrade, PairTradeState
from src.shared.domain.risk import RiskState
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.messages.ops import Severity
from src.shared.ports.unit_of_work import UnitOfWork, Work

# It answered when the cycle began: a server that is away now will be back.
_PASSES = (Transient, Unreachable)
_STUCK = "a trade can't be carried on"
_REFUSED = "the broker refuses us"
_DISAGREE = "books and broker disagree"
_TITLES = {
    Kind.ACCOUNT: "the broker does not let the account trade",
    Kind.CLOCK: "market time can't be trusted",
    Kind.ORPHAN: "entries wait for a leg that can't be closed",
}


@dataclass(frozen=True)
class Gate:
    """What a cycle starts from.

    `market` is the broker's clock; `reconciled` says whether entries are safe, but for those in `blocked_symbols`;
    `differences` are the lines of what stops all of them; `findings` is everything that was found.
    """

    slot: datetime
    market: MarketClock
    reconciled: bool
    differences: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def stops(self) -> tuple[Finding, ...]:
        """What stops all entries."""
        return tuple(finding for finding in self.findings if finding.blocks is Blocks.ALL_ENTRIES)

    @property
    def blocked_symbols(self) -> frozenset[str]:
        """Symbols in which nothing is entered."""
        return frozenset(s for finding in self.findings if finding.blocks is Blocks.SYMBOL for s in finding.symbols)


@dataclass(frozen=True)
class ExecutionSummary:
    """Pair trades by the state in which this cycle left them."""

    slot: datetime
    states: dict[str, int]


@dataclass(frozen=True)
class Trouble:
    """What kept one trade, or one order of it, from being carried on."""

    subject: str
    symbols: tuple[str, ...]
    error: Exception

    def __str__(self) -> str:
        return f"{self.subject}: {self.error}"

    @property
    def about(self) -> str:
        """Name it apart from its text, in which numbers may change."""
        return f"{self.subject} {type(self.error).__name__}"

    @property
    def finding(self) -> Finding:
        """Say what it stops: all entries, or those in its symbols when only the broker is waited for."""
        kind = Kind.STUCK_ORDER if isinstance(self.error, Frozen) else Kind.TRADE
        return Finding(kind, self.subject, str(self.error), self.symbols)


@dataclass(frozen=True)
class Passed:
    """What a pass over all trades came to.

    What kept some of them from being carried on, the broker's recent orders where nothing has been done since they
    were read, and whether all was heard that they say of orders which are over here.
    """

    troubles: list[Trouble]
    recent: list[OrderReport] | None
    heard_all: bool


@dataclass
class Execution:
    """The verbs of the execution service."""

    store: UnitOfWork[TradeStore]
    broker: TradingBroker
    clock: WallClock
    calendar: TradingCalendar
    become_writer: WriterLock
    make_driver: Callable[[Cycle], Driver]
    comparison: Comparison
    environment: str
    companies: Companies

    def market_clock(self) -> MarketClock:
        """Read market time. Raises as the broker's port says."""
        return self.broker.clock()

    def open_gate(self) -> Gate:
        """Carry on what an earlier run left unfinished, then compare our books with the broker's.

        Raises:
            NotTheWriter: another process is trading this account now.
            Transient: the broker's clock or the database can't be read.
            Refused: the broker does not accept the keys; people are told.
        """
        market = self._accepted_clock()
        failpoint("execution.gate_clock_read")
        slot = self.calendar.last_slot(market.now)
        with self.become_writer() as epoch:
            # What is begun is carried on; the first leg of an entry waits for the cycle that has seen the gate.
            driver = self._driver(slot, market, epoch, may_enter=False)
            found = self.companies.take_in(driver)
            passed = self._resume(driver)
            found |= {trouble.finding for trouble in passed.troubles}
            found |= self.comparison.findings(slot, market, passed.recent, passed.heard_all) | self._orphans()
        stops = sorted((f for f in found if f.blocks is Blocks.ALL_ENTRIES), key=str)
        self._report(found, slot, market.now)
        differences = tuple(sorted(f"{finding.subject}: {finding.detail}" for finding in stops))
        return Gate(slot, market, not stops, differences, tuple(sorted(found, key=str)))

    def carry_on(self, wait: bool = True) -> tuple[str, ...]:
        """Take in late fills and carry on what is in motion, without comparing the books; return what is not through.

        Args:
            wait: wait for another run that trades the account, and for the broker as a cycle does. Else do nothing
                while there is another run, and take one look, so that a cycle never waits for this for long; what
                only waits for the broker is told in the answer then, and is no alert.

        Raises:
            NotTheWriter: another process is trading this account now.
            Transient: the broker's clock or the database can't be read.
            Refused: the broker does not accept the keys; people are told.
        """
        market = self._accepted_clock()
        slot = self.calendar.last_slot(market.now)
        with self.become_writer(wait) as epoch:
            driver = self._driver(slot, market, epoch, may_enter=False)
            if not wait:
                driver.patience = driver.patience.for_one_look()
            troubles = self._resume(driver, patient=wait).troubles
            self.comparison.unread(slot, market.now)
            with self.store() as work:
                moving = [f"{trade.pair_id} is {trade.state}" for trade in work.repo.trades_in_motion()]
        return tuple(sorted((*map(str, troubles), *moving)))

    def keep_unread(self, rows: Iterable[UnreadRow]) -> None:
        """Keep what the broker said outside of its answers and nobody could read. Raises as `carry_on`."""
        market = self.broker.clock()
        self.comparison.keep(rows, self.calendar.last_slot(market.now), market.now)

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
            failpoint("execution.became_writer")
            driver = self._driver(gate.slot, gate.market, epoch, may_enter=gate.reconciled)
            with self.store() as work:
                approvals = work.repo.approvals(gate.slot)
            states: Counter[str] = Counter()
            troubles = self._exit_all(driver, gate, approvals, states)
            troubles += self._enter_all(driver, gate, approvals, states, troubles)
            self._raise(troubles, gate)
            return ExecutionSummary(gate.slot, dict(states))

    def _accepted_clock(self) -> MarketClock:
        try:
            return self.broker.clock()
        except Refused as error:
            now = self.clock.now()
            self._tell_refused(error, self.calendar.last_slot(now), now)
            raise

    def _driver(self, slot: datetime, market: MarketClock, epoch: int, may_enter: bool) -> Driver:
        return self.make_driver(Cycle(slot, market, self.clock.now(), epoch, may_enter))

    def _exit_all(
        self, driver: Driver, gate: Gate, approvals: Iterable[Approval], states: Counter[str]
    ) -> list[Trouble]:
        """Send all exits before any of them is waited for: none is late because another one is stuck."""
        begun: list[PairTrade] = []
        troubles: list[Trouble] = []
        for approval in (each for each in approvals if each.action.is_exit):
            with _held(approval, troubles):
                if (trade := self._close(driver, gate, approval)) is not None:
                    begun.append(trade)
        for trade in begun:
            with _held(trade, troubles):
                states.update([driver.drive(trade).state.value])
        return troubles

    def _enter_all(
        self,
        driver: Driver,
        gate: Gate,
        approvals: Iterable[Approval],
        states: Counter[str],
        before: list[Trouble],
    ) -> list[Trouble]:
        troubles: list[Trouble] = []
        waiting: list[Trouble] = []
        for approval in (each for each in approvals if each.action.is_entry):
            symbols = approval.symbols
            # An entry that only waits is no trouble for those after it.
            if any(trouble.finding.stops(*symbols) for trouble in (*before, *troubles)):
                waits = Transient("waits for the trades that are not finished")
                waiting.append(Trouble(approval.pair_id, symbols, waits))
                continue
            with _held(approval, troubles):
                trade = self._open(driver, gate, approval)
                states.update([trade.state.value] if trade else [])
        return troubles + waiting

    def _raise(self, troubles: list[Trouble], gate: Gate) -> None:
        lasting = _lasting(troubles)
        if lasting:
            with self.store() as work:
                _tell_troubles(work, lasting, gate.slot, gate.market.now)
                work.commit()
        if troubles:
            text = "; ".join(map(str, troubles))
            raise Terminal(text) if lasting else Transient(text)

    def _close(self, driver: Driver, gate: Gate, approval: Approval) -> PairTrade | None:
        with self.store() as work:
            trade = work.repo.open_trade(approval.pair_id)
        # A run that comes late must not close the trade that was opened after its slot.
        if trade is None or trade.slot >= gate.slot:
            return None
        if trade.state is PairTradeState.OPEN:
            trade = driver.move(trade, PairTradeState.CLOSING, approval.action.value)
        return driver.drive(trade, patient=False)

    def _open(self, driver: Driver, gate: Gate, approval: Approval) -> PairTrade | None:
        trade = self._new_trade(gate.slot, approval)
        with self.store() as work:
            known = work.repo.trade(trade.id)
            orders = work.repo.intents(trade.id)
        is_sent = any(order.state is not OrderState.PLANNED for order in orders)
        if is_sent or (known is not None and known.state is not PairTradeState.OPENING):
            return driver.drive(known or trade)
        why_not = self._why_not(gate, trade, approval.buying_power)
        if known is None:
            begun = driver.begin(_abandoned(trade, why_not) if why_not else trade)
            return driver.drive(trade) if begun else None
        if why_not is None:
            return driver.drive(known)
        # An order that is planned already rests, and is given up with its hour.
        return known if orders else driver.move(known, PairTradeState.ABANDONED, why_not)

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
            instance_id=approval.instance_id,
        )

    def _why_not(self, gate: Gate, trade: PairTrade, needed: Decimal) -> str | None:
        return (
            self._moment_objection(gate)
            or self._standing_objection(gate, trade)
            or self.companies.why_frozen(trade, gate.market.now)
            or objection(trade, needed, self._surroundings(trade))
        )

    def _moment_objection(self, gate: Gate) -> str | None:
        if not gate.reconciled:
            return _DISAGREE
        if not gate.market.is_open:
            return "the market is closed"
        return "its hour is over" if self.calendar.last_slot(gate.market.now) != gate.slot else None

    def _standing_objection(self, gate: Gate, trade: PairTrade) -> str | None:
        with self.store() as work:
            risk, reopened = work.repo.risk_state(), work.repo.reopened_trade(trade.pair_id)
        if risk is not RiskState.ACTIVE:
            return f"the account is {risk}"
        if reopened is not None:
            return "an earlier trade of the pair is still being sold"
        # An exit of this very slot may have left one since the gate.
        found = (*gate.findings, *self._orphans())
        frozen = next((f for f in found if f.stops(*trade.symbols)), None)
        return f"{frozen.kind} {frozen.subject}: {frozen.detail}" if frozen else None

    def _surroundings(self, trade: PairTrade) -> Surroundings:
        with self.store() as work:
            held = work.repo.holdings()
        positions = self.broker.positions()
        return Surroundings(
            assets=self.broker.assets(list(trade.symbols)),
            ours=held,
            external={p.symbol: p.quantity for p in positions if p.symbol not in held},
            working=frozenset(order.symbol for order in self.broker.open_orders()),
            buying_power=self.broker.account().buying_power,
        )

    def _resume(self, driver: Driver, patient: bool = True) -> Passed:
        """Carry on each trade for itself: exits first, and none waits before all have taken the steps they can.

        An impatient call waits for none, and tells people only of what a later call would not mend.
        """
        troubles, recent = self._hear_late_fills(driver)
        # What can't be heard for good needs a person: it does not become news by being read once more.
        heard_all = len(_lasting(troubles)) == len(troubles)
        stayed = self._wake(driver, troubles)
        with self.store() as work:
            unfinished = sorted(work.repo.trades_in_motion(), key=lambda trade: trade.state is PairTradeState.OPENING)
        waiting = []
        for trade in unfinished:
            logger.info("carrying on {} ({})", trade.pair_id, trade.state)
            with _held(trade, troubles):
                waiting.append(driver.drive(trade, patient=False))
        for trade in waiting if patient else ():
            with _held(trade, troubles):
                driver.drive(trade)
        with self.store() as work:
            told = troubles if patient else _lasting(troubles)
            _tell_troubles(work, told, driver.cycle.slot, driver.cycle.market.now)
            still = driver.paged | {condition(_STUCK, trouble.about) for trouble in troubles}
            end_others(work, "trades", still, driver.cycle.market.now)
            work.commit()
        return Passed(troubles, recent if stayed and not unfinished else None, heard_all)

    def _hear_late_fills(self, driver: Driver) -> tuple[list[Trouble], list[OrderReport] | None]:
        """Hear what the broker says of orders that are over here; one that works there after all is cancelled."""
        troubles: list[Trouble] = []
        try:
            reports = self.broker.orders_since(self.comparison.recently(driver.cycle.slot))
        except NO_WORD as error:
            return [_troubled("recent orders", (), error)], None
        with self.store() as work:
            ours = work.repo.intents_named(report.client_order_id for report in reports)
        back, late = revenants(ours, filter(works, reports)), late_news(ours, reports)
        for report in back:
            intent = ours[report.client_order_id]
            with _held(intent, troubles):
                driver.end(intent, report)
        for report in late:
            intent = ours[report.client_order_id]
            if works(report):
                continue
            logger.warning("{} was filled after its end", intent.client_order_id)
            with _held(intent, troubles):
                driver.hear(intent, report)
        return troubles, None if back or late else reports

    def _wake(self, driver: Driver, troubles: list[Trouble]) -> bool:
        """Let trades at rest take the steps that their books ask for by now; True when all stayed as they were.

        A late fill that somebody heard is in the books, whether or not he came to act on it: what is to be done is
        read from there alone. Nothing is waited for; a trade that set out is in motion from here on.
        """
        with self.store() as work:
            resting = work.repo.trades_at_rest()
        stayed = True
        for trade in resting:
            with _held(trade, troubles):
                stayed = driver.drive(trade, patient=False) == trade and stayed
        return stayed

    def _orphans(self) -> frozenset[Finding]:
        with self.store() as work:
            trades = [t for t in work.repo.trades_in_motion() if t.state is PairTradeState.ORPHANED]
        return frozenset(
            Finding(Kind.ORPHAN, t.pair_id, f"the trade of {t.slot:%F %H:%M} UTC", t.symbols) for t in trades
        )

    def _report(self, found: Iterable[Finding], slot: datetime, at: datetime) -> None:
        """Tell people what stops entries, and who else trades in a symbol that we hold, each when it begins."""
        details: dict[tuple[Severity, str], dict[str, str]] = {}
        with self.store() as work:
            held = work.repo.holdings()
            for finding in found:
                about = f"{finding.kind} {finding.subject}"
                if finding.blocks is Blocks.ALL_ENTRIES:
                    kind: tuple[Severity, str] = ("critical", _TITLES.get(finding.kind, _DISAGREE))
                elif finding.kind is not Kind.STUCK_ORDER and held.keys() & {*finding.symbols}:
                    kind = ("warning", "somebody else trades what we hold")
                else:
                    continue
                details.setdefault(kind, {})[about] = f"{about}: {finding.detail}"
            for (severity, title), lines in details.items():
                logger.error("{}: {}", title, "; ".join(sorted(lines.values())))
                raise_begun(work, "gate", severity, title, lines, slot, at)
            still = {condition(title, about) for (_, title), lines in details.items() for about in lines}
            end_others(work, "gate", still, at)
            failpoint("execution.before_alert")
            work.commit()
        failpoint("execution.alerted")

    def _tell_refused(self, error: Refused, slot: datetime, at: datetime) -> None:
        logger.error("{}: {}", _REFUSED, error)
        with self.store() as work:
            raise_begun(work, "gate", "critical", _REFUSED, {error.code: str(error)}, slot, at)
            work.commit()


def _tell_troubles(work: Work[TradeStore], troubles: Iterable[Trouble], slot: datetime, at: datetime) -> None:
    for trouble in troubles:
        logger.error("{}: {}", _STUCK, trouble)
        raise_begun(work, "trades", "critical", _STUCK, {trouble.about: str(trouble)}, slot, at)


def _lasting(troubles: Iterable[Trouble]) -> list[Trouble]:
    return [trouble for trouble in troubles if not isinstance(trouble.error, _PASSES)]


def _abandoned(trade: PairTrade, why: str) -> PairTrade:
    """Write the entry that must not be sent and its end in one step: nothing between them can be carried on."""
    return replace(
        trade,
        state=PairTradeState.ABANDONED,
        closed_slot=trade.slot,
        close_reason=why,
        realized_pnl=Decimal(0),
    )


@contextmanager
def _held(what: Approval | PairTrade | OrderIntent, troubles: list[Trouble]) -> Iterator[None]:
    """Keep what is wrong with one trade from the others, and note it. Losing the lock is wrong with all of them."""
    try:
        yield
    except NotTheWriter:
        raise
    except Exception as error:
        if isinstance(what, OrderIntent):
            troubles.append(_troubled(what.client_order_id, (what.symbol,), error))
        else:
            troubles.append(_troubled(what.pair_id, what.symbols, error))


def _troubled(subject: str, symbols: tuple[str, ...], error: Exception) -> Trouble:
    known = isinstance(error, TradewindsError)
    logger.opt(exception=None if known else error).error("{} is not finished: {}", subject, error)
    return Trouble(subject, symbols, error)
