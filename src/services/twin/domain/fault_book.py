"""The rules of faults in force, and how often each has matched and fired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from src.services.twin.domain.faults import Ask, Counted, Rule, Standing

AnyCounted = TypeVar("AnyCounted", bound=Counted)
AnyStanding = TypeVar("AnyStanding", bound=Standing)


@dataclass(slots=True)
class Armed:
    """A rule in force: its number, where it comes from (`file` or `api`), and its counts."""

    id: int
    rule: Rule
    source: str
    matched: int = 0
    fired: int = 0


class FaultBook:
    """Every rule in force. Without rules nothing is ever looked at."""

    def __init__(self) -> None:
        self._armed: dict[int, Armed] = {}
        self._last = 0

    def __bool__(self) -> bool:
        return bool(self._armed)

    @property
    def armed(self) -> list[Armed]:
        """The rules in force, oldest first."""
        return list(self._armed.values())

    def arm(self, rules: Iterable[Rule], source: str) -> list[int]:
        """Put rules in force and return their numbers."""
        added = [Armed(self._last + at, rule, source) for at, rule in enumerate(rules, start=1)]
        self._armed.update({each.id: each for each in added})
        self._last += len(added)
        return [each.id for each in added]

    def disarm(self, number: int) -> bool:
        """Take one rule out of force; tell whether there was one."""
        return self._armed.pop(number, None) is not None

    def clear(self) -> None:
        """Take every rule out of force."""
        self._armed.clear()

    def holds(self, rule: Rule) -> bool:
        """Tell whether a rule is still in force."""
        return any(each.rule is rule for each in self._armed.values())

    def standing(self, kind: type[AnyStanding], at: int) -> list[AnyStanding]:
        """Return the rules of a kind that last at a moment, and count that they were asked for."""
        found: list[AnyStanding] = []
        for each in self._armed.values():
            if isinstance(each.rule, kind) and each.rule.lasts_at(at):
                each.matched += 1
                each.fired += 1
                found.append(each.rule)
        return found

    def fired(self, kind: type[AnyCounted], ask: Ask) -> AnyCounted | None:
        """Count a request with every rule of a kind that matches, and return the first that fires."""
        found: AnyCounted | None = None
        for each in self._armed.values():
            if not isinstance(each.rule, kind) or not each.rule.matches(ask):
                continue
            each.matched += 1
            if found is None and each.rule.fires(each.matched, each.fired):
                each.fired += 1
                found = each.rule
        return found
