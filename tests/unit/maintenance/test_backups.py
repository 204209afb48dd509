"""Which backups may go, and what a restored one must equal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.maintenance.domain.backups import (
    Drill,
    Facts,
    Manifest,
    check_restorable,
    differences,
    file_name,
    is_dump_name,
    shortened,
    superseded,
)
from src.shared.domain.errors import InputInvalid

START = datetime(2026, 3, 1, 4, tzinfo=UTC)
FACTS = Facts(180006, "0012", {"ops.outbox": 3, "execution.fill": 2}, {"cash USD": "-1.5"})


def manifest(drill: Drill, age: int) -> Manifest:
    return Manifest("trading", START - timedelta(days=age), 1, "", "", FACTS, drill)


def named(*drills: Drill) -> dict[str, Manifest]:
    """Name backups by their age in days, the newest first."""
    return {str(age): manifest(drill, age) for age, drill in enumerate(drills)}


@pytest.mark.parametrize(
    ("drills", "keep", "gone"),
    [
        (["passed"], 1, []),
        (["passed", "passed", "passed"], 2, ["2"]),
        (["failed", "passed", "passed"], 1, ["2"]),
        (["passed", "failed", "passed"], 2, ["1"]),
        (["failed", "failed"], 1, []),
        (["not_run", "not_run"], 1, []),
        (["passed", "not_run", "passed", "not_run"], 2, ["3"]),
        (["passed", "not_run"], 2, []),
        (["not_run", "passed", "not_run"], 1, ["2"]),
        ([], 1, []),
    ],
)
def test_what_newer_good_ones_have_made_needless_goes(drills: list[Drill], keep: int, gone: list[str]) -> None:
    assert superseded(named(*drills), keep) == gone


@given(st.lists(st.sampled_from(["passed", "failed", "not_run"]), max_size=12), st.integers(1, 5))
def test_the_newest_good_ones_never_go(drills: list[Drill], keep: int) -> None:
    backups = named(*drills)
    good = [name for name, each in backups.items() if each.drill == "passed"]

    gone = superseded(backups, keep)

    assert not set(good[:keep]) & set(gone)
    assert set(good[keep:]) <= set(gone)
    assert good or not gone


def test_a_database_that_differs_is_described() -> None:
    found = Facts(180006, "0011", {"ops.outbox": 2, "ops.alert": 1}, {})

    assert differences(FACTS, FACTS) == []
    assert differences(FACTS, found) == [
        "rows of execution.fill: none instead of 2",
        "rows of ops.alert: 1 instead of none",
        "rows of ops.outbox: 2 instead of 3",
        "ledger sum of cash USD: none instead of -1.5",
        "schema 0011 instead of 0012",
    ]


def test_many_problems_are_one_line() -> None:
    assert shortened(["a", "b"]) == "a; b"
    assert shortened(list("abcdefgh")) == "a; b; c; d; e; and 3 more"


@pytest.mark.parametrize(("target", "is_taken"), [(180000, True), (190001, True), (170009, False)])
def test_a_dump_goes_into_its_own_major_version_or_a_newer_one(target: int, is_taken: bool) -> None:
    if is_taken:
        check_restorable(manifest("passed", 0), target)
        return
    with pytest.raises(InputInvalid, match="comes from PostgreSQL 18, the server is 17"):
        check_restorable(manifest("passed", 0), target)


def test_names_are_recognised() -> None:
    assert file_name("trading", START) == "trading-20260301T040000Z.dump"
    assert is_dump_name(file_name("prefect", START))
    assert not any(map(is_dump_name, ["mine.dump", "trading-20260301T040000Z.dump.json", "trading-2026.dump"]))
