"""Columns of bars as values that a test can compare."""

from __future__ import annotations

from src.shared.domain.bars import Bar, BarColumns, as_datetime


def rows_of(columns: BarColumns) -> list[Bar]:
    """Take columns apart into bars, in their order."""
    numbers = zip(*(column.tolist() for column in columns.columns[2:]), strict=True)
    spans = zip(columns.start, columns.end, strict=True)
    return [
        Bar(columns.symbol, as_datetime(start), as_datetime(end), *row)
        for (start, end), row in zip(spans, numbers, strict=True)
    ]
