"""What the strategy engine needs from outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import UUID

from src.services.strategy_engine.domain.bar_versions import BarVersion
from src.services.strategy_engine.domain.decision import DataBlock, Freeze, PairWish
from src.services.strategy_engine.domain.discovery import CompanyEvent, Findings, FoundPair, Outcome, StepTally
from src.services.strategy_engine.domain.evaluation import Evaluation, SlotTime, WatchedPair
from src.services.strategy_engine.domain.gate import TriedFit
from src.services.strategy_engine.domain.instances import (
    Failed,
    Fault,
    Instance,
    InstanceDecision,
    Job,
    LateState,
    Reach,
    Standing,
    Stepped,
)
from src.services.strategy_engine.domain.life import Standing as PairStanding
from src.services.strategy_engine.domain.replay import PairDecision, PastInstanceDecision
from src.services.strategy_engine.domain.symbol_trades import Booked, SymbolSignal, SymbolTrade
from src.services.strategy_engine.domain.trade_history import TradeHistory
from src.services.strategy_engine.domain.universe import Excluded
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import BarKind, BarSeries, CloseSeries
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.instances import InstanceMode
from src.shared.domain.pairs import FoundBy, Pair, PairMode
from src.shared.domain.signals import Signal
from src.shared.domain.ticks import Tick
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

    def pair_instances(self) -> list[Instance]:
        """List the instances of type pairs, and those that ask for pairs, that are not gone, off or not, by id."""
        ...

    def pair_wishes(self, slot: datetime) -> dict[tuple[str, str], PairWish]:
        """Read what active instances asked for in a slot, by instance and pair."""
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
    standing: PairStanding
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


@dataclass(frozen=True)
class Described:
    """A strategy, by what it trades and the digest of its file, and a config of it that can be used."""

    config: Mapping[str, Any]
    trades: str
    digest: str


class StrategyTypes(Protocol):
    """The strategies that instances can be made of."""

    def describe(self, name: str, config: Mapping[str, object]) -> Described:
        """Describe a strategy, with a config as it is stored: what was left out is left out.

        Raises:
            InputInvalid: there is no such strategy, its file is broken, or it can't use the config; the message says
                which there are, what is wrong, or names the field and its bound.
        """
        ...


@dataclass(frozen=True)
class StoredDecision:
    """A decision as it was stored, with the mode in which it was taken."""

    instance_id: str
    slot: datetime
    mode: InstanceMode
    config_version: int
    strategy_digest: str
    wishes: Sequence[Mapping[str, object]]
    numbers: Mapping[str, object]
    log: Sequence[str]


class InstanceRepository(Protocol):
    """Instances, their states, decisions and faults, within one transaction."""

    def standings(self, only: Collection[str] | None = None) -> list[Standing]:
        """List every instance that is not gone, or those of `only`, with state and last fault, by id."""
        ...

    def pulse(self) -> tuple[object, ...]:
        """Read cheaply what is another value whenever an instance, a state or a fault has changed."""
        ...

    def due(self, slot: datetime) -> list[Standing]:
        """List the instances that are on and have decided neither in the slot nor in a later one, by id."""
        ...

    def locked(self, instance_id: str) -> Instance | None:
        """Read an instance and keep it from changing until the transaction ends; None where it is gone or unknown."""
        ...

    def is_taken(self, instance_id: str) -> bool:
        """Say whether an instance has, or had, this name."""
        ...

    def add(self, instance: Instance) -> None:
        """Insert a new instance."""
        ...

    def change(self, instance: Instance) -> None:
        """Replace config, mode and note of an instance."""
        ...

    def remove(self, instance_id: str) -> None:
        """Mark an instance that is off as gone."""
        ...

    def traded_pairs(self) -> list[str]:
        """List the pairs with an unfinished trade, sorted."""
        ...

    def decisions(self, instance_id: str, most: int) -> list[StoredDecision]:
        """List the last decisions of an instance, newest first."""
        ...

    def faults(self, instance_id: str, most: int) -> list[Fault]:
        """List the last faults of an instance, newest first."""
        ...

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read the closes of finished hourly bars on the grid of `ends`, NaN where there is none."""
        ...

    def bars(self, symbols: Sequence[str], ends: Sequence[datetime]) -> BarSeries:
        """Read whole bars as `closes` reads closes."""
        ...

    def watched_pairs(self, slot: datetime) -> list[WatchedPair]:
        """List, by pair id, the pairs in observe, active or closing and all with an unfinished trade."""
        ...

    def data_blocks(self, symbols: Sequence[str]) -> list[DataBlock]:
        """Read what keeps the bars of the symbols from being traded on, by symbol and rule."""
        ...

    def add_decisions(self, decisions: Sequence[InstanceDecision], now: datetime) -> dict[str, InstanceMode]:
        """Store decisions with the states that follow them, and return in which mode each instance then was.

        Left out is what was decided by now, in this slot or a later one, what is off or gone, and what was decided
        under another config than the present one.
        """
        ...

    def keep_states(self, states: Sequence[LateState], now: datetime) -> None:
        """Store states that ticks have changed, but for those of instances that have decided or changed since."""
        ...

    def add_faults(self, faults: Sequence[Fault]) -> None:
        """Store faults, but for those of instances with a newer one than was known: it is the same, met by two."""
        ...

    def symbol_trades(self) -> list[SymbolTrade]:
        """List the unfinished trades of instances in one symbol, by name; those that a late fill reopened are not
        meant.
        """
        ...

    def booked(self, instance_id: str) -> Booked:
        """Read what the finished trades of an instance in symbols came to."""
        ...

    def equity(self, slot: datetime) -> Decimal | None:
        """Read the account's equity in dollars as of the last slot up to this one that has it."""
        ...

    def add_symbol_signals(self, signals: Sequence[SymbolSignal]) -> set[str]:
        """Store the signals that are not there yet; return their names."""
        ...

    def tell(self, events: Sequence[Event]) -> None:
        """Put events into the outbox at once; an event id that is there stays as it is."""
        ...

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        ...


@dataclass(frozen=True, eq=False)
class Market:
    """What all instances are given in a slot: the time, the closes, the pairs, and ticks since the bar by symbol.

    `whole` has whole bars of the symbols of those that read them, on the grid of `series`.
    """

    time: SlotTime
    series: CloseSeries
    pairs: tuple[WatchedPair, ...] = ()
    ticks: Mapping[str, float] = field(default_factory=dict)
    whole: BarSeries | None = None


class StrategyRunner(Protocol):
    """Calls strategies where they can do no harm. One answer for each job, in the order of the jobs."""

    def reaches(self, jobs: Sequence[Job]) -> list[Reach | Failed]:
        """Ask what each instance looks at."""
        ...

    def steps(self, market: Market, jobs: Sequence[Job]) -> list[Stepped | Failed]:
        """Let each instance decide about the slot."""
        ...

    def ticks(self, market: Market, tick: Tick, jobs: Sequence[Job]) -> list[Stepped | Failed]:
        """Let each instance look at a tick."""
        ...

    def described(self, jobs: Sequence[Job]) -> list[Described | Failed]:
        """Say what each strategy is and whether its config can be used; a wrong one is `broken`."""
        ...

    def drawings(self, market: Market, jobs: Sequence[Job]) -> list[tuple[Mapping[str, object], ...] | Failed]:
        """Let each instance show how it stands: widgets as plain data."""
        ...

    def close(self) -> None:
        """End what runs for it."""
        ...


@dataclass(frozen=True)
class PairPast:
    """What else a decision about a pair hung on at an earlier time: its last stop, and what froze it."""

    last_stop: datetime | None
    freeze: Freeze


class ReplayStore(Protocol):
    """Decisions and all that they were taken from, as it is now and as it was."""

    def decisions(self, first: datetime, last: datetime) -> list[PairDecision]:
        """Read the decisions of the slots in [first, last], by slot and pair id."""
        ...

    def told_without_row(self, first: datetime, last: datetime) -> list[tuple[datetime, str, str]]:
        """List slot, pair id and action of decisions in [first, last] that were told and that no row holds."""
        ...

    def instance_decisions(self, first: datetime, last: datetime) -> list[PastInstanceDecision]:
        """Read the decisions of instances in the slots of [first, last], by slot and id."""
        ...

    def trade_histories(self, pair_ids: Sequence[str]) -> dict[str, list[TradeHistory]]:
        """Read the trades of the pairs; a pair without any is absent."""
        ...

    def pasts(self, slot: datetime, at: datetime, fitted: Mapping[str, datetime | None]) -> dict[str, PairPast]:
        """Read what was known `at` that time of the pairs, each fitted on bars up to the time given.

        Where that time is None, the registry's fit counts.
        """
        ...

    def data_blocks(self, symbols: Sequence[str], at: datetime) -> list[DataBlock]:
        """Read what kept the bars of the symbols from being traded on at that time, by symbol and rule."""
        ...

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read the closes on the grid of `ends` as they are now, NaN where there is none."""
        ...

    def bars(self, symbols: Sequence[str], ends: Sequence[datetime]) -> BarSeries:
        """Read whole bars as `closes` reads closes."""
        ...

    def bar_versions(self, symbols: Sequence[str], first: datetime, last: datetime) -> list[BarVersion]:
        """Read every value that was stored of the bars that end in [first, last]."""
        ...

    def archived_months(self, symbols: Sequence[str], first: datetime, last: datetime) -> set[tuple[str, date]]:
        """List the months of [first, last] that are archived, with the symbols that have no bar left in them."""
        ...


class StudyStore(Protocol):
    """Past bars of any kind, and the registered pairs."""

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind) -> CloseSeries:
        """Read stored closes on the grid of `ends`, NaN where there is none."""
        ...

    def bars(self, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind) -> BarSeries:
        """Read whole bars as `closes` reads closes."""
        ...

    def watched_pairs(self, slot: datetime) -> list[WatchedPair]:
        """List the pairs in observe, active or closing, by pair id."""
        ...


class TemplateFiles(Protocol):
    """Templates of workflows as people keep them."""

    def text(self, path: Path) -> str:
        """Read a template.

        Raises:
            InputInvalid: it is not there, too large, or no text.
        """
        ...

    def of_folder(self, folder: Path) -> list[Path]:
        """List the templates of a folder, by name.

        Raises:
            InputInvalid: there is no such folder.
        """
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
