"""What companies do to what we hold: heard once a day, booked once, and the pair frozen until it is re-based.

It comes before anything is sent: an order's quantity and a drift from the broker's word both depend on it. Every step
is its own transaction with a unique key, so that a run which ends in between is carried on by the next gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from loguru import logger

from src.services.execution.domain.company_actions import Booking, Times, bookings, in_lieu_bookings, times_of
from src.services.execution.domain.reconciliation import Finding, Kind
from src.services.execution.ports import ActionStore, TradingBroker
from src.services.execution.use_cases.alerts import raise_alert
from src.services.execution.use_cases.drive import Driver
from src.shared.domain.corporate_actions import CorporateAction, CorporateActionKind
from src.shared.domain.errors import NotTheWriter, Refused, TradewindsError, Transient
from src.shared.domain.pairs import FINISHED_TRADES, PairTrade, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.messages.ops import Severity
from src.shared.ports.unit_of_work import UnitOfWork, Work

CLOSE_REASON = "corporate_action"
LOOK_BACK = timedelta(days=30)
LOOK_AHEAD = timedelta(days=10)
STALE_LOOK = timedelta(days=4)
"""Announcements come days ahead: with a look this old entries are still safe, with an older one they are not."""

_NEW_YORK = ZoneInfo("America/New_York")
_NO_WORD = (Transient, Refused)


@dataclass
class Companies:
    """Takes the actions of companies into the books, under the writer's lock."""

    store: UnitOfWork[ActionStore]
    broker: TradingBroker
    calendar: TradingCalendar

    def take_in(self, driver: Driver) -> frozenset[Finding]:
        """Read, freeze, book and begin to close, each as far as it is due.

        What can't be known or booked stops entries, and neither the other actions nor any exit.

        Raises:
            NotTheWriter: another process took over.
        """
        now = driver.cycle.market.now
        day = _day(now)
        found: set[Finding] = set()
        with _noted(found, Kind.UNREAD, "announcements"):
            found |= self._look(day)
        for action in self._known(day):
            with _noted(found, Kind.TRADE, action.symbol):
                found |= self._take_in(driver, action, now)
        with _noted(found, Kind.TRADE, "cash in lieu"):
            found |= self._cash_in_lieu(driver)
        with _noted(found, Kind.TRADE, "pairs without a basis"):
            self._close_what_lost_its_basis(driver, now)
        return frozenset(found)

    def why_frozen(self, trade: PairTrade, moment: datetime) -> str | None:
        """Say why an entry can't be sent at a moment for what a company does, or None.

        In one symbol nothing was fitted, so that no freeze outlasts the action's own session. Nobody may have watched
        the symbol before: what was announced of it is read now.
        """
        if trade.instance_id is None:
            with self.store() as work:
                return work.repo.frozen(trade.pair_id, moment)
        day = _day(moment)
        try:
            self._read([trade.symbol_1], day)
        except _NO_WORD as error:
            return f"announcements about {trade.symbol_1} can't be read: {error}"
        for action in self._known(day):
            times = times_of(action, self.calendar)
            if trade.symbol_1 in (action.symbol, action.new_symbol) and times.since <= moment < times.day_over:
                return f"frozen: {action.kind.value.replace('_', ' ')} of {action.symbol}"
        return None

    def _look(self, day: date) -> frozenset[Finding]:
        """Read the announcements about what is watched or held, once a day for each symbol."""
        with self.store() as work:
            unread = work.repo.unread_symbols(day)
        if not unread:
            return frozenset()
        try:
            self._read(unread, day)
        except _NO_WORD as error:
            logger.warning("announcements of companies can't be read: {}", error)
            return self._stale(day, error)
        return frozenset()

    def _read(self, symbols: Sequence[str], day: date) -> None:
        """Read and keep the announcements about symbols, and the day of this look."""
        actions = self.broker.corporate_actions(symbols, day - LOOK_BACK, day + LOOK_AHEAD)
        with self.store() as work:
            work.repo.add_actions(actions)
            work.repo.note_look(symbols, day)
            failpoint("execution.before_announcements")
            work.commit()
        failpoint("execution.announcements_kept")

    def _stale(self, day: date, error: Exception) -> frozenset[Finding]:
        with self.store() as work:
            unknown = work.repo.unread_symbols(day - STALE_LOOK)
        return frozenset(Finding(Kind.UNREAD, symbol, f"announcements can't be read: {error}") for symbol in unknown)

    def _known(self, day: date) -> list[CorporateAction]:
        with self.store() as work:
            return work.repo.actions_between(day - LOOK_BACK, day + LOOK_AHEAD)

    def _take_in(self, driver: Driver, action: CorporateAction, now: datetime) -> frozenset[Finding]:
        times = times_of(action, self.calendar)
        if times.since > now:
            return frozenset()
        basis_kept = action.kind.keeps_the_basis
        if not basis_kept or now < times.day_over:
            self._freeze(driver, action, times, basis_kept)
        if times.effective_at > now:
            return frozenset()
        found = self._book(driver, action, times.effective_at)
        if not basis_kept and not found:
            self._close_in_one_symbol(driver, action, times.effective_at)
        return found

    def _freeze(self, driver: Driver, action: CorporateAction, times: Times, basis_kept: bool) -> None:
        with self.store() as work:
            for pair_id in work.repo.freeze(action, times, basis_kept):
                _alert(work, driver, action, pair_id)
            failpoint("execution.before_freeze")
            work.commit()
        failpoint("execution.pairs_frozen")

    def _book(self, driver: Driver, action: CorporateAction, at: datetime) -> frozenset[Finding]:
        with self.store() as work:
            unsettled = work.repo.unsettled_trades(action.symbol)
        for trade in unsettled:
            # What was filled before the action must be in the books before it is multiplied.
            try:
                driver.settle_books(trade)
            except _NO_WORD as error:
                return frozenset(
                    {Finding(Kind.TRADE, trade.pair_id, f"not settled before {action.vendor_type}: {error}")}
                )
        with self.store() as work:
            held = work.repo.held_before(action.symbol, at)
        for booking in bookings(action, held, at):
            self._commit(driver, booking)
        return frozenset()

    def _commit(self, driver: Driver, booking: Booking) -> None:
        with self.store() as work:
            if not work.repo.book_action(booking, driver.cycle.epoch):
                return
            trade = driver.restate(work, booking.trade_id)
            failpoint("execution.before_action")
            work.commit()
        failpoint("execution.action_booked")
        logger.warning("booked {} of {} for a trade of {}", booking.kind, booking.symbol, trade.pair_id)
        if trade.state in FINISHED_TRADES:
            driver.drive(trade)

    def _cash_in_lieu(self, driver: Driver) -> frozenset[Finding]:
        with self.store() as work:
            due = work.repo.fractions_due()
        if not due:
            return frozenset()
        first = min(fraction.ex_date for fraction in due)
        try:
            paid = self.broker.account_activities(["CIL"], datetime.combine(first, time.min, _NEW_YORK))
        except _NO_WORD as error:
            logger.warning("cash in lieu of fractions can't be read: {}", error)
            return frozenset()
        now = driver.cycle.market.now
        for booking in in_lieu_bookings(due, paid, {fraction.action_id: now for fraction in due}):
            self._commit(driver, booking)
        return frozenset()

    def _close_in_one_symbol(self, driver: Driver, action: CorporateAction, at: datetime) -> None:
        """Begin to close what an instance has held since before an action: its strategy took it at other prices."""
        symbols = [symbol for symbol in (action.symbol, action.new_symbol) if symbol is not None]
        with self.store() as work:
            trades = work.repo.open_in_one_symbol(symbols, at)
        for trade in trades:
            driver.move(trade, PairTradeState.CLOSING, CLOSE_REASON)

    def _close_what_lost_its_basis(self, driver: Driver, now: datetime) -> None:
        with self.store() as work:
            trades = work.repo.trades_to_close(now)
        for trade in trades:
            driver.move(trade, PairTradeState.CLOSING, CLOSE_REASON)


@contextmanager
def _noted(found: set[Finding], kind: Kind, subject: str) -> Iterator[None]:
    """Turn what goes wrong with one thing into a finding. Losing the lock is wrong with all of them."""
    try:
        yield
    except NotTheWriter:
        raise
    except Exception as error:
        known = isinstance(error, TradewindsError)
        logger.opt(exception=None if known else error).error("actions of companies, {}: {}", subject, error)
        found.add(Finding(kind, subject, f"a company's action is not taken in: {_first_line(error)}"))


def _day(moment: datetime) -> date:
    return moment.astimezone(_NEW_YORK).date()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _alert(work: Work[ActionStore], driver: Driver, action: CorporateAction, pair_id: str) -> None:
    kind = action.vendor_type.replace("_", " ")
    needs_a_person = action.kind in (CorporateActionKind.OTHER, CorporateActionKind.REMOVAL)
    severity: Severity = "critical" if needs_a_person else "warning"
    detail = f"{pair_id}: {kind} of {action.symbol} on {action.ex_date}"
    title, cycle = "pair frozen by a corporate action", driver.cycle
    raise_alert(work, severity, title, detail, detail, cycle.slot, cycle.market.now)
