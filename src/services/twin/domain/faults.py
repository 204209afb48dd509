"""The language of faults: a rule says which requests, orders or messages it means, and what lie they meet.

A rule is a value. Whether it fires depends on the rule and on how many requests it has matched before, and on nothing
else: the same requests in the same order meet the same faults again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from src.services.twin.domain.errors import FaultInvalid
from src.services.twin.domain.moments import SECOND, to_micros

SUBMIT, REPLACE, CANCEL, CLOCK = (
    "POST /v2/orders",
    "PATCH /v2/orders/{id}",
    "DELETE /v2/orders/{id}",
    "GET /v2/clock",
)
ACTIVITIES = "GET /v2/account/activities"
YAHOO_PATH = "/yahoo/"
YAHOO_CHART = "GET /yahoo/v8/finance/chart/{symbol}"
YAHOO_SUMMARY = "GET /yahoo/v10/finance/quoteSummary/{symbol}"
YAHOO_SERIES = "GET /yahoo/ws/fundamentals-timeseries/v1/finance/timeseries/{symbol}"
POLYGON_PATHS = ("/v2/aggs/", "/v3/reference/", "/v1/marketstatus/")
POLYGON_REQUESTS = (
    "GET /v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{first}/{last}",
    "GET /v2/aggs/ticker/{ticker}/prev",
    "GET /v2/aggs/grouped/locale/us/market/stocks/{day}",
    "GET /v3/reference/tickers",
    "GET /v3/reference/tickers/{ticker}",
    "GET /v3/reference/splits",
    "GET /v3/reference/dividends",
    "GET /v1/marketstatus/now",
    "GET /v1/marketstatus/upcoming",
)
REQUESTS = (
    SUBMIT,
    REPLACE,
    CANCEL,
    CLOCK,
    "GET /v1/corporate-actions",
    "GET /v2/calendar",
    "GET /v2/account",
    "GET /v2/account/configurations",
    "PATCH /v2/account/configurations",
    "GET /v2/account/portfolio/history",
    ACTIVITIES,
    "GET /v2/account/activities/{kind}",
    "GET /v2/assets",
    "GET /v2/assets/{symbol}",
    "GET /v2/orders",
    "GET /v2/orders:by_client_order_id",
    "GET /v2/orders/{id}",
    "DELETE /v2/orders",
    "GET /v2/positions",
    "GET /v2/positions/{symbol}",
    "DELETE /v2/positions",
    "DELETE /v2/positions/{symbol}",
    "GET /v2/stocks/bars",
    "GET /v2/stocks/{kind}/latest",
    "GET /v2/stocks/snapshots",
    "GET /yahoo/",
    "GET /yahoo/v1/test/getcrumb",
    "GET /yahoo/consent",
    "POST /yahoo/v2/collectConsent",
    "GET /yahoo/copyConsent",
    YAHOO_CHART,
    YAHOO_SUMMARY,
    "GET /yahoo/v7/finance/quote",
    YAHOO_SERIES,
    *POLYGON_REQUESTS,
)

STREAM = "STREAM "
MESSAGES = tuple(
    STREAM + event
    for event in (
        "new",
        "fill",
        "partial_fill",
        "pending_cancel",
        "canceled",
        "expired",
        "replaced",
        "rejected",
    )
)

LONGEST_LAG_SECONDS = 600
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Often = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
_PLACEHOLDER = re.compile(r"\\\{\w+\\\}")
_UNKNOWN_KEY, _NO_KEY = "extra_forbidden", "missing"
_UNKNOWN_KIND, _NO_KIND = "union_tag_invalid", "union_tag_not_found"


@dataclass(frozen=True, slots=True)
class Ask:
    """What rules are asked about: a request, an order, a message. `at` is the twin's clock in microseconds.

    `since` is the begin of the bars that Polygon.io is asked for, `is_later_page` says that a list goes on.
    """

    endpoint: str
    at: int
    symbols: frozenset[str] = frozenset()
    client_order_id: str = ""
    since: int | None = None
    is_later_page: bool = False

    @property
    def is_polygons(self) -> bool:
        """Whether Polygon.io is asked."""
        return self.endpoint.partition(" ")[2].startswith(POLYGON_PATHS)


class Rule(BaseModel):
    """What every rule may say: one symbol, and a span of the twin's clock (`after` in, `until` out)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    symbol: str | None = None
    after: AwareDatetime | None = Field(None, strict=False)
    until: AwareDatetime | None = Field(None, strict=False)

    def is_about(self, symbols: Collection[str]) -> bool:
        """Tell whether the rule means one of these symbols."""
        return self.symbol is None or self.symbol in symbols

    def lasts_at(self, at: int) -> bool:
        """Tell whether a moment of the twin's clock is within the rule."""
        return (self.after is None or at >= to_micros(self.after)) and (
            self.until is None or at < to_micros(self.until)
        )


class Standing(Rule):
    """A fault that lasts as long as its rule is there, whoever asks."""


class HardToBorrow(Standing):
    """The asset is not easy to borrow, and not sold short."""

    kind: Literal["hard_to_borrow"]


class Halt(Standing):
    """Market orders are refused, others rest."""

    kind: Literal["halt"]


class Lag(Standing):
    """Positions, or executions among the activities, are shown as they were some seconds of the host's clock ago."""

    kind: Literal["lag"]
    of: Literal["positions", "activities"] = "positions"
    seconds: Annotated[float, Field(ge=0, le=LONGEST_LAG_SECONDS)] = 5.0


class ClockSkew(Standing):
    """The venue's clock, and the date of every answer, differ from the twin's; negative: they are late."""

    kind: Literal["clock_skew"]
    seconds: Annotated[float, Field(ge=-86_400, le=86_400)]


class Counted(Rule):
    """A fault of single requests, orders or messages: which of those that match is said by counts and chance."""

    known: ClassVar[tuple[str, ...]] = REQUESTS

    endpoint: str = "*"
    client_order_id: str | None = None
    nth: Often | None = None
    first: Often | None = None
    every: Often | None = None
    times: Often | None = None
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: int = 0

    @field_validator("endpoint")
    @classmethod
    def _is_known(cls, endpoint: str) -> str:
        if not any(_may_mean(endpoint, known) for known in cls.known):
            raise ValueError(f"{endpoint!r} is none that this kind can meet, such as {cls.known[0]!r}")
        return endpoint

    def matches(self, ask: Ask) -> bool:
        """Tell whether the rule is about this request at all."""
        return (
            fnmatchcase(ask.endpoint, self.endpoint)
            and (self.client_order_id is None or fnmatchcase(ask.client_order_id, self.client_order_id))
            and self.is_about(ask.symbols)
            and self.lasts_at(ask.at)
        )

    def fires(self, count: int, fired: int) -> bool:
        """Tell whether the `count`-th match (from 1) is one that meets the fault, after `fired` that did."""
        return (
            (self.nth is None or count == self.nth)
            and (self.first is None or count <= self.first)
            and (self.every is None or count % self.every == 0)
            and (self.times is None or fired < self.times)
            and draw(self.seed, count) < self.probability
        )


def draw(seed: int, count: int) -> float:
    """Return the chance of the `count`-th match: in [0, 1), the same for ever."""
    digest = hashlib.sha256(f"{seed}:{count}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2.0**48


def _may_mean(glob: str, known: str) -> bool:
    # Either the glob takes the name in, or it is one address of those that the name stands for.
    return fnmatchcase(known, glob) or bool(re.fullmatch(_PLACEHOLDER.sub("[^/]+", re.escape(known)), glob))


class Wire(Counted):
    """A fault between the client and the venue."""


class Cut(Wire):
    """The connection ends without an answer, after `seconds`."""

    acts: ClassVar[bool] = False
    resets: ClassVar[bool] = False

    seconds: Seconds = 0.0


class Drop(Cut):
    """The request never reaches the venue."""

    kind: Literal["drop"]


class AcceptThenTimeout(Cut):
    """The venue acts, the answer never comes."""

    acts: ClassVar[bool] = True

    kind: Literal["accept_then_timeout"]
    seconds: Seconds = 60.0


class AcceptThenReset(Cut):
    """The venue acts, then the connection is reset."""

    acts: ClassVar[bool] = True
    resets: ClassVar[bool] = True

    kind: Literal["accept_then_reset"]


class Reset(Cut):
    """The connection is reset before the venue acts."""

    resets: ClassVar[bool] = True

    kind: Literal["reset"]


class Hang(Cut):
    """Nothing comes, or nothing after the headers; the venue has not acted."""

    kind: Literal["hang"]
    seconds: Seconds = 3600.0
    after_headers: bool = False


class Latency(Wire):
    """The request waits before the venue acts, or its answer afterwards."""

    kind: Literal["latency"]
    seconds: Seconds = 1.0
    processed: bool = False


class MadeUp(Wire):
    """Another answer than the venue's; `processed` says whether the venue acted before."""

    processed: bool = False


class StatusAnswer(MadeUp):
    """An error, in JSON, as a page of HTML or without a body; 429 brings the headers of the limit."""

    kind: Literal["status"]
    status: Annotated[int, Field(ge=400, le=599)] = 503
    body: Literal["json", "html", "empty"] = "json"
    code: Annotated[int, Field(ge=0, le=99_999_999)] | None = None
    message: str | None = None
    reset_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60


class Redirect(MadeUp):
    """A 302 to elsewhere."""

    kind: Literal["redirect"]
    location: str = "https://alpaca.markets/maintenance"


class Empty(MadeUp):
    """A 200 with nothing in it."""

    kind: Literal["empty"]
    processed: bool = True


class Html(MadeUp):
    """A 200 with a page in the place of JSON."""

    kind: Literal["html"]
    processed: bool = True


class Changed(Wire):
    """The venue's answer, spoilt on its way."""


class Truncated(Changed):
    """The answer's JSON is cut off."""

    kind: Literal["truncated"]
    keep: Annotated[float, Field(ge=0, lt=1)] = 0.5


class Extra(Changed):
    """Fields are set, nulled or removed in a row of a list, or in the object; names may be paths: `bars.KELV.0.c`."""

    kind: Literal["extra"]
    row: Annotated[int, Field(ge=0)] = 0
    set: dict[str, Any] = {}
    null: list[str] = []
    remove: list[str] = []
    null_answer: bool = False


class MissingRows(Changed):
    """Rows of a list are not there: those after the first `keep`, or those of the symbols `without`."""

    kind: Literal["missing_rows"]
    keep: Annotated[int, Field(ge=0)] = 0
    without: list[str] = []


class YahooAnswer(MadeUp):
    """Yahoo's own refusals."""


class TooManyRequests(YahooAnswer):
    """Yahoo's 429: one line of text, no header says how long."""

    known: ClassVar[tuple[str, ...]] = tuple(each for each in REQUESTS if " /yahoo/" in each)

    kind: Literal["too_many_requests"]
    endpoint: str = "GET /yahoo/*"


class InvalidCrumb(YahooAnswer):
    """Yahoo's 401 to a crumb that it does not know any more."""

    known: ClassVar[tuple[str, ...]] = (YAHOO_CHART, YAHOO_SUMMARY, "GET /yahoo/v7/finance/quote", YAHOO_SERIES)

    kind: Literal["invalid_crumb"]
    endpoint: str = "GET /yahoo/*/*"


class YahooChange(Changed):
    """What only Yahoo's answers suffer."""


class OddChart(YahooChange):
    """A chart as Yahoo sometimes sends it.

    `null_rows`: every third row is null. `no_timestamps`: the times are not there, the prices are. `other_length`:
    the last close is not there. `unfinished`: one row more, for now. `dividend_nulls`: days with a dividend are
    null. `empty`: the symbol is known, and nothing else.
    """

    known: ClassVar[tuple[str, ...]] = (YAHOO_CHART,)

    kind: Literal["odd_chart"]
    endpoint: str = "GET /yahoo/v8/*"
    form: Literal["null_rows", "no_timestamps", "other_length", "unfinished", "dividend_nulls", "empty"] = "null_rows"


class OddNumbers(YahooChange):
    """Numbers of a company that are none: all fields of these names, wherever they are; without names, all `raw`."""

    known: ClassVar[tuple[str, ...]] = (YAHOO_SUMMARY, YAHOO_SERIES)

    kind: Literal["odd_numbers"]
    endpoint: str = "GET /yahoo/*"
    form: Literal["infinity", "infinity_text", "nan", "not_available", "percent_text", "words"] = "infinity"
    names: list[str] = ["raw"]


class MissingModules(YahooChange):
    """Modules of a quote summary are not there; with none left it is the 404 of a fund."""

    known: ClassVar[tuple[str, ...]] = (YAHOO_SUMMARY,)

    kind: Literal["missing_modules"]
    endpoint: str = "GET /yahoo/v10/*"
    without: list[str] = []


class PolygonAnswer(MadeUp):
    """Another answer than Polygon.io's, of a kind that only Polygon.io gives."""

    known: ClassVar[tuple[str, ...]] = POLYGON_REQUESTS

    def matches(self, ask: Ask) -> bool:
        """Tell whether the rule is about this request, and the request about Polygon.io."""
        return ask.is_polygons and super().matches(ask)


class PolygonChange(Changed):
    """Polygon.io's answer, spoilt as only Polygon.io spoils it."""

    known: ClassVar[tuple[str, ...]] = POLYGON_REQUESTS

    def matches(self, ask: Ask) -> bool:
        """Tell whether the rule is about this request, and the request about Polygon.io."""
        return ask.is_polygons and super().matches(ask)


class ErrorWith200(PolygonAnswer):
    """A 200 whose JSON says that it is an error."""

    kind: Literal["error_with_200"]
    message: str = "an internal error occurred"


class PlanRefusal(PolygonAnswer):
    """A 403 for bars that are older than the plan."""

    kind: Literal["plan_refusal"]
    history_days: Annotated[int, Field(ge=1, le=36_500)] = 730

    def matches(self, ask: Ask) -> bool:
        """Tell whether the request asks for bars that are too old."""
        oldest = ask.at - self.history_days * 86_400 * SECOND
        return ask.since is not None and ask.since < oldest and super().matches(ask)


class NoResults(PolygonChange):
    """The rows are not in the answer, their count is."""

    kind: Literal["no_results"]


class WrongCount(PolygonChange):
    """The count differs from the rows."""

    kind: Literal["wrong_count"]
    by: Annotated[int, Field(ge=-50_000, le=50_000)] = 1


class BrokenPage(PolygonChange):
    """A page after the first is HTML, or it points to itself or to another host for the next."""

    kind: Literal["broken_page"]
    form: Literal["html", "repeats", "elsewhere"] = "html"

    def matches(self, ask: Ask) -> bool:
        """Tell whether the request is for a later page."""
        return ask.is_later_page and super().matches(ask)


class RestatedBars(PolygonChange):
    """Prices are other than they were: those of one day of New York, or all."""

    kind: Literal["restated_bars"]
    factor: Annotated[float, Field(gt=0, le=1000)] = 1.01
    day: date | None = Field(None, strict=False)


class BeforeHttp(Wire):
    """The answer to an order comes after its websocket messages, and `seconds` later."""

    known: ClassVar[tuple[str, ...]] = (SUBMIT,)

    kind: Literal["before_http"]
    endpoint: str = SUBMIT
    seconds: Seconds = 0.0


class ClockBack(Counted):
    """One answer of the clock lies back."""

    known: ClassVar[tuple[str, ...]] = (CLOCK,)

    kind: Literal["clock_back"]
    endpoint: str = CLOCK
    times: Often | None = 1
    seconds: Seconds = 600.0


class Refusal(Counted):
    """The venue does not take an order."""

    known: ClassVar[tuple[str, ...]] = (SUBMIT, REPLACE)


class Reject(Refusal):
    """Any order, with a code and a message."""

    kind: Literal["reject"]
    code: Annotated[int, Field(ge=40_000_000, le=59_999_999)] = 42210000
    message: str = "order rejected by the venue"


class ShortRefused(Refusal):
    """Orders that open or grow a short, although the asset is shown as easy to borrow."""

    kind: Literal["short_refused"]


class Course(Counted):
    """What becomes of an order that the venue took."""

    known: ClassVar[tuple[str, ...]] = (SUBMIT, REPLACE)


class RejectAsync(Course):
    """It is taken with a 200 and rejected right after."""

    kind: Literal["reject_async"]


class NoFill(Course):
    """It rests, however good the price."""

    kind: Literal["no_fill"]


class PartialFill(Course):
    """A fraction is filled, in whole shares rounded down; the rest never, at the next bar, or during its cancel."""

    kind: Literal["partial_fill"]
    fraction: Fraction = 0.5
    rest: Literal["never", "later", "after_cancel"] = "never"


class Invisible(Counted):
    """It is taken, but no list and no look-up by client id shows it for some seconds of the host's clock."""

    known: ClassVar[tuple[str, ...]] = (SUBMIT, REPLACE)

    kind: Literal["invisible"]
    seconds: Seconds = 5.0


class LostFill(Counted):
    """An execution that activities never show; order and position do."""

    known: ClassVar[tuple[str, ...]] = (ACTIVITIES,)

    kind: Literal["lost_fill"]


class BadCancel(Counted):
    """What becomes of a cancel."""

    known: ClassVar[tuple[str, ...]] = (CANCEL,)


class CancelTooLate(BadCancel):
    """The order fills, and the cancel is refused with a 422."""

    kind: Literal["cancel_too_late"]


class HeldCancel(BadCancel):
    """A cancel that is answered with 204 and ends later, by the host's clock."""

    seconds: Seconds | None = 0.0


class FillDuringCancel(HeldCancel):
    """204 and pending_cancel; then a fraction of the rest is filled, and what is left is canceled."""

    kind: Literal["fill_during_cancel"]
    fraction: Fraction = 1.0


class LateFillAfterCancel(HeldCancel):
    """204 and canceled; then a fraction of the rest is filled all the same."""

    kind: Literal["late_fill_after_cancel"]
    fraction: Fraction = 1.0


class SlowCancel(HeldCancel):
    """204 and pending_cancel; canceled after some seconds."""

    kind: Literal["slow_cancel"]
    seconds: Seconds | None = 2.0


class StuckPendingCancel(HeldCancel):
    """204 and pending_cancel, for some seconds or as long as the rule is there."""

    kind: Literal["stuck_pending_cancel"]
    seconds: Seconds | None = None


class Message(Counted):
    """A fault of one trade update on the websocket."""

    known: ClassVar[tuple[str, ...]] = MESSAGES


class Duplicate(Message):
    """It comes again at once."""

    kind: Literal["duplicate"]
    copies: Annotated[int, Field(ge=1, le=100)] = 1


class Reorder(Message):
    """It comes after the next one, or after `seconds` if there is none."""

    kind: Literal["reorder"]
    seconds: Seconds = 1.0


class Lose(Message):
    """It never comes."""

    kind: Literal["lose"]


class Malformed(Message):
    """It is no JSON, or JSON without the order."""

    kind: Literal["malformed"]
    form: Literal["text", "no_order"] = "text"


class UnknownEvent(Message):
    """Its event is a word that nobody knows."""

    kind: Literal["unknown_event"]
    name: str = "bewitched"


class UnknownStatus(Message):
    """Its order has a status that nobody knows."""

    kind: Literal["unknown_status"]
    name: str = "bewitched"


class Silence(Message):
    """From it on nothing comes, for some seconds or as long as the rule is there; the socket stays."""

    kind: Literal["silence"]
    seconds: Seconds | None = None


class Disconnect(Message):
    """The socket is closed in its place."""

    kind: Literal["disconnect"]


AnyRule = Annotated[
    Drop
    | AcceptThenTimeout
    | AcceptThenReset
    | Reset
    | Hang
    | Latency
    | StatusAnswer
    | Redirect
    | Empty
    | Html
    | Truncated
    | Extra
    | MissingRows
    | TooManyRequests
    | InvalidCrumb
    | OddChart
    | OddNumbers
    | MissingModules
    | ErrorWith200
    | PlanRefusal
    | NoResults
    | WrongCount
    | BrokenPage
    | RestatedBars
    | BeforeHttp
    | ClockBack
    | ClockSkew
    | Reject
    | ShortRefused
    | HardToBorrow
    | Halt
    | RejectAsync
    | NoFill
    | PartialFill
    | Invisible
    | LostFill
    | Lag
    | CancelTooLate
    | FillDuringCancel
    | LateFillAfterCancel
    | SlowCancel
    | StuckPendingCancel
    | Duplicate
    | Reorder
    | Lose
    | Malformed
    | UnknownEvent
    | UnknownStatus
    | Silence
    | Disconnect,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Rule] = TypeAdapter(AnyRule)
CLASSES: tuple[type[Rule], ...] = get_args(get_args(AnyRule)[0])
KINDS = tuple(get_args(each.model_fields["kind"].annotation)[0] for each in CLASSES)


def parse_rules(rows: Any) -> list[Rule]:
    """Read rules from tables as TOML or JSON has them.

    Raises:
        FaultInvalid: a rule can't be used; the line names its number, from 1, and the key.
    """
    if not isinstance(rows, list):
        raise FaultInvalid("rules of faults are a list of tables")
    return [_parse(number, row) for number, row in enumerate(rows, start=1)]


def _parse(number: int, row: Any) -> Rule:
    if not isinstance(row, Mapping):
        raise FaultInvalid(f"rule {number} is no table of keys")
    try:
        return _ADAPTER.validate_python(dict(row))
    except ValidationError as exc:
        raise FaultInvalid(f"rule {number}{_why(exc, row)}") from exc


def _why(exc: ValidationError, row: Mapping[str, Any]) -> str:
    error = exc.errors(include_url=False, include_context=False)[0]
    if error["type"] == _NO_KIND:
        return f": kind is missing: choose {', '.join(KINDS)}"
    if error["type"] == _UNKNOWN_KIND:
        return f": kind {row['kind']!r} is unknown: choose {', '.join(KINDS)}"
    key = ".".join(str(part) for part in error["loc"][1:])
    if error["type"] == _UNKNOWN_KEY:
        return f" ({row['kind']}): key {key!r} is unknown"
    if error["type"] == _NO_KEY:
        return f" ({row['kind']}): {key} is missing"
    said = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f" ({row['kind']}): {key} {said}"
