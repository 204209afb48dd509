"""Sizing: published Kelly values, caps, rounding, and what must hold for any price and equity."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from src.services.risk_management.domain.codes import RejectCode
from src.services.risk_management.domain.sizing import (
    BetFraction,
    Shares,
    Size,
    Target,
    bet_fraction,
    size_pair,
    whole_shares,
)
from src.shared.domain.edge import half_kelly
from src.shared.domain.pairs import Direction
from tests.unit.risk_management.examples import RULES

BOOTSTRAP = BetFraction(Decimal("0.02"), "bootstrap", 0)

prices = st.floats(1.0, 2000.0).map(lambda price: round(price, 2))
betas = st.floats(0.1, 10.0).map(lambda beta: round(beta, 4))
equities = st.integers(1_000, 2_000_000).map(Decimal)
fractions = st.decimals("0.01", "0.24", places=3).map(lambda value: BetFraction(value, "half_kelly", 50))


def results(wins: int, win: int, losses: int, loss: int) -> list[Decimal]:
    return [Decimal(win)] * wins + [Decimal(-loss)] * losses


def size(price_1: float, price_2: float, beta: float, equity: Decimal, fraction: BetFraction = BOOTSTRAP) -> Size:
    return size_pair(Direction.LONG_SPREAD, price_1, price_2, beta, equity=equity, fraction=fraction, rules=RULES)


@pytest.mark.parametrize(
    ("win_rate", "win_loss_ratio", "expected"),
    [
        ("0.60", "1", "0.10"),  # the textbook coin: full Kelly 20 %
        ("0.55", "1", "0.05"),
        ("0.50", "2", "0.125"),  # full Kelly 25 %
        ("0.40", "1", "-0.10"),
        ("0.50", "1", "0"),
    ],
)
def test_half_kelly_gives_the_published_values(win_rate: str, win_loss_ratio: str, expected: str) -> None:
    assert half_kelly(Decimal(win_rate), Decimal(win_loss_ratio)) == Decimal(expected)


@pytest.mark.parametrize(
    ("history", "basis", "fraction"),
    [
        (results(0, 0, 0, 0), "bootstrap", "0.02"),
        (results(12, 100, 7, 100), "bootstrap", "0.02"),  # 19 trades
        (results(12, 100, 8, 100), "half_kelly", "0.10"),  # 20 trades, 60 % wins
        (results(20, 100, 0, 0), "bootstrap", "0.02"),  # no loss yet
        (results(0, 0, 20, 100), "bootstrap", "0.02"),  # no win yet
        (results(8, 100, 12, 100), "half_kelly", "0"),  # no edge
        (results(10, 100, 10, 100), "half_kelly", "0"),  # exactly no edge
        (results(18, 300, 2, 100), "half_kelly", "0.24"),  # clamped
    ],
)
def test_the_fraction_follows_the_closed_trades(history: list[Decimal], basis: str, fraction: str) -> None:
    found = bet_fraction(history, RULES)

    assert (found.basis, found.value) == (basis, Decimal(fraction))


def test_only_the_last_hundred_trades_count() -> None:
    history = results(0, 0, 500, 100) + results(60, 100, 40, 100)

    assert bet_fraction(history, RULES).value == Decimal("0.10")


def test_a_scratch_trade_is_no_win() -> None:
    history = [*results(10, 100, 5, 100), *[Decimal(0)] * 5]

    assert bet_fraction(history, RULES).win_rate == Decimal("0.5")


def test_gross_is_split_one_to_beta() -> None:
    found = size(10.0, 20.0, 1.5, Decimal(100_000))  # $2,000: $800 and $1,200

    assert (found.quantity_1, found.quantity_2) == (Decimal(80), Decimal(-60))
    assert (found.notional_1, found.notional_2) == (Decimal(800), Decimal(-1200))


def test_a_short_spread_turns_both_signs() -> None:
    found = size_pair(
        Direction.SHORT_SPREAD, 10.0, 20.0, 1.5, equity=Decimal(100_000), fraction=BOOTSTRAP, rules=RULES
    )

    assert (found.quantity_1, found.quantity_2) == (Decimal(-80), Decimal(60))


def test_the_leg_cap_shrinks_both_legs_together() -> None:
    most = BetFraction(Decimal("0.24"), "half_kelly", 50)

    found = size(10.0, 10.0, 3.0, Decimal(100_000), most)  # $6,000 and $18,000, capped at $12,000

    assert (found.notional_1, found.notional_2) == (Decimal(4000), Decimal(-12000))


@pytest.mark.parametrize(
    ("price_1", "price_2", "beta", "equity", "code"),
    [
        (300.0, 310.0, 1.0, "30000", RejectCode.SIZE_TOO_SMALL),  # $600 buys one leg only
        (300.0, 300.0, 1.0, "30000", None),  # exactly one share each
        (300.0, 250.0, 1.0, "30000", RejectCode.RATIO_OFF),  # one share each is 17 % off
        (200.0, 190.0, 1.0, "20000", None),  # exactly 5 % off
        (200.0, 189.9, 1.0, "20000", RejectCode.RATIO_OFF),
        (float("nan"), 10.0, 1.0, "100000", RejectCode.UNSIZABLE),
        (10.0, float("inf"), 1.0, "100000", RejectCode.UNSIZABLE),
        (10.0, 10.0, 0.0, "100000", RejectCode.UNSIZABLE),
        (10.0, 10.0, 1.0, "0", RejectCode.SIZE_TOO_SMALL),
        (10.0, 10.0, 1.0, "-5", RejectCode.SIZE_TOO_SMALL),
    ],
)
def test_what_cannot_be_sized_says_why(
    price_1: float, price_2: float, beta: float, equity: str, code: RejectCode | None
) -> None:
    assert size(price_1, price_2, beta, Decimal(equity)).code == code


def test_no_edge_has_its_own_code() -> None:
    none = BetFraction(Decimal(0), "half_kelly", 50)

    assert size(10.0, 10.0, 1.0, Decimal(100_000), none).code is RejectCode.NO_EDGE


def test_a_share_is_given_up_for_a_better_hedge() -> None:
    # 1 × $50 and 6 × $10 also fit into $110 but hang $10 over.
    target = Target(Decimal(50), Decimal(10), Decimal(1), Decimal(110), Decimal(1000), Decimal("0.25"))

    found = whole_shares(target)

    assert found is not None
    assert (found.shares_1, found.shares_2) == (1, 5)


@given(prices, prices, betas, equities, fractions)
@settings(deadline=None)
def test_a_size_never_exceeds_its_caps_nor_its_ratio(
    price_1: float, price_2: float, beta: float, equity: Decimal, fraction: BetFraction
) -> None:
    found = size(price_1, price_2, beta, equity, fraction)
    assume(found.code is None)

    legs = abs(found.notional_1), abs(found.notional_2)
    assert sum(legs) <= fraction.value * equity
    assert max(legs) <= RULES.max_leg_fraction * equity
    assert abs(legs[1] / (legs[0] * Decimal(str(beta))) - 1) <= RULES.max_ratio_error
    assert found.quantity_1 >= 1
    assert found.quantity_2 <= -1
    assert found.quantity_1 % 1 == found.quantity_2 % 1 == 0


@given(st.tuples(prices, prices, betas), equities, st.integers(0, 1_000_000), fractions)
@settings(deadline=None)
def test_more_equity_never_hedges_less(
    pair: tuple[float, float, float], equity: Decimal, more: int, fraction: BetFraction
) -> None:
    before = size(*pair, equity, fraction)
    assume(before.code is None)
    after = size(*pair, equity + more, fraction)

    assert after.code is None
    assert _measure(after, *pair) >= _measure(before, *pair)


@given(
    st.integers(5, 60), st.integers(5, 60), st.sampled_from(["0.5", "0.9", "1", "1.3", "2.5"]), st.integers(10, 400)
)
@settings(deadline=None)
def test_the_search_finds_what_trying_everything_finds(price_1: int, price_2: int, beta: str, gross: int) -> None:
    target = Target(
        Decimal(price_1),
        Decimal(price_2),
        Decimal(beta),
        Decimal(gross),
        Decimal(gross) * 2 / 3,
        RULES.max_ratio_error,
    )

    found, best = whole_shares(target), _try_everything(target)

    assert (found is None) == (best is None)
    if found is not None and best is not None:
        assert found.hedged_less_unhedged == best.hedged_less_unhedged


def test_the_rules_of_sizing_can_be_tightened() -> None:
    strict = replace(RULES, max_ratio_error=Decimal(0))

    found = size_pair(Direction.LONG_SPREAD, 30.0, 20.0, 1.0, equity=Decimal(9_000), fraction=BOOTSTRAP, rules=strict)

    assert (found.quantity_1, found.quantity_2) == (Decimal(2), Decimal(-3))


def _measure(found: Size, price_1: float, price_2: float, beta: float) -> Decimal:
    shares = int(abs(found.quantity_1)), int(abs(found.quantity_2))
    return Shares(*shares, *(Decimal(str(value)) for value in (price_1, price_2, beta))).hedged_less_unhedged


def _try_everything(target: Target) -> Shares | None:
    every = [
        Shares(first, second, target.price_1, target.price_2, target.beta)
        for first in range(1, int(target.gross / target.price_1) + 1)
        for second in range(1, int((target.gross - first * target.price_1) / target.price_2) + 1)
    ]
    fitting = [
        s for s in every if max(s.notional_1, s.notional_2) <= target.leg_cap and s.ratio_error <= target.max_error
    ]
    return max(fitting, key=lambda s: s.hedged_less_unhedged, default=None)
