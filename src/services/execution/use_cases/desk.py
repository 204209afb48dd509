"""What a person may do by hand: close a trade, get flat, reconcile and see why, take a snapshot of positions.

Everything goes the way of the cycle: under the writer's lock, through intents, by the same machine. What can't be
finished now is carried on by the next gate, as anything that is unfinished.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from loguru import logger

from src.services.execution.domain.clearance import Around
from src.services.execution.domain.desk import (
    ZERO,
    Comparison,
    SymbolPosition,
    WriteOff,
    explain,
    is_external,
    lay_out,
    snapshot_moment,
)
from src.services.execution.ports import DeskStore
from src.services.execution.use_cases.cycle import Execution, Gate
from src.services.execution.use_cases.drive import LOOKS_APART_SECONDS, Cycle, Driver
from src.services.execution.use_cases.look import find_unfinished
from src.shared.domain.audit import AuditNote
from src.shared.domain.errors import InputInvalid, NotTheWriter, TradewindsError
from src.shared.domain.ids import client_order_prefix, pair_trade_id
from src.shared.domain.orders import MarketClock
from src.shared.domain.pairs import FINISHED_TRADES, PairTrade, PairTradeState
from src.shared.domain.risk import RiskState
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork

CLOSED_BY_HAND = "closed by hand"
FLATTENED = "flattened by hand"
RECONCILED = "reconciled by hand"
WRITTEN_OFF = "written off by hand"

DEAREST = Decimal(1_000_000)
"""No share costs so many dollars: the books' own bound is far above it."""


@dataclass(frozen=True)
class Person:
    """Who asks for something, and why; both are kept in the audit log."""

    who: str
    why: str


@dataclass(frozen=True)
class Carried:
    """A trade as it was found and as it was left; `trouble` says why it is not flat, where that is an error."""

    before: PairTrade
    after: PairTrade
    trouble: str | None = None

    @property
    def is_flat(self) -> bool:
        """Say whether nothing is held any more."""
        return self.after.state in FINISHED_TRADES


@dataclass(frozen=True)
class Closing:
    """What became of the trades that a person closes, and the market's time at that."""

    market: MarketClock
    trades: tuple[Carried, ...]


@dataclass(frozen=True)
class Snapshot:
    """Positions at a quarter of an hour; `stored` counts the symbols that had no word for it yet."""

    moment: datetime
    positions: tuple[SymbolPosition, ...]
    stored: int


@dataclass(frozen=True)
class Desk:
    """The verbs of a person."""

    store: UnitOfWork[DeskStore]
    execution: Execution
    environment: str

    def close(self, name: str, person: Person) -> Closing:
        """Close the unfinished trade of a pair, or one named by its id: what it holds, and nothing else.

        An entry under way is given up and unwound; what is being closed already is carried on. With the market closed
        the trade waits for the open.

        Raises:
            InputInvalid: there is no such trade, it is over, the account is halted, or nobody or no reason is named.
            NotTheWriter: another process is trading this account now.
            Transient: the broker's clock or the database can't be read.
        """
        check_person(person)
        with self.store() as work:
            find_unfinished(work.repo, name)
        with self.execution.become_writer() as epoch:
            with self.store() as work:
                trade = find_unfinished(work.repo, name)
            return self._close([trade], CLOSED_BY_HAND, person, epoch)

    def write_off(self, name: str, symbol: str, price: Decimal, person: Person) -> Closing:
        """Book out the shares of a leg that the books hold and the broker has not, at `price` dollars each.

        It is for what somebody sold or bought back by hand, for good. Two looks at the broker must agree. The trade
        is then carried on: what is left of it does not hedge any more and is closed.

        Raises:
            InputInvalid: nothing is missing, an order for the leg is not over, or trade, symbol or price is wrong.
            NotTheWriter, Transient: as `close`.
        """
        check_person(person)
        if not (price.is_finite() and 0 <= price < DEAREST):
            raise InputInvalid(f"{price} is no price in dollars: it is from 0 to below {DEAREST}.")
        with self.execution.become_writer() as epoch:
            with self.store() as work:
                trade = find_unfinished(work.repo, name)
            driver = self._driver(epoch)
            market = driver.cycle.market
            driver.settle_books(trade)
            gone = self._gone(trade, symbol, price)
            with self.store() as work:
                work.repo.write_off(gone, market.now, epoch)
                numbers = {"pair_trade_id": str(trade.id), "symbol": symbol, "shares": str(gone.shares)}
                work.repo.note(
                    AuditNote(person.who, WRITTEN_OFF, trade.pair_id, person.why, numbers | {"price": str(price)})
                )
                after = driver.restate(work, trade.id)
                failpoint("execution.before_write_off")
                work.commit()
            failpoint("execution.written_off")
            return Closing(market, (self._carry(driver, trade, after),))

    def flatten(self, person: Person) -> Closing:
        """Close all unfinished trades of ours; what else the account holds is left alone. Raises as `close`."""
        check_person(person)
        with self.execution.become_writer() as epoch:
            return self._close(self.unfinished(), FLATTENED, person, epoch)

    def unfinished(self) -> list[PairTrade]:
        """List the trades that `flatten` would close: also one that is over and that a late fill left shares in."""
        with self.store() as work:
            trades = [*work.repo.unfinished_trades(), *work.repo.trades_at_rest()]
        return list({trade.id: trade for trade in trades}.values())

    def reconcile(self, person: Person) -> Gate:
        """Open the gate by hand: carry on what is unfinished, and compare. Raises as `Execution.open_gate`."""
        check_person(person)
        gate = self.execution.open_gate()
        numbers = {"reconciled": gate.reconciled, "differences": list(gate.differences)}
        self._note(AuditNote(person.who, RECONCILED, "account", person.why, numbers))
        return gate

    def explain(self, gate: Gate) -> tuple[Comparison, ...]:
        """Show both sides, symbol by symbol and order by order, and what each difference that the gate found means.

        Raises:
            Transient: the broker or the database can't be read.
        """
        broker = self.execution.broker
        reports, working = broker.positions(), broker.open_orders()
        orders = [*broker.orders_since(self.execution.comparison.recently(gate.slot)), *working]
        with self.store() as work:
            positions = lay_out(work.repo.holdings_by_trade(), reports, {})
            ours = work.repo.intents_named(order.client_order_id for order in orders)
        prefix = client_order_prefix(self.environment)
        # Somebody else's orders of the past are nobody's business.
        shown = [order for order in orders if order in working or not is_external(order, ours, prefix)]
        return explain(positions, ours, shown, gate.findings, prefix)

    def pending_approvals(self, slot: datetime) -> list[str]:
        """List the pairs whose approvals of a slot have not been acted on, or not to their end.

        Raises:
            Transient: the database can't be read.
        """
        with self.store() as work:
            approvals = work.repo.approvals(slot)
            return [a.pair_id for a in approvals if self._is_pending(work.repo, a.pair_id, slot, a.action.is_exit)]

    def is_halted(self) -> bool:
        """Say whether a person has stopped everything."""
        with self.store() as work:
            return work.repo.standing().state is RiskState.HALTED

    def record_positions(self) -> Snapshot:
        """Store what is held now for this quarter of an hour; what was stored for it before stays.

        Raises:
            Transient: the broker or the database can't be read.
        """
        broker = self.execution.broker
        moment, reports = snapshot_moment(broker.clock().now), broker.positions()
        with self.store() as work:
            holdings = work.repo.holdings_by_trade()
            symbols = {holding.symbol for holding in holdings} | {report.symbol for report in reports}
            positions = lay_out(holdings, reports, work.repo.last_closes(sorted(symbols)))
            stored = work.repo.add_snapshot(moment, positions)
            failpoint("execution.before_snapshot")
            work.commit()
        failpoint("execution.snapshot_kept")
        return Snapshot(moment, positions, stored)

    def _gone(self, trade: PairTrade, symbol: str, price: Decimal) -> WriteOff:
        """Find what is missing of a leg, in both of two looks."""
        leg = next((leg for leg in trade.legs if trade.symbol(leg) == symbol), None)
        if leg is None:
            raise InputInvalid(f"{symbol} is no leg of {trade.pair_id}.")
        with self.store() as work:
            intents = work.repo.intents(trade.id)
            mine = [each for each in work.repo.holdings_by_trade() if each.pair_trade_id == trade.id]
            ours = work.repo.holdings().get(symbol, ZERO)
        held = sum((each.quantity for each in mine if each.symbol == symbol), ZERO)
        if any(intent.leg == leg and not intent.is_done for intent in intents):
            raise InputInvalid(f"An order for {symbol} is not over: cancel it, or wait for it, and say it again.")
        looks = []
        for pause in (LOOKS_APART_SECONDS, 0.0):
            told = {report.symbol: report.quantity for report in self.execution.broker.positions_in([symbol])}
            looks.append(Around(ours, told.get(symbol, ZERO)).missing(-held))
            self.execution.clock.sleep(pause)
        shares = min(abs(held), *looks).copy_sign(held)
        if shares == 0:
            raise InputInvalid(f"Nothing is to be written off: the broker has all that the books hold of {symbol}.")
        return WriteOff(trade.id, leg, symbol, shares, price)

    def _close(self, trades: list[PairTrade], what: str, person: Person, epoch: int) -> Closing:
        driver = self._driver(epoch)
        self._refuse_while_halted()
        # All of it is written down before the first order: what this process does not finish, the next gate does.
        begun = [(trade, self._begin(driver, trade, what, person)) for trade in trades]
        # And all of it is sent before anything is waited for: none is late because another one is stuck.
        for before, trade in begun:
            self._carry(driver, before, trade, patient=False)
        return Closing(driver.cycle.market, tuple(self._carry(driver, before, trade) for before, trade in begun))

    def _driver(self, epoch: int) -> Driver:
        market = self.execution.broker.clock()
        slot = self.execution.calendar.last_slot(market.now)
        return self.execution.make_driver(Cycle(slot, market, self.execution.clock.now(), epoch, may_enter=False))

    def _begin(self, driver: Driver, trade: PairTrade, what: str, person: Person) -> PairTrade:
        numbers = {"pair_trade_id": str(trade.id), "state": trade.state.value}
        note = AuditNote(person.who, what, trade.pair_id, person.why, numbers)
        if (state := self._state_wanted(trade)) is not None:
            return driver.move(trade, state, f"by hand: {person.why}", note)
        self._note(note)
        return trade

    def _note(self, note: AuditNote) -> None:
        with self.store() as work:
            work.repo.note(note)
            failpoint("execution.before_note")
            work.commit()
        failpoint("execution.noted")

    def _state_wanted(self, trade: PairTrade) -> PairTradeState | None:
        if trade.state is PairTradeState.OPEN:
            return PairTradeState.CLOSING
        if trade.state is not PairTradeState.OPENING:
            return None
        with self.store() as work:
            was_ordered = bool(work.repo.intents(trade.id))
        return PairTradeState.UNWINDING if was_ordered else PairTradeState.ABANDONED

    def _carry(self, driver: Driver, before: PairTrade, trade: PairTrade, patient: bool = True) -> Carried:
        """Carry one trade on; one that can't be finished now must not keep the others from their exits."""
        try:
            return Carried(before, driver.drive(trade, patient))
        except NotTheWriter:
            raise
        except Exception as error:
            known = isinstance(error, TradewindsError)
            logger.opt(exception=None if known else error).error("{} is not closed: {}", trade.pair_id, error)
            with self.store() as work:
                return Carried(before, work.repo.trade(trade.id) or trade, str(error))

    def _refuse_while_halted(self) -> None:
        with self.store() as work:
            standing = work.repo.standing()
        if standing.state is RiskState.HALTED:
            raise InputInvalid(
                f"The account is halted ({standing.who}: {standing.why}), nothing is sent: say `tradewinds resume` "
                "or `tradewinds halt entries` first."
            )

    def _is_pending(self, repo: DeskStore, pair: str, slot: datetime, is_exit: bool) -> bool:
        if is_exit:
            trade = repo.open_trade(pair)
            return trade is not None and trade.slot < slot
        entered = repo.trade(pair_trade_id(self.environment, pair, slot))
        return entered is None or entered.state is PairTradeState.OPENING


def check_person(person: Person) -> None:
    """Let a person pass who gives a name and a reason.

    Raises:
        InputInvalid: one of them is empty.
    """
    if not person.who.strip() or not person.why.strip():
        raise InputInvalid("Say who does it and why (--why): both are kept in the audit log.")
