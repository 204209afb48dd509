"""What the strategy engine needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from src.services.strategy_engine.domain.decision import DataBlock
from src.services.strategy_engine.domain.discovery import CompanyEvent, Findings, FoundPair, Outcome, StepTally
from src.services.strategy_engine.domain.evaluation import Evaluation, WatchedPair
from src.services.strategy_engine.domain.gate import TriedFit
from src.services.strategy_engine.domain.life import Standing
from src.services.strategy_engine.domain.universe import Excluded
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.pairs import FoundBy, Pair, PairMode
from src.shared.domain.signals import Signal
from src.shared.messages.base import Event


@dataclass(frozen=True)
class RegisteredPair:
    """A row of the registry: the pair, the bars that were looked at, how often it was written, and its verdict.

    `gate_id` is None for a pair that no gate has judged; `found_by` says who brought it up.
    """

    pair: Pair
    correlation: float
    fitted_from: datetime
    fitted_to: datetime
    version: int
    gate_id: UUID | None = None
    gate_passed: bool = False
    found_by: FoundBy = FoundBy.PERSON
    after_closing: PairMode | None = None


@dataclass(frozen=True)
class Judgement:
    """A verdict of the gate as it is kept, with the bars that its fit and its trial saw."""

    id: UUID
    tried: TriedFit
    fitted_from: datetime
    fitted_to: datetime
    judged_to: datetime
    numbers: Mapping[str, object]
    who: str
    why: str


@dataclass(frozen=True)
class PairFreeze:
    """An action of a company that keeps a pair from entries."""

    symbol: str
    kind: CorporateActionKind
    effective_at: datetime


class StrategyRepository(Protocol):
    """Pairs, closes and signals, within one transaction."""

    def watched_pairs(self, slot: datetime) -> list[WatchedPair]:
        """List, by pair id, the pairs in observe, active or closing and all with an unfinished trade."""
        ...

    def watched_symbols(self) -> list[str]:
        """List the symbols of those pairs, sorted."""
        ...

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read the closes of finished hourly bars on the grid of `ends`, NaN where there is none."""
        ...

    def data_blocks(self, symbols: Sequence[str]) -> list[DataBlock]:
        """Read what keeps the bars of the symbols from being traded on, by symbol and rule."""
        ...

    def stored_signals(self, slot: datetime) -> tuple[Signal, ...]:
        """Read the signals of a slot as they were stored, by pair id."""
        ...

    def add_evaluations(self, evaluations: Sequence[Evaluation]) -> set[str]:
        """Store spreads and signals of pairs that have none in the slot yet, and return the ids of those pairs."""
        ...

    def tell(self, events: Sequence[Event]) -> None:
        """Put events into the outbox at once; an event id that is there stays as it is."""
        ...

    def registered(self, pair_id: str) -> RegisteredPair | None:
        """Read a pair's row and keep it, and new trades of the pair, from changing until the transaction ends."""
        ...

    def has_unfinished_trade(self, pair_id: str) -> bool:
        """Say whether the pair has a trade that is not over."""
        ...

    def keep_verdict(self, judgement: Judgement) -> None:
        """Add a verdict; it is never changed."""
        ...

    def save(self, registered: RegisteredPair, source: str, *, demoted: bool = False) -> None:
        """Insert or replace a pair's row; `demoted` keeps the time as that of its last demotion."""
        ...

    def watched_bars(self, pair_id: str) -> int:
        """Count the slots since a pair was let into observe, after the last one with a fault of its data."""
        ...

    def freezes(self, pair_id: str) -> list[PairFreeze]:
        """List the actions of companies that freeze a pair and have not been released, oldest first."""
        ...

    def release(self, pair_id: str, fitted_to: datetime, who: str) -> int:
        """End the freezes of actions before `fitted_to`, and say how many there were."""
        ...

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        ...


@dataclass(frozen=True)
class AuditLine:
    """One line of a pair's history; `numbers` are JSON values."""

    at: datetime
    who: str
    what: str
    why: str
    numbers: Mapping[str, object]


@dataclass(frozen=True)
class LastSignal:
    """The last decision about a pair."""

    slot: datetime
    action: str
    reason: str
    z: float | None


@dataclass(frozen=True)
class PairCard:
    """All that is known of a pair: its row, where it stands, the verdict's row as JSON values, its last signal."""

    registered: RegisteredPair
    standing: Standing
    verdict: Mapping[str, object] | None
    signal: LastSignal | None
    source: str


class LifeRepository(StrategyRepository, Protocol):
    """Where pairs stand in their lives, within one transaction."""

    def cards(self, pair_ids: Sequence[str] | None = None) -> list[PairCard]:
        """Read pairs, or all, by id. Nothing is re-tested here: no standing has a p-value."""
        ...

    def history(self, pair_id: str) -> list[AuditLine]:
        """Read what the audit log says of a pair, oldest first."""
        ...


SearchState = Literal["running", "stored", "complete"]


@dataclass(frozen=True)
class Search:
    """A search for pairs: its window, what was searched and left out, its rules, how far it is.

    `stored`: its results are there, and the best are yet to be watched.
    """

    id: UUID
    window_start: datetime
    window_end: datetime
    symbols: tuple[str, ...]
    excluded: tuple[Excluded, ...]
    parameters: Mapping[str, Any]
    who: str
    state: SearchState = "running"
    tallies: tuple[StepTally, ...] = ()


@dataclass(frozen=True)
class KnownPair:
    """A pair of the registry: its id, its mode, and the end of the bars that it was judged on."""

    id: str
    mode: PairMode
    judged_to: datetime


@dataclass(frozen=True)
class PairWord:
    """What a search said of one pair: the step it fell at, or `passed`, why, and what numbers there are of it."""

    search: Search
    step: str
    outcome: Outcome
    reason: str | None
    numbers: Mapping[str, float | None]


class DiscoveryRepository(Protocol):
    """Bars to search, what speaks against a symbol, and searches, within one transaction."""

    def newest_bar(self, before: datetime) -> datetime | None:
        """Return the end of the newest stored bar that ends by then."""
        ...

    def symbols_with_bars(self, start: datetime, end: datetime) -> list[str]:
        """List, sorted, the symbols with bars that end in the window."""
        ...

    def objections(self, symbols: Sequence[str], start: datetime, end: datetime) -> list[Excluded]:
        """List what keeps symbols out: not active, bars that a verdict blocks, a company's action, another basis."""
        ...

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read the closes of finished hourly bars on the grid of `ends`, NaN where there is none."""
        ...

    def events(self, symbols: Sequence[str], after: date, until: date) -> list[CompanyEvent]:
        """List what is announced of companies from the day after `after` to `until`, by day and symbol."""
        ...

    def known_pairs(self) -> Mapping[frozenset[str], KnownPair]:
        """List the registered pairs, retired ones too, by their symbols, whichever leg comes first."""
        ...

    def begin(self, search: Search) -> None:
        """Write a search down that begins; one that is there stays as it is."""
        ...

    def search(self, identity: UUID, *, lock: bool = False) -> Search | None:
        """Read a search, and with `lock` keep others from changing it until the transaction ends."""
        ...

    def last_search(self) -> Search | None:
        """Read the finished search with the newest window, the one that was finished last."""
        ...

    def add(self, search: Search, findings: Findings) -> None:
        """Store all that was found, at once, and that it is."""
        ...

    def found(self, identity: UUID) -> list[FoundPair]:
        """List the pairs that came to the gate, the highest rank first."""
        ...

    def settle(self, identity: UUID, pair: FoundPair, outcome: Outcome, reason: str | None) -> None:
        """Say what became of a chosen pair."""
        ...

    def finish(self, identity: UUID) -> None:
        """Say that a search is complete."""
        ...

    def word_on(self, symbol_1: str, symbol_2: str) -> PairWord | None:
        """Read what the newest finished search with both symbols said of them, whichever leg comes first."""
        ...


class PairRegistrar(Protocol):
    """The one way into the registry of pairs."""

    def register_pair(
        self,
        symbol_1: str,
        symbol_2: str,
        *,
        until: datetime,
        bars: int,
        mode: PairMode,
        who: str,
        why: str,
        found_by: FoundBy,
    ) -> object:
        """Fit a pair on its stored closes, judge it at the gate and register it.

        Raises:
            InputInvalid: the registry does not take it.
        """
        ...
