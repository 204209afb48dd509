# ruff: noqa: ARG002  # every limit has the one signature, whichever part it looks at
"""The limits before every entry: one small class each, asked in a fixed order, with one way to deny.

A limit is inclusive: a value equal to its maximum passes, except for losses, which stop entries when they reach it.

Correlation guard. Each leg of the entry is compared with each leg held or approved in this cycle by another trade;
the entry's own two legs are meant to move together and are not compared. The *same symbol* in another pair has
correlation 1 with itself, so it is refused like any twin of it, whichever side it is on: two pairs on one symbol are
one bet made twice or two bets that cancel. With `max_correlation` 1 the guard is off, and the per-symbol exposure
alone governs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from math import isnan
from typing import ClassVar, Literal

from src.services.risk_management.domain.book import Book, Entry
from src.services.risk_management.domain.codes import RejectCode
from src.services.risk_management.domain.state import NEW_YORK, new_york_day, new_york_midnight
from src.shared.domain.instances import InstanceMode
from src.shared.domain.pairs import PairMode
from src.shared.domain.risk import APPROVED, RiskState

LAST_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class RiskLimits:
    """The values of the limits; fractions are of equity."""

    trading_enabled: bool
    overnight: bool
    max_slot_age: timedelta
    max_open_pairs: int
    max_gross_fraction: Decimal
    max_net_fraction: Decimal
    max_symbol_fraction: Decimal
    max_pair_fraction: Decimal
    max_correlation: float
    max_orders_per_minute: int
    max_orders_per_day: int
    max_daily_loss_fraction: Decimal
    max_rolling_loss_fraction: Decimal
    max_drawdown_fraction: Decimal
    event_days: int
    earnings_sessions: int


@dataclass(frozen=True)
class Verdict:
    """What a limit says. `numbers` is what it looked at; `until` is when asking again may give another answer."""

    allowed: bool
    code: str
    reason: str
    numbers: dict[str, object] = field(default_factory=dict)
    until: datetime | None = None


class Limit(ABC):
    """One rule. `scope` is what it protects: account, market, pair or symbol."""

    name: ClassVar[str]
    code: ClassVar[RejectCode]
    scope: ClassVar[Literal["account", "market", "pair", "symbol"]]

    @abstractmethod
    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Say whether the entry may pass."""


class TradingEnabled(Limit):
    """Entries need the limit `trading_enabled` to be on."""

    name, code, scope = "trading_enabled", RejectCode.TRADING_DISABLED, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Ask the switch."""
        reason = "Trading is switched off; `tradewinds risk set trading_enabled on` allows entries."
        return _verdict(self, limits.trading_enabled, reason, {"trading_enabled": limits.trading_enabled})


class StateActive(Limit):
    """Entries need the risk state `active`."""

    name, code, scope = "risk_state", RejectCode.RISK_STATE, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Ask the state that was in force when this cycle began."""
        standing = book.standing
        reason = f"The account is {standing.state}, set by {standing.who}: {standing.why}."
        return _verdict(self, standing.state is RiskState.ACTIVE, reason, {"state": standing.state.value})


class AccountUsable(Limit):
    """The broker must let the account trade."""

    name, code, scope = "account", RejectCode.ACCOUNT_BLOCKED, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Ask the broker's report."""
        account = book.account
        usable = account.status.upper() == "ACTIVE" and not account.trading_blocked
        numbers = {"status": account.status, "trading_blocked": account.trading_blocked}
        return _verdict(self, usable, f"The broker reports the account as {account.status} or blocked.", numbers)


class PairActive(Limit):
    """Only active pairs, and instances, open trades."""

    name, code, scope = "pair_mode", RejectCode.PAIR_NOT_ACTIVE, "pair"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Ask the mode of the pair, or of the instance that trades in one symbol."""
        who = "pairs" if isinstance(entry.mode, PairMode) else "instances"
        reason = f"{entry.pair_id} is in mode {entry.mode}; only active {who} open trades."
        is_active = entry.mode in (PairMode.ACTIVE, InstanceMode.ACTIVE)
        return _verdict(self, is_active, reason, {"mode": entry.mode.value})


class Reconciled(Limit):
    """Our books and the broker must agree."""

    name, code, scope = "reconciled", RejectCode.NOT_RECONCILED, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Ask the result of the reconcile gate."""
        reason = "Our books and the broker do not agree; reconcile before new entries."
        return _verdict(self, book.reconciled, reason, {"reconciled": book.reconciled})


class NoOrphan(Limit):
    """A leg that can't be closed blocks entries until a person has looked."""

    name, code, scope = "orphans", RejectCode.ORPHAN_OPEN, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Look for orphaned trades."""
        orphans = sorted(holding.pair_id for holding in book.holdings if holding.is_orphaned)
        reason = f"Orphaned trades wait for a person: {', '.join(orphans)}."
        return _verdict(self, not orphans, reason, {"orphaned": orphans})


class DataFresh(Limit):
    """The slot is recent, and every price that the decision rests on is there."""

    name, code, scope = "data", RejectCode.DATA_STALE, "market"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Look at the slot's age, both legs' bars of the slot, and the prices of what is held."""
        age = book.now - book.slot
        numbers: dict[str, object] = {"slot_age_seconds": age.total_seconds()}
        problem = self._problem(entry, book, age, limits.max_slot_age)
        return _verdict(self, problem is None, problem or "", numbers)

    def _problem(self, entry: Entry, book: Book, age: timedelta, max_age: timedelta) -> str | None:
        if not timedelta(0) <= age <= max_age:
            return f"The slot is {age.total_seconds():.0f} s old; 0 to {max_age.total_seconds():.0f} s are allowed."
        missing = sorted({*entry.symbols} - book.fresh)
        if missing:
            return f"No finished bar of this slot for {', '.join(missing)}."
        if not entry.has_reading:
            what = "spread" if entry.symbol_2 is not None else "price"
            return f"No {what} is stored for {entry.pair_id} in this slot."
        if book.unpriced:
            return f"No recent close for {', '.join(book.unpriced)}, which is held; exposure can't be told."
        return None


class MarketOpen(Limit):
    """Entries need an open market."""

    name, code, scope = "market", RejectCode.MARKET_CLOSED, "market"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Ask the broker's clock as the caller read it."""
        is_open = book.market_open and book.market_close is not None and book.now < book.market_close
        return _verdict(self, is_open, "The market is closed.", {"market_open": book.market_open})


class TimeLeft(Limit):
    """The last hour before the close takes no entry, unless overnight holding is on."""

    name, code, scope = "time_left", RejectCode.NO_TIME_LEFT, "market"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Measure the time to the close."""
        left = (book.market_close - book.now) if book.market_close is not None else timedelta(0)
        numbers: dict[str, object] = {"seconds_to_close": left.total_seconds(), "overnight": limits.overnight}
        reason = f"{left.total_seconds() / 60:.0f} minutes to the close; the last hour takes no entry."
        return _verdict(self, limits.overnight or left > LAST_HOUR, reason, numbers, _tomorrow(book.now))


class MaxOpenPairs(Limit):
    """Only so many trades at once."""

    name, code, scope = "open_pairs", RejectCode.MAX_OPEN_PAIRS, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Count open trades and those approved in this cycle."""
        count = len(book.holdings)
        numbers: dict[str, object] = {"open": count, "max": limits.max_open_pairs}
        return _verdict(self, count < limits.max_open_pairs, f"{count} pair trades are open already.", numbers)


class OnePerPair(Limit):
    """One open trade per pair."""

    name, code, scope = "one_per_pair", RejectCode.PAIR_ALREADY_OPEN, "pair"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Look for a trade of the same pair."""
        is_open = any(holding.pair_id == entry.pair_id for holding in book.holdings)
        return _verdict(self, not is_open, f"{entry.pair_id} has an open trade.", {"has_open_trade": is_open})


class Sized(Limit):
    """There is a size; its own codes say why there is none."""

    name, code, scope = "size", RejectCode.UNSIZABLE, "pair"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Pass on what sizing found."""
        size = entry.size
        return Verdict(size.code is None, size.code or APPROVED, size.reason, size.numbers)


class GrossExposure(Limit):
    """Gross of all pairs together."""

    name, code, scope = "gross", RejectCode.GROSS_EXPOSURE, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Add the entry's gross to what is held and approved."""
        after = book.with_approved(entry).gross()
        return _within(self, after, limits.max_gross_fraction, book, "Gross exposure")


class NetExposure(Limit):
    """Net of all pairs together, either side."""

    name, code, scope = "net", RejectCode.NET_EXPOSURE, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Add the entry's net to what is held and approved."""
        after = abs(book.with_approved(entry).net())
        return _within(self, after, limits.max_net_fraction, book, "Net exposure")


class SymbolExposure(Limit):
    """Gross in one symbol over all pairs."""

    name, code, scope = "symbol", RejectCode.SYMBOL_EXPOSURE, "symbol"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Look at the fullest of the entry's symbols."""
        after = book.with_approved(entry)
        fuller = max(entry.symbols, key=after.gross_in)
        what = f"Exposure in {fuller}"
        return _within(self, after.gross_in(fuller), limits.max_symbol_fraction, book, what)


class PairExposure(Limit):
    """Gross of one pair."""

    name, code, scope = "pair", RejectCode.PAIR_EXPOSURE, "pair"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Add the entry's gross to what the pair holds."""
        after = book.with_approved(entry).gross_of_pair(entry.pair_id)
        return _within(self, after, limits.max_pair_fraction, book, f"Exposure of {entry.pair_id}")


class CorrelationGuard(Limit):
    """No leg may move as one that is held or was approved in this cycle."""

    name, code, scope = "correlation", RejectCode.CORRELATION, "symbol"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Find the closest relation between the entry's legs and the others; unknown counts as too close."""
        if limits.max_correlation >= 1:
            return _verdict(self, True, "", {"guard": "off"})
        closest = max(self._relations(entry, book), key=_closeness, default=None)
        if closest is None:
            return _verdict(self, True, "", {"compared": 0})
        mine, other, value = closest
        known = None if isnan(value) else value
        numbers: dict[str, object] = {"leg": mine, "held": other, "correlation": known, "max": limits.max_correlation}
        return _verdict(self, abs(value) <= limits.max_correlation, _relation(mine, other, value), numbers)

    def _relations(self, entry: Entry, book: Book) -> Iterator[tuple[str, str, float]]:
        for mine in entry.symbols:
            for other in sorted({symbol for symbol, _ in book.legs()}):
                yield mine, other, book.correlations.between(mine, other)


class OrdersPerMinute(Limit):
    """A brake against running wild."""

    name, code, scope = "orders_minute", RejectCode.ORDERS_PER_MINUTE, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Count orders sent in the last minute and planned by this cycle."""
        until = book.now + timedelta(minutes=1)
        return _orders(self, entry, book.orders_last_minute, limits.max_orders_per_minute, book, until)


class OrdersPerDay(Limit):
    """The same brake over a New York day."""

    name, code, scope = "orders_day", RejectCode.ORDERS_PER_DAY, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Count orders sent today and planned by this cycle."""
        return _orders(self, entry, book.orders_today, limits.max_orders_per_day, book, _tomorrow(book.now))


class DailyLoss(Limit):
    """A day's loss stops entries for the rest of the day."""

    name, code, scope = "daily_loss", RejectCode.DAILY_LOSS, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Compare equity with that of the close before."""
        loss, most = book.equity.daily_loss, limits.max_daily_loss_fraction
        numbers = {**book.equity.numbers, "daily_loss": float(loss), "max": float(most)}
        reason = f"{loss:.2%} of equity was lost today; the limit is {most:.2%}."
        return _verdict(self, loss < most, reason, numbers, _tomorrow(book.now))


class RollingLoss(Limit):
    """A loss booked over the last days stops entries until enough of it is further back.

    What counts is the result of trades that are finished; open ones count in the drawdown and the day's loss, which
    are read off the account's equity.
    """

    name, code, scope = "rolling_loss", RejectCode.ROLLING_LOSS, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Compare the booked loss with equity."""
        loss, most = booked_loss(book.booked, book.account.equity), limits.max_rolling_loss_fraction
        numbers: dict[str, object] = {"booked": str(book.booked), "rolling_loss": float(loss), "max": float(most)}
        reason = f"{loss:.2%} of equity was booked as loss in the last days; the limit is {most:.2%}."
        return _verdict(self, loss < most, reason, numbers, _tomorrow(book.now))


class Drawdown(Limit):
    """A fall from the peak stops entries until a person resets it."""

    name, code, scope = "drawdown", RejectCode.DRAWDOWN, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Compare equity with its peak."""
        fall, most = book.equity.drawdown, limits.max_drawdown_fraction
        numbers = {**book.equity.numbers, "drawdown": float(fall), "max": float(most)}
        return _verdict(self, fall < most, f"Equity is {fall:.2%} below its peak; the limit is {most:.2%}.", numbers)


class Tradable(Limit):
    """The broker trades all symbols."""

    name, code, scope = "tradable", RejectCode.NOT_TRADABLE, "symbol"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Ask the broker's list of assets."""
        refused = [s for s in entry.symbols if s not in book.assets or not book.assets[s].tradable]
        return _verdict(self, not refused, f"The broker does not trade {', '.join(refused)}.", {"refused": refused})


class Shortable(Limit):
    """The short leg can be borrowed easily."""

    name, code, scope = "shortable", RejectCode.NOT_SHORTABLE, "symbol"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Ask the account and the asset."""
        symbol = entry.short_symbol
        if symbol is None:
            return _verdict(self, True, "", {"symbol": None})
        asset = book.assets.get(symbol)
        numbers: dict[str, object] = {
            "symbol": symbol,
            "account_may_short": book.account.shorting_enabled,
            "shortable": asset is not None and asset.shortable,
            "easy_to_borrow": asset is not None and asset.easy_to_borrow,
        }
        reason = f"{symbol} can't be sold short: not shortable, not easy to borrow, or the account may not short."
        return _verdict(self, all(numbers.values()), reason, numbers)


class BuyingPower(Limit):
    """The broker would accept all orders, the short one with its surcharge."""

    name, code, scope = "buying_power", RejectCode.BUYING_POWER, "account"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Compare the need with what is left after the approvals of this cycle."""
        left, needed = book.account.buying_power - book.reserved, entry.buying_power_needed
        numbers: dict[str, object] = {"needed": str(needed), "left": str(left), "reserved": str(book.reserved)}
        who = "Both legs need" if entry.symbol_2 is not None else "It needs"
        reason = f"{who} ${needed:.2f} of buying power; ${left:.2f} is left."
        return _verdict(self, needed <= left, reason, numbers)


class EventRisk(Limit):
    """No entry shortly before a day on which one leg's price is known to jump for a reason of its own.

    What is known are the companies' announcements that the broker has: dividends, splits, mergers and the like.
    """

    name, code, scope = "events", RejectCode.EVENT_RISK, "symbol"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Look for the first event of either leg within the days asked for, today included."""
        if limits.event_days == 0:
            return _verdict(self, True, "", {"asked": False})
        today = new_york_day(book.now)
        days = today, today + timedelta(days=limits.event_days - 1)
        near = [event for event in book.events if event.symbol in entry.symbols and days[0] <= event.day <= days[1]]
        if not near:
            return _verdict(self, True, "", {"asked": True, "days": limits.event_days})
        last = max(near, key=lambda event: event.day)
        numbers: dict[str, object] = {"symbol": last.symbol, "event": last.kind, "day": last.day.isoformat()}
        until = datetime.combine(last.day + timedelta(days=1), time(), NEW_YORK)
        return _verdict(self, False, f"{last.symbol}: {last.kind} on {last.day}.", numbers, until)


class EarningsRisk(Limit):
    """No entry some sessions before and after a leg tells what it earned. Where no day is known, entries pass."""

    name, code, scope = "earnings", RejectCode.EARNINGS_RISK, "symbol"

    def check(self, entry: Entry, book: Book, limits: RiskLimits) -> Verdict:
        """Look for the first report of either leg near today."""
        if limits.earnings_sessions == 0:
            return _verdict(self, True, "", {"asked": False})
        legs = entry.symbols
        numbers: dict[str, object] = {"sessions": limits.earnings_sessions}
        numbers |= {symbol: book.earnings.told(symbol) for symbol in legs}
        near = book.earnings.near(legs)
        if not near:
            return _verdict(self, True, "", numbers)
        span = f"{limits.earnings_sessions} session{'s' if limits.earnings_sessions > 1 else ''}"
        reason = f"{near[0].symbol} reports earnings on {near[0]}; no entry within {span} of it."
        return _verdict(self, False, reason, numbers, _tomorrow(book.now))


LIMITS: tuple[Limit, ...] = (
    TradingEnabled(),
    StateActive(),
    AccountUsable(),
    PairActive(),
    Reconciled(),
    NoOrphan(),
    DataFresh(),
    MarketOpen(),
    TimeLeft(),
    MaxOpenPairs(),
    OnePerPair(),
    Sized(),
    GrossExposure(),
    NetExposure(),
    SymbolExposure(),
    PairExposure(),
    CorrelationGuard(),
    OrdersPerMinute(),
    OrdersPerDay(),
    DailyLoss(),
    RollingLoss(),
    Drawdown(),
    Tradable(),
    Shortable(),
    BuyingPower(),
    EventRisk(),
    EarningsRisk(),
)
"""All limits in the order in which they are asked."""


def judge(entry: Entry, book: Book, limits: RiskLimits, rules: Sequence[Limit] = LIMITS) -> Verdict:
    """Ask every limit in order; the first that denies is the verdict, with the numbers of all that were asked."""
    numbers: dict[str, object] = {}
    for rule in rules:
        verdict = rule.check(entry, book, limits)
        numbers[rule.name] = verdict.numbers
        if not verdict.allowed:
            return Verdict(False, verdict.code, verdict.reason, numbers, verdict.until)
    return Verdict(True, APPROVED, f"All limits passed: {entry.size.reason}", numbers)


def booked_loss(booked: Decimal, equity: Decimal) -> Decimal:
    """Return a booked result's loss as a fraction of equity; a gain, or no equity to compare with, is none."""
    return max(-booked / equity, Decimal(0)) if equity > 0 else Decimal(0)


def may_exit(state: RiskState) -> bool:
    """Say whether exits pass: always, but for the kill switch at its level "everything"."""
    return state is not RiskState.HALTED


def _verdict(
    rule: Limit, allowed: bool, reason: str, numbers: dict[str, object], until: datetime | None = None
) -> Verdict:
    if allowed:
        return Verdict(True, APPROVED, "", numbers)
    return Verdict(False, rule.code, reason, numbers, until)


def _within(rule: Limit, after: Decimal, fraction: Decimal, book: Book, what: str) -> Verdict:
    most = fraction * book.account.equity
    numbers: dict[str, object] = {"after": str(after), "max": str(most)}
    return _verdict(rule, after <= most, f"{what} would be ${after:.2f}; the limit is ${most:.2f}.", numbers)


def _orders(rule: Limit, entry: Entry, sent: int, most: int, book: Book, until: datetime) -> Verdict:
    after = sent + book.planned_orders + len(entry.symbols)
    numbers: dict[str, object] = {"sent": sent, "planned": book.planned_orders, "max": most}
    return _verdict(
        rule,
        after <= most,
        f"It would be {after} orders until {until:%Y-%m-%d %H:%M %Z}; the limit is {most}.",
        numbers,
        until,
    )


def _closeness(relation: tuple[str, str, float]) -> float:
    value = relation[2]
    return 2.0 if isnan(value) else abs(value)


def _relation(mine: str, other: str, value: float) -> str:
    if mine == other:
        return f"{mine} is already held or approved in another pair."
    if isnan(value):
        return f"The correlation of {mine} and {other} can't be told: too few closes in common."
    return f"{mine} correlates {value:.2f} with {other}, which is held or just approved."


def _tomorrow(now: datetime) -> datetime:
    # Thirty hours after a midnight is in the next day even where a day has twenty-five hours.
    return new_york_midnight(new_york_midnight(now) + timedelta(hours=30))
