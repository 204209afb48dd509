"""Instances of strategies as values: who is due, who rests after a fault, what has to change in a running engine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from json import dumps
from typing import Any

from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.evaluation import Rules
from src.shared.domain.bars import BarSeries, CloseSeries
from src.shared.domain.instances import FaultKind, InstanceMode
from src.shared.domain.pairs import Pair, PairMode

Json = Mapping[str, Any]

PAIRS = "pairs"
"""The strategy whose decisions are the signals of pairs; also what a strategy trades that may be active."""

ALL_PAIRS = "all"


@dataclass(frozen=True)
class Instance:
    """What a person asks for: which strategy, where, under which config, in which mode."""

    id: str
    strategy: str
    account: str
    market: str
    config: Json
    config_version: int
    mode: InstanceMode
    note: str
    updated_at: datetime


@dataclass(frozen=True)
class StoredState:
    """What an instance remembers since its last call, by which code and config, and the last slot it decided in.

    `held` is what it holds or, in observe, what it would hold.
    """

    state: Json
    held: Json
    strategy_digest: str
    config_version: int
    slot: datetime | None
    updated_at: datetime


@dataclass(frozen=True)
class Fault:
    """A call that failed. `in_a_row` counts them since one went well; until `back_off_until` nothing is called.

    `number` counts all faults that are stored; one that is not stored yet has that of the last that was known.
    """

    instance_id: str
    config_version: int
    kind: FaultKind
    detail: str
    in_a_row: int
    occurred_at: datetime
    back_off_until: datetime
    number: int = 0


@dataclass(frozen=True)
class Standing:
    """An instance with what it remembers and its last fault, if any."""

    instance: Instance
    state: StoredState | None = None
    fault: Fault | None = None

    @property
    def id(self) -> str:
        """The instance's name."""
        return self.instance.id

    @property
    def open_fault(self) -> Fault | None:
        """The last fault, unless a call went well or the config was changed since."""
        fault, state = self.fault, self.state
        if fault is None or fault.config_version != self.instance.config_version:
            return None
        return fault if state is None or state.updated_at <= fault.occurred_at else None

    def rests(self, now: datetime) -> bool:
        """Say whether it is still left alone after a fault."""
        return self.open_fault is not None and now < self.open_fault.back_off_until

    @property
    def remembered(self) -> StoredState | None:
        """The state that goes on: none where it was made under another config."""
        known = self.state
        return known if known is not None and known.config_version == self.instance.config_version else None


@dataclass(frozen=True)
class BackOff:
    """How long an instance rests after faults in a row: doubled each time, up to the longest."""

    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(hours=1)

    def after(self, in_a_row: int) -> timedelta:
        """Return the rest after that many faults."""
        # More doublings than this pass any bound, and the numbers of timedelta.
        return min(self.longest, self.first * 2.0 ** min(in_a_row - 1, 20))


def next_fault(standing: Standing, kind: FaultKind, detail: str, now: datetime, back_off: BackOff) -> Fault:
    """Make the fault of a call that failed at `now`."""
    before = standing.open_fault
    in_a_row = before.in_a_row + 1 if before else 1
    until = now + back_off.after(in_a_row)
    known = standing.fault.number if standing.fault else 0
    return Fault(standing.id, standing.instance.config_version, kind, detail, in_a_row, now, until, known)


@dataclass(frozen=True)
class InstanceDecision:
    """What an instance decided in a slot, and from what.

    `state_before` is None where `init` made the state; `given` is what else it knew but the bars; `held_after` is
    what it would hold once all that it asked for is done.
    """

    instance_id: str
    slot: datetime
    config_version: int
    strategy_digest: str
    state_before: Json | None
    state_after: Json
    state_digest: str
    bars_digest: str
    given: Json
    held_after: Json
    wishes: Sequence[Json]
    numbers: Json
    log: Sequence[str]


@dataclass(frozen=True)
class LateState:
    """A state that ticks have changed since the slot it grew from."""

    instance_id: str
    state: Json
    strategy_digest: str
    config_version: int
    slot: datetime | None


def digest_of(value: object) -> str:
    """Name a JSON value by its content: the same in every process and after every way through a database."""
    return sha256(dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Changes:
    """What an engine has to do so that it runs what the rows ask for. Ids in order."""

    start: tuple[str, ...] = ()
    renew: tuple[str, ...] = ()
    change_mode: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is to do."""
        return not (self.start or self.renew or self.change_mode or self.stop)


def reconcile(running: Mapping[str, Instance], wanted: Iterable[Instance]) -> Changes:
    """Compare what runs with what is asked for.

    What is off or gone stops; what has another config is initialised anew; another mode alone, or a note, leaves the
    instance and what it remembers as they are.
    """
    asked = {each.id: each for each in wanted if each.mode is not InstanceMode.OFF}
    known = [(running[name], asked[name]) for name in sorted(asked.keys() & running.keys())]
    return Changes(
        start=tuple(sorted(asked.keys() - running.keys())),
        renew=tuple(new.id for old, new in known if old.config_version != new.config_version),
        change_mode=tuple(
            new.id for old, new in known if old.config_version == new.config_version and old.mode is not new.mode
        ),
        stop=tuple(sorted(running.keys() - asked.keys())),
    )


@dataclass(frozen=True)
class PairCover:
    """The instance under which a pair is traded. Without one (`instance_id` is None) there are no entries."""

    instance_id: str | None = None
    mode: InstanceMode = InstanceMode.OFF
    config: Json = field(default_factory=dict)


def rules_of(cover: PairCover, usual: Thresholds) -> Rules:
    """Read the thresholds of a pair's instance; what its config leaves out is as usual.

    A config that can't be meant, because somebody wrote it past every check, gives no entries, and a trade that is
    there is closed as usual.
    """
    is_on = cover.mode is not InstanceMode.OFF
    try:
        return Rules(cover.instance_id, is_on, _thresholds(cover.config, usual))
    except (ValueError, TypeError):
        return Rules(cover.instance_id, is_on=False, thresholds=usual)


def _thresholds(config: Json, usual: Thresholds) -> Thresholds:
    levels = {name: float(config.get(name, getattr(usual, name))) for name in ("entry_z", "exit_z", "stop_z")}
    if not 0 < levels["exit_z"] < levels["entry_z"] < levels["stop_z"] < math.inf:
        raise ValueError(f"exit, entry and stop are not in order: {levels}")
    age = float(config.get("max_slot_age_seconds", usual.max_slot_age.total_seconds()))
    overnight = config.get("overnight", usual.overnight) is True
    return Thresholds(**levels, max_slot_age=timedelta(seconds=age), overnight=overnight)


def thresholds_config(thresholds: Thresholds) -> dict[str, Any]:
    """Write thresholds as the config of an instance of type pairs names them."""
    return {
        "entry_z": thresholds.entry_z,
        "exit_z": thresholds.exit_z,
        "stop_z": thresholds.stop_z,
        "max_slot_age_seconds": thresholds.max_slot_age.total_seconds(),
        "overnight": thresholds.overnight,
    }


def limited_by(pair: Pair, cover: PairCover) -> Pair:
    """Let an instance in observe do no more with a pair than observe it."""
    if cover.mode is InstanceMode.OBSERVE and pair.mode is PairMode.ACTIVE:
        return replace(pair, mode=PairMode.OBSERVE)
    return pair


def covers_of(pairs: Iterable[str], instances: Sequence[Instance]) -> dict[str, PairCover]:
    """Say for each pair which instance of type pairs it is traded under.

    Of several the one that may do most; then one that names the pair comes before one that takes all; then the first
    by id. One that is off gives no entries, but its config still says when a trade that is there is to be closed.
    """
    by_rank = sorted(instances, key=lambda each: (-_POWER[each.mode], _takes_all(each), each.id))
    named: dict[str, Instance] = {}
    for instance in by_rank:
        for name in named_pairs(instance.config):
            named.setdefault(name, instance)
    general = next((each for each in by_rank if _takes_all(each)), None)
    return {pair: _cover(_stronger(named.get(pair), general)) for pair in pairs}


def named_pairs(config: Json) -> tuple[str, ...]:
    """List the pairs that a config names; none where it takes all, or where somebody wrote it past every check."""
    named = config.get("pairs", ALL_PAIRS)
    return tuple(name for name in named if isinstance(name, str)) if isinstance(named, list) else ()


_POWER = {InstanceMode.OFF: 0, InstanceMode.OBSERVE: 1, InstanceMode.ACTIVE: 2}


def _takes_all(instance: Instance) -> bool:
    return bool(instance.config.get("pairs", ALL_PAIRS) == ALL_PAIRS)


def _stronger(named: Instance | None, general: Instance | None) -> Instance | None:
    if named is None or general is None:
        return named or general
    return general if _POWER[general.mode] > _POWER[named.mode] else named


def _cover(instance: Instance | None) -> PairCover:
    return PairCover() if instance is None else PairCover(instance.id, instance.mode, instance.config)


@dataclass(frozen=True)
class Job:
    """One call of a strategy on behalf of an instance. Without a state the instance is initialised first."""

    instance_id: str
    strategy: str
    config: Json
    state: Json | None = None
    held: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Reach:
    """What an instance looks at, by its config: symbols, pairs ("all" or ids), bars; and the code that says so.

    Without `whole_bars` it sees closes alone.
    """

    symbols: tuple[str, ...]
    pairs: str | tuple[str, ...]
    warmup_bars: int
    has_ticks: bool
    digest: str
    whole_bars: bool = False

    def takes(self, pair_id: str) -> bool:
        """Say whether it looks at a pair."""
        return self.pairs == ALL_PAIRS or pair_id in self.pairs


@dataclass(frozen=True)
class Stepped:
    """What came of a call, as plain data."""

    wishes: tuple[Json, ...]
    state: Json
    held_after: Json
    numbers: Json
    log: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """How a call failed."""

    kind: FaultKind
    detail: str


def bars_digest(series: CloseSeries, symbols: Sequence[str], bars: int, whole: BarSeries | None = None) -> str:
    """Name the closes, or whole bars, that an instance saw: its symbols in the order given, the last `bars` rows."""
    if whole is None:
        columns = [series.column(symbol)[-bars:] for symbol in symbols]
    else:
        places = [whole.symbols.index(symbol) for symbol in symbols]
        columns = [values[-bars:, place] for place in places for values in whole.values]
    # The calendar says which ends lie between the first and the last.
    ends = series.ends[-bars:]
    named = "\x1f".join((*symbols, str(len(ends)), *(end.isoformat() for end in (*ends[:1], *ends[-1:]))))
    return sha256(named.encode() + b"".join(column.tobytes() for column in columns)).hexdigest()
