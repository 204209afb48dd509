"""A backup whose process is killed leaves nothing that could be taken for one, and the next one cleans up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.shared.failpoints import FAILPOINTS
from src.shared.prefect.config import SOURCE_ROOT
from tests.forked import run_script
from tests.integration.maintenance.conftest import Suite

SCRIPT = SOURCE_ROOT / "scripts" / "backup_trading_db.py"
PLACES = [
    "maintenance.before_dump",
    "maintenance.dump_unnamed",
    "maintenance.dump_kept",
    "maintenance.before_drill_ends",
]
UNNAMED = PLACES[:2]


def script(suite: Suite, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start the script in a process of its own, from a foreign folder."""
    words = ("--to", str(suite.folder), *words)
    return run_script(SCRIPT, *words, variables={**os.environ, **variables}, folder=suite.folder.parent)


@pytest.mark.parametrize("place", PLACES)
def test_killed_anywhere_the_old_backup_is_there_and_the_next_one_is_whole(suite: Suite, place: str) -> None:
    old = suite.back_up()
    databases = suite.databases()

    killed = script(suite, FAILPOINT=f"{place}:kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = {each.name for each in suite.folder.glob("*.dump")}
    done = script(suite)

    assert done.returncode == 0, done.stderr
    assert len(left) == (1 if place in UNNAMED else 2)
    assert old.is_file()
    names = {each.name for each in suite.folder.iterdir()} - {".lock"}
    dumps = {name for name in names if name.endswith(".dump")}
    assert names == dumps | {f"{name}.json" for name in dumps}
    assert suite.databases() == databases
    assert [drill for drill, _, _ in suite.runs()].count("passed") == 2
    assert {state for _, _, state in suite.runs()} == {"ended"}
    ended = [error for _, error, _ in suite.runs()]
    assert ended.count("the process ended without a word") == (1 if place != PLACES[3] else 0)


def test_every_place_of_a_backup_is_among_those_that_are_tried() -> None:
    named = {name for name in FAILPOINTS if name.startswith("maintenance.") and ("dump" in name or "drill" in name)}

    assert named == set(PLACES)


def test_the_script_says_what_it_would_do_and_does_nothing(suite: Suite) -> None:
    suite.back_up()

    # As a person does: a fresh interpreter, somewhere else.
    words = ("--to", str(suite.folder), "--dry-run", "--keep", "1")
    said = subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd="/", capture_output=True, text=True, check=False, timeout=120
    )

    assert (said.returncode, said.stderr) == (0, "")
    assert f"Would write a dump of {suite.database}" in said.stdout
    assert "would no longer be needed then." in said.stdout
    assert len(list(suite.folder.glob("*.dump"))) == 1
    assert len(suite.runs()) == 1


def test_the_script_shows_its_steps_and_takes_a_folder_relative_to_where_it_was_called(suite: Suite) -> None:
    said = script(suite, "--to", "elsewhere", "--no-drill")

    assert said.returncode == 0, said.stderr
    assert f"dumping {suite.database} …" in said.stdout
    assert "trial restore: not_run" in said.stdout
    assert len(list((suite.folder.parent / "elsewhere").glob("*.dump"))) == 1


@pytest.mark.parametrize(
    ("words", "variables", "code", "says"),
    [
        (["--keep", "0"], {}, 2, "--keep"),
        ([], {"TRADEWINDS_DATABASE_URL": "postgresql://nobody:secret-word@127.0.0.1:1/none"}, 2, "does not answer"),
        ([], {"TRADEWINDS_MAINTENANCE_BACKUP_TIMEOUT_SECONDS": "0.001"}, 1, "took longer than 0.001 s"),
    ],
)
def test_the_script_ends_with_a_code_that_says_whose_turn_it_is(
    suite: Suite, words: list[str], variables: dict[str, str], code: int, says: str
) -> None:
    said = script(suite, *words, **variables)

    assert said.returncode == code, said
    assert says in said.stderr
    assert "Traceback" not in said.stderr
    assert "secret-word" not in said.stdout + said.stderr
    assert not list(suite.folder.glob("*.dump*")) if suite.folder.exists() else True


def test_no_password_is_on_a_command_line_in_a_file_in_a_log_or_in_what_is_said(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server of the tests asks for no password; ours is sent all the same, through the environment."""
    canary = "canary-9f3c-password"
    url = suite.desk.database.url("postgres", "libpq").replace("postgres@", f"postgres:{canary}@", 1)
    monkeypatch.setenv("TRADEWINDS_DATABASE_URL", url)
    monkeypatch.setenv("TRADEWINDS_ALPACA_SECRET_KEY", f"{canary}-key")
    monkeypatch.setenv("TRADEWINDS_ALPACA_API_KEY", f"PK{canary}")
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", "twin")
    programs = _watched_programs(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr("src.services.maintenance.adapters.pg_programs.installed_programs", lambda: programs.parent)

    suite.use(DATABASE_URL=url)
    said = suite.tradewinds("backup", "--to", str(suite.folder))
    (dump,) = suite.folder.glob("*.dump")
    restored = suite.tradewinds("restore", str(dump), "--into", f"{suite.database}_x")
    refused = suite.tradewinds("restore", str(dump), "--into", url)

    assert (said.code, restored.code, refused.code) == (0, 0, 2), (said, restored, refused)
    seen = (tmp_path / "seen").read_text()
    assert "pg_dump" in seen
    assert "pg_restore" in seen
    assert f"PGPASSWORD={canary}" in seen.replace("password is ", "PGPASSWORD=")
    commands = "\n".join(line for line in seen.splitlines() if not line.startswith("password is "))
    told = "".join(each.out + each.err for each in (said, restored, refused))
    files = [each for each in tmp_path.rglob("*") if each.is_file() and each.name != "seen"]
    assert dump in files
    assert [str(each) for each in files if canary.encode() in each.read_bytes()] == []
    assert canary not in commands + told


def _watched_programs(folder: Path) -> Path:
    """Stand before PostgreSQL's programs and write down how they are called."""
    from src.shared.infra.embedded.postgres import installed_programs

    real = installed_programs() / "bin"
    made = folder / "programs" / "bin"
    made.mkdir(parents=True)
    for tool in ("pg_dump", "pg_restore"):
        (made / tool).write_text(
            f'#!/bin/sh\necho "{tool} $*" >> "{folder}/seen"\necho "password is $PGPASSWORD" >> "{folder}/seen"\n'
            f'exec "{real}/{tool}" "$@"\n'
        )
        (made / tool).chmod(0o755)
    return made
