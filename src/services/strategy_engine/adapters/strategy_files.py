"""Strategy files as what instances are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from src.services.strategy_engine.domain.instances import Failed, Job
from src.services.strategy_engine.ports import Described, StrategyRunner
from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER, Loader, is_key
from src.shared.domain.errors import InputInvalid
from src.shared.domain.instances import FaultKind


@dataclass
class StrategyFiles:
    """Implements `StrategyTypes` on the built-in files and a user's folder.

    A user's file is never run in our own process: `runner` opens one for it, which is ended where the file has none.
    """

    folder: Path
    runner: Callable[[], AbstractContextManager[StrategyRunner]]
    _loader: Loader = field(init=False, default_factory=Loader)

    def describe(self, name: str, config: Mapping[str, object]) -> Described:
        """Describe a strategy; what was left out follows the strategy's defaults, also when those change."""
        found = self._described(name, config)
        return replace(found, config={field: found.config[field] for field in config})

    def _described(self, name: str, config: Mapping[str, object]) -> Described:
        built_in, own = BUILT_IN_FOLDER / f"{name}.py", self.folder / f"{name}.py"
        if is_key(name) and built_in.is_file():
            kind = self._loader.load(built_in, built_in=True)
            return Described(kind.config.stored(config), kind.trades, kind.digest)
        if is_key(name) and own.is_file():
            return self._own(own, config)
        there = {path.stem for folder in (BUILT_IN_FOLDER, self.folder) for path in folder.glob("[a-z]*.py")}
        raise InputInvalid(f"There is no strategy {name!r}; there are {', '.join(sorted(there))}.")

    def _own(self, path: Path, config: Mapping[str, object]) -> Described:
        with self.runner() as runner:
            (found,) = runner.described([Job(path.stem, path.stem, config)])
        if not isinstance(found, Failed):
            return found
        if found.kind is FaultKind.BROKEN:
            raise InputInvalid(found.detail)
        raise InputInvalid(f"{path} can't be loaded: {found.detail}")
