"""Looking for pairs: the parts that a search is split into, its funnel, the gate, and what is watched in the end.

Pairs are chosen and fitted on the first part of the window alone; the last part, which neither the choice nor the fit
has seen, decides at the gate.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np

from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.gate import Gate, TriedFit, try_fit
from src.services.strategy_engine.domain.scan.engle_granger import Lags, PairScan, all_pairs, scan_pairs
from src.services.strategy_engine.domain.scan.funnel import Funnel, FunnelBounds, FunnelStep, ScannedPair, sift
from src.services.strategy_engine.domain.universe import Universe
from src.shared.domain.bars import CloseSeries, Floats, Ints
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import derived_id, pair_id, slot_key
from src.shared.domain.sessions import TradingCalendar

# Symbols that one part of a search is about, on either side: its prices are a few megabytes to send.
_SYMBOLS_OF_A_PART = 256

GATE = "gate"
PASSED = "passed"
STEPS = (*(step.value for step in FunnelStep), GATE)
"""The steps in their order."""


class Outcome(StrEnum):
    """What a search makes of a pair."""

    REJECTED = "rejected"
    # It passed, and others ranked higher.
    CANDIDATE = "candidate"
    # It is among the best and is about to be watched.
    CHOSEN = "chosen"
    OBSERVE = "observe"
    # It was registered before, in this direction or the other; nothing was changed about it.
    KNOWN = "known"
    # It was chosen, and the registry would not take it.
    REFUSED = "refused"


@dataclass(frozen=True)
class DiscoveryRules:
    """What a search goes by: `observe` of the best are watched, `event_days` is how far ahead events are flagged."""

    window_days: int
    funnel: FunnelBounds
    gate: Gate
    thresholds: Thresholds
    lags: Lags
    observe: int
    event_days: int

    def parameters(self) -> dict[str, Any]:
        """Lay them out as JSON values; two searches with the same have the same rules."""
        found: dict[str, Any] = asdict(self)
        found["thresholds"]["max_slot_age"] = self.thresholds.max_slot_age.total_seconds()
        return found


@dataclass(frozen=True)
class StepTally:
    """How many pairs came to a step and how many fell there."""

    step: str
    came: int
    fell: int


@dataclass(frozen=True)
class CompanyEvent:
    """Something announced of a company that moves its price by itself."""

    symbol: str
    what: str
    day: date

    def __str__(self) -> str:
        return f"{self.symbol} {self.what} {self.day}"


@dataclass(frozen=True, eq=False)
class ScanPart:
    """Some pairs of a search with the prices they need: work that can be done anywhere.

    `columns` (n,) are those of the universe; `logs` (T, n) their log prices; `legs` (2, P) columns of `logs`.
    """

    columns: Ints
    logs: Floats
    legs: Ints
    lags: Lags

    def scan(self) -> PairScan:
        """Test its pairs; their legs name columns of the universe."""
        found = scan_pairs(self.logs, self.legs, self.lags)
        return replace(found, legs=self.columns[found.legs])


@dataclass(frozen=True)
class TriedPair:
    """A pair that came to the gate: its numbers in the scan, its trial if there was one, and what became of it."""

    symbol_1: str
    symbol_2: str
    scanned: ScannedPair
    tried: TriedFit | None
    reason: str | None
    outcome: Outcome = Outcome.REJECTED
    events: tuple[CompanyEvent, ...] = ()

    @property
    def id(self) -> str:
        """Name the pair."""
        return pair_id(self.symbol_1, self.symbol_2)

    @property
    def passed(self) -> bool:
        """Say whether it passed the gate."""
        return self.reason is None


@dataclass(frozen=True)
class FoundPair:
    """What is kept and shown of a pair that came to the gate; numbers of the trial are None where there was none."""

    symbol_1: str
    symbol_2: str
    outcome: Outcome
    reason: str | None
    events: str | None
    bars: int
    correlation: float
    p_adjusted: float
    beta: float
    half_life_bars: float
    mean_abs_z: float
    score: float
    sharpe: float | None
    win_rate: float | None
    max_drawdown: float | None
    round_trips: float | None
    net_return: float | None

    @property
    def id(self) -> str:
        """Name the pair."""
        return pair_id(self.symbol_1, self.symbol_2)


@dataclass(frozen=True, eq=False)
class Findings:
    """What a search found: the funnel, and every pair that came to the gate, the highest rank first."""

    symbols: tuple[str, ...]
    bars: int
    funnel: Funnel
    tried: tuple[TriedPair, ...]

    def tallies(self) -> list[StepTally]:
        """Say at which step how many fell, in the order of the steps."""
        counted = [StepTally(each.step.value, each.came, each.fell) for each in self.funnel.counts()]
        fell = sum(not each.passed for each in self.tried)
        return [*counted, StepTally(GATE, len(self.tried), fell)]

    def found(self) -> list[FoundPair]:
        """List what is shown of the pairs that came to the gate, the highest rank first."""
        return [found_pair(each, self.bars) for each in self.tried]


def search_id(start: datetime, end: datetime, universe: Universe, rules: DiscoveryRules) -> UUID:
    """Name a search: the same bars, symbols and rules are the same search."""
    told = json.dumps(rules.parameters(), sort_keys=True)
    return derived_id("discovery", slot_key(start), slot_key(end), universe.digest, told)


def scan_parts(universe: Universe, rules: DiscoveryRules) -> list[ScanPart]:
    """Split the search of a universe into parts, the same ones wherever they are done."""
    symbols = len(universe.symbols)
    logs = universe.filled_logs()[: rules.gate.first_unseen(len(universe.series.ends))]
    legs = all_pairs(symbols)
    legs = legs[:, ~_few_common(universe, legs, rules)]
    groups = -(-symbols // _SYMBOLS_OF_A_PART)
    number = legs[0] // _SYMBOLS_OF_A_PART * groups + legs[1] // _SYMBOLS_OF_A_PART
    return [_part(logs, legs[:, number == each], rules.lags) for each in np.unique(number).tolist()]


def sift_parts(universe: Universe, rules: DiscoveryRules, parts: Sequence[PairScan]) -> Funnel:
    """Put the parts of a search together and let its pairs fall through the steps before the gate."""
    logs = universe.filled_logs()[: rules.gate.first_unseen(len(universe.series.ends))]
    legs = all_pairs(len(universe.symbols))
    few = legs[:, _few_common(universe, legs, rules)]
    scan = PairScan.joined([*parts, PairScan.without_numbers(few)])
    common = universe.common_sessions[scan.legs[0], scan.legs[1]]
    return sift(scan, logs, rules.funnel, common)


def try_pairs(
    universe: Universe, rules: DiscoveryRules, funnel: Funnel, calendar: TradingCalendar
) -> Iterator[TriedPair]:
    """Bring each pair that passed the funnel to the gate, the highest rank first."""
    for scanned in funnel.pairs(funnel.best):
        legs = (universe.symbols[scanned.leg_1], universe.symbols[scanned.leg_2])
        series = CloseSeries(legs, universe.series.ends, universe.series.closes[:, [scanned.leg_1, scanned.leg_2]])
        try:
            tried = try_fit(series, rules.funnel.fit, rules.gate, rules.thresholds, calendar)
        except InputInvalid as error:
            yield TriedPair(*legs, scanned, None, str(error))
            continue
        told = [*(each.value for each in tried.objections), *(str(each) for each in tried.verdict.failures)]
        yield TriedPair(*legs, scanned, tried, "; ".join(told) or None)


def choose(
    tried: Iterable[TriedPair], known: Collection[frozenset[str]], events: Iterable[CompanyEvent], observe: int
) -> list[TriedPair]:
    """Give each pair its outcome and its events: the best are chosen, or known already; the others are candidates.

    A known pair among the best takes one of their places: a market that does not change has the same best pairs.
    """
    of_symbol: dict[str, list[CompanyEvent]] = {}
    for event in events:
        of_symbol.setdefault(event.symbol, []).append(event)
    chosen: list[TriedPair] = []
    places = observe
    for each in tried:
        outcome = Outcome.REJECTED
        if each.passed:
            outcome = Outcome.CHOSEN if places > 0 else Outcome.CANDIDATE
            outcome = Outcome.KNOWN if frozenset((each.symbol_1, each.symbol_2)) in known else outcome
            places -= 1
        ahead = (*of_symbol.get(each.symbol_1, ()), *of_symbol.get(each.symbol_2, ()))
        chosen.append(replace(each, outcome=outcome, events=ahead))
    return chosen


def window_start(end: datetime, rules: DiscoveryRules) -> datetime:
    """Say where the window begins at the earliest that ends then."""
    return end - timedelta(days=rules.window_days)


def found_pair(pair: TriedPair, bars: int) -> FoundPair:
    """Lay out what is shown of a pair that came to the gate."""
    scanned, trial = pair.scanned, pair.tried.verdict.trial if pair.tried else None
    return FoundPair(
        symbol_1=pair.symbol_1,
        symbol_2=pair.symbol_2,
        outcome=pair.outcome,
        reason=pair.reason,
        events="; ".join(map(str, pair.events)) or None,
        bars=bars,
        correlation=scanned.correlation,
        p_adjusted=scanned.adjusted_p,
        beta=scanned.beta,
        half_life_bars=scanned.half_life_bars,
        mean_abs_z=scanned.mean_abs_z,
        score=scanned.rank,
        sharpe=trial.sharpe if trial else None,
        win_rate=trial.win_rate if trial else None,
        max_drawdown=trial.max_drawdown if trial else None,
        round_trips=trial.round_trips if trial else None,
        net_return=trial.net_return if trial else None,
    )


def _few_common(universe: Universe, legs: Ints, rules: DiscoveryRules) -> Any:
    return universe.common_sessions[legs[0], legs[1]] < rules.funnel.min_common_sessions


def _part(logs: Floats, legs: Ints, lags: Lags) -> ScanPart:
    columns, places = np.unique(legs, return_inverse=True)
    return ScanPart(columns, np.ascontiguousarray(logs[:, columns]), places.reshape(legs.shape), lags)
