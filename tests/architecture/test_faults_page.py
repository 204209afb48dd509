"""The page of faults: every row once, every test that it names exists, every test named after a row stands in it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from src.shared.prefect.config import SOURCE_ROOT

PAGE = SOURCE_ROOT / "docs" / "faults.md"
TESTS = SOURCE_ROOT / "tests"
ROWS = range(1, 49)
_CELLS = re.compile(r"^\|(?P<number>\s*\d+\s*)\|(?P<fault>[^|]+)\|(?P<behaviour>[^|]+)\|(?P<tests>[^|]+)\|$")
_TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")
_REASON = re.compile(r"not covered: \w.+")
_NAMED_AFTER = re.compile(r"test_fault_(\d+)_")


@dataclass(frozen=True)
class Row:
    """One fault: its number, what happens, and the cell that says which tests bring it about."""

    number: int
    fault: str
    behaviour: str
    cell: str

    @property
    def tests(self) -> list[str]:
        return _TEST.findall(self.cell)


def read_table(page: str) -> list[Row]:
    """Read the rows of the table; a line that begins as one and is none fails."""
    rows = []
    for line in page.splitlines():
        if re.match(r"\|\s*\d", line):
            cells = _CELLS.match(line)
            assert cells, f"not four cells: {line}"
            texts = {name: text.strip() for name, text in cells.groupdict().items()}
            rows.append(Row(int(texts["number"]), texts["fault"], texts["behaviour"], texts["tests"]))
    return rows


@cache
def functions_of(file: Path) -> frozenset[str]:
    """Name the test functions of a module, also those inside classes."""
    found = ast.walk(ast.parse(file.read_text()))
    names = [each.name for each in found if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(name for name in names if name.startswith("test_"))


def named_after_rows() -> list[tuple[int, str]]:
    """List every test in the tree that is named after a row."""
    return sorted(
        (int(match[1]), f"{file.relative_to(SOURCE_ROOT).as_posix()}::{name}")
        for file in TESTS.rglob("*.py")
        for name in functions_of(file)
        if (match := _NAMED_AFTER.match(name))
    )


@pytest.fixture(scope="module")
def rows() -> dict[int, Row]:
    return {row.number: row for row in read_table(PAGE.read_text())}


def test_every_row_is_there_once_and_in_order() -> None:
    assert [row.number for row in read_table(PAGE.read_text())] == list(ROWS)


def test_every_row_says_what_happens(rows: dict[int, Row]) -> None:
    assert [row.number for row in rows.values() if "?" in row.behaviour or not row.fault] == []


@pytest.mark.parametrize("number", ROWS)
def test_a_row_has_tests_that_exist_or_says_why_not(rows: dict[int, Row], number: int) -> None:
    row = rows[number]

    assert row.tests or _REASON.search(row.cell), "no test and no reason"
    for test in row.tests:
        file, _, name = test.partition("::")
        assert (SOURCE_ROOT / file).is_file(), f"there is no {file}"
        assert name in functions_of(SOURCE_ROOT / file), f"there is no {test}"


def test_a_test_named_after_a_row_has_two_digits_and_stands_in_that_row(rows: dict[int, Row]) -> None:
    named = named_after_rows()

    assert named
    assert [test for number, test in named if f"test_fault_{number:02}_" not in test] == []
    assert [f"row {number} lacks {test}" for number, test in named if test not in rows[number].tests] == []


def test_no_row_names_a_test_twice_or_one_that_is_named_after_another_row(rows: dict[int, Row]) -> None:
    doubled = [test for row in rows.values() for test, count in Counter(row.tests).items() if count > 1]
    elsewhere = [
        f"row {row.number} has {test}"
        for row in rows.values()
        for test in row.tests
        if (match := _NAMED_AFTER.match(test.partition("::")[2])) and int(match[1]) != row.number
    ]

    assert doubled == []
    assert elsewhere == []
