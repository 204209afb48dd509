"""Strategy files: one class each, loaded side by side; a broken one is named and the others load."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER, Catalogue, Loader
from src.shared.domain.errors import InputInvalid
from tests.unit.strategy_engine.sdk.scene import slot_of, taken, written

BUILT_IN = {"basket", "buy_and_hold", "mean_reversion", "momentum", "pairs"}

MINE = """\
    from src.services.strategy_engine.sdk import Context, SlotBar, Strategy


    class Mine(Strategy):
        '''Hold one symbol.

        More about it.
        '''

        CONFIG_SCHEMA = {"symbol": {"type": "symbol"}, "fraction": {"type": "float", "default": 0.5}}

        def on_bar(self, context: Context, bar: SlotBar) -> None:
            context.orders.target(context.config.symbol, context.config.fraction)
    """


def loaded(folder: Path) -> Catalogue:
    return Loader(folder).catalogue()


def broken_in(folder: Path) -> dict[str, tuple[int | None, str]]:
    return {each.path.name: (each.line, each.problem) for each in loaded(folder).broken}


def test_the_built_in_strategies_load() -> None:
    catalogue = Loader().catalogue()

    assert set(catalogue.types) == BUILT_IN
    assert catalogue.broken == ()
    assert all(each.built_in and each.description for each in catalogue.types.values())


def test_a_file_of_ones_own_stands_beside_them(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.py", MINE)

    kind = loaded(tmp_path).get("mine")

    assert set(loaded(tmp_path).types) == BUILT_IN | {"mine"}
    assert (kind.key, kind.path, kind.built_in) == ("mine", path, False)
    assert kind.description == "Hold one symbol."
    assert taken(kind, {"symbol": "KO"}, slot_of({"KO": [60.0]})).wishes[0].model_dump()["fraction"] == 0.5


def test_a_folder_that_is_not_there_holds_none(tmp_path: Path) -> None:
    assert set(loaded(tmp_path / "missing").types) == BUILT_IN


def test_loading_leaves_the_path_of_imports_as_it_was(tmp_path: Path) -> None:
    written(tmp_path, "mine.py", MINE)
    before = list(sys.path)

    kind = loaded(tmp_path).get("mine")

    assert sys.path == before
    assert "mine" not in sys.modules
    assert kind.strategy.__module__.startswith("tradewinds_strategy_mine_")
    assert not (tmp_path / "__pycache__").exists()


def test_a_changed_file_is_a_new_version_and_an_old_one_goes_on_as_it_was(tmp_path: Path) -> None:
    loader, slot = Loader(tmp_path), slot_of({"KO": [60.0]})
    written(tmp_path, "mine.py", MINE)
    old = loader.catalogue().get("mine")
    assert loader.catalogue().get("mine") is old

    written(tmp_path, "mine.py", MINE.replace('"default": 0.5', '"default": 0.25'))
    new = loader.catalogue().get("mine")

    assert new.digest != old.digest
    asked = [taken(kind, {"symbol": "KO"}, slot).wishes[0].model_dump()["fraction"] for kind in (old, new)]
    assert asked == [0.5, 0.25]
    written(tmp_path, "mine.py", MINE)
    assert loader.catalogue().get("mine").digest == old.digest


def test_files_of_one_name_in_two_folders_do_not_meet(tmp_path: Path) -> None:
    written(tmp_path / "a", "mine.py", MINE)
    written(tmp_path / "b", "mine.py", MINE)

    first, second = (loaded(tmp_path / name).get("mine") for name in "ab")

    assert first.digest == second.digest
    assert first.strategy is not second.strategy


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("class Mine(:\n    pass\n", 1, "syntax error: invalid syntax"),
        ("x = 1\n  y = 2\n", 2, "syntax error: unexpected indent"),
        ("\n\nimport not_there\n", 3, "it can't be imported: ModuleNotFoundError: No module named 'not_there'"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "it can't be imported: ZeroDivisionError"),
        ("raise SystemExit('no')\n", 1, "it can't be imported: SystemExit: no"),
        ("", None, "no class in it derives from Strategy"),
        ("class Mine:\n    pass\n", None, "no class in it derives from Strategy"),
        (MINE.replace("CONFIG_SCHEMA", "SCHEMA"), 4, "Mine has no CONFIG_SCHEMA"),
        (MINE.replace("def on_bar", "def on_bars"), 4, "Mine has no on_bar(self, context, bar)"),
        (MINE.replace(", bar: SlotBar", ""), 12, "write def on_bar(self, context, bar)"),
        (MINE.replace("def on_bar", "async def on_bar"), 12, "Mine.on_bar is no plain method"),
        (MINE + "class Other(Mine):\n        pass\n", 14, "one file holds one strategy, but it has Mine and Other"),
        (MINE.replace('"type": "symbol"', '"type": "ticker"'), 10, "CONFIG_SCHEMA of mine: symbol: type: "),
        (MINE.replace('"default": 0.5', '"min": 1, "default": 0.5'), 10, "its default fraction = 0.5"),
        (MINE.replace('CONFIG_SCHEMA = {', 'STATE = [1]\n        CONFIG_SCHEMA = {'), 10, "STATE of mine: "),
        (MINE.replace('CONFIG_SCHEMA = {', 'TRADES = "futures"\n        CONFIG_SCHEMA = {'), 4, 'one of "pairs"'),
        (MINE.replace('CONFIG_SCHEMA = {', 'WARMUP_BARS = 0\n        CONFIG_SCHEMA = {'), 4, "WARMUP_BARS of Mine"),
        (MINE.replace('CONFIG_SCHEMA = {', 'WHOLE_BARS = 1\n        CONFIG_SCHEMA = {'), 4, "WHOLE_BARS of Mine"),
        ("a = '\x00'", None, "null bytes"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_line_and_what_is_missing(
    tmp_path: Path, text: str, line: int | None, problem: str
) -> None:
    path = written(tmp_path, "mine.py", text)
    written(tmp_path, "other.py", MINE)
    before = set(sys.modules)

    found = broken_in(tmp_path)["mine.py"]

    assert problem in found[1]
    assert found[0] == line
    assert "\n" not in found[1]
    assert set(loaded(tmp_path).types) == BUILT_IN | {"other"}
    assert not any("strategy_mine" in name for name in set(sys.modules) - before)
    with pytest.raises(InputInvalid, match=re.escape(str(path))):
        loaded(tmp_path).get("mine")


def test_a_file_that_never_comes_to_an_end_is_broken_too(tmp_path: Path) -> None:
    written(tmp_path, "endless.py", "while True:\n    pass\n")
    written(tmp_path, "other.py", MINE)
    before = signal.getsignal(signal.SIGALRM)

    catalogue = Loader(tmp_path, most_seconds=0.5).catalogue()

    (broken,) = catalogue.broken
    assert broken.problem == "it can't be imported: TimeoutError: it took more than 0.5 s"
    assert broken.line in (1, 2)
    assert "other" in catalogue.types
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_built_in_strategy_keeps_its_name(tmp_path: Path) -> None:
    written(tmp_path, "pairs.py", MINE)

    catalogue = loaded(tmp_path)

    assert catalogue.types["pairs"].built_in
    assert broken_in(tmp_path)["pairs.py"][1].startswith("a built-in strategy is called pairs")


@pytest.mark.parametrize("name", ["Mine.py", "1st.py", "my-own.py", f"{'a' * 41}.py"])
def test_a_file_has_a_name_that_can_be_a_key(tmp_path: Path, name: str) -> None:
    written(tmp_path, name, MINE)

    assert broken_in(tmp_path)[name][1].startswith("a strategy file is named by small letters")


def test_what_begins_with_an_underscore_is_no_strategy(tmp_path: Path) -> None:
    written(tmp_path, "_shared.py", "raise SystemExit")

    assert broken_in(tmp_path) == {}


def test_bases_that_are_not_public_do_not_count(tmp_path: Path) -> None:
    private = MINE.replace("class Mine(", "class _Base(") + "class Mine(_Base):\n        '''It.'''\n"
    written(tmp_path, "mine.py", private)

    assert loaded(tmp_path).get("mine").strategy.__name__ == "Mine"


def test_an_unknown_key_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputInvalid, match="There is no strategy 'pears'; there are basket, buy_and_hold"):
        Loader().catalogue().get("pears")


def test_the_built_in_folder_holds_strategies_only() -> None:
    assert {path.stem for path in BUILT_IN_FOLDER.glob("*.py")} - {"__init__"} == BUILT_IN
