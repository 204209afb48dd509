from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.strategy_engine.domain.fit import FitBounds, fit_pair
from src.services.strategy_engine.domain.gate import Gate, GateBounds, TriedFit, judge_trial, try_fit
from src.services.strategy_engine.domain.reasons import FitReason, GateReason, Reason
from src.services.strategy_engine.domain.trial import Trial, TrialTrade
from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import Direction, PairMode
from src.shared.domain.sessions import TradingCalendar
from tests.unit.strategy_engine.builders import SLOT, make_thresholds
from tests.unit.strategy_engine.test_fit import reverting

CALENDAR = TradingCalendar()
TRADE = TrialTrade(
    Direction.LONG_SPREAD, SLOT, SLOT, (1.0, 1.0), (1.0, 1.0), Reason.EXIT_Z, gross_return=0.01, costs=0.001
)
GOOD = Trial(
    SLOT, SLOT, 133, 19, sharpe=0.51, win_rate=0.46, max_drawdown=0.149, net_return=0.1, trades=(TRADE,) * 10,
    decisions=(),
)  # fmt: skip


def tried(closes_1: Floats, closes_2: Floats) -> TriedFit:
    ends = [end for _, end in CALENDAR.last_spans(datetime(2026, 3, 10, 20, 0, tzinfo=UTC), len(closes_1))]
    series = CloseSeries(("KO", "PEP"), tuple(ends), np.column_stack([closes_1, closes_2]))
    return try_fit(series, FitBounds(), Gate(), make_thresholds(), CALENDAR)


def test_a_trial_that_is_just_good_enough_passes() -> None:
    verdict = judge_trial(GOOD, GateBounds())

    assert (verdict.passed, verdict.failures) == (True, ())


@pytest.mark.parametrize(
    ("number", "reason", "words"),
    [
        ({"sharpe": 0.5}, GateReason.SHARPE_LOW, "Sharpe 0.50, more than 0.50 needed"),
        ({"sharpe": -1.0}, GateReason.SHARPE_LOW, "Sharpe -1.00, more than 0.50 needed"),
        ({"win_rate": 0.45}, GateReason.WIN_RATE_LOW, "win rate 45%, more than 45% needed"),
        ({"max_drawdown": 0.15}, GateReason.DRAWDOWN_HIGH, "drawdown 15.0%, less than 15.0% needed"),
        ({"trades": (TRADE,) * 9}, GateReason.FEW_ROUND_TRIPS, "9 round trips, 10 needed"),
        # What the trial's end closed is not a round trip.
        (
            {"trades": (*(TRADE,) * 9, replace(TRADE, exit_reason=None))},
            GateReason.FEW_ROUND_TRIPS,
            "9 round trips, 10 needed",
        ),
    ],
)
def test_each_number_alone_keeps_a_fit_out_and_is_named(
    number: dict[str, object], reason: GateReason, words: str
) -> None:
    verdict = judge_trial(replace(GOOD, **number), GateBounds())  # type: ignore[arg-type]

    assert not verdict.passed
    assert verdict.reasons == (reason,)
    assert [str(failure) for failure in verdict.failures] == [words]


@pytest.mark.parametrize(
    "number", [{"sharpe": float("nan")}, {"win_rate": float("nan")}, {"max_drawdown": float("nan")}]
)
def test_a_number_that_is_none_passes_nothing(number: dict[str, float]) -> None:
    assert not judge_trial(replace(GOOD, **number), GateBounds()).passed  # type: ignore[arg-type]


@settings(deadline=None)
@given(bars=st.integers(2, 5000), share=st.floats(0.1, 0.6))
def test_both_parts_of_a_window_have_bars_and_the_unseen_one_its_share(bars: int, share: float) -> None:
    first = Gate(share=share).first_unseen(bars)

    assert 1 <= first <= bars - 1
    assert abs((bars - first) - bars * share) <= 1


def test_the_fit_that_is_tried_never_saw_the_last_third() -> None:
    closes_1, closes_2 = reverting(1, bars=1200)

    found = tried(closes_1, closes_2)

    assert found.first_unseen == 800
    assert found.fit == fit_pair(closes_1[:800], closes_2[:800])
    assert (found.pair.alpha, found.pair.beta, found.pair.mode) == (found.fit.alpha, found.fit.beta, PairMode.OBSERVE)
    assert found.verdict.trial.bars == 400


def test_a_pair_that_reverts_passes() -> None:
    passed = [tried(*reverting(seed, bars=1200)).passed for seed in range(10)]

    assert sum(passed) >= 8


def test_walks_that_have_nothing_to_do_with_each_other_pass_no_gate() -> None:
    walks = np.exp(4 + np.random.default_rng(7).normal(0, 0.01, (60, 2, 1200)).cumsum(axis=2))

    assert not any(_passes(*walk) for walk in walks)


def _passes(closes_1: Floats, closes_2: Floats) -> bool:
    try:
        return tried(closes_1, closes_2).passed
    except InputInvalid:
        return False


def test_a_good_trial_does_not_make_up_for_a_poor_fit() -> None:
    found = tried(*reverting(1, bars=1200, pull=0.5))

    assert found.objections == (FitReason.HALF_LIFE_SHORT,)
    assert not found.passed


def test_a_handful_of_bars_says_what_is_missing() -> None:
    found = tried(*reverting(1, bars=60))

    assert GateReason.FEW_ROUND_TRIPS in found.verdict.reasons
    assert not found.passed
