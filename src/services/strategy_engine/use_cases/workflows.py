"""Workflows from templates: check one, say which bars it takes, and let its strategy decide over them, observing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel

from src.services.strategy_engine.domain.evaluation import SlotTime, WatchedPair
from src.services.strategy_engine.domain.fit import FitBounds, fit_pair, refuse_no_pair
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.domain.study import Grid, Purse, study_grid, why_not_fresh
from src.services.strategy_engine.domain.template import Template, config_error, parse_template
from src.services.strategy_engine.ports import StudyStore, TemplateFiles
from src.services.strategy_engine.sdk.loader import Loader
from src.services.strategy_engine.sdk.slot import Held, SlotData
from src.services.strategy_engine.sdk.state import PlainState
from src.services.strategy_engine.sdk.step import step
from src.services.strategy_engine.sdk.strategy import StrategyType
from src.services.strategy_engine.sdk.wishes import EnterPair, ExitPair, Target, Wish
from src.shared.domain.bars import HOURLY, BarKind, BarSeries, CloseSeries
from src.shared.domain.errors import InputInvalid, StrategyFault, UserError
from src.shared.domain.ids import parse_pair_id
from src.shared.domain.pairs import Pair, PairMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.ports.unit_of_work import UnitOfWork

_MOMENT = timedelta(microseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Wanted:
    """What a person may say beside the template; None leaves it to the template."""

    lookback: int | None = None
    since: date | None = None
    max_buffer_seconds: float | None = None
    report_every: int | None = None


@dataclass(frozen=True)
class Workflow:
    """A checked template with its file, its strategy and the strategy's config."""

    path: Path
    template: Template
    kind: StrategyType
    config: BaseModel

    @property
    def study(self) -> str:
        """Its name."""
        return self.template.meta.study


@dataclass(frozen=True)
class Broken:
    """A template that can't be used, and why: a line for each mistake."""

    path: Path
    problem: str


@dataclass(frozen=True)
class BarsWanted:
    """Which bars a workflow takes: what is asked of the vendor, and the grid that is read of what is stored."""

    kind: BarKind
    symbols: tuple[str, ...]
    grid: Grid
    expected: datetime
    asks_vendor: bool

    @property
    def window(self) -> tuple[datetime, datetime]:
        """From the start of the first bar to the end of the last."""
        return self.grid.first_start, self.grid.ends[-1]


@dataclass(frozen=True)
class StudyDecision:
    """What the strategy asked for at a bar, what it noted, and what one dollar would have become by then."""

    slot: datetime
    wishes: tuple[Wish, ...]
    numbers: Mapping[str, object]
    value: float


@dataclass(frozen=True)
class StudyReport:
    """How it stands after so many bars: what was asked for by kind, what would be held, what a dollar has become."""

    slot: datetime
    bars: int
    asked: Mapping[str, int]
    held: Mapping[str, float | str]
    value: float


@dataclass(frozen=True)
class StudyResult:
    """What came of a run. `obstacle` says why its last decision is none for now; None where it may be acted on."""

    study: str
    decisions: tuple[StudyDecision, ...]
    reports: tuple[StudyReport, ...]
    obstacle: str | None

    @property
    def summary(self) -> dict[str, object]:
        """The run in figures."""
        last = self.reports[-1]
        return {
            "study": self.study,
            "bars": last.bars,
            "asked": dict(last.asked),
            "held": dict(last.held),
            "value": round(last.value, 6),
            "decision": "NO_DECISION" if self.obstacle else _said(self.decisions[-1].wishes),
            "obstacle": self.obstacle or "",
        }


Tell = Callable[[StudyDecision | StudyReport], None]


@dataclass(frozen=True)
class Workflows:
    """Reads templates and runs them over stored bars. Nothing is sent, and no row is written."""

    files: TemplateFiles
    store: UnitOfWork[StudyStore]
    loader: Loader
    calendar: TradingCalendar
    bounds: FitBounds

    def read(self, path: Path) -> Workflow:
        """Read and check one template.

        Raises:
            InputInvalid: it can't be read, or is wrong; a line for each mistake names file, table and key.
        """
        template = parse_template(self.files.text(path), path.name)
        try:
            kind = self.loader.catalogue().get(template.strategy.type)
        except InputInvalid as error:
            raise InputInvalid(f"{path.name}: [strategy] type: {error}") from None
        try:
            config = kind.config.validate(template.strategy.config)
        except InputInvalid as error:
            raise config_error(template, path.name, error) from None
        found = Workflow(path, template, kind, config)
        _refuse_unfit(found)
        return found

    def read_folder(self, folder: Path) -> list[Workflow | Broken]:
        """Read every template of a folder, by name; one that is broken does not keep the others back.

        Raises:
            InputInvalid: there is no such folder.
        """
        found: list[Workflow | Broken] = []
        studies: dict[str, str] = {}
        for path in self.files.of_folder(folder):
            try:
                read = self.read(path)
                if read.study in studies:
                    raise InputInvalid(f"{path.name}: [meta] study: {studies[read.study]} has this name already")
                studies[read.study] = path.name
                found.append(read)
            except UserError as error:
                found.append(Broken(path, str(error)))
        return found

    def bars_wanted(self, workflow: Workflow, now: datetime, wanted: Wanted) -> BarsWanted:
        """Say which bars it takes. `now` is the broker's time.

        Raises:
            InputInvalid: no bar is finished in that window.
        """
        loader, kind = workflow.template.loader, workflow.kind
        until = now if loader.end is None else min(now, datetime.combine(loader.end, time(), UTC) + _DAY)
        since = wanted.since or loader.start
        before = max(kind.warmup_bars(workflow.config) - 1, self._bars_of_pairs(workflow, now))
        grid = study_grid(self.calendar, loader.bar_length, until, wanted.lookback or loader.records, since, before)
        newest = study_grid(self.calendar, loader.bar_length, now, 1, None, 0)
        if grid is None or newest is None:
            raise InputInvalid(f"{workflow.path.name}: [loader] no bar is finished from {since} to {until:%Y-%m-%d}.")
        pairs = kind.pairs(workflow.config)
        legs = [] if pairs == "all" else [leg for each in pairs for leg in parse_pair_id(each)]
        symbols = {*loader.symbols, *kind.symbols(workflow.config), *legs}
        bars = BarKind(loader.timeframe, loader.vendor, loader.adjustment)
        return BarsWanted(bars, tuple(sorted(symbols)), grid, newest.ends[-1], loader.table is None)

    def run(
        self, workflow: Workflow, bars: BarsWanted, now: datetime, wanted: Wanted, tell: Tell | None = None
    ) -> StudyResult:
        """Let the strategy decide about bar after bar, and hold what it asks for as if it were done at once.

        `tell` hears of each decision that asks for something, and of the report after every so many bars.

        Raises:
            InputInvalid: no bars are stored, or a pair is neither registered nor can be fitted.
            StrategyFault: the strategy failed; the message names the bar.
        """
        with self.store() as work:
            whole = None
            if workflow.kind.whole_bars:
                whole = work.repo.bars(bars.symbols, bars.grid.ends, bars.kind)
            series = whole.closes if whole else work.repo.closes(bars.symbols, bars.grid.ends, bars.kind)
            registered = {each.pair.id: each for each in work.repo.watched_pairs(bars.grid.decided[0])}
        self._refuse_unregistered(workflow, registered)
        for symbol in bars.symbols:
            if not (series.column(symbol) > 0).any():
                raise InputInvalid(f"{workflow.path.name}: [loader] no bars of {symbol} ({bars.kind}) are stored.")
        pairs = self._pairs(workflow, series, bars.grid, registered)
        template = workflow.template
        every = wanted.report_every or template.report.every_bars
        walk = _Walk(workflow, series, whole, pairs, every, self.calendar, tell)
        for slot in bars.grid.decided:
            walk.take(slot)
        buffer = timedelta(seconds=wanted.max_buffer_seconds or template.loader.max_buffer_seconds)
        obstacle = why_not_fresh(series, bars.symbols, bars.expected, now, buffer)
        return StudyResult(workflow.study, tuple(walk.decisions), tuple(walk.reports), obstacle)

    def _pairs(
        self, workflow: Workflow, series: CloseSeries, grid: Grid, registered: Mapping[str, WatchedPair]
    ) -> list[WatchedPair]:
        named = workflow.kind.pairs(workflow.config)
        found = []
        for name in [] if named == "all" else named:
            fit_bars = workflow.template.strategy.fit_bars
            if fit_bars is not None:
                pair = self._fitted(name, series, grid, fit_bars)
            else:
                pair = replace(registered[name].pair, mode=PairMode.OBSERVE)
            found.append(WatchedPair(pair))
        return found

    def _bars_of_pairs(self, workflow: Workflow, now: datetime) -> int:
        """Count the bars that its pairs need before the first decision, to be fitted or for their windows."""
        named, fit_bars = workflow.kind.pairs(workflow.config), workflow.template.strategy.fit_bars
        if fit_bars is not None or not named:
            return fit_bars or 0
        with self.store() as work:
            return max(
                (each.pair.z_window_bars for each in work.repo.watched_pairs(now) if each.pair.id in named), default=0
            )

    def _refuse_unregistered(self, workflow: Workflow, registered: Mapping[str, WatchedPair]) -> None:
        if workflow.template.strategy.fit_bars is not None:
            return
        for name in workflow.kind.pairs(workflow.config):
            if name not in registered:
                raise InputInvalid(
                    f"{workflow.path.name}: [strategy] fit_bars: {name} is not registered; say on how many bars "
                    "before the first decision it is fitted"
                )

    def _fitted(self, name: str, series: CloseSeries, grid: Grid, fit_bars: int) -> Pair:
        legs = parse_pair_id(name)
        first, second = (column[max(0, grid.before - fit_bars) : grid.before] for column in series.pair(*legs))
        fit = fit_pair(first, second, self.bounds)
        refuse_no_pair(name, fit)
        return Pair(
            *legs,
            fit.alpha,
            fit.beta,
            fit.half_life_bars,
            fit.z_window_bars,
            fit.time_stop_bars,
            PairMode.OBSERVE,
        )


class _Walk:
    """The strategy on its way from bar to bar."""

    def __init__(
        self,
        workflow: Workflow,
        series: CloseSeries,
        whole: BarSeries | None,
        pairs: Sequence[WatchedPair],
        every: int,
        calendar: TradingCalendar,
        tell: Tell | None,
    ) -> None:
        self._workflow, self._series, self._whole = workflow, series, whole
        self._pairs, self._calendar = list(pairs), calendar
        self._every, self._tell = every, tell or (lambda _: None)
        self._state: PlainState | None = None
        self._held, self._purse = Held(), Purse()
        self._asked: Counter[str] = Counter()
        self.decisions: list[StudyDecision] = []
        self.reports: list[StudyReport] = []

    def take(self, slot: datetime) -> None:
        """Decide about one bar."""
        session = self._calendar.session_at(slot - _MOMENT)
        if session is None:
            raise ValueError(f"{slot} is no bar of the calendar")
        # As a live slot would be decided in time: the moment its bar is finished.
        time_of_slot = SlotTime(slot, slot, session.close)
        data = SlotData.at(self._series, time_of_slot, tuple(self._pairs), self._whole)
        closes = {name: close for name in self._series.symbols if (close := data.last_close(name)) is not None}
        parameters = {each.pair.id: each.pair for each in self._pairs}
        self._purse.move(closes, self._held.fractions, self._held.trades, parameters)
        try:
            result = step(self._workflow.kind, self._workflow.config, self._state, data, self._held)
        except StrategyFault as fault:
            raise StrategyFault(
                f"{self._workflow.path.name}: at the bar of {slot:%Y-%m-%d %H:%M}Z: {fault}"
            ) from fault
        self._state, self._held = result.state, self._held.after(result.wishes, slot)
        self._rest_after_stops(result.wishes, slot)
        self._asked.update(wish.kind for wish in result.wishes)
        numbers = MappingProxyType(dict(result.numbers))
        decision = StudyDecision(slot, result.wishes, numbers, self._purse.value)
        self.decisions.append(decision)
        if decision.wishes:
            self._tell(decision)
        if len(self.decisions) % self._every == 0 or slot == self._series.ends[-1]:
            self._report(slot)

    def _rest_after_stops(self, wishes: Sequence[Wish], slot: datetime) -> None:
        stopped = {wish.pair_id for wish in wishes if isinstance(wish, ExitPair) and wish.reason == Reason.STOP_Z}
        self._pairs = [replace(each, last_stop=slot) if each.pair.id in stopped else each for each in self._pairs]

    def _report(self, slot: datetime) -> None:
        held: dict[str, float | str] = {**self._held.fractions}
        held |= {pair: trade.direction.value for pair, trade in self._held.trades.items()}
        report = StudyReport(slot, len(self.decisions), dict(self._asked), held, self._purse.value)
        self.reports.append(report)
        self._tell(report)


def _said(wishes: Sequence[Wish]) -> str:
    return "; ".join(map(said_wish, wishes)) or "asks for nothing"


def said_wish(wish: Wish) -> str:
    """Write what was asked for on a line."""
    match wish:
        case Target():
            what = f"hold {wish.fraction:+.4g} in {wish.symbol}"
        case EnterPair():
            what = f"enter {wish.pair_id} {wish.direction.value}"
        case ExitPair():
            what = f"exit {wish.pair_id}"
    return f"{what} ({wish.reason})" if wish.reason else what


def said(told: StudyDecision | StudyReport) -> str:
    """Write a decision or a report on a line."""
    if isinstance(told, StudyDecision):
        return f"{told.slot:%Y-%m-%d %H:%M}Z  {_said(told.wishes)}"
    held = ", ".join(f"{name} {what:+.4g}" if isinstance(what, float) else f"{name} {what}"
                     for name, what in told.held.items())  # fmt: skip
    asked = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(told.asked.items()))
    return (
        f"{told.slot:%Y-%m-%d %H:%M}Z  after {told.bars} bars: asked for {asked or 'nothing'}; "
        f"holds {held or 'nothing'}; one dollar is {told.value:.4f}, before costs"
    )


def _refuse_unfit(workflow: Workflow) -> None:
    """Refuse what the rules of pairs can't take."""
    loader, name = workflow.template.loader, workflow.path.name
    if workflow.kind.whole_bars and loader.resampling is not None:
        raise InputInvalid(
            f"{name}: [loader] resampling: {workflow.kind.key} reads whole bars, and closes alone are resampled"
        )
    pairs = workflow.kind.pairs(workflow.config)
    if not pairs:
        if workflow.template.strategy.fit_bars is not None:
            raise InputInvalid(f"{name}: [strategy] fit_bars: {workflow.kind.key} has no pairs to fit; leave it out")
        if not loader.symbols and not workflow.kind.symbols(workflow.config):
            raise InputInvalid(f"{name}: [loader] symbols: name at least one, the strategy names none")
        return
    if pairs == "all":
        raise InputInvalid(f"{name}: {workflow.template.strategy.part_of('pairs')} pairs: name them, such as KO/PEP")
    if loader.bar_length != HOURLY:
        raise InputInvalid(
            f"{name}: [loader] {'resampling' if loader.resampling else 'timeframe'}: the rules of pairs count "
            f"hourly bars, not {loader.bar_length}"
        )
