"""What a backup says of itself, what a restored one must equal, and which ones may go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from src.shared.domain.errors import InputInvalid, Terminal

What = Literal["trading", "prefect"]
Drill = Literal["not_run", "passed", "failed"]

SUFFIX = ".dump"
_NAME = re.compile(r"(?P<what>trading|prefect)-(?P<at>\d{8}T\d{6}Z)\.dump")
_MOST_SHOWN = 5


class BackupFailed(Terminal):
    """A backup was not made, or does not hold what it should. What was there before is kept."""


@dataclass(frozen=True)
class Facts:
    """What a database holds: rows by table, sums of the ledger by account and asset, and versions.

    `server_version` is PostgreSQL's number, such as 180006; `schema_version` the revision of the migrations.
    """

    server_version: int
    schema_version: str
    tables: Mapping[str, int]
    ledger: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(self.tables.values())


@dataclass(frozen=True)
class Manifest:
    """What lies beside a dump. `tool` is the pg_dump that wrote it; the digest is hexadecimal."""

    what: What
    created_at: datetime
    bytes: int
    sha256: str
    tool: str
    facts: Facts
    drill: Drill = "not_run"
    drilled_at: datetime | None = None
    problems: tuple[str, ...] = ()

    def judged(self, problems: Sequence[str], at: datetime) -> Manifest:
        """Return it with the verdict of a trial restore."""
        return replace(self, drill="failed" if problems else "passed", drilled_at=at, problems=tuple(problems))


def file_name(what: What, at: datetime) -> str:
    """Name a dump by its time."""
    return f"{what}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"


def is_dump_name(name: str) -> bool:
    """Say whether a dump of ours is called so."""
    return _NAME.fullmatch(name) is not None


def differences(expected: Facts, found: Facts) -> list[str]:
    """Say where a restored database is not what its manifest says; nothing where it is."""
    return [
        *_unequal("rows of", expected.tables, found.tables),
        *_unequal("ledger sum of", expected.ledger, found.ledger),
        *(
            [f"schema {found.schema_version or 'none'} instead of {expected.schema_version or 'none'}"]
            if found.schema_version != expected.schema_version
            else []
        ),
    ]


def _unequal(
    what: str, expected: Mapping[str, int] | Mapping[str, str], found: Mapping[str, int] | Mapping[str, str]
) -> Iterator[str]:
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            yield f"{what} {name}: {found.get(name, 'none')} instead of {expected.get(name, 'none')}"


def shortened(problems: Sequence[str]) -> str:
    """Put problems into one line, the first few of many."""
    more = len(problems) - _MOST_SHOWN
    return "; ".join(problems[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def superseded(backups: Mapping[str, Manifest], keep: int) -> list[str]:
    """Choose by name what may be removed, so that `keep` stay that were restored for trial and held.

    Of what was not tried or failed, only what is older than all that stay: the last good one never goes, and where
    there is none, nothing goes.
    """
    newest_first = sorted(backups, key=lambda name: (backups[name].created_at, name), reverse=True)
    good = [name for name in newest_first if backups[name].drill == "passed"]
    if not good:
        return []
    oldest_kept = backups[good[:keep][-1]].created_at
    failed_before = backups[good[0]].created_at

    def may_go(name: str) -> bool:
        made = backups[name].created_at
        if backups[name].drill == "failed":
            return made < failed_before
        return name in good[keep:] or (len(good) >= keep and made < oldest_kept)

    return [name for name in newest_first if may_go(name)]


def major(version: int) -> int:
    """Return PostgreSQL's major version of its number: 18 of 180006."""
    return version // 10000


def check_restorable(manifest: Manifest, target_version: int) -> None:
    """Let a dump pass that a server of this version takes.

    Raises:
        InputInvalid: it comes from a newer major version.
    """
    if major(manifest.facts.server_version) > major(target_version):
        raise InputInvalid(
            f"The dump comes from PostgreSQL {major(manifest.facts.server_version)}, the server is "
            f"{major(target_version)}: restore it into {major(manifest.facts.server_version)} or newer."
        )
