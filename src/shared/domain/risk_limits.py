"""Every limit that people may change while the system runs: name, unit, bounds, and what would contradict what.

A value is a Decimal; a switch is 1 (on) or 0 (off). The same bounds hold for the settings that seed a database, for
`tradewinds risk set` and, as a CHECK, for the rows themselves.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Literal

from src.shared.domain.errors import InputInvalid

Unit = Literal["of equity", "fraction", "on/off", "trades", "pairs", "orders", "bars", "days", "sessions"]

_FRACTIONS = frozenset({"of equity", "fraction"})
_SWITCH = {
    "on": Decimal(1),
    "true": Decimal(1),
    "1": Decimal(1),
    "off": Decimal(0),
    "false": Decimal(0),
    "0": Decimal(0),
}
_PLACES = 9


@dataclass(frozen=True)
class LimitBounds:
    """One limit's unit, the values it may take (both ends included) and its meaning."""

    name: str
    unit: Unit
    least: Decimal
    most: Decimal
    meaning: str

    @property
    def is_whole(self) -> bool:
        """Say whether only whole numbers make sense."""
        return self.unit not in _FRACTIONS

    def check(self, value: Decimal) -> None:
        """Let a value pass that is inside the bounds.

        Raises:
            InputInvalid: it is not, or it is no number at all.
        """
        if not value.is_finite() or not self.least <= value <= self.most:
            raise InputInvalid(f"{self.name} must be {self._span()}; {value} is not.")
        if self.is_whole and value != value.to_integral_value():
            raise InputInvalid(f"{self.name} counts {self.unit}: {value} is no whole number.")
        if value != round(value, _PLACES):
            raise InputInvalid(f"{self.name} takes {_PLACES} decimal places; {value} has more.")

    def parse(self, text: str) -> Decimal:
        """Read a value as people write it: a number, `1.5%` or `15 %` for a fraction, on or off for a switch.

        Raises:
            InputInvalid: it is no number, or outside the bounds.
        """
        value = self._read(text.strip().lower())
        if value is None:
            raise InputInvalid(f"{text!r} is no value of {self.name}, which must be {self._span()}.")
        self.check(value)
        return value

    def show(self, value: Decimal) -> str:
        """Write a value for people, without trailing zeros."""
        if self.unit == "on/off":
            return "on" if value else "off"
        return f"{value.normalize():f}"

    def _read(self, text: str) -> Decimal | None:
        if self.unit == "on/off":
            return _SWITCH.get(text)
        is_percent = text.endswith("%") and not self.is_whole
        try:
            return Decimal(text.removesuffix("%").strip()) / 100 if is_percent else Decimal(text)
        except DecimalException:
            return None

    def _span(self) -> str:
        if self.unit == "on/off":
            return "on or off"
        return f"{self.least:f} to {self.most:f} ({self.unit})"


def _bounds(name: str, unit: Unit, least: str, most: str, meaning: str) -> LimitBounds:
    return LimitBounds(name, unit, Decimal(least), Decimal(most), meaning)


_ALL = (
    _bounds("trading_enabled", "on/off", "0", "1", "Off: no entries at all."),
    _bounds("bootstrap_fraction", "of equity", "0", "1", "Fraction of equity until kelly_min_trades are closed."),
    _bounds("kelly_min_trades", "trades", "2", "10000", "Closed trades before Kelly sizing starts."),
    _bounds("kelly_lookback_trades", "trades", "2", "10000", "Closed trades Kelly looks back on."),
    _bounds("kelly_max_fraction", "of equity", "0", "1", "Upper clamp of the Kelly fraction."),
    _bounds("max_leg_fraction", "of equity", "0", "1", "Cap of one leg's notional as a fraction of equity."),
    _bounds("max_ratio_error", "fraction", "0", "1", "Most that whole shares may move the ratio from beta."),
    _bounds("max_open_pairs", "pairs", "1", "1000", "Trades open at once, in pairs and in single symbols."),
    _bounds("max_gross_fraction", "of equity", "0.001", "4", "Gross exposure as a fraction of equity."),
    _bounds("max_net_fraction", "of equity", "0.001", "4", "Absolute net exposure as a fraction of equity."),
    _bounds("max_symbol_fraction", "of equity", "0.001", "4", "Gross in one symbol as a fraction of equity."),
    _bounds("max_pair_fraction", "of equity", "0.001", "4", "Gross of one pair as a fraction of equity."),
    _bounds("max_correlation", "fraction", "0", "1", "Correlation guard against legs held or just approved."),
    _bounds("correlation_bars", "bars", "22", "5000", "Hourly bars a correlation is measured on."),
    _bounds("max_orders_per_minute", "orders", "1", "10000", "Orders sent in one minute."),
    _bounds("max_orders_per_day", "orders", "1", "100000", "Orders sent in one New York day."),
    _bounds(
        "max_daily_loss_fraction",
        "of equity",
        "0.001",
        "1",
        "Loss since the last session's close that stops entries.",
    ),
    _bounds(
        "max_rolling_loss_fraction", "of equity", "0.001", "1", "Booked loss of the last days that stops entries."
    ),
    _bounds(
        "rolling_loss_days", "days", "1", "90", "New York days, today included, that a rolling loss is summed over."
    ),
    _bounds("max_drawdown_fraction", "of equity", "0.001", "1", "Drawdown from peak that halts entries."),
    _bounds(
        "event_days", "days", "0", "10", "Days, today included, without a known event in either leg; 0: not asked."
    ),
    _bounds(
        "earnings_sessions",
        "sessions",
        "0",
        "10",
        "Sessions before and after a leg's day of earnings without an entry; 0: not asked.",
    ),
)

LIMIT_BOUNDS: Mapping[str, LimitBounds] = {bounds.name: bounds for bounds in _ALL}
"""All limits by name, in the order in which they are shown."""

NOT_ABOVE: tuple[tuple[str, str], ...] = (
    ("kelly_min_trades", "kelly_lookback_trades"),
    ("bootstrap_fraction", "kelly_max_fraction"),
    ("kelly_max_fraction", "max_pair_fraction"),
    ("max_leg_fraction", "max_symbol_fraction"),
    ("max_leg_fraction", "max_pair_fraction"),
    ("max_symbol_fraction", "max_gross_fraction"),
    ("max_pair_fraction", "max_gross_fraction"),
    ("max_net_fraction", "max_gross_fraction"),
    ("max_orders_per_minute", "max_orders_per_day"),
    ("max_daily_loss_fraction", "max_rolling_loss_fraction"),
    ("max_daily_loss_fraction", "max_drawdown_fraction"),
)
"""The first of each must not be above the second: above it, one of the two could never take effect."""


def bounds_of(name: str) -> LimitBounds:
    """Return the bounds of a limit.

    Raises:
        InputInvalid: there is no such limit; the message holds the nearest names.
    """
    if name in LIMIT_BOUNDS:
        return LIMIT_BOUNDS[name]
    near = difflib.get_close_matches(name, LIMIT_BOUNDS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "`tradewinds risk show` lists them."
    raise InputInvalid(f"There is no limit {name!r}: {hint}")


def check_together(values: Mapping[str, Decimal]) -> None:
    """Let values pass that are in bounds and do not contradict each other. `values` holds every limit.

    Raises:
        InputInvalid: the first that does not fit.
    """
    for name, bounds in LIMIT_BOUNDS.items():
        bounds.check(values[name])
    for small, large in NOT_ABOVE:
        if values[small] > values[large]:
            raise InputInvalid(
                f"{small} ({LIMIT_BOUNDS[small].show(values[small])}) must not be above "
                f"{large} ({LIMIT_BOUNDS[large].show(values[large])})."
            )
