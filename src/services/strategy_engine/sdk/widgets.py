"""What a strategy shows: data of four kinds, never markup. A page, a terminal or a report draws it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from src.services.strategy_engine.sdk.plain import storable

MOST_WIDGETS = 30
MOST_POINTS = 5_000
MOST_LINES = 12
MOST_ROWS = 500
MOST_COLUMNS = 24
MOST_VALUES = 100_000


def _number_or_none(value: object) -> object:
    """Take numpy's numbers as numbers, and what is not finite as not known."""
    item = getattr(value, "item", None)
    plain = item() if callable(item) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def _numbers(values: object) -> object:
    if isinstance(values, str) or not isinstance(values, Iterable):
        return values
    return tuple(_number_or_none(each) for each in values)


def _rows(rows: object) -> object:
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        return rows
    return tuple(_numbers(row) for row in rows)


def _without_odd_letters(text: str) -> str:
    return storable(text, len(text) or 1)


_Storable = AfterValidator(_without_odd_letters)
Title = Annotated[str, Field(max_length=200), _Storable]
Cell = Annotated[str, Field(max_length=500), _Storable] | bool | int | float | None


class _Widget(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Metric(_Widget):
    """One figure with a name; None where it is not known."""

    kind: Literal["metric"] = "metric"
    label: Title
    value: Annotated[Cell, BeforeValidator(_number_or_none)]
    unit: Annotated[str, Field(max_length=40), _Storable] = ""


class Line(_Widget):
    """One line of a chart, a value for each x; a gap where it is None."""

    name: Title
    values: Annotated[tuple[float | None, ...], BeforeValidator(_numbers), Field(max_length=MOST_POINTS)]


class LineChart(_Widget):
    """Lines over the same times or numbers."""

    kind: Literal["line_chart"] = "line_chart"
    title: Title
    x: Annotated[
        tuple[AwareDatetime, ...] | tuple[float, ...], BeforeValidator(_numbers), Field(max_length=MOST_POINTS)
    ]
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=MOST_LINES)]
    unit: Annotated[str, Field(max_length=40), _Storable] = ""

    @model_validator(mode="after")
    def _as_long_as_x(self) -> LineChart:
        for line in self.lines:
            if len(line.values) != len(self.x):
                raise ValueError(f"line {line.name} has {len(line.values)} values for {len(self.x)} points of x")
        return self


class Table(_Widget):
    """Rows under named columns."""

    kind: Literal["table"] = "table"
    title: Title
    columns: Annotated[tuple[Title, ...], Field(min_length=1, max_length=MOST_COLUMNS)]
    rows: Annotated[tuple[tuple[Cell, ...], ...], BeforeValidator(_rows), Field(max_length=MOST_ROWS)]

    @model_validator(mode="after")
    def _as_wide_as_columns(self) -> Table:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {i} has {len(row)} cells for {len(self.columns)} columns")
        return self


class Text(_Widget):
    """A paragraph in plain words."""

    kind: Literal["text"] = "text"
    text: Annotated[str, Field(max_length=10_000), _Storable]
    title: Title = ""


Widget = Annotated[Metric | LineChart | Table | Text, Field(discriminator="kind")]

WIDGETS: TypeAdapter[tuple[Widget, ...]] = TypeAdapter(Annotated[tuple[Widget, ...], Field(max_length=MOST_WIDGETS)])
"""Turns widgets into plain data (`dump_python(widgets, mode="json")`) and back (`validate_python`)."""


def checked_widgets(shown: Iterable[object]) -> tuple[Widget, ...]:
    """Let pass what a strategy shows.

    Raises:
        ValidationError: something is no widget, or there are more than 30.
        ValueError: they hold more than 100,000 values together.
    """
    widgets = WIDGETS.validate_python(tuple(shown), strict=True)
    if (values := sum(map(_values, widgets))) > MOST_VALUES:
        raise ValueError(f"its widgets hold {values} values; {MOST_VALUES} at most")
    return widgets


def _values(widget: Widget) -> int:
    match widget:
        case LineChart():
            return len(widget.x) * (1 + len(widget.lines))
        case Table():
            return len(widget.rows) * len(widget.columns)
        case _:
            return 1
