"""One call of a strategy as a pure function: the same slot, config, state and holdings give the same result.

Engine, replay, backtest and `tradewinds strategy validate` all call it; there is no other way to run a strategy.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from src.services.strategy_engine.domain.evaluation import WatchedPair
from src.services.strategy_engine.sdk.context import Collected, Context, Number, Scope
from src.services.strategy_engine.sdk.models import first_error
from src.services.strategy_engine.sdk.slot import Held, SlotBar, SlotData, with_trades
from src.services.strategy_engine.sdk.state import PlainState
from src.services.strategy_engine.sdk.strategy import StrategyType
from src.services.strategy_engine.sdk.widgets import Widget, checked_widgets
from src.services.strategy_engine.sdk.wishes import Wish
from src.shared.domain.errors import StrategyFault
from src.shared.domain.ticks import Tick

MOST_WARMUP_BARS = 5_000
MOST_FAULT_LETTERS = 500

T = TypeVar("T")

_CONSTANT = (str, int, float, bool, tuple, frozenset, type(None))

NOTHING_HELD = Held()


@dataclass(frozen=True)
class StepResult:
    """What came of one call: what was asked for, the state to store, the figures and lines to keep with them."""

    wishes: tuple[Wish, ...]
    state: PlainState
    numbers: Mapping[str, Number]
    log: tuple[str, ...]


def step(
    kind: StrategyType,
    config: BaseModel,
    state: Mapping[str, JsonValue] | None,
    slot: SlotData,
    held: Held = NOTHING_HELD,
    *,
    tick: Tick | None = None,
) -> StepResult:
    """Let a strategy decide about a slot, or look at a tick.

    `state` is what the step before returned, or was stored; None stands for an instance that is new or has a new
    config, and is initialised first. Neither it nor any other argument is changed.

    Raises:
        StrategyFault: the strategy failed, asked what it may not, or its state can't be stored; nothing it asked for
            counts.
    """
    log: tuple[str, ...] = ()
    if state is None:
        before = initialise(kind, config, slot, held)
        state, log = before.state, before.log
    call = _Call.of(kind, config, state, slot, held, Collected(log=list(log)))
    if tick is None:
        bar = _bar(slot, call.scope)
        call.make("on_bar", lambda: kind.strategy().on_bar(call.context, bar))
    else:
        call.make("on_tick", lambda: kind.strategy().on_tick(call.context, tick))
    return call.result()


def initialise(kind: StrategyType, config: BaseModel, slot: SlotData, held: Held = NOTHING_HELD) -> StepResult:
    """Set up the state of an instance that is new or has a new config.

    Raises:
        StrategyFault: as `step`; a strategy asks for nothing in `init`.
    """
    call = _Call.of(kind, config, None, slot, held, Collected(may_act=False))
    call.make("init", lambda: kind.strategy().init(call.context))
    return call.result()


def draw(
    kind: StrategyType,
    config: BaseModel,
    state: Mapping[str, JsonValue],
    slot: SlotData,
    held: Held = NOTHING_HELD,
) -> tuple[Widget, ...]:
    """Let a strategy show how it stands. What it does to its state while it draws is forgotten.

    Raises:
        StrategyFault: it failed, asked for something, or showed what is no widget or too large.
    """
    call = _Call.of(kind, config, state, slot, held, Collected(may_act=False))
    return call.make("render", lambda: checked_widgets(kind.strategy().render(call.context)))


@dataclass(frozen=True)
class _Call:
    """One call of a strategy's own code, on a config and a state of its own."""

    kind: StrategyType
    state: Any
    scope: Scope
    collected: Collected
    context: Context

    @classmethod
    def of(
        cls,
        kind: StrategyType,
        config: BaseModel,
        state: Mapping[str, JsonValue] | None,
        slot: SlotData,
        held: Held,
        collected: Collected,
    ) -> _Call:
        own = _own(config)
        scope = _guarded(kind, "symbols, pairs or warmup_bars", lambda: _scope_of(kind, own, slot, held))
        working = _guarded(kind, "its state", lambda: kind.state.load(state))
        return cls(kind, working, scope, collected, Context(own, working, slot, held, scope, collected))

    def make(self, where: str, call: Callable[[], T]) -> T:
        return _guarded(self.kind, where, call)

    def result(self) -> StepResult:
        state = _guarded(self.kind, "its state", lambda: self.kind.state.plain(self.state))
        asked = self.collected
        return StepResult(tuple(asked.wishes.values()), state, MappingProxyType(asked.numbers), tuple(asked.log))


def _own(config: BaseModel) -> BaseModel:
    """Copy a config where something in it could be changed: the next call has to find it as it was."""
    values = (getattr(config, name) for name in type(config).model_fields)
    return config.model_copy(deep=True) if any(not isinstance(each, _CONSTANT) for each in values) else config


def _bar(slot: SlotData, scope: Scope) -> SlotBar:
    seen = sorted(scope.seen)
    closes = {name: close for name in seen if (close := slot.last_close(name)) is not None}
    bars = {name: bar for name in seen if (bar := slot.last_bar(name)) is not None} if scope.whole_bars else {}
    return SlotBar(slot.time.slot, MappingProxyType(closes), MappingProxyType(bars))


def _scope_of(kind: StrategyType, config: BaseModel, slot: SlotData, held: Held) -> Scope:
    named = kind.pairs(config)
    chosen: tuple[WatchedPair, ...] = ()
    if named:
        wanted = None if named == "all" else frozenset(named)
        chosen = with_trades((each for each in slot.pairs if wanted is None or each.pair.id in wanted), held)
    bars = kind.warmup_bars(config)
    if not 0 < bars <= MOST_WARMUP_BARS:
        raise StrategyFault(f"it needs {bars} bars of history; between 1 and {MOST_WARMUP_BARS} can be had")
    # The rules of a pair read its own window, whatever the strategy's class says.
    window = max((each.pair.z_window_bars for each in chosen), default=0)
    return Scope(kind.trades, kind.symbols(config), chosen, max(bars, window), kind.whole_bars)


def _guarded(kind: StrategyType, where: str, call: Callable[[], T]) -> T:
    """Call the strategy's own code; whatever goes wrong in it is its fault, and named with its line."""
    try:
        return call()
    except StrategyFault as fault:
        raise StrategyFault(f"{kind.key}: {where}: {fault}{_line(kind, fault)}") from fault
    except ValidationError as error:
        raise StrategyFault(
            f"{kind.key}: {where}: {error.title}: {first_error(error)}{_line(kind, error)}"
        ) from error
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise StrategyFault(f"{kind.key}: {where}: {said[:MOST_FAULT_LETTERS]}{_line(kind, error)}") from error


def _line(kind: StrategyType, error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(kind.path)]
    return f" ({kind.path.name}, line {lines[-1]})" if lines else ""
