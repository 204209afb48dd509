"""Results of many trades in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from src.services.analytics.domain.results import TradeResult


@dataclass(frozen=True)
class ResultSummary:
    """Trades, wins (P&L above zero), total and mean P&L in dollars. The mean and win rate of no trades are None."""

    trades: int
    wins: int
    total_pnl: Decimal
    mean_pnl: Decimal | None
    win_rate: float | None


@dataclass(frozen=True)
class PerformanceSummary:
    """The summary of all trades, and of each pair by its id."""

    overall: ResultSummary
    pairs: dict[str, ResultSummary]


def summarise(results: Sequence[TradeResult]) -> PerformanceSummary:
    """Summarise results, all together and pair by pair."""
    by_pair: dict[str, list[TradeResult]] = {}
    for result in sorted(results, key=lambda each: each.pair_id):
        by_pair.setdefault(result.pair_id, []).append(result)
    return PerformanceSummary(_summary(results), {pair: _summary(own) for pair, own in by_pair.items()})


def _summary(results: Sequence[TradeResult]) -> ResultSummary:
    count = len(results)
    wins = sum(1 for result in results if result.realized_pnl > 0)
    total = sum((result.realized_pnl for result in results), Decimal(0))
    return ResultSummary(count, wins, total, total / count if count else None, wins / count if count else None)
