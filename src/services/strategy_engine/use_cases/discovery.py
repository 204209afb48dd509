"""Look for pairs: universe, scan, gate, and the best are watched; every number of every pair is kept.

A search is named after its bars, symbols and rules, so that doing it again finds it done. Its results are stored in
one transaction; then its best pairs are registered one by one, each of which may be done again. A search that was
killed is begun anew, or carried on where its results are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from src.services.strategy_engine.domain.discovery import (
    DiscoveryRules,
    Findings,
    FoundPair,
    Outcome,
    ScanPart,
    StepTally,
    choose,
    scan_parts,
    search_id,
    sift_parts,
    try_pairs,
    window_start,
)
from src.services.strategy_engine.domain.scan.engle_granger import PairScan
from src.services.strategy_engine.domain.universe import NothingToSearch, Universe, choose_universe
from src.services.strategy_engine.ports import (
    DiscoveryRepository,
    KnownPair,
    PairRegistrar,
    PairWord,
    Search,
)
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_pair_id, parse_symbol
from src.shared.domain.pairs import FoundBy, PairMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork

_LOAD = "`.venv/bin/python scripts/load_historical_data.py --vendor alpaca --from DAY --symbols {}` loads them"

_SAID = 3

ScanParts = Callable[[Sequence[ScanPart]], Iterable[PairScan]]
"""Does the parts of a scan, here or elsewhere, and gives their results in any order."""


@dataclass(frozen=True)
class Request:
    """What to search: named symbols, or all; first and last day of the window; how many of the best to watch."""

    symbols: tuple[str, ...] = ()
    first: date | None = None
    last: date | None = None
    observe: int | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A search that can be done: its rules and universe, and whether it was done before."""

    search: Search
    universe: Universe
    rules: DiscoveryRules

    @property
    def is_stored(self) -> bool:
        """Say whether its results are there already."""
        return self.search.state != "running"


@dataclass(frozen=True)
class DiscoveryReport:
    """A search and what it found: the pairs that came to the gate, the highest rank first."""

    search: Search
    found: tuple[FoundPair, ...]
    already_done: bool = False

    @property
    def tallies(self) -> tuple[StepTally, ...]:
        """At which step how many pairs fell."""
        return self.search.tallies

    @property
    def survivors(self) -> tuple[FoundPair, ...]:
        """The pairs that passed the gate."""
        return tuple(each for each in self.found if each.outcome is not Outcome.REJECTED)

    @property
    def observed(self) -> tuple[FoundPair, ...]:
        """The pairs that are watched because of this search."""
        return tuple(each for each in self.found if each.outcome is Outcome.OBSERVE)


def scan_here(parts: Sequence[ScanPart]) -> Iterable[PairScan]:
    """Do the parts of a scan one after the other in this process."""
    return (part.scan() for part in parts)


@dataclass(frozen=True)
class Discovery:
    """Looks for pairs. It is the only writer of searches; pairs get into the registry by its own one way."""

    store: UnitOfWork[DiscoveryRepository]
    registrar: PairRegistrar
    calendar: TradingCalendar
    rules: DiscoveryRules

    def discover(
        self,
        request: Request,
        *,
        now: datetime,
        who: str,
        dry_run: bool = False,
        scan: ScanParts = scan_here,
    ) -> DiscoveryReport:
        """Do a whole search. A dry run stores nothing and watches nothing.

        Raises:
            InputInvalid: as `plan`.
        """
        plan = self.plan(request, now=now, who=who)
        if plan.is_stored and not dry_run:
            return self.observe(plan, who)
        if not dry_run:
            self.begin(plan)
        findings = self.judge(plan, scan(self.parts(plan)))
        if dry_run:
            return DiscoveryReport(replace(plan.search, tallies=tuple(findings.tallies())), tuple(findings.found()))
        self.keep(plan, findings)
        return self.observe(plan, who)

    def plan(self, request: Request, *, now: datetime, who: str) -> Plan:
        """Choose window and symbols. The window ends with the newest stored bar, unless a last day is given.

        Raises:
            InputInvalid: days in the wrong order, or symbols that are named and have no bars.
            NothingToSearch: there are no bars, or fewer than two symbols can be searched.
        """
        rules = self.rules if request.observe is None else replace(self.rules, observe=request.observe)
        named = _named(request.symbols)
        with self.store() as work:
            start, end = self._window(work.repo, request, now, rules)
            spans = self.calendar.spans_between(start, end)
            there = work.repo.symbols_with_bars(start, end)
            _refuse_unknown(named, there, start, end)
            symbols = named or there
            objections = work.repo.objections(symbols, start, end)
            out = {each.symbol for each in objections}
            series = work.repo.closes([each for each in symbols if each not in out], [stop for _, stop in spans])
            sessions = self.calendar.sessions(start.date(), end.date())
            days = [each.day for each in sessions for _, stop in each.bar_spans() if start <= stop <= end]
            days = days[len(days) - len(spans) :]
            universe = choose_universe(series, days, rules.funnel.min_common_sessions, objections)
            _refuse_too_few(universe)
            ends = universe.series.ends
            identity = search_id(ends[0], ends[-1], universe, rules)
            known = work.repo.search(identity)
        begun = Search(identity, ends[0], ends[-1], universe.symbols, universe.excluded, rules.parameters(), who)
        return Plan(known or begun, universe, rules)

    def begin(self, plan: Plan) -> None:
        """Write down that the search begins."""
        with self.store() as work:
            work.repo.begin(plan.search)
            work.commit()
        failpoint("strategy_engine.search_begun")

    def parts(self, plan: Plan) -> list[ScanPart]:
        """Split the scan."""
        return scan_parts(plan.universe, plan.rules)

    def judge(self, plan: Plan, scanned: Iterable[PairScan]) -> Findings:
        """Let the scanned pairs fall through the funnel, bring the rest to the gate and choose the best."""
        universe, rules = plan.universe, plan.rules
        funnel = sift_parts(universe, rules, list(scanned))
        tried = list(try_pairs(universe, rules, funnel, self.calendar))
        symbols = sorted({symbol for each in tried for symbol in (each.symbol_1, each.symbol_2)})
        day = universe.series.ends[-1].date()
        with self.store() as work:
            events = work.repo.events(symbols, day, day + timedelta(days=rules.event_days)) if symbols else []
            known = work.repo.known_pairs()
        chosen = choose(tried, known, events, rules.observe)
        return Findings(universe.symbols, len(universe.series.ends), funnel, tuple(chosen))

    def keep(self, plan: Plan, findings: Findings) -> None:
        """Store all that was found, at once; what another run has stored meanwhile stays."""
        with self.store() as work:
            search = work.repo.search(plan.search.id, lock=True)
            if search is None or search.state != "running":
                return
            work.repo.add(search, findings)
            failpoint("strategy_engine.before_search")
            work.commit()
        failpoint("strategy_engine.search_stored")

    def observe(self, plan: Plan, who: str) -> DiscoveryReport:
        """Watch the chosen pairs of a search whose results are stored, and finish it."""
        identity = plan.search.id
        with self.store() as work:
            search, found = work.repo.search(identity), work.repo.found(identity)
        if search is not None and search.state == "complete":
            return DiscoveryReport(search, tuple(found), already_done=True)
        for pair in found:
            if pair.outcome is Outcome.CHOSEN:
                self._watch(plan, pair, who)
        with self.store() as work:
            work.repo.finish(identity)
            search, found = work.repo.search(identity), work.repo.found(identity)
            work.commit()
        return DiscoveryReport(search or plan.search, tuple(found))

    def last(self) -> DiscoveryReport | None:
        """Read the last finished search."""
        with self.store() as work:
            search = work.repo.last_search()
            return None if search is None else DiscoveryReport(search, tuple(work.repo.found(search.id)), True)

    def why(self, pair: str) -> PairWord:
        """Say what the last search made of a pair, and from which numbers.

        Raises:
            InputInvalid: it is no pair, or no search has had both its symbols.
        """
        first, second = parse_pair_id(pair)
        with self.store() as work:
            word = work.repo.word_on(first, second)
        if word is None:
            raise InputInvalid(f"No search has looked at {pair}: `tradewinds pairs discover` searches.")
        return word

    def _watch(self, plan: Plan, pair: FoundPair, who: str) -> None:
        search = plan.search
        with self.store() as work:
            known = work.repo.known_pairs().get(frozenset((pair.symbol_1, pair.symbol_2)))
        # A run that was killed may have registered it; a person may have, since it was chosen.
        ours = known == KnownPair(pair.id, PairMode.OBSERVE, search.window_end)
        outcome, reason = Outcome.OBSERVE if ours else Outcome.KNOWN, None
        if known is None:
            outcome, reason = self._register(search, pair, who)
        failpoint("strategy_engine.pair_found")
        with self.store() as work:
            work.repo.settle(search.id, pair, outcome, reason)
            work.commit()

    def _register(self, search: Search, pair: FoundPair, who: str) -> tuple[Outcome, str | None]:
        try:
            self.registrar.register_pair(
                pair.symbol_1,
                pair.symbol_2,
                until=search.window_end,
                bars=pair.bars,
                mode=PairMode.OBSERVE,
                who=who,
                why=f"found by search {search.id}",
                found_by=FoundBy.DISCOVERY,
            )
        except InputInvalid as error:
            return Outcome.REFUSED, str(error)
        return Outcome.OBSERVE, None

    def _window(
        self, repo: DiscoveryRepository, request: Request, now: datetime, rules: DiscoveryRules
    ) -> tuple[datetime, datetime]:
        before = now if request.last is None else min(now, _next_midnight(request.last))
        if request.first is not None and _midnight(request.first) >= before:
            raise InputInvalid(
                f"--from {request.first} is not before {request.last or now.date()}: give an earlier day first."
            )
        newest = repo.newest_bar(before)
        if newest is None:
            raise NothingToSearch(f"No hourly bars are stored up to {before:%Y-%m-%d}: {_LOAD.format('SPY,QQQ')}.")
        start = window_start(newest, rules) if request.first is None else _midnight(request.first)
        if start >= newest:
            raise InputInvalid(f"The newest stored bar ends at {newest:%Y-%m-%d %H:%M} UTC: give an earlier --from.")
        return start, newest


def _refuse_too_few(universe: Universe) -> None:
    if (count := len(universe.symbols)) >= 2:
        return
    out = universe.excluded
    told = "; ".join(f"{each.symbol}: {each.words}" for each in out[:_SAID])
    more = f"; and {len(out) - _SAID} more" if len(out) > _SAID else ""
    raise NothingToSearch(f"Only {count} symbols can be searched, two are needed. Left out are {told}{more}.")


def _named(symbols: Sequence[str]) -> list[str]:
    named = sorted({parse_symbol(symbol) for symbol in symbols})
    if len(named) == 1:
        raise InputInvalid(f"{named[0]} alone makes no pair: name at least two symbols.")
    return named


def _refuse_unknown(named: Sequence[str], there: Sequence[str], start: datetime, end: datetime) -> None:
    missing = sorted(set(named) - set(there))
    if missing:
        raise InputInvalid(
            f"No hourly bars of {', '.join(missing)} are stored from {start:%Y-%m-%d} to {end:%Y-%m-%d}: "
            f"{_LOAD.format(','.join(missing))}."
        )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _next_midnight(day: date) -> datetime:
    return _midnight(day) + timedelta(days=1)
