"""Reads a TOML file of faults: one `[[fault]]` table for each rule."""

from __future__ import annotations

import tomllib
from pathlib import Path

from src.services.twin.domain.errors import FaultInvalid
from src.services.twin.domain.faults import Rule, parse_rules

_TABLE = "fault"


def read_faults(path: Path) -> list[Rule]:
    """Return the rules of a file, in its order.

    Raises:
        FaultInvalid: there is no such file, it is no TOML, or a rule in it can't be used.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise FaultInvalid(f"--faults {path} can't be read ({exc.strerror})") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise FaultInvalid(f"--faults {path} is no TOML: {exc}") from exc
    if unknown := sorted(content.keys() - {_TABLE}):
        raise FaultInvalid(f"--faults {path}: {unknown[0]!r} is unknown: every rule is a [[{_TABLE}]] table")
    try:
        return parse_rules(content.get(_TABLE, []))
    except FaultInvalid as exc:
        raise FaultInvalid(f"--faults {path}: {exc}") from exc
