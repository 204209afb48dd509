"""What the strategy engine needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from src.services.strategy_engine.domain.bar_versions import BarVersion
from src.services.strategy_engine.domain.decision import DataBlock, Freeze
from src.services.strategy_engine.domain.evaluation import Evaluation, WatchedPair
from src.services.strategy_engine.domain.replay import StoredDecision
from src.services.strategy_engine.domain.trade_history import TradeHistory
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.pairs import Pair
from src.shared.domain.signals import Signal
from src.shared.messages.base import Event


@dataclass(frozen=True)
class RegisteredPair:
    """A row of the registry: the pair, the span of bars it was fitted on, and how often it was written."""

    pair: Pair
    correlation: float
    fitted_from: datetime
    fitted_to: datetime
    version: int


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

    def save(self, registered: RegisteredPair, source: str) -> None:
        """Insert or replace a pair's row."""
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
class PairPast:
    """What else a decision about a pair hung on at an earlier time: its last stop, and what froze it."""

    last_stop: datetime | None
    freeze: Freeze


class ReplayStore(Protocol):
    """Decisions and all that they were taken from, as it is now and as it was."""

    def decisions(self, first: datetime, last: datetime) -> list[StoredDecision]:
        """Read the decisions of the slots in [first, last], by slot and pair id."""
        ...

    def told_without_row(self, first: datetime, last: datetime) -> list[tuple[datetime, str, str]]:
        """List slot, pair id and action of decisions in [first, last] that were told and that no row holds."""
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

    def bar_versions(self, symbols: Sequence[str], first: datetime, last: datetime) -> list[BarVersion]:
        """Read every value that was stored of the bars that end in [first, last]."""
        ...

    def archived_months(self, symbols: Sequence[str], first: datetime, last: datetime) -> set[tuple[str, date]]:
        """List the months of [first, last] that are archived, with the symbols that have no bar left in them."""
        ...
