"""The limits as `tradewinds risk show` lists them: value, origin and what is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from src.shared.domain.errors import Refused, Transient
from src.shared.domain.risk_limits import LIMIT_BOUNDS

if TYPE_CHECKING:
    from src.services.risk_management.domain.usage import Usage
    from src.services.risk_management.domain.values import LimitRow
    from src.shared.prefect.tasks.wiring import Services


@dataclass(frozen=True)
class LimitLine:
    """One line. `used` is empty for what is no amount that fills up, and "unknown" without the broker's word."""

    name: str
    value: str
    unit: str
    used: str
    setting: str
    since: datetime
    who: str
    why: str
    version: int


def limit_lines(services: Services) -> tuple[list[LimitLine], str]:
    """Lay out every limit in force with its present use, and say why the use is unknown where it is.

    Raises:
        UserError: keys, URL and database do not belong together.
    """
    limits = services.limits.settle()
    used, why_not = _used(services)
    return [_line(row, services, _shown(name, used)) for name, row in limits.rows.items()], why_not


def history_lines(services: Services, name: str) -> list[LimitLine]:
    """Lay out every value a limit has had, oldest first."""
    return [_line(row, services, "") for row in services.limits.history(name)]


def _line(row: LimitRow, services: Services, used: str) -> LimitLine:
    bounds = LIMIT_BOUNDS[row.name]
    setting = services.limits.seed[row.name]
    differing = bounds.show(setting) if setting != row.value else ""
    return LimitLine(
        row.name, bounds.show(row.value), bounds.unit, used, differing, row.since, row.who, row.why, row.version
    )


def _used(services: Services) -> tuple[Mapping[str, Usage] | None, str]:
    try:
        now = services.broker.clock().now.astimezone(UTC)
        return {usage.name: usage for usage in services.watch.look(now).usages}, ""
    except (Transient, Refused) as error:
        # The limits are worth showing without the broker.
        return None, " ".join(str(error).split())


def _shown(name: str, used: Mapping[str, Usage] | None) -> str:
    from src.services.risk_management.domain.usage import MEASURED

    if name not in MEASURED:
        return ""
    if used is None:
        return "unknown"
    usage, unit = used[name], LIMIT_BOUNDS[name].unit
    amount = f"{usage.used:.1%} of {usage.limit:.1%}" if unit == "of equity" else f"{usage.used} of {usage.limit:.0f}"
    return f"{amount} {usage.subject}".rstrip() + ("" if usage.standing == "ok" else f" ({usage.standing})")
