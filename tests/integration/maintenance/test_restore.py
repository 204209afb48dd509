"""A backup put back: into a database that is not there, an empty one, and in place of the one in use."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from src.services.execution.bootstrap import build_books_check, build_writer_lock
from src.services.maintenance.adapters.pg_servers import SuiteServers
from src.services.maintenance.bootstrap import build_restore
from src.shared.failpoints import Crashed, armed
from src.shared.infra.embedded.postgres import PREFECT_DATABASE, PREFECT_ROLE, SUPERUSER
from tests.integration.maintenance.conftest import Suite, close, execute

TOLD = "SELECT count(*), max(position) FROM ops.outbox"


def lose_the_events(suite: Suite) -> None:
    assert execute(suite, "DELETE FROM ops.outbox") > 0


def test_a_backup_comes_back_into_a_database_that_was_not_there(suite: Suite) -> None:
    dump, into = suite.back_up(), f"{suite.database}_again"

    said = suite.tradewinds("restore", str(dump), "--into", into)

    assert (said.code, said.err) == (0, "")
    assert suite.ask(TOLD, into) == suite.ask(TOLD)
    assert f"{into} holds " in said.out


def test_it_comes_back_by_a_url_too(suite: Suite) -> None:
    dump, into = suite.back_up(), f"{suite.database}_again"
    with suite.server.connect() as connection:
        connection.execute(f"CREATE DATABASE {into}")

    said = suite.tradewinds("restore", str(dump), "--into", suite.server.url(into, SUPERUSER, "libpq"))

    assert (said.code, said.err) == (0, "")
    assert suite.ask(TOLD, into) == suite.ask(TOLD)


def test_nothing_is_restored_over_a_database_that_holds_tables(suite: Suite) -> None:
    dump = suite.back_up()

    live = suite.tradewinds("restore", str(dump), "--into", suite.database)
    other = f"{suite.database}_other"
    with suite.server.connect() as connection:
        connection.execute(f"CREATE DATABASE {other}")
    with suite.server.connect(other) as connection:
        connection.execute("CREATE TABLE theirs (n int)")
    foreign = suite.tradewinds("restore", str(dump), "--into", other)

    assert (live.code, live.err) == (
        2,
        f"error: {suite.database} is the one in use: --confirm restores in its place, "
        "and keeps it under another name.\n",
    )
    assert (foreign.code, "holds 1 tables: --confirm" in foreign.err) == (2, True)
    assert suite.ask("SELECT count(*) FROM theirs", other) == [(0,)]


def test_while_somebody_trades_or_is_connected_nothing_is_restored(suite: Suite) -> None:
    dump = suite.back_up()
    close(suite.services)
    settings = suite.services.settings
    restore = ("restore", str(dump), "--into", suite.database, "--confirm")

    with build_writer_lock(settings)(suite.desk.database.url(SUPERUSER)):
        traded_on = suite.tradewinds(*restore)
    with suite.server.connect(suite.database):
        used = suite.tradewinds(*restore)

    assert (traded_on.code, used.code) == (2, 2)
    assert f"{suite.database} is in use (tradewinds as postgres): run `tradewinds down` first." in traded_on.err
    assert f"{suite.database} is in use (no name as postgres): run `tradewinds down` first." in used.err


def test_a_writer_whom_nobody_sees_keeps_the_database_as_it_is(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who came after the look at who is connected."""
    dump = suite.back_up()
    close(suite.services)
    settings = suite.services.settings
    monkeypatch.setattr(SuiteServers, "others", lambda *_: [])

    with build_writer_lock(settings)(suite.desk.database.url(SUPERUSER)):
        said = suite.tradewinds("restore", str(dump), "--into", suite.database, "--confirm")

    assert said.code == 2
    assert said.err == f"error: {suite.database} is being traded on: run `tradewinds down` first.\n"


def test_confirmed_it_comes_back_in_place_of_the_one_in_use_which_is_kept(suite: Suite) -> None:
    dump = suite.back_up()
    before = suite.ask(TOLD)
    lose_the_events(suite)
    close(suite.services)

    said = suite.tradewinds("restore", str(dump), "--into", suite.database, "--confirm")

    assert (said.code, said.err) == (0, "")
    assert suite.ask(TOLD) == before
    (kept,) = {name for name in suite.databases() if name.startswith(f"{suite.database}_before_")}
    assert suite.ask(TOLD, kept)[0][0] == 0
    assert kept in said.out


def test_a_database_of_which_half_is_lost_is_replaced_too(suite: Suite) -> None:
    dump = suite.back_up()
    before = suite.ask(TOLD)
    with suite.server.connect(suite.database) as connection:
        connection.execute("DROP SCHEMA execution CASCADE")
    close(suite.services)

    said = suite.tradewinds("restore", str(dump), "--into", suite.database, "--confirm")

    assert (said.code, said.err) == (0, "")
    assert suite.ask(TOLD) == before
    assert suite.ask("SELECT count(*) FROM execution.fill") == [(2,)]


def test_on_the_embedded_server_the_services_may_use_what_was_restored(embedded_suite: Suite) -> None:
    dump = embedded_suite.back_up()
    before = embedded_suite.ask(TOLD)
    lose_the_events(embedded_suite)
    close(embedded_suite.services)

    said = embedded_suite.tradewinds("restore", str(dump), "--into", embedded_suite.database, "--confirm")

    assert (said.code, said.err) == (0, "")
    with embedded_suite.services.engine.connect() as connection:
        assert connection.exec_driver_sql(TOLD).all() == before
        connection.exec_driver_sql("INSERT INTO ops.audit_log (who, what, subject, why) VALUES ('a','b','c','d')")
    owner = embedded_suite.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'fill'")
    assert owner == [("tradewinds_owner",)]
    assert embedded_suite.back_up().is_file()


def test_prefects_database_comes_back_too_and_never_into_the_trading_one(embedded_suite: Suite) -> None:
    with embedded_suite.server.connect(PREFECT_DATABASE, PREFECT_ROLE) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        connection.execute("CREATE TABLE kept_by_prefect (n int)")
        connection.execute("INSERT INTO kept_by_prefect SELECT generate_series(1, 7)")
    made, _ = embedded_suite.maintenance.backups().back_up("prefect", keep=1)
    with embedded_suite.server.connect(PREFECT_DATABASE) as connection:
        connection.execute("TRUNCATE kept_by_prefect")

    wrong = embedded_suite.tradewinds("restore", str(made.file), "--into", embedded_suite.database, "--confirm")
    said = embedded_suite.tradewinds("restore", str(made.file), "--into", PREFECT_DATABASE, "--confirm")

    assert made.manifest.drill == "passed"
    assert wrong.code == 2
    assert "is the trading database, the file a backup of prefect" in wrong.err
    assert (said.code, said.err) == (0, "")
    assert embedded_suite.ask("SELECT count(*) FROM kept_by_prefect", PREFECT_DATABASE) == [(7,)]
    with embedded_suite.server.connect(PREFECT_DATABASE, PREFECT_ROLE) as connection:
        connection.execute("DROP TABLE kept_by_prefect")


def test_a_restore_that_dies_before_the_swap_leaves_the_one_in_use(suite: Suite) -> None:
    dump = suite.back_up()
    close(suite.services)
    settings = suite.services.settings
    heard: list[str] = []
    restore = build_restore(
        settings, dump.parent, build_books_check(settings), build_writer_lock(settings), heard.append
    )

    with armed("maintenance.before_swap:exc"), pytest.raises(Crashed):
        restore.run(dump, suite.database, confirm=True)

    assert suite.ask(TOLD)[0][0] > 0
    done = restore.run(dump, suite.database, confirm=True)
    assert done.kept_as.startswith(f"{suite.database}_before_")
    assert not [name for name in suite.databases() if "_restored_" in name]


def test_somebody_who_connects_at_the_last_moment_keeps_the_database_as_it_is(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.services.maintenance.use_cases import restore as use_case

    dump = suite.back_up()
    close(suite.services)
    late: list[psycopg.Connection] = []
    monkeypatch.setattr(use_case, "failpoint", lambda _: late.append(suite.server.connect(suite.database)))

    said = suite.tradewinds("restore", str(dump), "--into", suite.database, "--confirm")
    late[0].close()

    assert said.code == 2
    assert f"{suite.database} was left as it is: " in said.err
    assert not [name for name in suite.databases() if "_before_" in name or "_restored_" in name]
    assert suite.ask(TOLD)[0][0] > 0


@pytest.mark.parametrize(
    ("into", "says"),
    [("", "is no name of a database"), ("mysql://u@h/d", "--into is not usable"), ("x" * 64, "is no name")],
)
def test_what_is_no_database_is_one_line(suite: Suite, into: str, says: str) -> None:
    dump = suite.back_up("--no-drill")

    said = suite.tradewinds("restore", str(dump), "--into", into)

    assert said.code == 2
    assert says in said.err
    assert len(said.err.splitlines()) == 1


def test_a_file_that_is_not_there_is_one_line(suite: Suite, tmp_path: Path) -> None:
    said = suite.tradewinds("restore", str(tmp_path / "no.dump"), "--into", "anything")

    assert said.code == 2
    assert said.err.startswith(f"error: There is no file {tmp_path / 'no.dump'}")
