"""A workflow as a TOML file: its name, the bars it takes, its strategy, when it runs, what it reports."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_symbol

MAX_BUFFER_SECONDS = 120.0
DEFAULT_RECORDS = 500
REPORT_EVERY_BARS = 50

_PARTS = ("model", "signal", "portfolio")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Tag = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


def _a_symbol(text: str) -> str:
    try:
        return parse_symbol(text)
    except InputInvalid as error:
        raise ValueError(str(error)) from None


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Meta(_Table):
    """What the workflow is called; the study's name is that of its deployment, with `workflow-` before it."""

    study: Name
    description: Annotated[str, Field(max_length=500)] = ""
    tags: list[Tag] = []


class Loader(_Table):
    """Which bars: of whom, how long, how many.

    `table` says that nothing is asked of the vendor: its bars are taken as they are stored. `records` bars are
    decided about, the newest there are, or fewer where `start` comes later. `resampling` makes longer bars of those
    of the timeframe; they never cross a session's end.
    """

    vendor: Literal["alpaca", "polygon", "yahoo"] = "alpaca"
    table: Literal["market_data"] | None = None
    symbols: list[Annotated[str, AfterValidator(_a_symbol)]] = []
    timeframe: Literal["1Hour", "1Day"] = "1Hour"
    adjustment: Literal["raw", "split", "dividend", "all"] = "split"
    resampling: Literal["2Hour", "3Hour", "4Hour", "1Day"] | None = None
    start: date | None = None
    end: date | None = None
    records: Annotated[int, Field(ge=1, le=50_000)] = DEFAULT_RECORDS
    max_buffer_seconds: Annotated[float, Field(gt=0, le=86_400)] = MAX_BUFFER_SECONDS

    @model_validator(mode="after")
    def _ordered(self) -> Loader:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        if self.resampling is not None and self.timeframe == "1Day":
            raise ValueError(f"resampling {self.resampling}: bars of 1Day are not made longer; leave it out")
        return self

    @property
    def bar_length(self) -> str:
        """How long the bars are that are decided about."""
        return self.resampling or self.timeframe


class StrategyPlan(_Table):
    """Which strategy, and its config in three parts; a field stands in one of them.

    `fit_bars` is how many bars before the first decision a pair that is not registered is fitted on.
    """

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    fit_bars: Annotated[int, Field(ge=60, le=5000)] | None = None
    model: dict[str, Any] = {}
    signal: dict[str, Any] = {}
    portfolio: dict[str, Any] = {}

    @model_validator(mode="after")
    def _once(self) -> StrategyPlan:
        names = [name for part in _PARTS for name in getattr(self, part)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]} stands in more than one of model, signal and portfolio")
        return self

    @property
    def config(self) -> dict[str, Any]:
        """The three parts as the strategy takes them."""
        return {**self.model, **self.signal, **self.portfolio}

    def part_of(self, field: str) -> str:
        """Name the table of the file that holds a field of the config."""
        part = next((part for part in _PARTS if field in getattr(self, part)), None)
        return "[strategy]" if part is None else f"[strategy.{part}]"


class Schedule(_Table):
    """When it runs once it is deployed: a cron in a time zone."""

    cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$")]
    timezone: str
    active: bool = True

    @field_validator("timezone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{zone!r} is no time zone; write for instance America/New_York") from None
        return zone


class ReportPlan(_Table):
    """How often it is summed up."""

    every_bars: Annotated[int, Field(ge=1, le=50_000)] = REPORT_EVERY_BARS


class Template(_Table):
    """The whole file."""

    meta: Meta
    loader: Loader = Loader()
    strategy: StrategyPlan
    schedule: Schedule | None = None
    report: ReportPlan = ReportPlan()


def parse_template(text: str, name: str) -> Template:
    """Read a template; `name` is that of its file.

    Raises:
        InputInvalid: it is not TOML, or a table or key is wrong; a line for each names file, table and key.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputInvalid(f"{name}: it is not TOML: {error}") from None
    try:
        return Template.model_validate(content)
    except ValidationError as error:
        raise InputInvalid("\n".join(f"{name}: {_line(each)}" for each in error.errors())) from None


def config_error(template: Template, name: str, error: InputInvalid) -> InputInvalid:
    """Say in which table of which file the field is that a strategy refused."""
    said = re.sub(r"^config of \w+: ", "", str(error))
    field = re.match(r"\w+", said)
    where = template.strategy.part_of(field[0]) if field else "[strategy]"
    return InputInvalid(f"{name}: {where} {said}")


def _line(error: Mapping[str, Any]) -> str:
    tables, key = _place(error["loc"])
    where = f"[{'.'.join(tables)}] {key}".strip() if tables else f"[{key}]"
    kind, said = error["type"], str(error["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        return f"{where} is a {'key' if tables else 'table'} that no template has"
    if kind == "value_error" and not key:
        return f"{where} {said}"
    return f"{where}: {said[:1].lower()}{said[1:]}, not {error['input']!r}"


def _place(location: tuple[int | str, ...]) -> tuple[list[str], str]:
    """Split where an error is into the table of the file and the key in it."""
    names = [str(each) for each in location]
    if len(names) < 2:
        return ([], names[0]) if names and names[0] not in Template.model_fields else (names, "")
    return names[:1], ".".join(names[1:])
