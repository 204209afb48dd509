"""Backups of a trading database with an open trade in it: made, tried, kept, retired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src.services.maintenance.adapters import pg_programs
from tests.integration.maintenance.conftest import Suite, execute


def manifest_of(dump: Path) -> dict[str, object]:
    read: dict[str, object] = json.loads(dump.with_name(f"{dump.name}.json").read_text())
    return read


def test_a_backup_is_tried_and_says_what_it_holds(suite: Suite) -> None:
    before = suite.databases()

    made = suite.back_up()

    manifest = manifest_of(made)
    assert manifest["drill"] == "passed"
    facts = manifest["facts"]
    assert isinstance(facts, dict)
    assert facts["tables"]["execution.fill"] == suite.ask("SELECT count(*) FROM execution.fill")[0][0] > 0
    assert set(facts["ledger"]) >= {"holdings KELV", "holdings KYLO", "cash USD"}
    assert suite.runs() == [("passed", "", "ended")]
    assert suite.databases() == before
    assert sorted(each.name for each in suite.folder.iterdir()) == [".lock", made.name, f"{made.name}.json"]
    assert [oct(each.stat().st_mode & 0o777) for each in (made, suite.folder)] == ["0o600", "0o700"]


def test_without_a_trial_it_says_so_and_nothing_goes(suite: Suite) -> None:
    made = suite.back_up("--no-drill")

    assert manifest_of(made)["drill"] == "not_run"
    assert suite.runs() == [("not_run", "", "ended")]


def test_the_embedded_server_is_backed_up_by_the_owner_and_tried_by_the_superuser(embedded_suite: Suite) -> None:
    made = embedded_suite.back_up()

    assert manifest_of(made)["drill"] == "passed"
    listed = embedded_suite.tradewinds("backup", "list", "--json")
    assert [(each["file"], each["drill"]) for each in json.loads(listed.out)] == [(made.name, "passed")]


def test_counts_are_those_of_the_dumps_own_snapshot(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    original = pg_programs.Programs.run
    rows: list[int] = []

    def write_meanwhile(programs: pg_programs.Programs, tool: str, *words: str, **more: object) -> str:
        if tool == "pg_dump" and not rows:
            rows.append(
                execute(suite, "INSERT INTO ops.audit_log (who, what, subject, why) VALUES ('a','b','c','d')")
            )
        return original(programs, tool, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(pg_programs.Programs, "run", write_meanwhile)

    made = suite.back_up()

    facts = manifest_of(made)["facts"]
    assert isinstance(facts, dict)
    assert rows == [1]
    assert facts["tables"]["ops.audit_log"] == suite.ask("SELECT count(*) FROM ops.audit_log")[0][0] - 1


def test_books_that_break_an_invariant_fail_the_trial(suite: Suite) -> None:
    execute(suite, "UPDATE execution.order_intent SET filled_quantity = filled_quantity / 2 WHERE leg = 1")

    said = suite.tradewinds("backup", "--to", str(suite.folder))

    assert said.code == 1
    assert "failed its trial restore: I3: " in said.err
    assert suite.runs()[0][0] == "failed"
    assert len(suite.alerts()) == 1


def test_old_backups_go_only_after_a_new_one_was_tried(suite: Suite) -> None:
    suite.use(MAINTENANCE_BACKUPS_KEPT="1")
    first = suite.back_up()
    untried = _next(suite, "--no-drill")
    still = sorted(each.name for each in suite.folder.glob("*.dump"))

    last = _next(suite)

    assert still == [first.name, untried.name]
    assert [each.name for each in suite.folder.glob("*.dump")] == [last.name]
    assert not list(suite.folder.glob(f"{first.name}*"))


def test_two_backups_into_one_folder_wait_for_no_one(suite: Suite) -> None:
    folder = suite.maintenance.backups(suite.folder).folder

    with folder.claimed():
        said = suite.tradewinds("backup", "--to", str(suite.folder))

    assert (said.code, said.err) == (2, f"error: Another backup works in {suite.folder}: wait for its end.\n")
    assert suite.runs() == []


def test_a_role_that_may_not_make_databases_is_told_what_to_do(suite: Suite) -> None:
    suite.use(DATABASE_URL=suite.desk.database.url(driver="libpq"))

    said = suite.tradewinds("backup", "--to", str(suite.folder))

    assert said.code == 2
    assert len(said.err.splitlines()) == 1
    assert "The role tradewinds_app may not make databases on this server: give it CREATEDB" in said.err
    assert [manifest_of(each)["drill"] for each in suite.folder.glob("*.dump")] == ["not_run"]
    assert len(suite.alerts()) == 1


def test_a_server_newer_than_every_pg_dump_is_refused_in_one_line(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [pg_programs.Programs(Path("/nowhere"), 15, "pg_dump (PostgreSQL) 15.3")]
    monkeypatch.setattr(pg_programs, "_installed", lambda: old)

    said = suite.tradewinds("backup", "--to", str(suite.folder))

    assert said.code == 2
    assert "The server is PostgreSQL 18, and pg_dump (PostgreSQL) 15.3 can't read it: put pg_dump 18" in said.err
    assert len(said.err.splitlines()) == 1
    assert not list(suite.folder.glob("*.dump*"))
    assert suite.alerts() == [f"The backup of {suite.database} failed"]


def test_a_folder_that_can_not_be_written_is_a_persons_mistake(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    said = suite.tradewinds("backup", "--to", str(tmp_path / "file" / "backups"))

    assert said.code == 2
    assert "can't be written: name another one for backups" in said.err


def _next(suite: Suite, *words: str) -> Path:
    """Back up once the clock has come to another second, which is what the next file is named by."""
    import time

    from src.services.maintenance.domain.backups import file_name

    newest = max(each.name for each in suite.folder.glob("*.dump"))
    while file_name("trading", suite.maintenance.backups().now()) <= newest:
        time.sleep(0.05)
    return suite.back_up(*words)
