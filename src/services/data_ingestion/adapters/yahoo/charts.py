"""Reads Yahoo's chart: columns of bars, dividends, splits, and the factors between its bases of prices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.services.data_ingestion.adapters.yahoo.answers import Raw
from src.services.data_ingestion.adapters.yahoo.companies import Reader
from src.services.data_ingestion.domain.company import Answer, CompanyDataset, DividendPaid, SplitDone
from src.services.data_ingestion.domain.figures import NotAFigure, figure
from src.shared.domain.bars import Floats
from src.shared.domain.errors import Transient
from src.shared.domain.vendor_data import VendorBars

_COLUMNS = ("open", "high", "low", "close", "volume")
_PRICES = ("open", "high", "low", "close")
_NINE_PLACES = Decimal("1e-9")
_LARGEST_AMOUNT = 1e9
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True)
class Chart:
    """One chart: `seconds` since 1970, shape (N,), and columns of shape (N,), NaN where Yahoo sent no number.

    Prices are as Yahoo gives them, on today's basis of shares; `adjusted` is the close less all later dividends, and
    absent (all NaN) for bars within a day. `currency` is the quote's.
    """

    seconds: NDArray[np.int64]
    columns: dict[str, Floats]
    adjusted: Floats
    splits: tuple[tuple[int, float, float], ...]
    currency: str | None

    def __len__(self) -> int:
        return len(self.seconds)


NO_ROWS = Chart(np.empty(0, np.int64), {name: np.empty(0) for name in _COLUMNS}, np.empty(0), (), None)


def read_chart(raw: Raw | None) -> Chart:
    """Read one chart, in Yahoo's order.

    Raises:
        Transient: times and prices don't belong together, so that no price can be given a time.
    """
    if raw is None:
        return NO_ROWS
    seconds = raw.get("timestamp") or []
    indicators = raw.get("indicators") or {}
    quote = (indicators.get("quote") or [{}])[0] or {}
    adjusted = (indicators.get("adjclose") or [{}])[0] or {}
    if not seconds and not any(quote.get(name) for name in _COLUMNS):
        return _chart(raw, [], {}, {})
    if not all(isinstance(each, int) for each in seconds):
        raise Transient("Yahoo's chart has times that are none")
    lengths = {name: len(quote.get(name) or []) for name in _COLUMNS}
    if set(lengths.values()) != {len(seconds)}:
        raise Transient(f"Yahoo's chart has {len(seconds)} times, but {_told(lengths)}")
    return _chart(raw, seconds, quote, adjusted)


def _told(lengths: dict[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in lengths.items())


def _chart(raw: Raw, seconds: Sequence[int], quote: Raw, adjusted: Raw) -> Chart:
    last = adjusted.get("adjclose") or []
    return Chart(
        seconds=np.array(seconds, dtype=np.int64),
        columns={name: _numbers(quote.get(name) or []) for name in _COLUMNS},
        adjusted=_numbers(last) if len(last) == len(seconds) else np.full(len(seconds), np.nan),
        splits=tuple(_splits(raw)),
        currency=(raw.get("meta") or {}).get("currency"),
    )


def _numbers(values: Sequence[Any]) -> Floats:
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        number = figure(value)
    except NotAFigure:
        return float("nan")
    return float("nan") if number is None else number


def _event_rows(raw: Raw, kind: str) -> list[Raw]:
    found = (raw.get("events") or {}).get(kind) or {}
    rows = list(found.values()) if isinstance(found, dict) else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("date"), int)]


def _splits(raw: Raw) -> list[tuple[int, float, float]]:
    rows = _event_rows(raw, "splits")
    read = [(int(row["date"]), _number(row.get("denominator")), _number(row.get("numerator"))) for row in rows]
    return sorted((at, old, new) for at, old, new in read if old > 0 and new > 0)


def ex_day(at: int) -> date:
    """Return the day of an event: Yahoo stamps it with the open of the session, which is the same day in UTC."""
    return datetime.fromtimestamp(at, UTC).date()


def dividends_of(symbol: str, raw: Raw | None) -> Answer:
    """Read what was paid."""
    reader, currency = Reader(symbol, CompanyDataset.DIVIDENDS), read_chart(raw).currency or "USD"

    def read(row: Raw) -> DividendPaid | None:
        amount = _decimal(row.get("amount"))
        if amount is None or not _CURRENCY.fullmatch(currency):
            reader.aside("figure", f"a dividend has no amount, or is paid in {currency}", row)
            return None
        return DividendPaid(ex_day(row["date"]), amount, currency)

    return reader.answer(reader.each(_event_rows(raw or {}, "dividends"), read))


def splits_of(symbol: str, raw: Raw | None) -> Answer:
    """Read what was split."""
    reader = Reader(symbol, CompanyDataset.SPLITS)

    def read(row: Raw) -> SplitDone | None:
        old, new = _decimal(row.get("denominator")), _decimal(row.get("numerator"))
        if old is None or new is None:
            reader.aside("figure", "a split has no rates", row)
            return None
        return SplitDone(ex_day(row["date"]), old, new)

    return reader.answer(reader.each(_event_rows(raw or {}, "splits"), read))


def _decimal(value: Any) -> Decimal | None:
    """Read an amount above zero to nine places; None where there is none."""
    number = _number(value)
    return Decimal(str(number)).quantize(_NINE_PLACES) if 0 < number < _LARGEST_AMOUNT else None


def to_bars(symbol: str, chart: Chart, price_factors: Floats, share_factors: Floats) -> VendorBars:
    """Lay a chart out as bars; prices are multiplied by one factor a row, volumes by another."""
    prices = {name: chart.columns[name] * price_factors for name in _PRICES}
    start = (chart.seconds * 1_000_000).astype("datetime64[us]")
    return VendorBars(symbol, start, **prices, volume=chart.columns["volume"] * share_factors)


def split_factors(chart: Chart, splits: Sequence[tuple[int, float, float]]) -> Floats:
    """Say how many of today's shares a share of each row has become; shape (N,)."""
    factors = np.ones(len(chart))
    for at, old, new in splits:
        factors[chart.seconds < at] *= new / old
    return factors


def dividend_factors(chart: Chart, daily: Chart) -> Floats:
    """Say by what each row's price is multiplied to be without later dividends, from a daily chart; shape (N,).

    A row within a day has the factor of its day; one whose day has none is NaN, and so its prices are.
    """
    known = np.isfinite(daily.adjusted) & (daily.columns["close"] > 0)
    by_day = {
        ex_day(at): factor
        for at, factor in zip(
            daily.seconds[known].tolist(),
            (daily.adjusted[known] / daily.columns["close"][known]).tolist(),
            strict=True,
        )
    }
    return np.array([by_day.get(ex_day(at), np.nan) for at in chart.seconds.tolist()], dtype=np.float64)
