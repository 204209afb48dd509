"""Position size: what fraction of equity a trade may use, and which whole shares come closest to it.

Fraction. Fewer closed trades than `kelly_min_trades`, or no win or no loss among them: the bootstrap fraction.
Otherwise half-Kelly, f = ½ · (W − (1 − W) / R), on the last `kelly_lookback_trades` booked results; W counts results
above zero over all of them (a scratch trade is no win), R is mean win / mean loss. f ≤ 0 means no edge: size 0.

Rounding. f × equity is the pair's gross, split 1 : |β| between the legs' notionals; if a leg exceeds its cap both
shrink together. Among all whole share counts (each ≥ 1) inside that gross, inside the leg cap and within the ratio
tolerance, the one is taken whose hedged notional less its unhedged rest is largest: a dollar that hangs unhedged
counts against the trade, so a share is given up for a better ratio when that is worth it. More equity only adds
candidates, so this measure never falls as equity grows, and a pair that can be sized stays sizable.

In one symbol the trade gets what its strategy asks for, but no more than f and the leg cap allow, in whole shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from src.services.risk_management.domain.codes import RejectCode
from src.shared.domain.edge import edge_of
from src.shared.domain.pairs import Direction

ZERO = Decimal(0)
ONE = Decimal(1)


@dataclass(frozen=True)
class SizingRules:
    """The settings of sizing; fractions are of equity."""

    bootstrap_fraction: Decimal
    kelly_min_trades: int
    kelly_lookback_trades: int
    kelly_max_fraction: Decimal
    max_leg_fraction: Decimal
    max_ratio_error: Decimal


@dataclass(frozen=True)
class BetFraction:
    """The fraction of equity a pair may use, and where it came from: "bootstrap" or "half_kelly"."""

    value: Decimal
    basis: str
    trades: int
    win_rate: Decimal | None = None
    win_loss_ratio: Decimal | None = None

    @property
    def numbers(self) -> dict[str, object]:
        """Lay it out as JSON values."""
        return {
            "fraction": str(self.value),
            "basis": self.basis,
            "closed_trades": self.trades,
            "win_rate": _text(self.win_rate),
            "win_loss_ratio": _text(self.win_loss_ratio),
        }


@dataclass(frozen=True)
class Shares:
    """Whole shares of both legs (unsigned), with prices in dollars and the ratio they should keep."""

    shares_1: int
    shares_2: int
    price_1: Decimal
    price_2: Decimal
    beta: Decimal

    @property
    def notional_1(self) -> Decimal:
        """Dollars in leg 1."""
        return self.shares_1 * self.price_1

    @property
    def notional_2(self) -> Decimal:
        """Dollars in leg 2."""
        return self.shares_2 * self.price_2

    @property
    def ratio_error(self) -> Decimal:
        """How far notional 2 / notional 1 is from beta, as a fraction of beta."""
        return abs(self.notional_2 / (self.notional_1 * self.beta) - 1)

    @property
    def hedged_less_unhedged(self) -> Decimal:
        """Dollars in which the legs hedge each other, less the dollars that hang over."""
        hedged = min(self.notional_1, self.notional_2 / self.beta) * (1 + self.beta)
        return 2 * hedged - self.notional_1 - self.notional_2


@dataclass(frozen=True)
class Target:
    """What whole shares have to come close to; `gross` and `leg_cap` are the most dollars in both and in each leg."""

    price_1: Decimal
    price_2: Decimal
    beta: Decimal
    gross: Decimal
    leg_cap: Decimal
    max_error: Decimal


@dataclass(frozen=True)
class Size:
    """The outcome of sizing: signed shares and dollars for a direction, or a reject code with zeros."""

    quantity_1: Decimal
    quantity_2: Decimal
    notional_1: Decimal
    notional_2: Decimal
    code: RejectCode | None
    reason: str
    numbers: dict[str, object]


def bet_fraction(results: Sequence[Decimal], rules: SizingRules) -> BetFraction:
    """Return the fraction for a pair from its closed trades' booked P&L in dollars, oldest first."""
    if len(results) < rules.kelly_min_trades:
        return BetFraction(rules.bootstrap_fraction, "bootstrap", len(results))
    recent = results[-rules.kelly_lookback_trades :]
    edge = edge_of(recent)
    if edge is None:
        return BetFraction(rules.bootstrap_fraction, "bootstrap", len(recent))
    clamped = min(max(edge.half_kelly, ZERO), rules.kelly_max_fraction)
    return BetFraction(clamped, "half_kelly", len(recent), edge.win_rate, edge.win_loss_ratio)


def size_pair(
    direction: Direction,
    price_1: float,
    price_2: float,
    beta: float,
    *,
    equity: Decimal,
    fraction: BetFraction,
    rules: SizingRules,
) -> Size:
    """Return signed whole shares for an entry at these last prices, or the code that says why there are none."""
    numbers: dict[str, object] = {"price_1": price_1, "price_2": price_2, "beta": beta, **fraction.numbers}
    numbers["equity"] = str(equity)
    if not all(isfinite(value) and value > 0 for value in (price_1, price_2, abs(beta))):
        numbers |= {"price_1": str(price_1), "price_2": str(price_2), "beta": str(beta)}
        return _refused(RejectCode.UNSIZABLE, "A price or beta is not a finite number above zero.", numbers)
    if fraction.value <= 0:
        return _refused(RejectCode.NO_EDGE, "The closed trades show no edge: half-Kelly is not above zero.", numbers)
    prices = Decimal(str(price_1)), Decimal(str(price_2))
    ratio = abs(Decimal(str(beta)))
    gross, cap = target_gross(ratio, equity, fraction.value, rules)
    numbers |= {"gross_target": str(gross), "leg_cap": str(cap)}
    if sum(prices) > gross or max(prices) > cap:
        return _refused(RejectCode.SIZE_TOO_SMALL, f"${gross:.2f} does not buy one share of each leg.", numbers)
    shares = whole_shares(Target(*prices, ratio, gross, cap, rules.max_ratio_error))
    if shares is None:
        reason = f"No whole shares within ${gross:.2f} keep the ratio within {rules.max_ratio_error:.1%} of beta."
        return _refused(RejectCode.RATIO_OFF, reason, numbers)
    return _sized(shares, direction, numbers)


def size_symbol(
    direction: Direction,
    price: float,
    asked: float,
    *,
    equity: Decimal,
    fraction: BetFraction,
    rules: SizingRules,
) -> Size:
    """Return signed whole shares for an entry in one symbol at its last price, or the code that says why none.

    `asked` is the signed fraction of equity that its strategy asks to hold.
    """
    numbers: dict[str, object] = {"price_1": price, "asked_fraction": asked, **fraction.numbers}
    numbers["equity"] = str(equity)
    if not (isfinite(price) and price > 0 and isfinite(asked) and asked * direction.sign > 0):
        numbers |= {"price_1": str(price), "asked_fraction": str(asked)}
        reason = "The price is not a finite number above zero, or the fraction asked for is not on its side."
        return _refused(RejectCode.UNSIZABLE, reason, numbers)
    if fraction.value <= 0:
        return _refused(RejectCode.NO_EDGE, "The closed trades show no edge: half-Kelly is not above zero.", numbers)
    cap = rules.max_leg_fraction * equity
    dollars = min(abs(Decimal(str(asked))) * equity, fraction.value * equity, cap)
    numbers |= {"gross_target": str(dollars), "leg_cap": str(cap)}
    each = Decimal(str(price))
    shares = max(ZERO, dollars // each)
    if shares == 0:
        return _refused(RejectCode.SIZE_TOO_SMALL, f"${dollars:.2f} does not buy one share.", numbers)
    quantity = direction.sign * shares
    numbers["notional_1"] = str(shares * each)
    return Size(quantity, ZERO, quantity * each, ZERO, None, f"{shares} shares.", numbers)


def target_gross(beta: Decimal, equity: Decimal, fraction: Decimal, rules: SizingRules) -> tuple[Decimal, Decimal]:
    """Return the pair's gross after the leg cap has shrunk both legs together, and the cap itself, in dollars."""
    cap = rules.max_leg_fraction * equity
    largest_share = max(ONE, beta) / (1 + beta)
    return min(fraction * equity, cap / largest_share), cap


def whole_shares(target: Target) -> Shares | None:
    """Return the best whole shares within the target's dollars, or None when none keeps the ratio."""
    best: Shares | None = None
    for shares in _candidates(target):
        if best is not None and _most_hedged(shares) < best.hedged_less_unhedged:
            break
        if shares.ratio_error <= target.max_error and (best is None or _score(shares) > _score(best)):
            best = shares
    return best


def _candidates(target: Target) -> Iterator[Shares]:
    # The leg whose single share hedges more dollars is counted down; the finer one follows it, rounded both ways.
    price_1, price_2, beta = target.price_1, target.price_2, target.beta
    first_is_coarse = price_1 >= price_2 / beta
    coarse, fine = (price_1, price_2) if first_is_coarse else (price_2, price_1)
    fine_per_coarse = beta if first_is_coarse else 1 / beta
    most = min(target.leg_cap, target.gross / (1 + fine_per_coarse * (1 - target.max_error))) // coarse
    for count in range(int(most), 0, -1):
        room = int(min(target.gross - count * coarse, target.leg_cap) // fine)
        ideal = int(count * coarse * fine_per_coarse // fine)
        for other in sorted({min(ideal, room), min(ideal + 1, room)}):
            if other >= 1:
                counts = (count, other) if first_is_coarse else (other, count)
                yield Shares(*counts, price_1, price_2, beta)


def _most_hedged(shares: Shares) -> Decimal:
    # No candidate from here on can hedge more than the coarse leg's own count allows.
    return max(shares.notional_1, shares.notional_2 / shares.beta) * (1 + shares.beta)


def _score(shares: Shares) -> tuple[Decimal, Decimal]:
    return shares.hedged_less_unhedged, -shares.ratio_error


def _sized(shares: Shares, direction: Direction, numbers: dict[str, object]) -> Size:
    sign = direction.sign
    numbers = numbers | {
        "notional_1": str(shares.notional_1),
        "notional_2": str(shares.notional_2),
        "ratio_error": float(shares.ratio_error),
    }
    return Size(
        Decimal(sign * shares.shares_1),
        Decimal(-sign * shares.shares_2),
        sign * shares.notional_1,
        -sign * shares.notional_2,
        None,
        f"{shares.shares_1} and {shares.shares_2} shares, ratio {shares.ratio_error:.2%} off beta.",
        numbers,
    )


def _refused(code: RejectCode, reason: str, numbers: dict[str, object]) -> Size:
    return Size(ZERO, ZERO, ZERO, ZERO, code, reason, numbers)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
