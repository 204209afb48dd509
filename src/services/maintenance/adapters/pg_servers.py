"""`Servers`: databases made, dropped, renamed; on the embedded server by its superuser, else by the URL's role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import URL, create_engine, make_url, pool

from src.config.settings import Settings
from src.services.maintenance.adapters.pg_dumps import connected
from src.services.maintenance.domain.backups import What
from src.services.maintenance.ports import Source, Target
from src.shared.domain.errors import InputInvalid, Unreachable
from src.shared.infra.database.grants import grant_app_role
from src.shared.infra.embedded.postgres import (
    PREFECT_ROLE,
    SUPERUSER,
    EmbeddedPostgres,
)
from src.shared.infra.embedded.stack import postgres, prefect_database_url, trading_database_url
from src.shared.infra.postgres_roles import OWNER_ROLE
from src.shared.infra.postgres_urls import normalised_url

_SCRATCH = "tradewinds_drill_"
_LONGEST_NAME = 63
_TABLES = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""
_OTHERS = """
    SELECT DISTINCT coalesce(nullif(application_name, ''), 'no name') || ' as ' || usename FROM pg_stat_activity
    WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND application_name NOT IN ('tradewinds-maintenance', 'tradewinds-restore')
    ORDER BY 1
"""
_UNUSED = """
    SELECT datname FROM pg_database d WHERE starts_with(datname, %s)
        AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)
"""


@dataclass(frozen=True)
class SuiteServers:
    """The servers that the settings name."""

    settings: Settings

    def source(self, what: What) -> Source:
        """Where the suite keeps its trading data, or Prefect its runs."""
        if what == "trading":
            return _named(what, trading_database_url(self.settings, "owner"))
        chosen = self.settings.orchestrator
        if chosen.api_url is not None and chosen.database_url is None:
            raise InputInvalid(
                "The Prefect server runs elsewhere (TRADEWINDS_PREFECT_API_URL) and so does its database: "
                "set TRADEWINDS_PREFECT_DATABASE_URL to back it up from here."
            )
        return _named(what, normalised_url(prefect_database_url(self.settings)))

    @contextmanager
    def scratch(self, what: What) -> Iterator[str]:
        """Make an empty database, hold a connection to it as a sign that it is used, and drop it."""
        home = _existing(self.source(what).url)
        made = replace(home, name=f"{_SCRATCH}{uuid4().hex[:12]}", exists=False, live=None)
        made = replace(made, url=_renamed(home.url, made.name))
        self._sweep(made, _SCRATCH)
        self.create(made, what)
        try:
            with connected(made.url):
                yield made.url
        finally:
            self.drop(made)

    def target(self, into: str, what: What) -> Target:
        """Look at a database."""
        by_name = "://" not in into
        url = _renamed(self.source(what).url, _checked_name(into)) if by_name else normalised_url(into, name="--into")
        name = str(make_url(url).database)
        target = Target(name, url, False, 0, self._live(url), 0)
        with _admin(self._admin_url(target)) as connection:
            version = connection.info.server_version
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        tables = _tables(self._looking_url(target)) if found else 0
        return replace(target, exists=found is not None, tables=tables, server_version=version)

    def create(self, target: Target, what: What) -> None:
        """Make the database, for whoever owns such a one; others may not enter it.

        Raises:
            InputInvalid: the role may not make databases.
        """
        owner = self._owner(target, what)
        command = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(target.name))
        if owner is not None:
            command += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
        with _admin(self._admin_url(target)) as connection:
            try:
                connection.execute(command)
            except psycopg.errors.InsufficientPrivilege:
                raise InputInvalid(
                    f"The role {make_url(target.url).username} may not make databases on this server: "
                    "give it CREATEDB (ALTER ROLE … CREATEDB), or name an empty database of your own, "
                    "or back up without a trial restore (--no-drill)."
                ) from None
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(target.name)))

    def beside(self, target: Target, what: What) -> Target:
        """Make an empty database with a passing name."""
        name = _fitting(f"{target.name}_restored_{uuid4().hex[:8]}")
        self._sweep(target, name.rpartition("_")[0])
        made = replace(target, name=name, url=_renamed(target.url, name), exists=False, tables=0, live=None)
        self.create(made, what)
        return made

    def drop(self, target: Target) -> None:
        """Drop it and end the connections to it."""
        with _admin(self._admin_url(target)) as connection:
            _drop(connection, target.name)

    def others(self, target: Target) -> list[str]:
        """Say which programs are connected."""
        with _admin(self._admin_url(target)) as connection:
            return [row[0] for row in connection.execute(_OTHERS, [target.name])]

    def swap(self, target: Target, restored: Target) -> str:
        """Rename both in one transaction; the server refuses it while anybody is connected to either.

        Raises:
            InputInvalid: somebody is, or the role may not; nothing has changed.
        """
        kept = _fitting(f"{target.name}_before_{datetime.now(UTC):%Y%m%d_%H%M%S}")
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        with _admin(self._admin_url(target)) as connection:
            try:
                with connection.transaction():
                    connection.execute(rename.format(sql.Identifier(target.name), sql.Identifier(kept)))
                    connection.execute(rename.format(sql.Identifier(restored.name), sql.Identifier(target.name)))
            except (psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege) as error:
                raise InputInvalid(f"{target.name} was left as it is: {' '.join(str(error).split())}.") from None
        return kept

    def hand_over(self, target: Target, what: What) -> None:
        """Give the suite's roles what `tradewinds up` gives them."""
        if what != "trading":
            return
        if (server := self._embedded(target)) is not None:
            server.provision_trading(target.name)
        engine = create_engine(target.url, poolclass=pool.NullPool)
        with engine.begin() as connection:
            grant_app_role(connection)

    def _live(self, url: str) -> What | None:
        chosen: tuple[What, ...] = ("trading", "prefect")
        for what in chosen:
            try:
                if _place(self.source(what).url) == _place(url):
                    return what
            except (InputInvalid, Unreachable):
                # What runs elsewhere, or not at all, is not what the URL names.
                continue
        return None

    def _embedded(self, target: Target) -> EmbeddedPostgres | None:
        server = postgres(self.settings)
        if not server.is_running():
            return None
        ours = server.url(target.name, SUPERUSER)
        return server if _place(ours) == _place(target.url) else None

    def _owner(self, target: Target, what: What) -> str | None:
        if self._embedded(target) is None:
            return None
        return OWNER_ROLE if what == "trading" else PREFECT_ROLE

    def _looking_url(self, target: Target) -> str:
        """Look as somebody who may enter: on the embedded server each database is open to its own roles alone."""
        server = self._embedded(target)
        return target.url if server is None else server.url(target.name, SUPERUSER)

    def _admin_url(self, target: Target) -> str:
        """Name another database of the same server: none can be dropped or renamed from within."""
        if (server := self._embedded(target)) is not None:
            return server.url("postgres", SUPERUSER)
        neighbour = self.source("trading").url
        is_near = _place(neighbour)[:2] == _place(target.url)[:2]
        near = str(make_url(neighbour).database) if is_near else target.name
        # Not everybody may enter `postgres`, which every server has.
        return _renamed(target.url, "postgres" if near == target.name else near)

    def _sweep(self, neighbour: Target, beginning: str) -> None:
        """Drop what killed runs left: databases that are named so and that nobody is connected to."""
        with _admin(self._admin_url(neighbour)) as connection:
            for (name,) in connection.execute(_UNUSED, [beginning]).fetchall():
                try:
                    _drop(connection, name)
                except psycopg.errors.InsufficientPrivilege:
                    continue


def _named(what: What, url: str) -> Source:
    return Source(what, str(make_url(url).database), url)


def _existing(url: str) -> Target:
    return Target(str(make_url(url).database), url, True, 0, None, 0)


@contextmanager
def _admin(url: str) -> Iterator[psycopg.Connection]:
    with connected(url) as connection:
        yield connection


def _drop(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _tables(url: str) -> int:
    with connected(url) as connection:
        row = connection.execute(_TABLES).fetchone()
    return int(row[0]) if row else 0


def _renamed(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _place(url: str) -> tuple[object, ...]:
    parsed: URL = make_url(url)
    return (parsed.host or parsed.query.get("host"), parsed.port or 5432, parsed.database)


def _checked_name(name: str) -> str:
    if not name or len(name.encode()) > _LONGEST_NAME or not name.isprintable():
        raise InputInvalid(f"{name!r} is no name of a database.")
    return name


def _fitting(name: str) -> str:
    excess = len(name.encode()) - _LONGEST_NAME
    if excess <= 0:
        return name
    head, _, tail = name.rpartition("_")
    return f"{head[:-excess]}_{tail}"
