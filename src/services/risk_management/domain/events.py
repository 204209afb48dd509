"""What is known to happen to a company on a day, such as ex-dividend or a split."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class MarketEvent:
    """One event of a symbol; `day` is the New York day from whose open prices are other ones."""

    symbol: str
    day: date
    kind: str
