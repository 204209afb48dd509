"""Reads a TOML file of faults: a `[[fault]]` table for each rule, a `[[corporate_action]]` for what companies do."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from src.services.twin.domain.announcements import Announcement, parse_announcements
from src.services.twin.domain.errors import FaultInvalid
from src.services.twin.domain.faults import Rule, parse_rules

_RULES, _ACTIONS = "fault", "corporate_action"


@dataclass(frozen=True)
class Script:
    """What a file says, in its order."""

    rules: list[Rule] = field(default_factory=list)
    announcements: list[Announcement] = field(default_factory=list)


def read_faults(path: Path) -> Script:
    """Return what a file says.

    Raises:
        FaultInvalid: there is no such file, it is no TOML, or a table in it can't be used.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise FaultInvalid(f"--faults {path} can't be read ({exc.strerror})") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise FaultInvalid(f"--faults {path} is no TOML: {exc}") from exc
    if unknown := sorted(content.keys() - {_RULES, _ACTIONS}):
        known = f"every rule is a [[{_RULES}]] table, what a company does a [[{_ACTIONS}]]"
        raise FaultInvalid(f"--faults {path}: {unknown[0]!r} is unknown: {known}")
    try:
        return Script(parse_rules(content.get(_RULES, [])), parse_announcements(content.get(_ACTIONS, [])))
    except FaultInvalid as exc:
        raise FaultInvalid(f"--faults {path}: {exc}") from exc
