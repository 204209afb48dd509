"""Tell people: the row of the alert and its event, in the caller's transaction.

An alert is named by what it is about, never by its text: numbers and times in it may change. What goes on from pass
to pass is a condition. It is told when it begins; a pass that sees all of a scope ends those that it did not find.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal

from src.services.execution.ports import TradeStore
from src.shared.domain.ids import slot_key
from src.shared.messages.ops import AlertRaised, Severity
from src.shared.ports.unit_of_work import Work

Scope = Literal["gate", "trades"]
"""Who ends conditions: the gate's comparison, or the pass over all trades in motion."""


def raise_alert(
    work: Work[TradeStore], severity: Severity, title: str, detail: str, about: str, slot: datetime, at: datetime
) -> None:
    """Record something a person should know; the same title `about` the same thing once. The caller commits."""
    alert = work.repo.note_alert(severity, title, detail, about, slot, at)
    work.record(AlertRaised.of(alert, 1, at, slot_key(slot), severity=severity, title=title, detail=detail))


def raise_begun(
    work: Work[TradeStore],
    scope: Scope,
    severity: Severity,
    title: str,
    lines: Mapping[str, str],
    slot: datetime,
    at: datetime,
) -> None:
    """Record conditions, text by what they are about, as one alert if one of them begins. The caller commits."""
    counts = {about: work.repo.condition_begins(scope, condition(title, about), at) for about in sorted(lines)}
    begun = [f"{about} {times}" for about, times in counts.items() if times is not None]
    if begun:
        detail = "; ".join(sorted(lines.values()))
        raise_alert(work, severity, title, detail, "; ".join([scope, *begun]), slot, at)


def end_others(work: Work[TradeStore], scope: Scope, still: Collection[str], at: datetime) -> None:
    """Note that no condition of a scope goes on but `still`. The caller commits."""
    work.repo.conditions_end(scope, still, at)


def condition(title: str, about: str) -> str:
    """Name a condition within its scope."""
    return f"{title}: {about}"
