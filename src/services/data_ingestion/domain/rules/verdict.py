"""What a rule says of a series, and what a rule is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from src.services.data_ingestion.domain.rules.series import StoredSeries

Severity = Literal["info", "warning", "block"]
Number = float | int | str | None

BLOCK: Severity = "block"


@dataclass(frozen=True)
class Verdict:
    """One rule's word about one series.

    `reason` is one line made of what stays the same while the fault does: a fault found again reads as before.
    `numbers` are all that were looked at (JSON values).
    """

    rule: str
    severity: Severity
    passed: bool
    reason: str
    numbers: Mapping[str, Number]

    @property
    def blocks(self) -> bool:
        """Say whether no trade may be opened on the series."""
        return not self.passed and self.severity == BLOCK

    def says_the_same(self, other: Verdict) -> bool:
        """Say whether it adds nothing to `other`, whatever the numbers are by now."""
        same = (self.rule, self.severity, self.passed) == (other.rule, other.severity, other.passed)
        return same and (self.passed or self.reason == other.reason)


class Rule(Protocol):
    """Judges whole series. It never changes or leaves out a bar."""

    @property
    def name(self) -> str:
        """Name under which its verdicts are stored, at most 32 characters."""
        ...

    @property
    def severity(self) -> Severity:
        """How grave it is when a series does not pass."""
        ...

    def judge(self, series: StoredSeries) -> Verdict:
        """Judge a series; one without bars is judged too."""
        ...


def passed(rule: Rule, reason: str, **numbers: Number) -> Verdict:
    """Say that a series keeps a rule."""
    return Verdict(rule.name, rule.severity, True, reason, numbers)


def failed(rule: Rule, reason: str, **numbers: Number) -> Verdict:
    """Say that a series breaks a rule."""
    return Verdict(rule.name, rule.severity, False, reason, numbers)
