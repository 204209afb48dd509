"""From the vendor's half hours to the session's hours.

Vendors align hourly bars with the clock, so that the bar of the open mixes half an hour of pre-market with half an
hour of the session. Half hours don't have that fault on exchanges that open on the half hour: two of them make an
hour of `shared.domain.sessions`, and the last, short bar of a session is one.

An hour is made of all its halves or not at all. With the second half missing its close would be half an hour old and
look fresh; with the first missing we can't tell "nothing was traded" from "a row was lost". It is asked for again for
some time, see `plan`; what stays missing is missing data to those who decide, not a price that someone made up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from src.services.data_ingestion.domain.quality import Rejection, price_fault
from src.shared.domain.bars import Bar
from src.shared.domain.vendor_data import VendorBar

HALF = timedelta(minutes=30)
VENDOR_TIMEFRAME = "30Min"

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Hours:
    """Hourly bars made from a vendor's rows, oldest first, and what could not be used, with reasons."""

    bars: tuple[Bar, ...]
    rejected: tuple[Rejection, ...]


def to_hours(symbol: str, rows: Sequence[VendorBar], spans: Sequence[Span]) -> Hours:
    """Put the half hours of one symbol together into the hours `spans`; pre- and post-market rows are dropped."""
    halves, rejected = _sort_out(rows, spans)
    bars = []
    for span in spans:
        made = _hour(symbol, span, halves)
        if isinstance(made, Bar):
            bars.append(made)
        elif made is not None:
            rejected.append(made)
    return Hours(tuple(bars), tuple(rejected))


def _sort_out(
    rows: Sequence[VendorBar], spans: Sequence[Span]
) -> tuple[dict[datetime, list[VendorBar]], list[Rejection]]:
    halves: dict[datetime, list[VendorBar]] = {start: [] for span in spans for start in _starts(span)}
    begins = [span[0] for span in spans]
    rejected = []
    for row in rows:
        if row.start not in halves:
            i = bisect_right(begins, row.start) - 1
            if i >= 0 and row.start < spans[i][1]:
                rejected.append(Rejection(row.symbol, spans[i][1], "a row is misaligned"))
        elif row in halves[row.start]:
            rejected.append(Rejection(row.symbol, row.start + HALF, "a row is there twice"))
        else:
            halves[row.start].append(row)
    return halves, rejected


def _starts(span: Span) -> list[datetime]:
    start, end = span
    return [start] if end - start <= HALF else [start, start + HALF]


def _hour(symbol: str, span: Span, halves: Mapping[datetime, list[VendorBar]]) -> Bar | Rejection | None:
    parts = [halves[start] for start in _starts(span)]
    if not any(parts):
        return None
    fault = _fault(parts)
    if fault is not None:
        return Rejection(symbol, span[1], fault)
    return _merged(symbol, span, [rows[0] for rows in parts])


def _fault(parts: Sequence[list[VendorBar]]) -> str | None:
    if any(len(rows) > 1 for rows in parts):
        return "two rows for one half hour differ"
    if not parts[0]:
        return "the first half hour is missing"
    if not parts[-1]:
        return "the second half hour is missing"
    faults = (price_fault(row.open, row.high, row.low, row.close, row.volume) for rows in parts for row in rows)
    return next((fault for fault in faults if fault is not None), None)


def _merged(symbol: str, span: Span, rows: Sequence[VendorBar]) -> Bar:
    return Bar(
        symbol=symbol,
        start=span[0],
        end=span[1],
        open=rows[0].open,
        high=max(row.high for row in rows),
        low=min(row.low for row in rows),
        close=rows[-1].close,
        volume=sum(row.volume for row in rows),
    )
