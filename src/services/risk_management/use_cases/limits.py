"""Limits as rows: the settings seed them once, people change them afterwards, and what has a row is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from src.services.risk_management.domain.values import (
    SETTINGS,
    LimitRow,
    LimitsInForce,
    in_force,
    require_person,
)
from src.services.risk_management.ports import RiskRepository
from src.shared.domain.audit import AuditNote
from src.shared.domain.ids import slot_key
from src.shared.domain.risk_limits import bounds_of
from src.shared.failpoints import failpoint
from src.shared.messages.risk import RiskLimitChanged
from src.shared.ports.unit_of_work import UnitOfWork

LIMITS_SEEDED = "risk limits seeded"
LIMIT_CHANGED = "risk limit changed"


@dataclass(frozen=True)
class LimitBook:
    """Shows and changes limits. `seed` is what the settings say."""

    store: UnitOfWork[RiskRepository]
    seed: Mapping[str, Decimal]

    def settle(self) -> LimitsInForce:
        """Return what is in force, after adding a row for each limit that has none.

        Raises:
            InputInvalid: the settings contradict a row.
        """
        with self.store() as work:
            work.repo.lock()
            limits = limits_in_force(work.repo, self.seed)
            work.commit()
        return limits

    def history(self, name: str) -> list[LimitRow]:
        """Return every row of a limit, oldest first.

        Raises:
            InputInvalid: there is no such limit.
        """
        bounds_of(name)
        self.settle()
        with self.store() as work:
            return work.repo.limit_history(name)

    def differing(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Return (setting, in force) of each limit whose setting is not what counts; nothing is written."""
        with self.store() as work:
            return in_force(work.repo.limit_rows()).differing(self.seed)

    def set(self, name: str, text: str, who: str, why: str, now: datetime) -> tuple[LimitRow, LimitRow]:
        """Give a limit a new value from the next review on; return the row before and the row in force.

        Raises:
            InputInvalid: no such limit, no such value, a contradiction to another limit, or nobody or no reason is
                named. What was in force stays.
        """
        value = bounds_of(name).parse(text)
        require_person(who, why)
        with self.store() as work:
            work.repo.lock()
            limits = limits_in_force(work.repo, self.seed)
            before = limits.rows[name]
            change = limits.changed(name, value, who, why)
            if change is not None:
                work.repo.add_limits([change])
                numbers: dict[str, object] = {"before": str(before.value), "after": str(value)}
                work.repo.note(AuditNote(who, LIMIT_CHANGED, name, why, {**numbers, "version": change.version}))
                facts = {"value_before": before.value, "value_after": value, "who": who, "why": why}
                work.record(RiskLimitChanged.of(name, change.version, now, slot_key(now), **facts))
            after = in_force(work.repo.limit_rows()).rows[name]
            failpoint("risk_management.before_limit")
            work.commit()
        failpoint("risk_management.limit_set")
        return before, after


def limits_in_force(repo: RiskRepository, seed: Mapping[str, Decimal]) -> LimitsInForce:
    """Return what is in force within a transaction that holds the lock, seeded where there is no row yet."""
    limits = in_force(repo.limit_rows())
    missing = limits.missing(seed)
    if not missing:
        return limits
    repo.add_limits(missing)
    numbers: dict[str, object] = {change.name: str(change.value) for change in missing}
    repo.note(AuditNote(SETTINGS, LIMITS_SEEDED, "account", "the settings seed what has no row", numbers))
    return in_force(repo.limit_rows())
