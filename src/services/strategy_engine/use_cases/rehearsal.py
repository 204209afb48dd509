"""Try a strategy on a made-up market, in a process of its own, before anything rests on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from src.services.strategy_engine.domain.evaluation import SlotTime
from src.services.strategy_engine.domain.instances import Failed, Job, Reach, Stepped
from src.services.strategy_engine.domain.rehearsal import legs_of, made_up_bars, made_up_closes, made_up_pairs
from src.services.strategy_engine.ports import Market, StrategyRunner
from src.services.strategy_engine.sdk.plain import canonical
from src.services.strategy_engine.sdk.slot import SlotData
from src.services.strategy_engine.sdk.strategy import StrategyType
from src.shared.domain.errors import InputInvalid
from src.shared.domain.instances import FaultKind
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.ticks import Tick

SLOTS = 120
_MISSING_SLOT = 40
_DECIDED_AFTER = timedelta(seconds=5)
_NAME = "rehearsal"


@dataclass(frozen=True)
class Rehearsal:
    """What a strategy did on the made-up market.

    `asked` counts what it asked for by kind and reason, `numbers` and `log` are those of its last slot that had any,
    `widgets` are the kinds of what it shows.
    """

    strategy: str
    digest: str
    config: Mapping[str, Any]
    symbols: tuple[str, ...]
    warmup_bars: int
    slots: int
    asked: Mapping[str, int]
    numbers: Mapping[str, Any]
    log: tuple[str, ...]
    state_bytes: int
    widgets: tuple[str, ...]
    seconds: float


@dataclass
class _Kept:
    """What is kept from slot to slot."""

    state: Mapping[str, Any] | None = None
    held: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    log: tuple[str, ...] = ()
    asked: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Rehearsals:
    """Tries strategies. `clock` counts seconds; it bounds the time and decides nothing."""

    runner: StrategyRunner
    calendar: TradingCalendar
    clock: Callable[[], float]
    most_seconds: float

    def refuse_what_never_loads(self, path: Path) -> None:
        """Have a file loaded by another process first, which can be ended where it does not come to an end.

        Raises:
            InputInvalid: it ended that process, or was ended.
        """
        (found,) = self.runner.reaches([Job(_NAME, path.stem, {})])
        if isinstance(found, Failed) and found.kind not in (FaultKind.BROKEN, FaultKind.EXCEPTION):
            raise InputInvalid(f"{path} can't be loaded: {found.detail}")

    def rehearse(self, kind: StrategyType, config: Mapping[str, Any]) -> Rehearsal:
        """Run a strategy over the last bars of a made-up market, every slot twice.

        Raises:
            InputInvalid: the config is refused, a call fails or takes too long, the same slot gives two results, or
                the state does not come back from storage as it went in.
        """
        started = self.clock()
        plain = kind.config.stored(config)
        (reach,) = self.runner.reaches([Job(_NAME, kind.key, plain)])
        if isinstance(reach, Failed):
            raise _fault(kind, reach)
        market = self._market(reach)
        kept = _Kept()
        for number, row in enumerate(range(len(market.series.ends) - SLOTS, len(market.series.ends))):
            if self.clock() - started > self.most_seconds:
                raise InputInvalid(f"{kind.key}: {number} of {SLOTS} bars took more than {self.most_seconds:g} s")
            self._decide(kind, plain, _at(market, self._time(market, row)), kept)
        last = _at(market, self._time(market, -1))
        if reach.has_ticks:
            self._look_at_a_tick(kind, plain, last, kept)
        return Rehearsal(
            strategy=kind.key,
            digest=reach.digest,
            config=plain,
            symbols=market.series.symbols,
            warmup_bars=reach.warmup_bars,
            slots=SLOTS,
            asked=dict(sorted(kept.asked.items())),
            numbers=kept.numbers,
            log=kept.log,
            state_bytes=len(canonical(dict(kept.state or {})).encode()),
            widgets=self._shown(kind, plain, last, kept),
            seconds=self.clock() - started,
        )

    def _market(self, reach: Reach) -> Market:
        pairs = made_up_pairs(reach.pairs)
        symbols = list(dict.fromkeys([*reach.symbols, *legs_of(pairs)]))
        window = max((each.pair.z_window_bars for each in pairs), default=0)
        bars = max(reach.warmup_bars, window) + SLOTS
        series = made_up_closes(symbols, bars, bars - SLOTS + _MISSING_SLOT, self.calendar)
        whole = made_up_bars(series) if reach.whole_bars else None
        return Market(SlotTime(series.ends[-1], series.ends[-1], series.ends[-1]), series, pairs, whole=whole)

    def _time(self, market: Market, row: int) -> SlotTime:
        slot = market.series.ends[row]
        session = self.calendar.session_at(slot - timedelta(microseconds=1))
        return SlotTime(slot, slot + _DECIDED_AFTER, session.close if session else slot)

    def _decide(self, kind: StrategyType, config: Mapping[str, Any], market: Market, kept: _Kept) -> None:
        job = Job(_NAME, kind.key, config, kept.state, kept.held)
        first, second = (_went_well(kind, each) for each in self.runner.steps(market, [job, job]))
        _refuse_two_results(kind, market, first, second)
        _refuse_changed_state(kind, first)
        kept.state, kept.held = first.state, first.held_after
        kept.numbers, kept.log = first.numbers or kept.numbers, first.log or kept.log
        kept.asked.update(_named(wish) for wish in first.wishes)

    def _look_at_a_tick(self, kind: StrategyType, config: Mapping[str, Any], market: Market, kept: _Kept) -> None:
        symbol = market.series.symbols[-1]
        tick = Tick(symbol, float(market.series.closes[-1, -1]) * 1.001, market.time.now)
        live = replace(market, ticks={symbol: tick.price})
        job = Job(_NAME, kind.key, config, kept.state, kept.held)
        _went_well(kind, self.runner.ticks(live, tick, [job])[0])

    def _shown(self, kind: StrategyType, config: Mapping[str, Any], market: Market, kept: _Kept) -> tuple[str, ...]:
        (shown,) = self.runner.drawings(market, [Job(_NAME, kind.key, config, kept.state, kept.held)])
        if isinstance(shown, Failed):
            raise _fault(kind, shown)
        return tuple(str(each["kind"]) for each in shown)


def _at(market: Market, time: SlotTime) -> Market:
    known = SlotData.at(market.series, time, whole=market.whole)
    return Market(time, known.series, market.pairs, whole=known.whole)


def _went_well(kind: StrategyType, found: Stepped | Failed) -> Stepped:
    if isinstance(found, Failed):
        raise _fault(kind, found)
    return found


def _fault(kind: StrategyType, failed: Failed) -> InputInvalid:
    # What the strategy itself said begins with its name; what became of its process does not.
    named = failed.detail.startswith(f"{kind.key}:")
    return InputInvalid(failed.detail if named else f"{kind.key}: {failed.detail}")


def _refuse_two_results(kind: StrategyType, market: Market, first: Stepped, second: Stepped) -> None:
    for name in ("wishes", "state", "numbers", "log"):
        if getattr(first, name) != getattr(second, name):
            raise InputInvalid(
                f"{kind.key}: the same slot {market.time.slot:%Y-%m-%d %H:%M} gave two different {name}: what a "
                "strategy decides may depend on its context alone, not on the clock, chance, or what it kept besides "
                "its state"
            )


def _refuse_changed_state(kind: StrategyType, result: Stepped) -> None:
    stored = dict(result.state)
    if kind.state.plain(kind.state.load(stored)) != stored:
        raise InputInvalid(f"{kind.key}: its state does not come back from storage as it went in")


def _named(wish: Mapping[str, Any]) -> str:
    return f"{wish['kind']} {wish['reason']}".strip()
