"""A strategy as people write it, and a strategy type as the engine holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from src.services.strategy_engine.sdk.config import ConfigSchema
from src.services.strategy_engine.sdk.context import Context, Trades
from src.services.strategy_engine.sdk.slot import SlotBar
from src.services.strategy_engine.sdk.state import StateSchema
from src.services.strategy_engine.sdk.widgets import Widget
from src.shared.domain.ticks import Tick


class Strategy:
    """What a strategy file derives its one class from.

    An object lives for one call only: what is to be remembered belongs into `context.state`. `TRADES` says what it
    asks for: "pairs" (enter_pair, exit_pair), "symbols" or "basket" (target). Only pairs can be traded so far; the
    others are observed. With `WHOLE_BARS` it is given open, high, low and volume besides closes.
    """

    CONFIG_SCHEMA: ClassVar[Mapping[str, Any] | type[BaseModel]]
    STATE: ClassVar[Mapping[str, Any] | type[BaseModel]] = {}
    WARMUP_BARS: ClassVar[int] = 1
    TRADES: ClassVar[Trades] = "symbols"
    WHOLE_BARS: ClassVar[bool] = False

    def symbols(self, config: Any) -> Sequence[str]:
        """Name the symbols whose bars it needs; by default those of `config.symbol` and `config.symbols`."""
        one, many = getattr(config, "symbol", None), getattr(config, "symbols", None)
        return tuple(dict.fromkeys([*([one] if one else []), *(many or ())]))

    def pairs(self, config: Any) -> Literal["all"] | Sequence[str]:
        """Name the registered pairs that it looks at, or "all"; by default those of `config.pairs`."""
        named: Literal["all"] | Sequence[str] = getattr(config, "pairs", ())
        return named

    def warmup_bars(self, config: Any) -> int:  # noqa: ARG002 - a strategy may say it by its config
        """Say how many bars of history it reads at most; by default WARMUP_BARS."""
        return self.WARMUP_BARS

    def init(self, context: Context) -> None:
        """Set up the state, once and after each change of the config. Nothing can be asked for here."""

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Decide about one finished bar of its symbols.

        Raises:
            NotImplementedError: the strategy does not define it.
        """
        raise NotImplementedError

    def on_tick(self, context: Context, tick: Tick) -> None:
        """Look at a trade at the exchange; by default nothing."""

    def render(self, context: Context) -> Sequence[Widget]:  # noqa: ARG002 - a strategy may show nothing
        """Show how it stands, as data; by default nothing."""
        return ()


@dataclass(frozen=True)
class StrategyType:
    """A loaded strategy: its class under a key, with the digest of the file that it came from."""

    key: str
    strategy: type[Strategy]
    config: ConfigSchema
    state: StateSchema
    digest: str
    path: Path
    built_in: bool

    @property
    def trades(self) -> Trades:
        """What it asks for."""
        return self.strategy.TRADES

    @property
    def description(self) -> str:
        """The first paragraph of the class's docstring in one line."""
        return " ".join((self.strategy.__doc__ or "").strip().split("\n\n")[0].split())

    @property
    def whole_bars(self) -> bool:
        """Say whether it reads whole bars, not closes alone."""
        return self.strategy.WHOLE_BARS

    @property
    def has_ticks(self) -> bool:
        """Say whether it looks at ticks."""
        return self.strategy.on_tick is not Strategy.on_tick

    def symbols(self, config: BaseModel) -> tuple[str, ...]:
        """Name the symbols whose bars an instance with this config needs, besides the legs of its pairs."""
        return tuple(dict.fromkeys(self.strategy().symbols(config)))

    def pairs(self, config: BaseModel) -> Literal["all"] | tuple[str, ...]:
        """Name the pairs that an instance with this config looks at."""
        named = self.strategy().pairs(config)
        return "all" if named == "all" else tuple(named)

    def warmup_bars(self, config: BaseModel) -> int:
        """Say how many bars of history an instance with this config reads at most."""
        return int(self.strategy().warmup_bars(config))
