"""The review of a slot: exits first and always, entries in a fixed order, each seeing what was approved before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import isfinite, nan
from uuid import UUID

from src.services.risk_management.domain.book import Book, Entry, Holding
from src.services.risk_management.domain.codes import RejectCode
from src.services.risk_management.domain.limits import RiskLimits, Verdict, judge, may_exit
from src.services.risk_management.domain.sizing import (
    BetFraction,
    Size,
    SizingRules,
    bet_fraction,
    size_pair,
    size_symbol,
)
from src.services.risk_management.domain.state import Standing
from src.shared.domain.ids import symbols_of
from src.shared.domain.instances import InstanceMode
from src.shared.domain.pairs import PairMode, leg_symbols
from src.shared.domain.risk import APPROVED, RiskDecision
from src.shared.domain.signals import SignalAction

ZERO = Decimal(0)


@dataclass(frozen=True)
class SlotSignal:
    """A stored signal that asks for an entry or an exit. Prices and z are None when no spread is stored.

    In one symbol `pair_id` is `instance:SYMBOL`, the modes are those of the instance, and `asked_fraction` is what it
    asks to hold, signed, of equity.
    """

    id: UUID
    pair_id: str
    symbol_1: str
    symbol_2: str | None
    beta: float
    action: SignalAction
    mode_then: PairMode | InstanceMode
    mode_now: PairMode | InstanceMode
    price_1: float | None
    price_2: float | None
    z: float | None
    instance_id: str | None = None
    asked_fraction: float | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the legs' symbols."""
        return leg_symbols(self.symbol_1, self.symbol_2)

    @property
    def owner(self) -> str:
        """Name whose closed trades say what edge there is: the pair, or the instance in all of its symbols."""
        return self.instance_id or self.pair_id

    @property
    def strength(self) -> float:
        """Return |z|, 0 where it is not known."""
        return abs(self.z) if self.z is not None and isfinite(self.z) else 0.0

    @property
    def mode(self) -> PairMode | InstanceMode:
        """Return the mode that counts: active only if the pair, or instance, was so at the signal and still is."""
        return self.mode_now if self.mode_then in (PairMode.ACTIVE, InstanceMode.ACTIVE) else self.mode_then


@dataclass(frozen=True)
class OpenTrade:
    """A trade that is not finished, with the signed shares it holds or, while it opens, is to hold."""

    pair_id: str
    slot: datetime
    symbol_1: str
    symbol_2: str | None
    quantity_1: Decimal
    quantity_2: Decimal
    is_orphaned: bool = False

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the legs' symbols."""
        return leg_symbols(self.symbol_1, self.symbol_2)

    def holding(self, prices: Mapping[str, float]) -> Holding:
        """Value it at these closes; a symbol without one counts nothing and must be reported as unpriced."""
        quantities = self.quantity_1, self.quantity_2
        first, second = (
            quantity * Decimal(str(prices.get(symbol or "", 0.0)))
            for symbol, quantity in zip((self.symbol_1, self.symbol_2), quantities, strict=True)
        )
        return Holding(self.pair_id, self.symbol_1, self.symbol_2, first, second, self.is_orphaned)


def not_yet_open(decisions: Iterable[RiskDecision], trades: Sequence[OpenTrade]) -> Iterator[OpenTrade]:
    """Yield the entries approved for a slot whose trade has not begun, as the trades they are to become."""
    begun = {(trade.pair_id, trade.slot) for trade in trades}
    for decision in decisions:
        if decision.approved and decision.action.is_entry and (decision.pair_id, decision.slot) not in begun:
            first, *second = symbols_of(decision.pair_id)
            other = second[0] if second else None
            yield OpenTrade(decision.pair_id, decision.slot, first, other, decision.quantity_1, decision.quantity_2)


def decide_exits(signals: Iterable[SlotSignal], slot: datetime, standing: Standing) -> list[RiskDecision]:
    """Approve every exit with zero quantities, unless the kill switch stops everything."""
    reason = "Exits are always allowed; what the trade holds is closed."
    verdict = Verdict(True, APPROVED, reason, {"state": standing.state.value})
    if not may_exit(standing.state):
        reason = f"Everything is halted by {standing.who}: {standing.why}."
        verdict = Verdict(False, RejectCode.RISK_STATE, reason, {"state": standing.state.value})
    return [_decision(signal, slot, verdict) for signal in sorted(signals, key=lambda each: each.pair_id)]


def decide_entries(
    signals: Iterable[SlotSignal],
    book: Book,
    limits: RiskLimits,
    rules: SizingRules,
    results: Mapping[str, Sequence[Decimal]],
    in_force: Mapping[str, object],
) -> list[RiskDecision]:
    """Decide entries by falling |z|, then by name; an approval counts against those after it.

    What is traded in one symbol has no z and comes after all pairs. `results` holds, by owner, the booked P&L of
    closed trades in dollars, oldest first; `in_force` names the limits' values as a decision keeps them.
    """
    decisions = []
    for signal in sorted(signals, key=lambda each: (-each.strength, each.pair_id)):
        entry = _sized_entry(signal, book.account.equity, rules, results.get(signal.owner, ()))
        verdict = judge(entry, book, limits)
        decisions.append(_decision(signal, book.slot, verdict, entry, in_force))
        if verdict.allowed:
            book = book.with_approved(entry)
    return decisions


def _sized_entry(signal: SlotSignal, equity: Decimal, rules: SizingRules, results: Sequence[Decimal]) -> Entry:
    readings: tuple[float | None, ...] = (signal.price_1, signal.price_2, signal.z)
    if signal.symbol_2 is None:
        readings = (signal.price_1, signal.asked_fraction)
    has_reading = all(reading is not None and isfinite(reading) for reading in readings)
    size = _size(signal, equity, bet_fraction(results, rules), rules)
    return Entry(
        signal.id,
        signal.pair_id,
        signal.symbol_1,
        signal.symbol_2,
        signal.action,
        signal.mode,
        signal.z if signal.z is not None and has_reading else 0.0,
        has_reading,
        size,
    )


def _size(signal: SlotSignal, equity: Decimal, fraction: BetFraction, rules: SizingRules) -> Size:
    price_1 = nan if signal.price_1 is None else signal.price_1
    if signal.symbol_2 is None:
        asked = nan if signal.asked_fraction is None else signal.asked_fraction
        return size_symbol(signal.action.direction, price_1, asked, equity=equity, fraction=fraction, rules=rules)
    price_2 = nan if signal.price_2 is None else signal.price_2
    return size_pair(
        signal.action.direction, price_1, price_2, signal.beta, equity=equity, fraction=fraction, rules=rules
    )


def _decision(
    signal: SlotSignal,
    slot: datetime,
    verdict: Verdict,
    entry: Entry | None = None,
    in_force: Mapping[str, object] | None = None,
) -> RiskDecision:
    numbers = dict(verdict.numbers)
    if entry is not None and entry.symbol_2 is not None:
        numbers["z"] = entry.z
    if in_force is not None:
        numbers["limits"] = dict(in_force)
    if verdict.until is not None:
        numbers["until"] = verdict.until.isoformat()
    bought = entry.size if entry is not None and verdict.allowed else None
    return RiskDecision(
        signal.pair_id,
        slot,
        signal.id,
        signal.action,
        verdict.allowed,
        str(verdict.code),
        verdict.reason,
        bought.quantity_1 if bought else ZERO,
        bought.quantity_2 if bought else ZERO,
        numbers,
    )
