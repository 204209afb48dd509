"""What data ingestion needs from its database, in its own words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from src.services.data_ingestion.domain.basis import Replaced
from src.services.data_ingestion.domain.company import (
    Answer,
    CompanyDataset,
    CompanyLoad,
    EarningsTold,
    Outcome,
    Stored,
)
from src.services.data_ingestion.domain.differences import Written
from src.services.data_ingestion.domain.gate import Rejection
from src.services.data_ingestion.domain.grid import Span
from src.services.data_ingestion.domain.history import Brought
from src.services.data_ingestion.domain.loads import LoadRequest, LoadResult, LoadState, StoredClose
from src.services.data_ingestion.domain.reference import (
    Dataset,
    Dividend,
    Found,
    Kept,
    Listing,
    MarketStatus,
    SetAside,
    StockSplit,
)
from src.services.data_ingestion.domain.rules.series import Split
from src.services.data_ingestion.domain.rules.verdict import Verdict
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import BarColumns, Moments, Series
from src.shared.domain.orders import AssetReport
from src.shared.messages.ops import AlertRaised


@dataclass(frozen=True)
class KeptVerdict:
    """A verdict as a row."""

    id: UUID
    verdict: Verdict


Verdicts = Mapping[Series, Mapping[str, KeptVerdict]]
"""The verdicts in force by series and rule."""


@dataclass(frozen=True)
class Shelf:
    """What is kept beside the bars of some symbols.

    `looks` says when a series was last judged; `quarantined` counts rejected rows by symbol, vendor and time frame
    (None where a row had none); `repaired` counts bars that are of another vendor than their series.
    """

    in_force: Verdicts
    looks: Mapping[Series, datetime]
    quarantined: Mapping[tuple[str, str, str | None], int]
    repaired: Mapping[Series, int]


@dataclass(frozen=True)
class RejectedRow:
    """A row of a vendor that was not let in."""

    symbol: str
    vendor: str
    dataset: str
    timeframe: str | None
    bar_end: datetime | None
    rule: str
    reason: str
    raw: object
    recorded_at: datetime


@dataclass(frozen=True)
class RepairRun:
    """The load that fills gaps of a series from another vendor: its span, and how many bars stay missing."""

    id: UUID
    series: Series
    vendor: str
    start: datetime
    end: datetime
    missing: int
    told: str


class MarketRepository(Protocol):
    """Bars, loads and symbols, inside one transaction."""

    def begin_load(self, request: LoadRequest) -> UUID:
        """Write a load's row in state running, under the first of its ids that is free."""
        ...

    def finish_load(self, result: LoadResult, state: LoadState) -> None:
        """Write how a load went into its row."""
        ...

    def missing(self, request: LoadRequest) -> dict[str, list[Span]]:
        """List per symbol the spans without a bar, in order; symbols that lack nothing are absent."""
        ...

    def asked_before(self, symbols: Sequence[str], since: datetime) -> dict[str, list[Span]]:
        """List per symbol the windows that ended after `since` and that finished loads have covered."""
        ...

    def closes_before(self, firsts: Mapping[str, datetime], since: datetime) -> dict[str, list[StoredClose]]:
        """Read per symbol the last three closes of bars after `since` that end at or before the given moment.

        They come oldest first; a symbol without any is absent.
        """
        ...

    def closes_before_splits(self, symbols: Sequence[str], first: date, last: date) -> dict[str, StoredClose]:
        """Read per symbol with a split on a day from `first` to `last` the last stored close before that day."""
        ...

    def lock(self, symbols: Iterable[str]) -> None:
        """Keep others from writing the bars of symbols until the transaction ends; wait for who does."""
        ...

    def store(self, bars: Mapping[str, BarColumns], load_run_id: UUID) -> dict[str, Written]:
        """Write bars by symbol; one that is there and differs goes to the history."""
        ...

    def first_start(self, symbol: str) -> datetime | None:
        """Read the start of the oldest stored bar of a symbol."""
        ...

    def replace(self, symbol: str, bars: BarColumns, load_run_id: UUID, why: str) -> Replaced | None:
        """Put the bars of a symbol, read anew as a whole, in the place of the stored ones, which go to the history.

        None where there are too few of them: then nothing was written.
        """
        ...

    def quarantine(self, rejected: Sequence[Rejection], load_run_id: UUID) -> None:
        """Keep rejected rows with their reasons; the same row again adds nothing."""
        ...

    def store_symbols(self, assets: Sequence[AssetReport], unknown: Sequence[str], as_of: datetime) -> int:
        """Write what the broker says of symbols; return how many it knows.

        What is not active, or `unknown` to it and was known before, is inactive since `as_of`.
        """
        ...


class QualityRepository(Protocol):
    """Stored series and what was found of them, inside one transaction."""

    def lock(self) -> None:
        """Keep every other judging of series waiting until the transaction ends."""
        ...

    def close_lost_loads(self) -> int:
        """Say of loads that began a day ago and never ended that they failed; return how many."""
        ...

    def lock_series(self, series: Series) -> None:
        """Keep everybody else from writing a series until the transaction ends."""
        ...

    def symbols(self, since: datetime) -> list[str]:
        """List the symbols with bars that end after `since`."""
        ...

    def stored(
        self, symbols: Sequence[str], timeframes: Sequence[str], since: datetime
    ) -> dict[Series, tuple[BarColumns, bool]]:
        """Read every series of the symbols: its bars that end after `since`, and whether it has earlier ones.

        What came back from the archive, and what is older than that, is left out as if it were still there.
        """
        ...

    def splits(self, symbols: Sequence[str]) -> dict[str, list[Split]]:
        """Read the splits that are known of the symbols."""
        ...

    def listings(self, symbols: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Read status and its reason of the symbols that something is known of."""
        ...

    def in_force(self, symbols: Sequence[str]) -> Verdicts:
        """Read the newest verdict of every series and rule."""
        ...

    def add_verdicts(
        self, series: Series, verdicts: Sequence[KeptVerdict], window: tuple[datetime, datetime]
    ) -> None:
        """Add verdicts on the bars of a window, which ends when they were judged."""
        ...

    def note_looks(self, series: Sequence[Series], at: datetime) -> None:
        """Keep when the series were last judged."""
        ...

    def shelf(self, symbols: Sequence[str], since: datetime) -> Shelf:
        """Read what is kept beside the bars of the symbols; repaired bars since then."""
        ...

    def rejected(self, symbols: Sequence[str], vendor: str | None, newest: int) -> list[RejectedRow]:
        """Read the newest rejected rows, of the symbols or of all, newest first."""
        ...

    def fill(self, run: RepairRun, bars: BarColumns) -> None:
        """Write a repair: its load run, and the bars that the series lacks."""
        ...

    def add_alert(self, alert: AlertRaised) -> bool:
        """Store an alert under its own id; False when it is there already."""
        ...

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        ...


class CompanySource(Protocol):
    """One vendor's word on companies."""

    @property
    def vendor(self) -> str:
        """Name under which its rows are stored."""
        ...

    @property
    def client(self) -> str:
        """Library and version that brings them."""
        ...

    def ask(self, dataset: CompanyDataset, symbol: str, as_of: date) -> Answer:
        """Read one dataset of one company; an answer without rows says why.

        Raises:
            Transient: no usable answer; asking again is harmless.
            Refused: the vendor does not know the symbol, or does not answer such a request.
        """
        ...


class CompanyRepository(Protocol):
    """Company data and its loads, inside one transaction."""

    def loaded_at(self, vendor: str, dataset: CompanyDataset, symbols: Sequence[str]) -> dict[str, datetime]:
        """Say when each symbol's dataset came last; one that never came is absent."""
        ...

    def begin_load(
        self, vendor: str, client: str, dataset: CompanyDataset, symbols: Sequence[str], now: datetime
    ) -> UUID:
        """Write a load's row in state running."""
        ...

    def store(self, vendor: str, dataset: CompanyDataset, symbol: str, answer: Answer, load_run_id: UUID) -> Stored:
        """Write the rows that are new or differ, with the earlier ones into the history, and set aside the unread."""
        ...

    def note_loaded(
        self,
        vendor: str,
        dataset: CompanyDataset,
        symbol: str,
        outcome: Outcome,
        reason: str,
        load_run_id: UUID,
        now: datetime,
    ) -> None:
        """Remember that a symbol's dataset came, and with what outcome."""
        ...

    def finish_load(self, load_run_id: UUID, load: CompanyLoad) -> None:
        """Write how a load went into its row."""
        ...

    def earnings(self, symbols: Sequence[str], since: date) -> list[EarningsTold]:
        """List days of earnings from a day on, those withdrawn too, by symbol and day; of all without a symbol."""
        ...


class HistoryRepository(Protocol):
    """Bars of any series and the loads that brought them, inside one transaction."""

    def stored_ends(self, series: Series, first: datetime, last: datetime) -> Moments:
        """List the ends of the stored bars that end from `first` to `last`, oldest first."""
        ...

    def asked(self, series: Series, since: datetime) -> list[Span]:
        """List the windows that ended after `since` and that finished loads have asked for."""
        ...

    def begin_run(self, series: Series, client: str, start: datetime, end: datetime) -> UUID:
        """Write a load's row in state running, under the first of its ids that is free."""
        ...

    def finish_run(self, run_id: UUID, until: datetime, brought: Brought, written: Written) -> None:
        """Write how a load went that has come as far as `until`."""
        ...

    def fail_run(self, run_id: UUID, problem: str) -> None:
        """Write that a load broke off."""
        ...

    def lock(self, series: Series) -> None:
        """Keep others from writing the series until the transaction ends; wait for who does."""
        ...

    def put(self, series: Series, bars: BarColumns, run_id: UUID) -> Written:
        """Write what is new or has changed; a bar that is there and differs goes to the history."""
        ...

    def stored_before(self, series: Series, moment: datetime, count: int) -> list[Span]:
        """List the last `count` stored bars that end at or before a moment, oldest first."""
        ...

    def stored_after(self, series: Series, moment: datetime, count: int) -> list[Span]:
        """List the first `count` stored bars that end after a moment, oldest first."""
        ...

    def ex_days(self, series: Series, first: date, last: date) -> list[date]:
        """List the days from `first` to `last` for which the prices of the series are adjusted, oldest first."""
        ...

    def rebases(self, series: Series) -> int:
        """Count how often the series was put on another basis."""
        ...

    def edges(self, series: Series) -> Span | None:
        """Read the start of the oldest and the end of the newest stored bar."""
        ...

    def replace(self, series: Series, bars: BarColumns, run_id: UUID, why: str) -> Replaced | None:
        """Put a series, read anew as a whole, in the place of the stored one, which goes to the history.

        None where it is too short for that: then nothing was written.
        """
        ...

    def quarantine(self, series: Series, run_id: UUID, rejected: Sequence[Rejection]) -> None:
        """Keep the rejected rows with their reasons; the same row again adds nothing."""
        ...


class ReferenceSource(Protocol):
    """What one vendor knows of listings, splits and dividends.

    Every method raises Transient (no usable answer; asking again is harmless) or Refused (key or plan do not allow
    it).
    """

    @property
    def vendor(self) -> str:
        """Name under which it is stored."""
        ...

    @property
    def client(self) -> str:
        """Library and version that brings it."""
        ...

    def market_status(self) -> MarketStatus:
        """Say whether the market is open, by the vendor's clock."""
        ...

    def listings(self, symbols: Sequence[str]) -> Found[Listing]:
        """Read how symbols are listed; one that never was is absent."""
        ...

    def splits(self, symbols: Sequence[str], since: date | None) -> Found[StockSplit]:
        """Read the splits of symbols: all there are, or those from a day on."""
        ...

    def dividends(self, symbols: Sequence[str], since: date | None) -> Found[Dividend]:
        """Read the dividends of symbols: all there are, or those from a day on."""
        ...


class ReferenceRepository(Protocol):
    """Listings, splits and dividends and the loads that brought them, inside one transaction."""

    def begin(self, source: ReferenceSource, dataset: Dataset, symbols: Sequence[str], window: Span) -> UUID:
        """Write a load's row in state running."""
        ...

    def finish(self, run_id: UUID, state: LoadState, kept: Kept, rejected: int, problems: Sequence[str]) -> None:
        """Write how a load went."""
        ...

    def keep_listings(self, rows: Sequence[Listing], vendor: str, as_of: datetime) -> Kept:
        """Write what has changed of symbols: whether they are listed; name and exchange where there are none yet."""
        ...

    def keep_splits(self, rows: Sequence[StockSplit], run_id: UUID) -> Kept:
        """Write splits that are new or have changed."""
        ...

    def keep_dividends(self, rows: Sequence[Dividend], run_id: UUID) -> Kept:
        """Write dividends that are new or have changed."""
        ...

    def quarantine(self, vendor: str, dataset: Dataset, run_id: UUID, rejected: Sequence[SetAside]) -> int:
        """Keep the rows that were set aside, if they have a symbol, each once; return how many are new."""
        ...


class SymbolBook(Protocol):
    """Which symbols are of interest, and how far a vendor's bars of them go."""

    def active(self) -> list[str]:
        """List the symbols to load bars of: see `SymbolsToLoad.active`."""
        ...

    def loaded_until(self, vendor: str, timeframe: str, symbols: Sequence[str]) -> dict[str, datetime]:
        """Say per symbol up to when finished loads have asked the vendor; symbols without any are absent."""
        ...
