"""The result of a finished pair trade, from what the books hold about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from src.shared.domain.errors import Terminal
from src.shared.domain.quantities import plain
from src.shared.domain.sessions import TradingCalendar

LONGEST_REASON = 32


@dataclass(frozen=True)
class FinishedTrade:
    """A closed or unwound pair trade as the books tell it, in the version that its row is at.

    `cash_flow` is the sum of its postings on cash, in dollars: what came in less what went out. `entry_notional` is
    the sum of |shares| · price over the fills that opened it. `holdings` are the shares still posted, by symbol.
    """

    pair_trade_id: UUID
    trade_version: int
    pair_id: str
    opened_slot: datetime
    closed_slot: datetime
    close_reason: str
    cash_flow: Decimal
    entry_notional: Decimal
    holdings: Mapping[str, Decimal]


@dataclass(frozen=True)
class TradeResult:
    """What a trade brought, in dollars; `return_on_gross` is P&L over the gross at entry, 0 where there was none."""

    pair_trade_id: UUID
    trade_version: int
    pair_id: str
    opened_slot: datetime
    closed_slot: datetime
    holding_bars: int
    gross_entry: Decimal
    realized_pnl: Decimal
    return_on_gross: float
    close_reason: str


def result_of(trade: FinishedTrade, calendar: TradingCalendar) -> TradeResult:
    """Work out a trade's result. Once nothing is held, all that it made or lost is cash.

    Raises:
        Terminal: the books still hold shares of it, so there is no result yet.
    """
    if held := {symbol: shares for symbol, shares in sorted(trade.holdings.items()) if shares}:
        listed = ", ".join(f"{plain(shares)} {symbol}" for symbol, shares in held.items())
        raise Terminal(f"{trade.pair_id} trade {trade.pair_trade_id} is finished, but the books hold {listed}.")
    gross = trade.entry_notional
    return TradeResult(
        pair_trade_id=trade.pair_trade_id,
        trade_version=trade.trade_version,
        pair_id=trade.pair_id,
        opened_slot=trade.opened_slot,
        closed_slot=trade.closed_slot,
        holding_bars=calendar.bars_between_slots(trade.opened_slot, trade.closed_slot),
        gross_entry=gross,
        realized_pnl=trade.cash_flow,
        return_on_gross=float(trade.cash_flow / gross) if gross else 0.0,
        close_reason=trade.close_reason[:LONGEST_REASON],
    )
