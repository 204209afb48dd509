"""Record the results of finished trades, and sum them up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from src.services.analytics.domain.results import FinishedTrade, TradeResult, result_of
from src.services.analytics.domain.summary import PerformanceSummary, summarise
from src.services.analytics.ports import ResultsRepository
from src.shared.domain.errors import Terminal
from src.shared.domain.ids import slot_key
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.messages.portfolio import PerformanceRecorded
from src.shared.ports.unit_of_work import UnitOfWork, Work


@dataclass(frozen=True)
class Analytics:
    """Records results and reads them. It is the only writer of pair performance."""

    store: UnitOfWork[ResultsRepository]
    calendar: TradingCalendar

    def record_results(self, slot: datetime) -> int:
        """Record the result of every finished trade that has none yet, and return how many were written.

        A result is corrected when a late fill has changed its trade since.

        Raises:
            Terminal: the books hold shares of a finished trade; the results of the others have been recorded.
        """
        recorded, doubtful = 0, []
        with self.store() as work:
            for trade in work.repo.unrecorded_trades(slot):
                try:
                    recorded += self._record(work, trade, slot)
                except Terminal as error:
                    doubtful.append(str(error))
            failpoint("analytics.before_results")
            work.commit()
        failpoint("analytics.results_recorded")
        if doubtful:
            raise Terminal(" ".join(doubtful))
        return recorded

    def performance_summary(self) -> PerformanceSummary:
        """Sum up all recorded results."""
        with self.store() as work:
            return summarise(work.repo.results())

    def _record(self, work: Work[ResultsRepository], trade: FinishedTrade, slot: datetime) -> bool:
        result = result_of(trade, self.calendar)
        version = work.repo.save_result(result)
        if version is not None:
            work.record(_recorded(result, version, slot))
        return version is not None


def _recorded(result: TradeResult, version: int, slot: datetime) -> PerformanceRecorded:
    return PerformanceRecorded.of(
        result.pair_trade_id,
        version,
        result.closed_slot,
        slot_key(slot),
        pair_id=result.pair_id,
        pair_trade_id=str(result.pair_trade_id),
        realized_pnl=result.realized_pnl,
        holding_bars=result.holding_bars,
    )
