"""What a benchmark says: one row for each figure, beside a reference measured in the same run, and an aim."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure: the smaller the better. `aim` is the most it should be; None: nothing is aimed at.

    `details` says where the figure comes from, in the row's own unit unless the name says another.
    """

    name: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    aim: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times the reference the figure is: below 1 it is smaller."""
        return round(self.value / self.reference_value, 3) if self.reference_value else None

    @property
    def met(self) -> bool | None:
        """Say whether the aim is met; None where there is none."""
        return None if self.aim is None else self.value <= self.aim

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        plain = asdict(self) | {"value": _short(self.value), "details": _shortened(self.details)}
        if self.reference_value is not None:
            plain["reference_value"] = _short(self.reference_value)
        return plain | {"ratio": self.ratio, "met": self.met}


def median_milliseconds(
    work: Callable[[], object], repeats: int, before: Callable[[], object] | None = None
) -> float:
    """Time `work` several times, each after `before`, and return the median."""
    taken = []
    for _ in range(repeats):
        if before is not None:
            before()
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1000)
    return median(taken)


def _shortened(details: Mapping[str, float]) -> dict[str, float]:
    return {name: _short(value) for name, value in details.items()}


def _short(value: float) -> float:
    return round(value, 3)
