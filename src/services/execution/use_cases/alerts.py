"""Tell people: the row of the alert and its event, in the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from src.services.execution.ports import TradeStore
from src.shared.domain.ids import slot_key
from src.shared.messages.ops import AlertRaised, Severity
from src.shared.ports.unit_of_work import Work


def raise_alert(
    work: Work[TradeStore], severity: Severity, title: str, detail: str, slot: datetime, at: datetime
) -> None:
    """Record something a person should know; the same alert of the same slot once. The caller commits."""
    alert = work.repo.note_alert(severity, title, detail, slot, at)
    work.record(AlertRaised.of(alert, 1, at, slot_key(slot), severity=severity, title=title, detail=detail))
