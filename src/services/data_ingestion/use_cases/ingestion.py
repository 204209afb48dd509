"""The verbs of the hourly cycle: bring in the bars of a slot, bring in what the broker says of symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from src.services.data_ingestion.domain.basis import LATE_DAYS, OVERLAP_DIFFERS, Replaced
from src.services.data_ingestion.domain.differences import joined_digest
from src.services.data_ingestion.domain.gate import Verdict, judge
from src.services.data_ingestion.domain.grid import HALF_HOURS, Grid, Span
from src.services.data_ingestion.domain.loads import (
    ADJUSTMENT,
    VENDOR,
    LoadPlan,
    LoadRequest,
    LoadResult,
    OpenLoad,
    StoredClose,
    is_rebased,
    summarise,
)
from src.services.data_ingestion.domain.making import Made, make_bars
from src.services.data_ingestion.domain.plan import REASKED_BARS, Ask, asks, wanted_spans
from src.services.data_ingestion.ports import MarketRepository
from src.services.data_ingestion.use_cases.telling import series_rebased
from src.shared.domain.bars import as_datetime, as_moments
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_symbol, slot_key
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.vendor_data import VendorBars
from src.shared.failpoints import failpoint
from src.shared.messages.market_data import MarketDataStored
from src.shared.ports.broker import AccountSource, MarketClockSource
from src.shared.ports.market_data import MarketDataSource
from src.shared.ports.unit_of_work import UnitOfWork

SPIKE_RATIO = 10.0


@dataclass(frozen=True)
class DataIngestion:
    """Data ingestion with its ports plugged in."""

    work: UnitOfWork[MarketRepository]
    prices: MarketDataSource
    clock: MarketClockSource
    account: AccountSource
    calendar: TradingCalendar
    spike_ratio: float = SPIKE_RATIO
    client: str = ""

    def fetch_bars(self, symbols: Sequence[str], slot: datetime, history_bars: int = 500) -> LoadResult:
        """Bring the hourly bars of `symbols` up to `slot` into the table, asking only for what is missing.

        Safe to repeat: a bar is stored once, each call is a load of its own in `data_ingestion.load_run`.

        Raises:
            InputInvalid: a symbol or the slot is wrong; nothing was written.
            Transient: the vendor gave no usable answer; the load is recorded as failed, what had come is kept.
            Refused: the vendor said no; likewise.
        """
        request = self._request(symbols, slot, history_bars)
        load = OpenLoad(request, self._begin(request))
        try:
            self._gather(load)
        except Exception as error:
            self._finish(load, failure=f"{type(error).__name__}: {error}")
            raise
        return self._finish(load)

    def refresh_symbols(self, symbols: Sequence[str]) -> int:
        """Write what the broker says of `symbols`; return how many it knows.

        That is whether they are active, tradable, shortable and easy to borrow.
        """
        assets = self.account.assets(symbols)
        now = self.clock.clock().now
        with self.work() as work:
            unknown = sorted(set(symbols) - set(assets))
            count = work.repo.store_symbols(list(assets.values()), unknown, now)
            work.commit()
        return count

    def _request(self, symbols: Sequence[str], slot: datetime, history_bars: int) -> LoadRequest:
        names = tuple(sorted({parse_symbol(symbol) for symbol in symbols}))
        spans = tuple(self.calendar.last_spans(slot, history_bars))
        if not names or history_bars < 1:
            raise InputInvalid("name at least one symbol and one bar to fetch.")
        if not spans or spans[-1][1] != slot:
            raise InputInvalid(f"{slot_key(slot)} is not a slot: no hourly bar of the exchange ends then.")
        return LoadRequest(names, spans, self.client)

    def _begin(self, request: LoadRequest) -> LoadPlan:
        recent_from = request.spans[-REASKED_BARS:][0][0]
        with self.work() as work:
            run_id = work.repo.begin_load(request)
            missing = work.repo.missing(request)
            old = [symbol for symbol, spans in missing.items() if spans[0][0] < recent_from]
            asked = work.repo.asked_before(old, request.spans[0][0]) if old else {}
            wanted = wanted_spans(missing, asked, recent_from)
            before = work.repo.closes_before(_first_wanted(wanted), request.spans[0][0])
            # Bars that were stored before the vendor got round to a split may all lie after it.
            since = (request.slot - timedelta(days=LATE_DAYS)).date()
            early = work.repo.closes_before_splits(list(wanted), since, request.slot.date())
            work.commit()
        failpoint("data_ingestion.load_begun")
        overlap = {symbol: closes[-1].start for symbol, closes in before.items()}
        overlap |= {symbol: close.start for symbol, close in early.items()}
        for symbol, close in early.items():
            before[symbol] = sorted({close, *before.get(symbol, [])}, key=lambda each: each.end)
        return LoadPlan(run_id, missing, asks(wanted, overlap), before)

    def _gather(self, load: OpenLoad) -> None:
        if not load.plan.asks:
            return
        now = self.clock.clock().now
        if load.request.slot > now:
            slot = slot_key(load.request.slot)
            raise InputInvalid(f"slot {slot} has not ended yet: it is {slot_key(now)} by the broker's clock.")
        for ask in load.plan.asks:
            answer = self._rows(ask)
            grid = Grid.of([span for span in load.request.spans if ask.start <= span[0] and span[1] <= ask.end])
            for symbol in ask.symbols:
                self._take_in(make_bars(answer[symbol], grid, HALF_HOURS), symbol, load, now)

    def _take_in(self, made: Made, symbol: str, load: OpenLoad, now: datetime) -> None:
        before = load.plan.closes_before.get(symbol, [])
        if is_rebased(made.bars, before):
            self._take_anew(symbol, load, now)
            return
        missing = [end for _, end in load.plan.missing[symbol]]
        verdict = self._judged(made, load.request.spans, before, now)
        load.harvest.bars[symbol] = verdict.accepted.take(np.isin(verdict.accepted.end, as_moments(missing)))
        load.harvest.rejected += [item for item in verdict.rejected if item.end in set(missing)]

    def _take_anew(self, symbol: str, load: OpenLoad, now: datetime) -> None:
        with self.work() as work:
            first = work.repo.first_start(symbol) or load.request.spans[0][0]
        spans = self.calendar.spans_between(first, load.request.slot)
        rows = self._rows(Ask((symbol,), first, load.request.slot))[symbol]
        verdict = self._judged(make_bars(rows, Grid.of(spans), HALF_HOURS), spans, [], now)
        load.harvest.anew[symbol] = verdict.accepted
        load.harvest.rejected += verdict.rejected

    def _rows(self, ask: Ask) -> dict[str, VendorBars]:
        answer = self.prices.bars(ask.symbols, ask.start, ask.end, HALF_HOURS, ADJUSTMENT)
        return {symbol: VendorBars.of(symbol, rows) for symbol, rows in answer.items()}

    def _judged(self, made: Made, spans: Sequence[Span], before: Sequence[StoredClose], now: datetime) -> Verdict:
        first = as_datetime(made.bars.end[0]) if len(made.bars) else now
        closes = np.array([stored.close for stored in before if stored.end < first])
        verdict = judge(made.bars, Grid.of(spans), closes, now, self.spike_ratio)
        return Verdict(verdict.accepted, made.rejected + verdict.rejected)

    def _finish(self, load: OpenLoad, failure: str | None = None) -> LoadResult:
        run_id, harvest = load.plan.run_id, load.harvest
        with self.work() as work:
            work.repo.lock([*harvest.bars, *harvest.anew])
            written = work.repo.store(harvest.bars, run_id)
            for symbol, replaced in self._replace(work.repo, load).items():
                written[symbol] = replaced.written
                if replaced.rebase is not None:
                    work.record(series_rebased(replaced.rebase))
            result = replace(summarise(load.plan, harvest, failure), digest=joined_digest(written))
            work.repo.quarantine(harvest.rejected, run_id)
            work.repo.finish_load(result, "failed" if failure else result.state)
            if result.rows_written:
                work.record(_stored(load.request, result))
            failpoint("data_ingestion.before_bars")
            work.commit()
        failpoint("data_ingestion.bars_stored")
        return result

    def _replace(self, repo: MarketRepository, load: OpenLoad) -> dict[str, Replaced]:
        """Replace the series that were read anew; what is too short for that is a problem and changes nothing."""
        done: dict[str, Replaced] = {}
        for symbol, bars in load.harvest.anew.items():
            replaced = repo.replace(symbol, bars, load.plan.run_id, OVERLAP_DIFFERS)
            if replaced is None:
                load.harvest.problems.append(
                    f"{symbol}: its price basis changed, but the new history is too short to be used"
                )
                continue
            done[symbol] = replaced
            load.harvest.bars[symbol] = bars
            load.harvest.problems.append(f"{symbol}: {replaced.said}")
        return done


def _first_wanted(wanted: Mapping[str, Sequence[Span]]) -> dict[str, datetime]:
    return {symbol: spans[0][0] for symbol, spans in wanted.items()}


def _stored(request: LoadRequest, result: LoadResult) -> MarketDataStored:
    return MarketDataStored.of(
        result.load_run_id,
        1,
        request.slot,
        slot_key(request.slot),
        vendor=VENDOR,
        symbols=request.symbols,
        rows=result.rows_written,
        rejected=result.rows_rejected,
        complete=result.complete,
    )
