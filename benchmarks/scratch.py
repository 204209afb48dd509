"""Folders, databases and stacks that a benchmark has for itself and leaves no trace of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from src.config.settings import load_settings
from src.shared.infra.database import migrate
from src.shared.infra.database.engine import make_engine
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.postgres import TRADING_DATABASE, EmbeddedPostgres
from src.shared.infra.postgres_roles import APP_ROLE, OWNER_ROLE
from src.shared.prefect.config import SOURCE_ROOT

_FOREIGN = ("TRADEWINDS_", "PREFECT_")


@contextmanager
def scratch_home() -> Iterator[Path]:
    """A state folder that a PostgreSQL started by root can reach."""
    folder = Path(tempfile.mkdtemp(prefix="tradewinds-bench-"))
    folder.chmod(0o711)
    try:
        yield folder / "home"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def variables(home: Path) -> dict[str, str]:
    """Return an environment with nothing of the caller's Tradewinds or Prefect in it, and ports of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    ports = {f"TRADEWINDS_{name}_PORT": str(free_port()) for name in ("REDIS", "PREFECT", "TWIN")}
    return {**kept, **ports, "TRADEWINDS_HOME": str(home), "TRADEWINDS_ENV_FILE": os.devnull}


@contextmanager
def environment(chosen: Mapping[str, str]) -> Iterator[None]:
    """Be in that environment for a while."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(chosen)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class ScratchDatabase:
    """A migrated, empty trading database: `engine` is the application's, `server` its PostgreSQL."""

    server: EmbeddedPostgres
    engine: Engine

    def analyze(self) -> None:
        """Let the planner know what the tables hold now; the application's role may not."""
        with self.server.connect(TRADING_DATABASE) as connection:
            connection.execute("ANALYZE")


@contextmanager
def trading_database() -> Iterator[ScratchDatabase]:
    """A trading database on a PostgreSQL of its own; the environment has nothing of the caller's Tradewinds."""
    with scratch_home() as home, environment(variables(home)):
        server = EmbeddedPostgres(home / "postgres")
        server.start()
        try:
            server.provision()
            migrate.upgrade(server.url(TRADING_DATABASE, OWNER_ROLE))
            engine = make_engine(server.url(TRADING_DATABASE, APP_ROLE), load_settings().database)
            yield ScratchDatabase(server, engine)
            engine.dispose()
        finally:
            server.stop("immediate")


def tradewinds(*words: str) -> list[str]:
    """Return the command line of `tradewinds <words>` in this installation."""
    return [sys.executable, "-m", "src.services.cli.main", *words]


def take_down(chosen: Mapping[str, str]) -> None:
    """Stop whatever runs in the state folder of that environment."""
    subprocess.run(
        tradewinds("down", "--now"), env=dict(chosen), cwd=SOURCE_ROOT, capture_output=True, check=True, timeout=300
    )
