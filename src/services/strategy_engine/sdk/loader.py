"""Strategy files become strategy types: one file, one class, loaded without touching the path of imports.

A file that can't be loaded is named with its line and what is missing, and the others load.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, get_args

from src.services.strategy_engine.sdk.config import config_schema
from src.services.strategy_engine.sdk.context import Trades
from src.services.strategy_engine.sdk.state import state_schema
from src.services.strategy_engine.sdk.strategy import Strategy, StrategyType
from src.shared.domain.errors import InputInvalid

# By its place: the package itself imports what stands here.
BUILT_IN_FOLDER = Path(__file__).resolve().parents[1] / "strategies"
MOST_FILE_BYTES = 1_000_000
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_DIGEST_LETTERS = 16


@dataclass(frozen=True)
class BrokenFile:
    """A strategy file that can't be loaded: which line of it (None: the whole of it), and why."""

    path: Path
    line: int | None
    problem: str

    def __str__(self) -> str:
        """Say it in one line."""
        where = f"{self.path}, line {self.line}" if self.line is not None else str(self.path)
        return f"{where}: {self.problem}"


@dataclass(frozen=True)
class Catalogue:
    """Every strategy type by its key, and the files that are broken."""

    types: Mapping[str, StrategyType]
    broken: tuple[BrokenFile, ...] = ()

    def get(self, key: str) -> StrategyType:
        """Return a type.

        Raises:
            InputInvalid: there is none with that key, or its file is broken.
        """
        if key in self.types:
            return self.types[key]
        for each in self.broken:
            if each.path.stem == key:
                raise InputInvalid(str(each))
        raise InputInvalid(f"There is no strategy {key!r}; there are {', '.join(sorted(self.types))}.")


class StrategyFileBroken(InputInvalid):
    """A strategy file can't be loaded."""

    def __init__(self, broken: BrokenFile) -> None:
        super().__init__(str(broken))
        self.broken = broken

    def __reduce__(self) -> tuple[type[StrategyFileBroken], tuple[BrokenFile]]:
        return type(self), (self.broken,)


@dataclass
class Loader:
    """Loads the built-in strategies and those of a user's folder; a file that did not change is not run again.

    With `most_seconds` a file that takes longer to be run is broken; that works in the main thread of a process only.
    """

    folder: Path | None = None
    most_seconds: float | None = None
    _known: dict[tuple[Path, str], StrategyType] = field(default_factory=dict)

    def catalogue(self) -> Catalogue:
        """Load every strategy as its file is now. A folder that is not there holds none."""
        types: dict[str, StrategyType] = {}
        broken: list[BrokenFile] = []
        for path, built_in in [*_files(BUILT_IN_FOLDER, built_in=True), *_files(self.folder, built_in=False)]:
            try:
                if path.stem in types:
                    raise _broken(
                        path, None, f"a built-in strategy is called {path.stem}: give the file another name"
                    )
                types[path.stem] = self.load(path, built_in=built_in)
            except StrategyFileBroken as error:
                broken.append(error.broken)
        return Catalogue(MappingProxyType(types), tuple(broken))

    def load(self, path: Path, *, built_in: bool = False) -> StrategyType:
        """Load one file.

        Raises:
            StrategyFileBroken: it can't be read or run, holds no or more than one strategy, or lacks something.
        """
        path = path.absolute()
        content = _content(path)
        digest = hashlib.sha256(content).hexdigest()[:_DIGEST_LETTERS]
        if (path, digest) not in self._known:
            self._known[path, digest] = _strategy_type(path, content, digest, self.most_seconds, built_in=built_in)
        return self._known[path, digest]


def is_key(name: str) -> bool:
    """Say whether a strategy may be called so."""
    return _KEY.fullmatch(name) is not None


_LOADING = threading.Lock()


def _files(folder: Path | None, *, built_in: bool) -> list[tuple[Path, bool]]:
    if folder is None or not folder.is_dir():
        return []
    return [(path, built_in) for path in sorted(folder.glob("*.py")) if not path.name.startswith(("_", "."))]


def _content(path: Path) -> bytes:
    if not is_key(path.stem) or path.suffix != ".py":
        raise _broken(
            path, None, "a strategy file is named by small letters, digits and _, a letter first, at most 40, and .py"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _broken(path, None, f"it can't be read: {error.strerror}") from None
    if len(content) > MOST_FILE_BYTES:
        raise _broken(path, None, f"it has {len(content)} bytes; {MOST_FILE_BYTES} at most")
    return content


def _strategy_type(
    path: Path, content: bytes, digest: str, most_seconds: float | None, *, built_in: bool
) -> StrategyType:
    tree = _parsed(path, content)
    module = _run(path, tree, digest, most_seconds)
    try:
        return _described(path, tree, module, digest, built_in=built_in)
    except StrategyFileBroken:
        del sys.modules[module.__name__]
        raise


def _described(path: Path, tree: ast.Module, module: ModuleType, digest: str, *, built_in: bool) -> StrategyType:
    strategy = _one_class(path, tree, module)
    line = _line_of_class(tree, strategy.__name__)
    _check_class(path, line, strategy)
    try:
        config = config_schema(strategy.CONFIG_SCHEMA, path.stem)
        state = state_schema(strategy.STATE, path.stem)
    except InputInvalid as error:
        name = str(error).split(" ", maxsplit=1)[0]
        raise _broken(path, _line_of_name(tree, strategy.__name__, name) or line, str(error)) from None
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise _broken(path, line, f"its CONFIG_SCHEMA or STATE can't be used: {said}") from error
    return StrategyType(path.stem, strategy, config, state, digest, path, built_in)


def _parsed(path: Path, content: bytes) -> ast.Module:
    try:
        return ast.parse(content, filename=str(path))
    except SyntaxError as error:
        raise _broken(path, error.lineno, f"syntax error: {error.msg}") from None
    except ValueError as error:
        raise _broken(path, None, f"it is no Python: {error}") from None


def _run(path: Path, tree: ast.Module, digest: str, most_seconds: float | None) -> ModuleType:
    """Run a file as a module of its own name, so that two versions of it stand side by side."""
    place = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    module = ModuleType(f"tradewinds_strategy_{path.stem}_{place}_{digest}")
    module.__file__ = str(path)
    with _LOADING, _no_longer_than(most_seconds):
        # Annotations of models and dataclasses are looked up where the class says that it is from.
        sys.modules[module.__name__] = module
        try:
            exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - what a loader does
        except (Exception, SystemExit) as error:
            del sys.modules[module.__name__]
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise _broken(path, _last_line(path, error), f"it can't be imported: {said}") from error
        except BaseException:
            del sys.modules[module.__name__]
            raise
    return module


@contextmanager
def _no_longer_than(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, endless loops too."""
    if seconds is None:
        yield
        return

    def give_up(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, give_up)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def _one_class(path: Path, tree: ast.Module, module: ModuleType) -> type[Strategy]:
    found = [
        each
        for name, each in vars(module).items()
        if isinstance(each, type)
        and issubclass(each, Strategy)
        and each.__module__ == module.__name__
        and not name.startswith("_")
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _broken(path, None, "no class in it derives from Strategy")
    names = " and ".join(each.__name__ for each in found)
    raise _broken(path, _line_of_class(tree, found[1].__name__), f"one file holds one strategy, but it has {names}")


def _check_class(path: Path, line: int | None, strategy: type[Strategy]) -> None:
    if not hasattr(strategy, "CONFIG_SCHEMA"):
        raise _broken(
            path, line, f"{strategy.__name__} has no CONFIG_SCHEMA (an empty dict where there is no config)"
        )
    if strategy.on_bar is Strategy.on_bar:
        raise _broken(path, line, f"{strategy.__name__} has no on_bar(self, context, bar)")
    for name, words in _CALLS.items():
        _check_call(path, strategy, name, words)
    if strategy.TRADES not in get_args(Trades):
        raise _broken(
            path, line, f"TRADES of {strategy.__name__} is {strategy.TRADES!r}; it is one of {_either(Trades)}"
        )
    if type(strategy.WHOLE_BARS) is not bool:
        raise _broken(
            path, line, f"WHOLE_BARS of {strategy.__name__} is {strategy.WHOLE_BARS!r}; it is True or False"
        )
    bars: Any = strategy.WARMUP_BARS
    if type(bars) is not int or bars < 1:
        raise _broken(path, line, f"WARMUP_BARS of {strategy.__name__} is {bars!r}; it is a number of bars from 1 on")


_CALLS = {
    "init": ("context",),
    "on_bar": ("context", "bar"),
    "on_tick": ("context", "tick"),
    "render": ("context",),
    "symbols": ("config",),
    "pairs": ("config",),
    "warmup_bars": ("config",),
}


def _check_call(path: Path, strategy: type[Strategy], name: str, words: tuple[str, ...]) -> None:
    call = inspect.getattr_static(strategy, name)
    wanted = f"{name}(self, {', '.join(words)})"
    if not inspect.isfunction(call) or inspect.iscoroutinefunction(call) or inspect.isgeneratorfunction(call):
        line = getattr(getattr(call, "__code__", None), "co_firstlineno", None)
        raise _broken(path, line, f"{strategy.__name__}.{name} is no plain method; write def {wanted}")
    try:
        inspect.signature(call).bind(None, *words)
    except TypeError:
        line = call.__code__.co_firstlineno
        raise _broken(
            path, line, f"{strategy.__name__}.{name} takes {inspect.signature(call)}; write def {wanted}"
        ) from None


def _line_of_class(tree: ast.Module, name: str) -> int | None:
    return next((node.lineno for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)


def _line_of_name(tree: ast.Module, class_name: str, name: str) -> int | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for each in node.body:
                targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    return each.lineno
    return None


def _last_line(path: Path, error: BaseException) -> int | None:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _broken(path: Path, line: int | None, problem: str) -> StrategyFileBroken:
    return StrategyFileBroken(BrokenFile(path, line, problem))


def _either(literal: Any) -> str:
    return ", ".join(f'"{each}"' for each in get_args(literal))
