"""`tradewinds strategy`: what people type and read. Two of these start a process, as the command does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.fakes.typed import Typed, typing_commands

BROKEN = "from src.services.strategy_engine.sdk import Strategy\n\n\nclass Mine(Strategy):\n    CONFIG_SCHEMA = {}\n"
ENDLESS = "while True:\n    pass\n"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    monkeypatch.setenv("TRADEWINDS_STRATEGY_FOLDER", str(tmp_path / "mine"))
    return typing_commands(monkeypatch, capsys)


def test_a_new_strategy_is_written_listed_and_valid(desk: Typed, tmp_path: Path) -> None:
    made = desk("strategy", "new", "my_trend")
    again = desk("strategy", "new", "my_trend")
    listed = desk("strategy", "list")
    valid = desk("strategy", "validate", "my_trend", "symbol=KO")

    path = tmp_path / "mine" / "my_trend.py"
    assert (made.code, made.out.splitlines()[0]) == (0, str(path))
    assert (again.code, again.err) == (2, f"error: {path} is there already: it is not overwritten.\n")
    assert listed.code == 0
    assert [word in listed.out for word in ("my_trend", "momentum", "built in")] == [True] * 3
    assert (valid.code, valid.err) == (0, "")
    assert "my_trend is valid: version " in valid.out
    assert "asked for 1 × target CROSSED_DOWN, 1 × target CROSSED_UP" in valid.out


def test_what_never_comes_to_an_end_is_ended(desk: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_STRATEGY_CALL_CPU_SECONDS", "3")
    path = tmp_path / "endless.py"
    path.write_text(ENDLESS)

    said = desk("strategy", "validate", str(path))

    assert (said.code, said.out) == (2, "")
    assert said.err == f"error: {path} can't be loaded: the call took more than 3 s of CPU\n"


def test_the_schema_of_a_config_is_printed_for_machines(desk: Typed) -> None:
    said = desk("strategy", "validate", "pairs", "--schema")

    described = json.loads(said.out)
    assert said.code == 0
    assert Draft202012Validator(described).is_valid({"pairs": ["KO/PEP"], "entry_z": 2.5})
    assert not Draft202012Validator(described).is_valid({"pairs": ["KO/KO"]})
    assert not Draft202012Validator(described).is_valid({"entry_z": 0})


def test_a_broken_file_is_listed_with_its_reason_and_the_others_are_there(desk: Typed, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").write_text(BROKEN)

    said = desk("strategy", "list")
    as_json: dict[str, Any] = json.loads(desk("strategy", "list", "--json").out)

    assert said.code == 1
    assert f"broken: {tmp_path}/mine/mine.py, line 4: Mine has no on_bar(self, context, bar)" in said.out
    assert [each["name"] for each in as_json["strategies"]] == [
        "basket",
        "buy_and_hold",
        "mean_reversion",
        "momentum",
        "pairs",
    ]
    assert as_json["broken"] == [
        {
            "path": f"{tmp_path}/mine/mine.py",
            "line": 4,
            "problem": "Mine has no on_bar(self, context, bar)",
        }
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["validate", "pears"], "pears.py: see `tradewinds strategy list`"),
        (["validate", "pairs", "entry_z=0"], "config of pairs: entry_z = 0: should be greater than or equal to 0.1"),
        (["validate", "pairs", "entry_z=NaN"], "entry_z is nan, which is not finite"),
        (["validate", "pairs", "leverage=1e9"], "leverage is no field of it"),
        (["validate", "pairs", "entry_z"], "'entry_z' is no field of a config: write FIELD=VALUE"),
        (["validate", "pairs", "--config", "missing.toml"], "missing.toml"),
        (["new", "Not a name"], "'Not a name' names no strategy"),
        (["new", "pairs"], "A built-in strategy is called pairs"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(desk: Typed, words: list[str], said: str) -> None:
    ended = desk("strategy", *words)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_a_file_with_the_name_of_a_built_in_strategy_is_not_tried(desk: Typed, tmp_path: Path) -> None:
    path = tmp_path / "pairs.py"
    path.write_text(BROKEN)

    said = desk("strategy", "validate", str(path))

    assert said.code == 2
    assert "a built-in strategy is called pairs" in said.err


def test_a_config_is_read_from_toml_and_json(desk: Typed, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text("entry_z = 9.0\n")
    (tmp_path / "bad.json").write_text('{"entry_z": 9.0, "exit_z": 0}')

    toml = desk("strategy", "validate", "pairs", "--config", str(tmp_path / "good.toml"))
    from_json = desk("strategy", "validate", "pairs", "--config", str(tmp_path / "bad.json"))

    assert "exit_z, entry_z and stop_z must rise in this order; they are 0.5, 9.0, 3.0" in toml.err
    assert "exit_z = 0: should be greater than or equal to 0.01" in from_json.err
