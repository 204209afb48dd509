"""A suite whose books come from real trades: on a server where its role may make databases, and on the embedded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from src.services.maintenance.bootstrap import Maintenance
from src.shared.infra.database.engine import make_engine
from src.shared.infra.embedded.postgres import SUPERUSER, TRADING_DATABASE, EmbeddedPostgres
from src.shared.prefect.tasks.wiring import Services, services
from tests.conftest import TradingDatabase
from tests.fakes.desk import Installation, installation
from tests.fakes.typed import Said


@dataclass(frozen=True)
class Suite:
    """What a test does with it."""

    desk: Installation
    folder: Path
    server: EmbeddedPostgres
    database: str

    @property
    def services(self) -> Services:
        return services()

    @property
    def maintenance(self) -> Maintenance:
        return self.services.maintenance

    def tradewinds(self, *words: str) -> Said:
        return self.desk.tradewinds(*words)

    def use(self, **variables: str) -> None:
        """Change settings; the services are wired anew."""
        for name, value in variables.items():
            self.desk.monkeypatch.setenv(f"TRADEWINDS_{name}", value)
        close(services())
        services.cache_clear()

    def back_up(self, *words: str) -> Path:
        """Back up by the command, and return the dump."""
        before = set(self.folder.glob("*.dump"))
        said = self.tradewinds("backup", "--to", str(self.folder), *words)
        assert (said.code, said.err) == (0, ""), said
        (made,) = set(self.folder.glob("*.dump")) - before
        return made

    def ask(self, query: str, database: str | None = None) -> list[Any]:
        with self.server.connect(database or self.database) as connection:
            return connection.execute(query).fetchall()

    def databases(self) -> set[str]:
        return {name for (name,) in self.ask("SELECT datname FROM pg_database", "postgres")}

    def runs(self) -> list[tuple[str, str, str]]:
        """The drill, the error and whether it ended, of every backup, oldest first."""
        query = (
            "SELECT drill, error, CASE WHEN finished_at IS NULL THEN 'open' ELSE 'ended' END FROM ops.backup_run"
            " ORDER BY started_at"
        )
        return [(drill, error, state) for drill, error, state in self.ask(query)]

    def alerts(self) -> list[str]:
        """Titles of alerts that are kept and told."""
        query = "SELECT a.title FROM ops.alert a JOIN ops.outbox o ON o.aggregate_id = a.alert_id::text ORDER BY 1"
        return [title for (title,) in self.ask(query)]


def close(found: Services) -> None:
    found.engine.dispose()
    found.maintenance.owner.dispose()


_UNTOLD = """
    INSERT INTO ops.outbox (event_id, channel, schema_version, aggregate, aggregate_id, aggregate_version,
        correlation_id, occurred_at, payload)
    SELECT gen_random_uuid(), 'tradewinds.test', 1, aggregate, id, 1, 'test', now(), '{}'
    FROM (
        SELECT 'signal' AS aggregate, signal_id::text AS id FROM strategy.pair_signal
        UNION ALL SELECT 'risk_decision', decision_id::text FROM risk.risk_decision
        UNION ALL SELECT 'pair', pair_id FROM strategy.pair_registry
    ) AS untold
"""


def trade_and_tell(desk: Installation) -> None:
    """Open a trade; what the fixtures wrote in place of other services is told, too."""
    desk.open_trade()
    with desk.services.engine.begin() as connection:
        connection.execute(text(_UNTOLD))


@pytest.fixture
def suite(desk: Installation, tmp_path: Path) -> Iterator[Suite]:
    """An external server, by a role that may make databases; one trade is open."""
    trade_and_tell(desk)
    made = Suite(desk, tmp_path / "backups", desk.database.server, desk.database.name)
    made.use(DATABASE_URL=desk.database.url(SUPERUSER, "libpq"))
    yield made
    close(services())
    with made.server.connect() as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, 'test_')").fetchall()
    for (name,) in rows:
        if name.startswith(made.database) and name != made.database:
            made.server.drop_database(name)


@pytest.fixture
def embedded_suite(
    embedded_postgres: EmbeddedPostgres,
    trading_template: str,
    state_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Suite]:
    """The embedded server as `tradewinds up` leaves it: the owner may not make databases, the superuser may."""
    embedded_postgres.drop_database(TRADING_DATABASE)
    embedded_postgres.provision_trading(TRADING_DATABASE, trading_template)
    database = TradingDatabase(embedded_postgres, TRADING_DATABASE)
    before = {name for (name,) in _names(embedded_postgres)}
    try:
        with installation(database, monkeypatch, tmp_path, capsys) as desk:
            trade_and_tell(desk)
            made = Suite(desk, tmp_path / "backups", embedded_postgres, TRADING_DATABASE)
            made.use(DATABASE_URL="", HOME=str(state_folder), MAINTENANCE_BACKUP_FOLDER=str(made.folder))
            yield made
            close(services())
    finally:
        for (name,) in _names(embedded_postgres):
            if name not in before:
                embedded_postgres.drop_database(name)
        embedded_postgres.drop_database(TRADING_DATABASE)
        embedded_postgres.provision()


def _names(server: EmbeddedPostgres) -> list[Any]:
    with server.connect() as connection:
        return connection.execute("SELECT datname FROM pg_database").fetchall()


def execute(suite: Suite, statement: str, **parameters: object) -> int:
    """Run a statement as the suite's own role; return how many rows it touched."""
    from src.config.settings import load_settings
    from src.shared.infra.embedded.stack import trading_database_url

    settings = load_settings()
    engine = make_engine(trading_database_url(settings, "owner"), settings.database)
    try:
        with engine.begin() as connection:
            return connection.execute(text(statement), parameters).rowcount
    finally:
        engine.dispose()
