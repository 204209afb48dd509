"""Strategy files as what instances are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from src.services.strategy_engine.ports import StrategyKind
from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER, Loader
from src.services.strategy_engine.sdk.strategy import StrategyType


@dataclass
class StrategyFiles:
    """Implements `StrategyTypes` on the built-in files and a user's folder."""

    folder: Path
    _loader: Loader = field(init=False)

    def __post_init__(self) -> None:
        """Know the folder."""
        self._loader = Loader(self.folder)

    def find(self, name: str) -> StrategyKind:
        """Return a strategy by its name."""
        kind = self._load(name)
        return StrategyKind(kind.key, kind.trades, kind.digest)

    def check(self, name: str, config: Mapping[str, object]) -> dict[str, object]:
        """Check a config; what was left out follows the strategy's defaults, also when those change."""
        kind = self._load(name)
        checked = kind.config.plain(kind.config.validate(config))
        return {field: checked[field] for field in config}

    def _load(self, name: str) -> StrategyType:
        # Another's file is not run for this one's sake, but to say which there are.
        built_in, own = BUILT_IN_FOLDER / f"{name}.py", self.folder / f"{name}.py"
        if name.isidentifier() and built_in.is_file():
            return self._loader.load(built_in, built_in=True)
        if name.isidentifier() and own.is_file():
            return self._loader.load(own)
        return self._loader.catalogue().get(name)
