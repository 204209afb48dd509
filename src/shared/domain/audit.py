"""One line of the audit log: who did what to whom, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AuditNote:
    """One line of the audit log. `numbers` are JSON values."""

    who: str
    what: str
    subject: str
    why: str
    numbers: Mapping[str, object]
