"""Migrations on a real server: up, down, half-way, twice at once, and by someone who is not ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy.exc
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from src.shared.domain.errors import SchemaMismatch, Unreachable
from src.shared.infra.database import migrate, revisions
from src.shared.infra.database.grants import APPEND_ONLY
from src.shared.infra.database.migrations.versions import __path__ as versions
from src.shared.infra.database.tables import METADATA, SCHEMAS
from src.shared.infra.embedded.postgres import EmbeddedPostgres
from src.shared.infra.postgres_roles import APP_ROLE
from src.shared.messages.signals import PairModeChanged
from tests.conftest import TradingDatabase
from tests.fakes.events import SLOT
from tests.integration.database.catalog import everything, tables

ROOT = Path(__file__).parents[3]

Engines = Callable[[str], Engine]


def _look(engine: Engine) -> set[tuple[str, str]]:
    with engine.connect() as connection:
        return everything(connection, SCHEMAS)


def test_up_down_up_leaves_the_same(empty_database: str, engine_for: Engines) -> None:
    migrate.upgrade(empty_database)
    first = _look(engine_for(empty_database))
    migrate.downgrade(empty_database, "base")
    nothing = _look(engine_for(empty_database))
    migrate.upgrade(empty_database)

    assert nothing == set()
    assert _look(engine_for(empty_database)) == first
    assert len(first) > 200


def test_a_second_upgrade_changes_nothing(empty_database: str, engine_for: Engines) -> None:
    migrate.upgrade(empty_database)
    before = _look(engine_for(empty_database))

    migrate.upgrade(empty_database)

    assert _look(engine_for(empty_database)) == before
    assert revisions.current(empty_database) == revisions.head()


def test_alembic_finds_no_difference_between_tables_and_migrations(as_owner: Engine) -> None:
    with as_owner.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: (
                    name in SCHEMAS if kind == "schema" else name != "alembic_version"
                ),
                "compare_type": True,
                "compare_server_default": True,
            },
        )

        assert compare_metadata(context, METADATA) == []


def test_tables_and_migrations_agree_in_every_constraint_and_default(
    empty_database: str, as_owner: Engine, engine_for: Engines
) -> None:
    with engine_for(empty_database).begin() as connection:
        for schema in SCHEMAS:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        METADATA.create_all(connection)
        as_written = tables(connection, SCHEMAS)

    with as_owner.connect() as connection:
        as_migrated = tables(connection, SCHEMAS)

    assert as_migrated == as_written


def test_two_upgrades_at_once_do_not_collide(empty_database: str) -> None:
    program = "import sys; from src.shared.infra.database.migrate import upgrade; upgrade(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, empty_database], stderr=subprocess.PIPE, cwd=ROOT)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], said
    assert revisions.current(empty_database) == revisions.head()


def test_a_migration_that_breaks_off_leaves_nothing_half_written(empty_database: str, engine_for: Engines) -> None:
    with engine_for(empty_database).begin() as connection:
        # The last schema of the migration can't be filled: a function it wants to create exists.
        connection.execute(text("CREATE SCHEMA ops"))
        connection.execute(
            text("CREATE FUNCTION ops.wake_relay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
        )
    before = _look(engine_for(empty_database))

    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="wake_relay"):
        migrate.upgrade(empty_database)

    assert _look(engine_for(empty_database)) == before
    assert revisions.current(empty_database) is None


def test_an_empty_database_is_told_to_migrate(empty_database: str) -> None:
    with pytest.raises(SchemaMismatch, match=r"no schema of Tradewinds yet.*tradewinds up"):
        revisions.check(empty_database)


def test_a_migrated_database_passes_the_check_even_as_the_app(trading_database: TradingDatabase) -> None:
    revisions.check(trading_database.app_url)

    assert revisions.current(trading_database.app_url) == revisions.head()


def test_a_newer_database_is_refused_by_check_and_upgrade(
    trading_database: TradingDatabase, as_owner: Engine
) -> None:
    with as_owner.begin() as connection:
        connection.execute(text("UPDATE ops.alembic_version SET version_num = 'f00d'"))

    for action in (revisions.check, migrate.upgrade):
        with pytest.raises(SchemaMismatch, match=r"revision f00d, which is newer than this code.*install") as refused:
            action(trading_database.owner_url)
        assert "\n" not in str(refused.value)


def test_an_older_database_is_told_to_migrate(
    trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisions, "head", lambda: "9999")

    with pytest.raises(SchemaMismatch, match=r"at revision .*, this code needs 9999: run `tradewinds up`"):
        revisions.check(trading_database.app_url)


def test_a_server_that_does_not_answer_is_said_in_one_line_without_the_password() -> None:
    with pytest.raises(Unreachable) as unreachable:
        revisions.check("postgresql://me:secret@127.0.0.1:1/trading_system")

    assert "127.0.0.1" in str(unreachable.value)
    assert "secret" not in str(unreachable.value)
    assert "\n" not in str(unreachable.value)


def test_migrations_follow_each_other_as_their_files_are_named_and_each_can_go_back() -> None:
    scripts = ScriptDirectory(str(next(iter(versions))).removesuffix("/versions"))

    assert revisions.known() == tuple(script.revision for script in reversed([*scripts.walk_revisions()]))
    assert scripts.get_heads() == [revisions.head()]
    assert all(callable(getattr(script.module, "downgrade", None)) for script in scripts.walk_revisions())


def _may(connection: Connection, table: str, right: str) -> bool:
    question = text("SELECT has_table_privilege(:role, :table, :right)")
    return bool(connection.execute(question, {"role": APP_ROLE, "table": table, "right": right}).scalar_one())


def test_the_app_writes_rows_but_only_adds_to_what_is_append_only(as_owner: Engine) -> None:
    with as_owner.connect() as connection:
        for table in METADATA.tables:
            rights = {right for right in ("SELECT", "INSERT", "UPDATE", "DELETE") if _may(connection, table, right)}
            expected = {"SELECT", "INSERT"} if table in APPEND_ONLY else {"SELECT", "INSERT", "UPDATE", "DELETE"}
            assert rights == expected, table
            assert not _may(connection, table, "TRUNCATE"), table
        assert not any(_may(connection, "ops.alembic_version", right) for right in ("INSERT", "UPDATE", "DELETE"))


def test_a_server_without_our_roles_is_migrated_too(embedded_postgres: EmbeddedPostgres, engine_for: Engines) -> None:
    # An external server: another owner, and no tradewinds_app to be granted anything. Roles belong to the whole
    # server, so here the owner is the app role itself, which is never granted to.
    with embedded_postgres.connect() as connection:
        connection.execute("CREATE ROLE stranger LOGIN")
        connection.execute("CREATE DATABASE theirs OWNER stranger")
    try:
        url = embedded_postgres.url("theirs", "stranger")
        migrate.upgrade(url)
        revisions.check(url)
    finally:
        embedded_postgres.drop_database("theirs")
        with embedded_postgres.connect() as connection:
            connection.execute("DROP ROLE stranger")


def test_one_role_for_everything_keeps_its_rights(embedded_postgres: EmbeddedPostgres, engine_for: Engines) -> None:
    with embedded_postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE single OWNER {APP_ROLE}")
    try:
        url = embedded_postgres.url("single", APP_ROLE)
        migrate.upgrade(url)
        with engine_for(url).connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM execution.fill")).scalar_one() == 0
            assert _may(connection, "execution.fill", "UPDATE")
    finally:
        embedded_postgres.drop_database("single")


def test_pairs_that_were_active_without_a_verdict_are_observed_once_flat(
    empty_database: str, engine_for: Engines
) -> None:
    migrate.upgrade(empty_database, "0014")
    with engine_for(empty_database).begin() as connection:
        for second in ("AAA", "BBB", "CCC"):
            mode = "observe" if second == "CCC" else "active"
            connection.execute(_OLD_PAIR, {"second": second, "mode": mode, "at": SLOT})
        connection.execute(_OLD_TRADE, {"at": SLOT})

    migrate.upgrade(empty_database)

    with engine_for(empty_database).connect() as connection:
        registry = connection.execute(
            text("SELECT symbol_2, mode, after_closing, version, gate_passed FROM strategy.pair_registry ORDER BY 1")
        ).all()
        audits = connection.execute(text("SELECT subject, what FROM ops.audit_log ORDER BY 1")).all()
        told = connection.execute(text("SELECT * FROM ops.outbox ORDER BY aggregate_id")).mappings().all()
    assert [tuple(row) for row in registry] == [
        ("AAA", "closing", "observe", 2, False),
        ("BBB", "observe", None, 2, False),
        ("CCC", "observe", None, 1, False),
    ]
    assert [tuple(row) for row in audits] == [("KO/AAA", "pair demoted"), ("KO/BBB", "pair demoted")]
    for event in told:
        said = PairModeChanged.model_validate(event["payload"])
        assert said == PairModeChanged.of(
            said.pair_id,
            2,
            said.occurred_at,
            "upgrade",
            **said.model_dump(include={"pair_id", "before", "after", "who", "why"}),
        )
    assert [event["payload"]["after"] for event in told] == ["closing", "observe"]


def test_equity_of_before_counts_from_its_slot(empty_database: str, engine_for: Engines) -> None:
    migrate.upgrade(empty_database, "0020")
    with engine_for(empty_database).begin() as connection:
        connection.execute(
            text("INSERT INTO risk.equity_point (slot, equity, cash, buying_power) VALUES (:at, 1, 1, 2)"),
            {"at": SLOT},
        )

    migrate.upgrade(empty_database)

    with engine_for(empty_database).connect() as connection:
        assert connection.execute(text("SELECT taken_at FROM risk.equity_point")).scalar_one() == SLOT


_OLD_PAIR = text("""
    INSERT INTO strategy.pair_registry
           (pair_id, symbol_1, symbol_2, alpha, beta, half_life_bars, z_window_bars, time_stop_bars, correlation,
            fitted_from, fitted_to, gate_passed, mode, source, updated_at)
    VALUES ('KO/' || :second, 'KO', :second, 0, 1, 8, 16, 24, 0.9, :at, :at, true, :mode, 'before', :at)
""")
_OLD_TRADE = text("""
    INSERT INTO execution.pair_trade
           (pair_trade_id, pair_id, symbol_1, symbol_2, beta, direction, state, slot, target_1, target_2, version)
    VALUES (gen_random_uuid(), 'KO/AAA', 'KO', 'AAA', 1, 'long_spread', 'open', :at, 1, -1, 1)
""")
