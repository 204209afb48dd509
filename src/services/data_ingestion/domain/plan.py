"""Which windows to ask the vendor for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from src.services.data_ingestion.domain.grid import Span

REASKED_BARS = 14
"""A bar that the vendor did not have is asked for again for this many bars of session time: two full days."""


@dataclass(frozen=True)
class Ask:
    """One window [start, end) to ask for, for the symbols that need it."""

    symbols: tuple[str, ...]
    start: datetime
    end: datetime


def wanted_spans(
    missing: Mapping[str, Sequence[Span]], asked_before: Mapping[str, Sequence[Span]], recent_from: datetime
) -> dict[str, list[Span]]:
    """Leave out what is older than `recent_from` and was asked for before: the vendor does not have it."""
    wanted = {
        symbol: [
            span for span in spans if span[0] >= recent_from or not _is_within(span, asked_before.get(symbol, ()))
        ]
        for symbol, spans in missing.items()
    }
    return {symbol: spans for symbol, spans in wanted.items() if spans}


def asks(wanted: Mapping[str, Sequence[Span]], overlap: Mapping[str, datetime]) -> list[Ask]:
    """Put symbols with the same window together.

    `overlap` holds the start of the bar that is stored already just before the first wanted one: it is asked for
    again so that a changed price basis (a split) shows.
    """
    windows: dict[Span, list[str]] = {}
    for symbol, spans in wanted.items():
        start = min(spans[0][0], overlap.get(symbol, spans[0][0]))
        windows.setdefault((start, spans[-1][1]), []).append(symbol)
    return [Ask(tuple(symbols), start, end) for (start, end), symbols in sorted(windows.items())]


def _is_within(span: Span, windows: Sequence[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in windows)
