"""The gate: a fit is traded only after it has earned money, with costs, on bars that it never saw."""

from __future__ import annotations

from dataclasses import dataclass, field

from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.fit import FitBounds, PairFit, fit_pair, judge_fit, refuse_no_pair
from src.services.strategy_engine.domain.reasons import FitReason, GateReason
from src.services.strategy_engine.domain.trial import Costs, Trial, run_trial
from src.shared.domain.bars import CloseSeries
from src.shared.domain.pairs import Pair, PairMode
from src.shared.domain.sessions import TradingCalendar


@dataclass(frozen=True)
class GateBounds:
    """What a trial must be better than; so many round trips are enough. Rates and the drawdown are fractions."""

    least_sharpe: float = 0.5
    least_win_rate: float = 0.45
    most_drawdown: float = 0.15
    least_round_trips: int = 10


@dataclass(frozen=True)
class GateFailure:
    """A number that is not good enough, and the bound that it was held against."""

    reason: GateReason
    number: float
    bound: float

    def __str__(self) -> str:
        """Say it to a person."""
        return _WORDS[self.reason].format(number=self.number, bound=self.bound)


@dataclass(frozen=True)
class GateVerdict:
    """A trial, the bounds it was held against, and every number that falls short."""

    trial: Trial
    bounds: GateBounds
    failures: tuple[GateFailure, ...]

    @property
    def passed(self) -> bool:
        """Say whether the fit may be traded."""
        return not self.failures

    @property
    def reasons(self) -> tuple[GateReason, ...]:
        """What falls short, as words that are stored and counted."""
        return tuple(failure.reason for failure in self.failures)


@dataclass(frozen=True)
class Gate:
    """How fits are judged: the last `share` of the bars is kept from the fit and tried on with `costs`."""

    share: float = 1 / 3
    bounds: GateBounds = field(default_factory=GateBounds)
    costs: Costs = field(default_factory=Costs)

    def first_unseen(self, bars: int) -> int:
        """Return the row from which on the fit must see nothing, of `bars` rows; each part keeps at least one."""
        return min(max(bars - round(bars * self.share), 1), bars - 1)


@dataclass(frozen=True)
class TriedFit:
    """A fit on the first `first_unseen` rows of a window, what speaks against it, and its verdict on the other rows.

    The parameters that were tried are those that are traded: nothing is fitted again on the unseen rows.
    """

    pair: Pair
    fit: PairFit
    objections: tuple[FitReason, ...]
    verdict: GateVerdict
    first_unseen: int

    @property
    def passed(self) -> bool:
        """Say whether it may be traded: a sound fit whose trial passed."""
        return not self.objections and self.verdict.passed

    @property
    def failures(self) -> tuple[str, ...]:
        """Say to a person what keeps it from being traded: the fit's faults, then the trial's."""
        return (*(reason.value for reason in self.objections), *map(str, self.verdict.failures))


def judge_trial(trial: Trial, bounds: GateBounds) -> GateVerdict:
    """Hold a trial against the bounds. Sharpe, win rate and drawdown must be better than theirs, not equal."""
    return GateVerdict(
        trial, bounds, gate_failures(trial.sharpe, trial.win_rate, trial.max_drawdown, trial.round_trips, bounds)
    )


def gate_failures(
    sharpe: float, win_rate: float, max_drawdown: float, round_trips: int, bounds: GateBounds
) -> tuple[GateFailure, ...]:
    """List the numbers of a trial that are not good enough."""
    checks = (
        (GateReason.SHARPE_LOW, sharpe > bounds.least_sharpe, sharpe, bounds.least_sharpe),
        (GateReason.WIN_RATE_LOW, win_rate > bounds.least_win_rate, win_rate, bounds.least_win_rate),
        (GateReason.DRAWDOWN_HIGH, max_drawdown < bounds.most_drawdown, max_drawdown, bounds.most_drawdown),
        (
            GateReason.FEW_ROUND_TRIPS,
            round_trips >= bounds.least_round_trips,
            round_trips,
            bounds.least_round_trips,
        ),
    )
    return tuple(GateFailure(reason, number, bound) for reason, good, number, bound in checks if not good)


def try_fit(
    series: CloseSeries, fit_bounds: FitBounds, gate: Gate, thresholds: Thresholds, calendar: TradingCalendar
) -> TriedFit:
    """Fit the two symbols of `series` on its first rows and judge them on the rest. The pair's mode is observe.

    Raises:
        InputInvalid: the first rows hold fewer than 30 common bars, prices that can't be fitted, or no pair at all.
    """
    closes_1, closes_2 = series.pair(*series.symbols)
    first = gate.first_unseen(len(series.ends))
    fit = fit_pair(closes_1[:first], closes_2[:first], fit_bounds)
    refuse_no_pair("/".join(series.symbols), fit)
    pair = pair_of(series.symbols[0], series.symbols[1], fit)
    trial = run_trial(closes_1, closes_2, series.ends, pair, thresholds, calendar, gate.costs, first=first)
    return TriedFit(pair, fit, tuple(judge_fit(fit, fit_bounds)), judge_trial(trial, gate.bounds), first)


def pair_of(symbol_1: str, symbol_2: str, fit: PairFit, mode: PairMode = PairMode.OBSERVE) -> Pair:
    """Give two symbols the parameters of a fit."""
    return Pair(
        symbol_1, symbol_2, fit.alpha, fit.beta, fit.half_life_bars, fit.z_window_bars, fit.time_stop_bars, mode
    )


_WORDS = {
    GateReason.SHARPE_LOW: "Sharpe {number:.2f}, more than {bound:.2f} needed",
    GateReason.WIN_RATE_LOW: "win rate {number:.0%}, more than {bound:.0%} needed",
    GateReason.DRAWDOWN_HIGH: "drawdown {number:.1%}, less than {bound:.1%} needed",
    GateReason.FEW_ROUND_TRIPS: "{number:.0f} round trips, {bound:.0f} needed",
}
