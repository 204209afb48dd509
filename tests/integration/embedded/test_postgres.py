"""The local PostgreSQL: started, stopped, killed, moved, and who may do what in it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.files import StateFolderUnusable
from src.shared.infra.embedded.postgres import (
    PREFECT_DATABASE,
    PREFECT_ROLE,
    TRADING_DATABASE,
    EmbeddedPostgres,
    ToolFailed,
)
from src.shared.infra.postgres_roles import APP_ROLE, OWNER_ROLE
from tests.conftest import TradingDatabase
from tests.folders import server_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder("tradewinds-pg-") as path:
        yield path


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(folder / "postgres")
    yield postgres
    postgres.stop("immediate")


def test_starting_twice_keeps_the_running_server(server: EmbeddedPostgres) -> None:
    server.start()
    first = server.pid()

    server.start()

    assert first is not None
    assert server.pid() == first


def test_what_was_written_is_there_after_kill_9_of_the_server(server: EmbeddedPostgres) -> None:
    server.start()
    with server.connect() as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    _kill(server)

    server.start()

    with server.connect() as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(server: EmbeddedPostgres) -> None:
    server.start()
    data = Path(_setting(server, "data_directory"))
    _kill(server)
    pid_file = data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:], ""]))

    server.start()

    assert server.pid() not in (None, os.getpid())


def test_a_server_started_in_one_process_is_stopped_from_another(server: EmbeddedPostgres) -> None:
    _in_another_process(server, "start()")
    assert server.is_running()

    _in_another_process(server, "stop()")

    assert not server.is_running()


def test_restart_gives_a_new_process_with_the_same_url(server: EmbeddedPostgres) -> None:
    server.start()
    before = (server.pid(), server.url("postgres", "postgres"))

    server.restart("immediate")

    assert server.pid() != before[0]
    assert server.url("postgres", "postgres") == before[1]


def test_stopping_what_does_not_run_is_no_error(server: EmbeddedPostgres) -> None:
    server.stop()
    server.start()
    server.stop()
    server.stop()

    assert not server.is_running()


def test_a_url_of_a_server_that_does_not_run_says_what_to_do(server: EmbeddedPostgres) -> None:
    with pytest.raises(Unreachable, match="run `tradewinds up`"):
        server.url("postgres", "postgres")


def test_a_state_folder_with_a_long_name_works_and_is_left_clean(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    server = EmbeddedPostgres(deep / "postgres")
    try:
        server.start()
        socket_folder = Path(_setting(server, "unix_socket_directories"))
        assert len(str(socket_folder)) < 90
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    finally:
        server.stop("immediate")
    assert not socket_folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another system user")
def test_root_can_keep_its_state_where_the_system_user_can_not_look(folder: Path) -> None:
    folder.chmod(0o700)
    server = EmbeddedPostgres(folder / "postgres")
    try:
        server.start()
        data = Path(_setting(server, "data_directory"))
    finally:
        server.stop("immediate")

    assert not data.is_relative_to(folder)
    shutil.rmtree(data.parent)


def test_a_file_in_place_of_the_folder_gives_one_line(folder: Path) -> None:
    (folder / "postgres").write_text("in the way")

    with pytest.raises(StateFolderUnusable, match="TRADEWINDS_HOME") as caught:
        EmbeddedPostgres(folder / "postgres").start()

    assert "\n" not in str(caught.value)


def test_nobody_listens_on_tcp(server: EmbeddedPostgres) -> None:
    server.start()

    listening = psutil.Process(server.pid()).net_connections(kind="inet")

    assert listening == []


def test_provisioning_again_changes_nothing(embedded_postgres: EmbeddedPostgres) -> None:
    before = embedded_postgres.run_tool("pg_dumpall", "--roles-only", "--restrict-key=same").stdout

    embedded_postgres.provision()

    after = embedded_postgres.run_tool("pg_dumpall", "--roles-only", "--restrict-key=same").stdout
    assert after == before
    assert all(role in after for role in (OWNER_ROLE, APP_ROLE, PREFECT_ROLE))


def test_the_app_reads_and_writes_what_the_owner_makes_and_makes_nothing_itself(
    trading_database: TradingDatabase,
) -> None:
    with psycopg.connect(trading_database.url(OWNER_ROLE, "libpq")) as owner:
        owner.execute("CREATE SCHEMA probe")
        owner.execute("CREATE TABLE probe.things (id bigint GENERATED ALWAYS AS IDENTITY, name text)")

    with psycopg.connect(trading_database.url(APP_ROLE, "libpq"), autocommit=True) as app:
        app.execute("INSERT INTO probe.things (name) VALUES ('a'), ('b')")
        app.execute("UPDATE probe.things SET name = 'c' WHERE name = 'a'")
        app.execute("DELETE FROM probe.things WHERE name = 'b'")
        assert app.execute("SELECT id, name FROM probe.things").fetchall() == [(1, "c")]
        for forbidden in (
            "CREATE TABLE probe.more (n int)",
            "CREATE TABLE public.more (n int)",
            "CREATE SCHEMA mine",
            "ALTER TABLE probe.things ADD COLUMN n int",
            "DROP TABLE probe.things",
            "TRUNCATE probe.things",
            "CREATE TEMPORARY TABLE more (n int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(forbidden)


@pytest.mark.parametrize(
    ("database", "role"),
    [
        (PREFECT_DATABASE, APP_ROLE),
        (PREFECT_DATABASE, OWNER_ROLE),
        (TRADING_DATABASE, PREFECT_ROLE),
        ("postgres", APP_ROLE),
    ],
)
def test_a_role_can_not_connect_to_another_part_of_the_server(
    embedded_postgres: EmbeddedPostgres, database: str, role: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(embedded_postgres.url(database, role, "libpq"))


def test_prefect_can_make_the_extension_it_needs(embedded_postgres: EmbeddedPostgres) -> None:
    with embedded_postgres.connect(PREFECT_DATABASE, PREFECT_ROLE) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        found = connection.execute("SELECT similarity('pair', 'pairs') > 0.5").fetchone()

    assert found == (True,)


def test_a_tool_that_fails_says_why_in_one_line(embedded_postgres: EmbeddedPostgres) -> None:
    with pytest.raises(ToolFailed, match="no_such_database") as caught:
        embedded_postgres.run_tool("pg_dump", "-d", "no_such_database")

    assert "\n" not in str(caught.value)


def _setting(server: EmbeddedPostgres, name: str) -> str:
    with server.connect() as connection:
        found = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert found is not None
    return str(found[0])


def _kill(server: EmbeddedPostgres) -> None:
    process = psutil.Process(server.pid())
    children = process.children()
    os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs([process], timeout=10)
    assert children


def _in_another_process(server: EmbeddedPostgres, call: str) -> None:
    code = (
        "from pathlib import Path; from src.shared.infra.embedded.postgres import EmbeddedPostgres; "
        f"EmbeddedPostgres(Path({str(server.folder)!r})).{call}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
