"""Real servers for every suite: one PostgreSQL and one Redis a session, a fresh database a test."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from src.shared.infra.database.migrate import upgrade
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.postgres import Driver, EmbeddedPostgres
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.infra.postgres_roles import APP_ROLE, OWNER_ROLE
from tests.folders import server_folder

if TYPE_CHECKING:
    from tests.fakes.desk import Installation

_PREFIX = "tradewinds-tests-"
_TEMPLATE = "trading_template"
_PREFECT_INSIDE = pytest.StashKey[bool]()


@dataclass(frozen=True)
class TradingDatabase:
    """A fresh, migrated trading database that is dropped after the test."""

    server: EmbeddedPostgres
    name: str

    def url(self, role: str = APP_ROLE, driver: Driver = "psycopg") -> str:
        """URL for SQLAlchemy (driver psycopg or asyncpg) or for psycopg itself (libpq)."""
        return self.server.url(self.name, role, driver)

    @property
    def app_url(self) -> str:
        return self.url(APP_ROLE)

    @property
    def owner_url(self) -> str:
        return self.url(OWNER_ROLE)


def pytest_collection_finish() -> None:
    """Leave what there is now, thousands of tests and modules, out of every later look for garbage."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that two workers end at about the same time; end with Prefect in the process.

    Prefect 3.8.8 leaves connections to its server open; it would show in somebody else's test.
    """
    for item in items:
        if _has_prefect_inside(item):
            for rule in ("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"):
                item.add_marker(pytest.mark.filterwarnings(rule))
            config.stash[_PREFECT_INSIDE] = True
    items.sort(key=lambda item: 0 if item.get_closest_marker("e2e") else 1 + _has_prefect_inside(item))


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Let Prefect's open connections be found after the last test too."""
    if config.stash.get(_PREFECT_INSIDE, False):
        warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
        warnings.simplefilter("ignore", pytest.PytestUnraisableExceptionWarning)


def _has_prefect_inside(item: pytest.Item) -> bool:
    here = Path(__file__).parent
    return here / "flows" in item.path.parents or item.path == here / "chaos" / "test_prefect.py"


@pytest.fixture(scope="session", autouse=True)
def nothing_of_a_persons_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take the settings of whoever runs the tests out of the environment, and leave their .env unread."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("TRADEWINDS_", "PREFECT_"))]:
            if name != "TRADEWINDS_SHARED":
                environment.delenv(name)
        environment.setenv("TRADEWINDS_ENV_FILE", str(tmp_path_factory.getbasetemp() / "no.env"))
        yield


@pytest.fixture(scope="session")
def state_folder() -> Iterator[Path]:
    """Of the session's PostgreSQL and Redis."""
    _sweep_after_killed_sessions()
    with server_folder(f"{_PREFIX}{os.getpid()}-") as folder:
        yield folder


@pytest.fixture(scope="session")
def embedded_postgres(state_folder: Path) -> Iterator[EmbeddedPostgres]:
    """The session's PostgreSQL with roles and databases as `tradewinds up` makes them."""
    server = EmbeddedPostgres(state_folder / "postgres", durable=False)
    server.start()
    try:
        server.provision()
        yield server
    finally:
        server.stop("immediate")


@pytest.fixture(scope="session")
def embedded_redis(state_folder: Path) -> Iterator[EmbeddedRedis]:
    """The session's Redis on a free port."""
    server = EmbeddedRedis(state_folder / "redis", free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def trading_template(embedded_postgres: EmbeddedPostgres) -> str:
    """Name of a migrated database that tests copy; nobody stays connected to it."""
    embedded_postgres.provision_trading(_TEMPLATE)
    upgrade(embedded_postgres.url(_TEMPLATE, OWNER_ROLE))
    return _TEMPLATE


@pytest.fixture
def trading_database(embedded_postgres: EmbeddedPostgres, trading_template: str) -> Iterator[TradingDatabase]:
    """A migrated trading database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    embedded_postgres.provision_trading(name, trading_template)
    try:
        yield TradingDatabase(embedded_postgres, name)
    finally:
        embedded_postgres.drop_database(name)


@pytest.fixture
def desk(
    trading_database: TradingDatabase,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Installation]:
    """The commands and the flows, on a database and a twin of their own."""
    from tests.fakes.desk import installation

    with installation(trading_database, monkeypatch, tmp_path, capsys) as made:
        yield made


def _sweep_after_killed_sessions() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)) and os.access(folder, os.W_OK):
            EmbeddedPostgres(folder / "postgres").stop("immediate")
            EmbeddedRedis(folder / "redis", 1).stop()
            shutil.rmtree(folder, ignore_errors=True)
