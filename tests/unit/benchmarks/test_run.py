"""The harness: what a row says, what a run writes and prints."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from benchmarks.readme import BEGIN, END, update
from benchmarks.registry import MODULES, load
from benchmarks.rows import Row
from benchmarks.run import Report, main, measure, show, write

SCHEMA = {"benchmark", "name", "value", "unit", "reference", "reference_value", "ratio", "aim", "met", "details"}
QUICK = Row("quick", 20.0, "ms", "a peer", 80.0, 50.0, {"reading": 5.0})
SLOW = Row("slow", 60.0, "ms", "a peer", 30.0, 50.0)
FREE = Row("free", 1.0, "s")
SUITES = {"fine": [QUICK, SLOW], "other": [FREE]}


def measured(*names: str) -> Report:
    return measure(names, lambda name: lambda: SUITES[name], lambda _: None)


def written(report: Report, path: Path) -> Any:
    write(report, "python -m benchmarks.run", path)
    return json.loads(path.read_text())


def shown(report: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    show(report, console)
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


@pytest.mark.parametrize(
    ("row", "ratio", "met"),
    [
        (QUICK, 0.25, True),
        (SLOW, 2.0, False),
        (FREE, None, None),
        (Row("on the mark", 50.0, "ms", aim=50.0), None, True),
        (Row("nothing to compare with", 3.0, "", "none", 0.0, 2.0), None, False),
    ],
)
def test_the_ratio_is_to_the_reference_and_the_aim_is_a_most(row: Row, ratio: float | None, met: bool | None) -> None:
    assert (row.ratio, row.met) == (ratio, met)


def test_every_row_is_written_with_all_its_fields_and_the_machine(tmp_path: Path) -> None:
    found = written(measured("fine", "other"), tmp_path / "results.json")

    assert [row["name"] for row in found["rows"]] == ["quick", "slow", "free"]
    assert all(set(row) == SCHEMA for row in found["rows"])
    assert found["rows"][0]["ratio"] == 0.25
    assert found["rows"][1]["met"] is False
    assert {"cores", "python", "load_average", "date", "load_average_after"} <= set(found["machine"])


def test_results_are_written_afresh(tmp_path: Path) -> None:
    written(measured("fine"), tmp_path / "results.json")

    found = written(measured("other"), tmp_path / "results.json")

    assert [row["name"] for row in found["rows"]] == ["free"]


def test_a_benchmark_that_breaks_is_told_and_the_others_are_measured(tmp_path: Path) -> None:
    report = measured("missing", "other")

    found = written(report, tmp_path / "results.json")

    assert found["broken"] == {"missing": "KeyError: 'missing'"}
    assert [row["name"] for row in found["rows"]] == ["free"]
    assert "broke missing" in shown(report)


def test_the_readme_gets_the_figures_and_keeps_its_words(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold figures\n{END}\nafter\n")

    update(page, written(measured("fine"), tmp_path / "results.json"))

    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old figures" not in text
    assert "| slow | 60 ms | ≤ 50 | **no** | 30 | 2 | a peer |" in text
    assert "- quick (ms): reading 5" in text


def test_an_aim_that_is_missed_is_said_in_words() -> None:
    text = shown(measured("fine"))

    assert "aim missed slow: 60 ms, aimed at 50" in text
    assert "aim missed quick" not in text


@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_the_registry_can_be_measured(name: str) -> None:
    assert callable(load(name))


def test_a_missed_aim_is_no_error_but_an_unknown_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.run.load", lambda _: lambda: [SLOW])
    app, target = Typer(), tmp_path / "results.json"
    app.command()(main)

    missed = CliRunner().invoke(app, ["--only", "signal-step", "--results", str(target)])
    unknown = CliRunner().invoke(app, ["--only", "nonsense", "--results", str(target)])

    assert (missed.exit_code, unknown.exit_code) == (0, 2)
    assert "aim missed slow" in missed.output
    assert [row["name"] for row in json.loads(target.read_text())["rows"]] == ["slow"]
