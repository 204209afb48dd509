"""A stored decision against the same decision taken again: what is compared, and what may explain a difference."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, ValidationError

from src.services.strategy_engine.domain.bar_versions import BarChange, BarChangeKind
from src.services.strategy_engine.domain.decision import Number, PairWish, Thresholds
from src.services.strategy_engine.domain.evaluation import Evaluation, Rules, SlotTime
from src.services.strategy_engine.domain.instances import Stepped, digest_of
from src.shared.domain.ids import parse_pair_id
from src.shared.domain.pairs import Pair, PairMode
from src.shared.domain.signals import SpreadReading

TOLERANCE = 1e-9
"""Two numbers of a decision are the same when they differ by less than this share of the larger one.

The same bars give the same bits; what remains is another build of numpy, or fewer pairs decided side by side.
"""

IN_FLIGHT = timedelta(seconds=60)
"""A change that was written down so long before a decision may not have been committed when the decision read."""

_LEAST = 1e-12
_READING_NUMBERS = frozenset({"price_1", "price_2", "spread", "mean", "sd", "z"})
_STATE_NUMBERS = frozenset({"direction", "trade_state", "held_bars", "bars_since_stop", "freeze"})
_BLOCK = "block_"
_KEPT_LATER = frozenset({"fitted_to", "instance", "instance_on"})

Finite = Annotated[float, Field(allow_inf_nan=False)]
# Wider than anything that is stored, and narrow enough for the calendar and for Python's times.
Seconds = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Slot = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), le=datetime(2100, 1, 1, tzinfo=UTC))]


class Cause(StrEnum):
    """Why a decision comes out as it does when it is taken again."""

    SAME = "same"
    ROUNDING = "rounding"
    RESTATED = "restated bar"
    ARRIVED = "bar arrived later"
    REBASED = "series re-based"
    MOVED = "moved meanwhile"
    RULES = "other rules"
    ARCHIVED = "bars archived"
    UNEXPLAINED = "unexplained"

    @property
    def meaning(self) -> str:
        """Say it in a sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    Cause.SAME: "every number is the same, to the last bit",
    Cause.ROUNDING: "the same decision; a number differs by less than a billionth of itself",
    Cause.RESTATED: "the vendor gave other bars since; with those of then it is the same",
    Cause.ARRIVED: "a bar was not there yet; without it it is the same",
    Cause.REBASED: "the series was put on another price basis since; on that of then it is the same",
    Cause.MOVED: "a trade or a pair's state changed while the slot was decided; just before it is the same",
    Cause.RULES: "it was decided by other rules than those of today",
    Cause.ARCHIVED: "not comparable: the bars are in the archive",
    Cause.UNEXPLAINED: "nothing on record says why",
}

_OF_CHANGES = (
    (BarChangeKind.REBASED, Cause.REBASED),
    (BarChangeKind.RESTATED, Cause.RESTATED),
    (BarChangeKind.REPAIRED, Cause.RESTATED),
    (BarChangeKind.ARRIVED, Cause.ARRIVED),
)


@dataclass(frozen=True)
class PairDecision:
    """A decision as it is stored: the signal's row with its numbers, and the spread's row if there is one.

    `said` is what the outbox tells of it, None where it holds nothing.
    """

    pair_id: str
    slot: datetime
    action: str
    reason: str
    mode: str
    held_bars: int | None
    numbers: Mapping[str, Any]
    reading: SpreadReading | None
    recorded_at: datetime
    said: Mapping[str, Any] | None = None


class StoredInputs(BaseModel):
    """What a decision was taken from, as its numbers tell; a number that is no input is not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    alpha: Finite
    beta: Finite
    half_life_bars: Finite
    window_bars: Annotated[int, Field(gt=0, strict=True)]
    time_stop_bars: Annotated[int, Field(strict=True)]
    mode: PairMode
    fitted_to: AwareDatetime | None = None
    entry_z: Finite
    exit_z: Finite
    stop_z: Finite
    max_slot_age_seconds: Seconds
    overnight: StrictBool
    slot_age_seconds: Seconds
    seconds_to_close: Seconds
    first_bar_end: Slot
    instance: str | None = None
    instance_on: StrictBool = True
    rules: int | None = None
    wish: PairWish = PairWish.RULES

    def pair(self, pair_id: str) -> Pair:
        """Return the pair as it was."""
        return Pair(
            *parse_pair_id(pair_id),
            alpha=self.alpha,
            beta=self.beta,
            half_life_bars=self.half_life_bars,
            z_window_bars=self.window_bars,
            time_stop_bars=self.time_stop_bars,
            mode=self.mode,
        )

    @property
    def under(self) -> Rules:
        """The instance it was decided under, and the thresholds, as they were."""
        thresholds = Thresholds(
            entry_z=self.entry_z,
            exit_z=self.exit_z,
            stop_z=self.stop_z,
            max_slot_age=timedelta(seconds=self.max_slot_age_seconds),
            overnight=self.overnight,
        )
        return Rules(self.instance, self.instance_on, thresholds, self.wish)

    def time(self, slot: datetime) -> SlotTime:
        """Return when the slot was decided and its session ended."""
        now = slot + timedelta(seconds=self.slot_age_seconds)
        return SlotTime(slot, now, now + timedelta(seconds=self.seconds_to_close))


def read_inputs(decision: PairDecision) -> StoredInputs | str:
    """Read what a decision was taken from, or say what its numbers lack."""
    try:
        return StoredInputs.model_validate(decision.numbers)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        return f"its numbers can't be read: {name}: {first['msg'][:1].lower()}{first['msg'][1:]}"


@dataclass(frozen=True)
class Difference:
    """A number, or a word, that is stored otherwise than it comes out; None where there is none."""

    name: str
    stored: Number
    replayed: Number

    @property
    def is_rounding(self) -> bool:
        """Say whether it is too small to mean anything."""
        pair = self.stored, self.replayed
        return all(type(each) in (int, float) for each in pair) and math.isclose(
            *pair,  # type: ignore[arg-type]  # numbers, as the line above says
            rel_tol=TOLERANCE,
            abs_tol=_LEAST,
        )

    def __str__(self) -> str:
        """Write it on a line."""
        return f"{self.name}: {_shown(self.stored)} → {_shown(self.replayed)}"


@dataclass(frozen=True)
class ReplayedDecision:
    """What became of a decision that was taken again; `about` names a pair, or the instance of a strategy.

    `differences` are those that remain with the bars and the state of then where that explains nothing, else those
    with the bars of now; `changes` are the bars that explain them, `notes` the rest of what there is to say.
    """

    about: str
    slot: datetime
    action: str
    reason: str
    cause: Cause
    differences: tuple[Difference, ...] = ()
    changes: tuple[BarChange, ...] = ()
    notes: tuple[str, ...] = ()


def differences(stored: PairDecision, again: Evaluation) -> tuple[Difference, ...]:
    """List what comes out otherwise, to the last bit: the decision, its numbers, its spread, and what was said of it.

    Numbers that are stored and that no rule of today knows are not looked at.
    """
    signal, numbers = again.signal, again.numbers
    known = {name for name in stored.numbers if name in _READING_NUMBERS | _STATE_NUMBERS or name.startswith(_BLOCK)}
    # Which rules decided is no outcome; older decisions lack what was not kept yet.
    unasked = {"rules"} | (_KEPT_LATER - set(stored.numbers))
    names = [*(name for name in numbers if name not in unasked), *sorted(known - set(numbers))]
    pairs = [
        ("action", stored.action, signal.action.value),
        ("reason", stored.reason, signal.reason),
        *((name, stored.numbers.get(name), numbers.get(name)) for name in names),
        ("pair_signal.pair_mode", stored.mode, again.pair.mode.value),
        ("pair_signal.held_bars", stored.held_bars, signal.held_bars),
        *_of_spread(stored.reading, signal.reading),
        *_of_event(stored.said, again),
    ]
    return tuple(Difference(*each) for each in pairs if each[1] != each[2] or _is_flag(each[1]) != _is_flag(each[2]))


@dataclass(frozen=True)
class PastInstanceDecision:
    """A decision of an instance as it is stored, with the strategy and the config that it was taken under.

    `left` is the state that the instance had afterwards, None where a later row does not tell.
    """

    instance_id: str
    slot: datetime
    strategy: str
    config: Mapping[str, Any]
    strategy_digest: str
    state_before: Mapping[str, Any] | None
    state_digest: str
    bars_digest: str
    given: Mapping[str, Any]
    wishes: Sequence[Mapping[str, Any]]
    numbers: Mapping[str, Any]
    log: Sequence[str]
    left: Mapping[str, Any] | None
    recorded_at: datetime


def instance_differences(stored: PastInstanceDecision, again: Stepped) -> tuple[Difference, ...]:
    """List what an instance asks, notes, logs or remembers otherwise than it did."""
    numbers = [
        (f"numbers.{name}", stored.numbers.get(name), again.numbers.get(name))
        for name in sorted(stored.numbers.keys() | again.numbers.keys())
    ]
    whole = [
        ("state_before", stored.state_digest, digest_of(stored.state_before)),
        ("wishes", _text(stored.wishes), _text(again.wishes)),
        ("log", _text(stored.log), _text(again.log)),
    ]
    state = [("state_after", _text(stored.left), _text(again.state))] if stored.left is not None else []
    return tuple(Difference(*each) for each in (*numbers, *whole, *state) if each[1] != each[2])


def of_state(found: Iterable[Difference]) -> list[Difference]:
    """Pick those that bars have no part in: trade, last stop, freeze, and what keeps the bars from being used."""
    return [each for each in found if each.name in _STATE_NUMBERS or each.name.startswith(_BLOCK)]


def cause_of(changes: Iterable[BarChange]) -> Cause | None:
    """Name the heaviest of what happened to bars; None where nothing did."""
    kinds = {change.kind for change in changes}
    return next((cause for kind, cause in _OF_CHANGES if kind in kinds), None)


def restoring(months: Iterable[date]) -> list[str]:
    """Say how bars come back from the archive."""
    return [f"put its bars back with `tradewinds archive restore --month {month:%Y-%m}`" for month in months]


def _of_spread(stored: SpreadReading | None, again: SpreadReading | None) -> list[tuple[str, Number, Number]]:
    row, reading = asdict(stored) if stored else {}, asdict(again) if again else {}
    return [(f"pair_spread.{name}", row.get(name), reading.get(name)) for name in reading or row]


def _of_event(said: Mapping[str, Any] | None, again: Evaluation) -> list[tuple[str, Number, Number]]:
    if said is None:
        return []
    signal = again.signal
    told = {"action": signal.action.value, "reason": signal.reason, "z": signal.reading.z if signal.reading else None}
    return [(f"event.{name}", said.get(name), value) for name, value in told.items()]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _is_flag(value: Number) -> bool:
    # True equals 1 for Python; a stored flag that became a number is another value.
    return isinstance(value, bool)


def _shown(value: Number) -> str:
    return "nothing" if value is None else str(value)
