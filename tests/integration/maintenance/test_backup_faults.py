"""Row 43: a dump that is cut, corrupt or of another version fails loudly, and the one before is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from src.services.maintenance.adapters import pg_programs
from src.services.maintenance.domain.backups import BackupFailed
from src.shared.domain.errors import InputInvalid
from tests.integration.maintenance.conftest import Suite

INTO = "test_of_restoring"


def rewrite_manifest(dump: Path, **changes: Any) -> None:
    """Let the manifest fit the file again, as it would if the server had written such a file."""
    path = dump.with_name(f"{dump.name}.json")
    read = json.loads(path.read_text())
    read |= {"bytes": dump.stat().st_size, "sha256": sha256(dump.read_bytes()).hexdigest()}
    for name, value in changes.items():
        read["facts"][name] = value
    path.write_text(json.dumps(read))


def cut(dump: Path) -> None:
    dump.write_bytes(dump.read_bytes()[: dump.stat().st_size // 2])


def flip(dump: Path) -> None:
    """Turn bytes of the rows around; the table of contents at the head stays."""
    content = bytearray(dump.read_bytes())
    for place in range(len(content) - len(content) // 4, len(content)):
        content[place] ^= 0xFF
    dump.write_bytes(content)


def of_another_format(dump: Path) -> None:
    content = bytearray(dump.read_bytes())
    assert content[:5] == b"PGDMP"
    content[6] = 99
    dump.write_bytes(content)


def be_empty(dump: Path) -> None:
    dump.write_bytes(b"")


DAMAGES: list[Callable[[Path], None]] = [cut, flip, of_another_format, be_empty]


@pytest.mark.parametrize("damage", DAMAGES)
def test_fault_43_a_damaged_dump_is_not_restored_and_the_manifest_says_why(
    suite: Suite, damage: Callable[[Path], None]
) -> None:
    dump = suite.back_up("--no-drill")
    damage(dump)

    said = suite.tradewinds("restore", str(dump), "--into", f"{suite.database}_x")

    assert said.code == 2
    assert len(said.err.splitlines()) == 1
    assert "can't be restored: the file" in said.err
    assert f"{suite.database}_x" not in suite.databases()


@pytest.mark.parametrize("damage", [cut, flip, of_another_format])
def test_fault_43_a_dump_that_was_damaged_before_it_was_measured_fails_its_trial_and_the_old_one_stays(
    suite: Suite, damage: Callable[[Path], None]
) -> None:
    suite.use(MAINTENANCE_BACKUPS_KEPT="1")
    good = suite.back_up()
    bad = good.with_name("trading-20990101T000000Z.dump")
    bad.write_bytes(good.read_bytes())
    bad.with_name(f"{bad.name}.json").write_text(good.with_name(f"{good.name}.json").read_text())
    damage(bad)
    rewrite_manifest(bad)
    backups = suite.maintenance.backups(suite.folder)

    with pytest.raises(BackupFailed, match="failed its trial restore: pg_restore failed: pg_restore: error:"):
        backups.drill(bad)
    gone = backups.retire("trading", keep=1)

    assert gone == []
    assert good.is_file()
    assert len(suite.alerts()) == 1
    assert not [name for name in suite.databases() if name.startswith("tradewinds_drill_")]


def test_fault_43_rows_that_are_not_those_of_the_manifest_fail_the_trial(suite: Suite) -> None:
    dump = suite.back_up("--no-drill")
    tables = json.loads(dump.with_name(f"{dump.name}.json").read_text())["facts"]["tables"]
    rewrite_manifest(dump, tables=tables | {"execution.fill": 77}, ledger={"cash USD": "1.000000"})

    with pytest.raises(BackupFailed, match=r"rows of execution\.fill: 2 instead of 77; ledger sum of cash USD: "):
        suite.maintenance.backups(suite.folder).drill(dump)


def test_fault_43_a_dump_of_a_newer_server_is_refused_in_one_line(suite: Suite) -> None:
    dump = suite.back_up("--no-drill")
    rewrite_manifest(dump, server_version=990001)

    said = suite.tradewinds("restore", str(dump), "--into", f"{suite.database}_x")

    assert (said.code, said.err) == (
        2,
        "error: The dump comes from PostgreSQL 99, the server is 18: restore it into 99 or newer.\n",
    )


def test_fault_43_a_dump_of_a_newer_schema_is_refused_in_one_line(suite: Suite) -> None:
    dump = suite.back_up("--no-drill")
    rewrite_manifest(dump, schema_version="9999")

    said = suite.tradewinds("restore", str(dump), "--into", f"{suite.database}_x")

    assert said.code == 2
    assert "The database schema is at revision 9999, which is newer than this code" in said.err
    assert len(said.err.splitlines()) == 1


def test_fault_43_programs_that_can_not_write_to_an_old_server_are_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new = [pg_programs.Programs(Path("/nowhere"), 18, "pg_dump (PostgreSQL) 18.6")]
    monkeypatch.setattr(pg_programs, "_installed", lambda: new)

    with pytest.raises(InputInvalid, match="can't restore into servers before 17: put pg_restore 15 on PATH"):
        pg_programs.to_restore(150018)
    assert pg_programs.to_restore(170002) is new[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1, "what": "trading"}'])
def test_fault_43_a_dump_without_a_manifest_that_can_be_read_is_not_restored(suite: Suite, text: str) -> None:
    dump = suite.back_up("--no-drill")
    beside = dump.with_name(f"{dump.name}.json")
    beside.write_text(text) if text else beside.unlink()

    said = suite.tradewinds("restore", str(dump), "--into", f"{suite.database}_x")

    assert said.code == 2
    assert "it can't be checked" in said.err or f"{dump.name} can't be checked" in said.err
    assert suite.tradewinds("backup", "list", "--to", str(suite.folder)).out == (
        f"There is no backup in {suite.folder}.\n"
    )
