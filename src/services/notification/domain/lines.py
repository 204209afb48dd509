"""What people read: one line for each event that matters to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

from src.shared.domain.ids import symbols_of
from src.shared.domain.pairs import Direction
from src.shared.domain.quantities import plain
from src.shared.messages.base import Event
from src.shared.messages.market_data import MarketDataStored, SeriesRebased
from src.shared.messages.ops import AlertRaised, Severity
from src.shared.messages.orders import (
    LegImbalanceFound,
    OrderEvent,
    OrderOutcomeUnknown,
    OrderRejected,
    PairAbandoned,
    PairClosed,
    PairOpened,
    PairOrphaned,
    PairTradeEvent,
    PairUnwound,
)
from src.shared.messages.risk import RiskStateChanged, TradeDenied
from src.shared.messages.signals import PairModeChanged, PairRefitted

Level = Literal["INFO", "WARNING", "ERROR", "CRITICAL"]


@dataclass(frozen=True)
class Line:
    """One readable line and how loud it is."""

    level: Level
    text: str


def line_for(event: Event) -> Line | None:
    """Say an event in one line, ending in its correlation id; None for what people need not read."""
    say = _SAYINGS.get(type(event))
    line = say(event) if say else None
    # What a broker or a person wrote may hold line breaks; a line stays a line.
    return Line(line.level, " ".join(f"{line.text} [{event.correlation_id}]".split())) if line else None


def _data_stored(event: MarketDataStored) -> Line | None:
    if event.complete and not event.rejected:
        return None
    gaps = "" if event.complete else ", bars are missing"
    return Line("WARNING", f"{event.vendor}: {event.rows} bars stored, {event.rejected} refused{gaps}")


def _series_rebased(event: SeriesRebased) -> Line:
    series = f"{event.timeframe} bars of {event.symbol} ({event.adjustment})"
    return Line(
        "WARNING",
        f"{event.vendor}: the prices of all {series} are now {event.factor:.6g} times what they were; pairs with it "
        f"enter no trade until they are re-based{_because(event.reason)}",
    )


def _pair_mode(event: PairModeChanged) -> Line:
    came = f"went from {event.before} to" if event.before else "starts as"
    return Line("INFO", f"{event.pair_id} {came} {event.after}, by {event.who}{_because(event.why)}")


def _pair_refitted(event: PairRefitted) -> Line:
    return Line(
        "INFO", f"{event.pair_id} stays {event.mode} and was written anew by {event.who}{_because(event.why)}"
    )


def _trade_denied(event: TradeDenied) -> Line:
    return Line("INFO", f"Risk denied {event.action} of {event.pair_id} ({event.code}){_because(event.reason)}")


def _risk_state(event: RiskStateChanged) -> Line:
    level: Level = "INFO" if event.after == "active" else "WARNING"
    return Line(level, f"Risk went from {event.before} to {event.after}, by {event.who}{_because(event.why)}")


def _order_rejected(event: OrderRejected) -> Line:
    return Line("ERROR", f"The broker refused to {_order(event)}{_because(event.reason)}")


def _order_unknown(event: OrderOutcomeUnknown) -> Line:
    return Line("WARNING", f"Nobody knows yet whether the broker has the order to {_order(event)}: looking it up")


def _pair_opened(event: PairOpened) -> Line:
    filled = "both legs are filled" if _is_of_pair(event) else "it is filled"
    return Line("INFO", f"Opened {_trade(event)}: {filled}")


def _pair_closed(event: PairClosed) -> Line:
    return Line("INFO", f"Closed {_trade(event)}: {_result(event)}{_because(event.reason)}")


def _leg_imbalance(event: LegImbalanceFound) -> Line:
    what = f"The legs of {_trade(event)} do not hedge each other" if _is_of_pair(event) else _trade(event)
    return Line("WARNING", f"{what}: unwinding{_because(event.reason)}")


def _pair_unwound(event: PairUnwound) -> Line:
    return Line("WARNING", f"Unwound {_trade(event)}: {_result(event)}{_because(event.reason)}")


def _pair_abandoned(event: PairAbandoned) -> Line:
    return Line("INFO", f"Gave up {_trade(event)} before anything was filled{_because(event.reason)}")


def _pair_orphaned(event: PairOrphaned) -> Line:
    trouble = f"A leg of {_trade(event)} can't be closed: look at it now, entries are blocked"
    return Line("CRITICAL", f"{trouble}{_because(event.reason)}")


def _alert_raised(event: AlertRaised) -> Line:
    return Line(_LEVELS[event.severity], f"{event.title}: {event.detail}")


def _trade(event: PairTradeEvent) -> str:
    return f"{event.pair_id} {Direction(event.direction).words(in_pair=_is_of_pair(event))}"


def _is_of_pair(event: PairTradeEvent) -> bool:
    return len(symbols_of(event.pair_id)) > 1


def _order(event: OrderEvent) -> str:
    verb = "buy" if event.quantity > 0 else "sell"
    return f"{verb} {plain(abs(event.quantity))} {event.symbol} ({event.client_order_id})"


def _result(event: PairTradeEvent) -> str:
    return "result not booked" if event.realized_pnl is None else _dollars(event.realized_pnl)


def _dollars(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else '+'}${abs(amount):,.2f}"


def _because(reason: str | None) -> str:
    return f", because: {reason}" if reason else ""


_LEVELS: Mapping[Severity, Level] = MappingProxyType(
    {"info": "INFO", "warning": "WARNING", "error": "ERROR", "critical": "CRITICAL"}
)

_SAYINGS: Mapping[type[Event], Callable[[Any], Line | None]] = MappingProxyType(
    {
        MarketDataStored: _data_stored,
        SeriesRebased: _series_rebased,
        PairModeChanged: _pair_mode,
        PairRefitted: _pair_refitted,
        TradeDenied: _trade_denied,
        RiskStateChanged: _risk_state,
        OrderRejected: _order_rejected,
        OrderOutcomeUnknown: _order_unknown,
        PairOpened: _pair_opened,
        PairClosed: _pair_closed,
        LegImbalanceFound: _leg_imbalance,
        PairUnwound: _pair_unwound,
        PairAbandoned: _pair_abandoned,
        PairOrphaned: _pair_orphaned,
        AlertRaised: _alert_raised,
    }
)
