"""Reads a company's books: quarterly and annual income, balance sheet and cash flow, figure by figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, get_args

from src.services.data_ingestion.adapters.yahoo import library
from src.services.data_ingestion.adapters.yahoo.answers import Raw
from src.services.data_ingestion.adapters.yahoo.companies import NOTHING, Reader
from src.services.data_ingestion.domain.company import Answer, CompanyDataset, Period, StatementItem, StatementName
from src.services.data_ingestion.domain.figures import LARGEST, day, figure, words

STATEMENTS: tuple[tuple[StatementName, str], ...] = (
    ("income", "financials"),
    ("balance_sheet", "balance-sheet"),
    ("cash_flow", "cash-flow"),
)
"""Our name of each statement, and yfinance's name of its list of items."""

PERIODS: tuple[tuple[Period, str], ...] = (("quarterly", "3M"), ("annual", "12M"))
"""Our name of each period, which begins the names of Yahoo's series, and Yahoo's name of its length."""

_KEY = ["statement", "period", "period_end", "item"]
_COLUMNS = [*_KEY, "value", "currency"]


def types_of(statement: str, period: Period) -> list[str]:
    """Name the time series of one statement, by yfinance's list of its items."""
    keys = library.yfinance().const.fundamentals_keys
    return [f"{period}{item}" for item in keys[dict(STATEMENTS)[_known(statement)]]]


def statements(symbol: str, answers: Sequence[tuple[StatementName, Period, Sequence[Raw]]]) -> Answer:
    """Put together what came for each statement and period; what breaks the schema is set aside, row by row."""
    reader = Reader(symbol, CompanyDataset.STATEMENTS)
    rows = [row for name, period, series in answers for row in _rows(reader, name, period, series)]
    items = _that_fit(reader, rows)
    return Answer(tuple(items), tuple(reader.unread), "" if items else NOTHING)


def _known(statement: str) -> StatementName:
    return next(name for name in get_args(StatementName) if name == statement)


def _rows(
    reader: Reader, statement: StatementName, period: Period, series: Sequence[Raw]
) -> Iterator[dict[str, Any]]:
    for each in series:
        for name, points in each.items():
            if not name.startswith(period) or not isinstance(points, list):
                continue
            for point in points:
                row = _point(reader, period, point) if isinstance(point, dict) else None
                if row is not None:
                    yield {"statement": statement, "period": period, "item": name.removeprefix(period), **row}


def _point(reader: Reader, period: Period, point: Raw) -> dict[str, Any] | None:
    length = dict(PERIODS)[period]
    if point.get("periodType") != length:
        reader.aside("period", f"a {period} figure is of {point.get('periodType')!r}", point)
        return None
    value = reader.value(point.get("reportedValue"), "reportedValue", figure)
    end = reader.value(point.get("asOfDate"), "asOfDate", day)
    if value is None or end is None:
        return None
    return {"period_end": end, "value": value, "currency": words(point.get("currencyCode"))}


def _that_fit(reader: Reader, rows: Sequence[dict[str, Any]]) -> list[StatementItem]:
    if not rows:
        return []
    pandas, pandera = library.frames()
    frame = pandas.DataFrame(rows, columns=_COLUMNS, dtype=object).astype({"value": float})
    try:
        _schema().validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        broken = errors.failure_cases.dropna(subset="index").drop_duplicates(subset="index")
        for case in broken.itertuples():
            at = int(case.index)
            reader.aside("schema", f"{case.column}: {case.check}", {k: str(v) for k, v in rows[at].items()})
            frame = frame.drop(index=at)
    return [StatementItem(**{str(name): value for name, value in row.items()}) for row in frame.to_dict("records")]


@cache
def _schema() -> Any:
    """Say what a row of a statement is."""
    _, pandera = library.frames()
    check, column = pandera.pandas.Check, pandera.pandas.Column
    return pandera.pandas.DataFrameSchema(
        {
            "statement": column(object, check.isin(get_args(StatementName))),
            "period": column(object, check.isin(get_args(Period))),
            "period_end": column(object),
            "item": column(object, check.str_matches(r"^[A-Z][A-Za-z0-9]{0,95}$")),
            "value": column(float, check.in_range(-LARGEST, LARGEST)),
            "currency": column(object, check.str_matches(r"^[A-Z]{3}$"), nullable=True),
        },
        unique=_KEY,
        report_duplicates="exclude_first",
        strict=True,
    )
