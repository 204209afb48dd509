"""What of newly judged bars is new, unchanged or restated against those that are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from src.shared.domain.bars import BarColumns


@dataclass(frozen=True)
class Written:
    """What became of the bars of one series: how many were new, as they were, or restated; and what was written.

    `digest` is the SHA-256 of the rows that were written, in their canonical form; None where none was.
    """

    new: int
    unchanged: int
    restated: int
    digest: bytes | None = None

    @property
    def rows(self) -> int:
        """How many rows were written."""
        return self.new + self.restated


def joined_digest(written: Mapping[str, Written]) -> bytes | None:
    """Make one digest of those of several symbols; None where nothing was written."""
    parts = [symbol.encode() + each.digest for symbol, each in sorted(written.items()) if each.digest is not None]
    return hashlib.sha256(b"".join(parts)).digest() if parts else None


@dataclass(frozen=True, eq=False)
class Differences:
    """Newly judged bars against the stored ones: those to be written, and of them those that replace another."""

    to_write: BarColumns
    changed: BarColumns
    unchanged: int

    def written(self, digest: bytes | None) -> Written:
        """Count, once they are written."""
        return Written(len(self.to_write) - len(self.changed), self.unchanged, len(self.changed), digest)


def differences(stored: BarColumns | None, bars: BarColumns) -> Differences:
    """Compare bars with stored ones of the same series; both are oldest first, no end twice."""
    if stored is None or not len(stored):
        return Differences(bars, bars.take(slice(0, 0)), 0)
    place = np.minimum(np.searchsorted(stored.end, bars.end), len(stored) - 1)
    there = stored.end[place] == bars.end
    same = there.copy()
    for mine, theirs in zip(bars.columns, stored.columns, strict=True):
        same &= mine == theirs[place]
    return Differences(bars.take(~same), bars.take(there & ~same), int(same.sum()))
