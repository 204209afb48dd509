"""The values of the limits that are in force: one row each, the last one written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from src.services.risk_management.domain.limits import RiskLimits
from src.services.risk_management.domain.sizing import SizingRules
from src.shared.domain.errors import InputInvalid
from src.shared.domain.risk_limits import LIMIT_BOUNDS, bounds_of, check_together

SETTINGS = "settings"
"""Who seeded a limit when it was no person."""


@dataclass(frozen=True)
class LimitRow:
    """One limit as somebody set it. `change_id` rises with every change of any limit."""

    name: str
    value: Decimal
    who: str
    why: str
    version: int
    since: datetime
    change_id: int


@dataclass(frozen=True)
class LimitChange:
    """A row that is to be written."""

    name: str
    value: Decimal
    who: str
    why: str
    version: int


@dataclass(frozen=True)
class SessionRules:
    """What entries need besides limits, from the settings of the strategy."""

    overnight: bool
    max_slot_age: timedelta


@dataclass(frozen=True)
class LimitsInForce:
    """Every limit that has a row, by name."""

    rows: Mapping[str, LimitRow]

    def __getitem__(self, name: str) -> Decimal:
        """Return a limit's value."""
        return self.rows[name].value

    @property
    def values(self) -> dict[str, Decimal]:
        """All values by name."""
        return {name: row.value for name, row in self.rows.items()}

    @property
    def revision(self) -> int:
        """The last change of any limit; 0 before the first."""
        return max((row.change_id for row in self.rows.values()), default=0)

    @property
    def numbers(self) -> dict[str, object]:
        """Lay it out as JSON values, for a decision to keep."""
        return {"revision": self.revision, **{name: str(value) for name, value in self.values.items()}}

    def missing(self, seed: Mapping[str, Decimal]) -> list[LimitChange]:
        """Return the rows that the settings have to add, none when every limit has one.

        Raises:
            InputInvalid: a value of the settings is out of bounds, or contradicts another or a row in force.
        """
        absent = [name for name in LIMIT_BOUNDS if name not in self.rows]
        if absent:
            check_together({**seed, **self.values})
        return [LimitChange(name, seed[name], SETTINGS, "the settings seed what has no row", 1) for name in absent]

    def changed(self, name: str, value: Decimal, who: str, why: str) -> LimitChange | None:
        """Return the row that gives a limit a new value, None when it has it already.

        Raises:
            InputInvalid: no such limit, out of bounds, or in contradiction to another one in force.
        """
        bounds_of(name)
        row = self.rows[name]
        check_together({**self.values, name: value})
        return None if value == row.value else LimitChange(name, value, who, why, row.version + 1)

    def differing(self, seed: Mapping[str, Decimal]) -> dict[str, tuple[Decimal, Decimal]]:
        """Return (setting, in force) of each limit whose setting is no longer what counts."""
        return {name: (seed[name], row.value) for name, row in self.rows.items() if seed[name] != row.value}

    def risk_limits(self, session: SessionRules) -> RiskLimits:
        """Lay the values out for the limits."""
        return RiskLimits(
            trading_enabled=bool(self["trading_enabled"]),
            overnight=session.overnight,
            max_slot_age=session.max_slot_age,
            max_open_pairs=int(self["max_open_pairs"]),
            max_gross_fraction=self["max_gross_fraction"],
            max_net_fraction=self["max_net_fraction"],
            max_symbol_fraction=self["max_symbol_fraction"],
            max_pair_fraction=self["max_pair_fraction"],
            max_correlation=float(self["max_correlation"]),
            max_orders_per_minute=int(self["max_orders_per_minute"]),
            max_orders_per_day=int(self["max_orders_per_day"]),
            max_daily_loss_fraction=self["max_daily_loss_fraction"],
            max_rolling_loss_fraction=self["max_rolling_loss_fraction"],
            max_drawdown_fraction=self["max_drawdown_fraction"],
            event_days=int(self["event_days"]),
            earnings_sessions=int(self["earnings_sessions"]),
        )

    def sizing_rules(self) -> SizingRules:
        """Lay the values out for sizing."""
        return SizingRules(
            bootstrap_fraction=self["bootstrap_fraction"],
            kelly_min_trades=int(self["kelly_min_trades"]),
            kelly_lookback_trades=int(self["kelly_lookback_trades"]),
            kelly_max_fraction=self["kelly_max_fraction"],
            max_leg_fraction=self["max_leg_fraction"],
            max_ratio_error=self["max_ratio_error"],
        )


def in_force(rows: Iterable[LimitRow]) -> LimitsInForce:
    """Keep the last row of each name, in the order in which limits are shown; a name that is gone is left out."""
    last: dict[str, LimitRow] = {}
    for row in sorted(rows, key=lambda each: each.change_id):
        last[row.name] = row
    return LimitsInForce({name: last[name] for name in LIMIT_BOUNDS if name in last})


def require_person(who: str, why: str) -> None:
    """Let a change pass that names who makes it and why.

    Raises:
        InputInvalid: nobody or no reason is named, or the name is one of the system's own.
    """
    if not who.strip() or not why.strip():
        raise InputInvalid("Say who makes the change and why (--why): both are kept in the audit log.")
    if who in {SETTINGS, "risk"}:
        raise InputInvalid(f"{who!r} is the system itself; give the name of a person.")
