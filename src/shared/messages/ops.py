"""What operations says."""

from __future__ import annotations

from typing import ClassVar, Literal

from src.shared.messages.base import Event

Severity = Literal["info", "warning", "error", "critical"]


class AlertRaised(Event):
    """Something that a person should know."""

    speaker: ClassVar[str] = "ops"
    aggregate: ClassVar[str] = "alert"

    severity: Severity
    title: str
    detail: str
