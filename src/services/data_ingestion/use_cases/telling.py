"""What several verbs say in the same words."""

from __future__ import annotations

from src.services.data_ingestion.domain.basis import Rebase
from src.shared.domain.ids import slot_key
from src.shared.messages.market_data import SeriesRebased


def series_rebased(rebase: Rebase) -> SeriesRebased:
    """Say that a series was put on another basis."""
    series = rebase.series
    return SeriesRebased.of(
        "/".join((series.vendor, series.symbol, series.timeframe, series.adjustment)),
        rebase.version,
        rebase.effective_at,
        slot_key(rebase.effective_at),
        vendor=series.vendor,
        symbol=series.symbol,
        timeframe=series.timeframe,
        adjustment=series.adjustment,
        factor=rebase.factor,
        reason=rebase.reason,
    )
