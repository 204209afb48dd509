"""`Upkeep` on PostgreSQL, as the owner of the tables: only the owner may analyse and vacuum."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from sqlalchemy import Engine

from src.services.maintenance.adapters.pg_dumps import connected
from src.services.maintenance.domain.upkeep import TableState
from src.shared.domain.errors import Transient
from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.engine import translated_errors
from src.shared.infra.database.tables import SCHEMAS

_TABLES = """
    SELECT schemaname || '.' || relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid)
    FROM pg_stat_user_tables WHERE schemaname = ANY (%s) ORDER BY 4 DESC, 1
"""


@dataclass(frozen=True)
class SqlUpkeep:
    """The months are made on the application's engine, the rest over a connection of the owner's."""

    engine: Engine
    owner_url: str

    def tables(self) -> list[TableState]:
        """Read the server's statistics."""
        with self._connected() as connection:
            connection.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
            return [TableState(*row) for row in connection.execute(_TABLES, [list(SCHEMAS)])]

    def treat(self, table: str, vacuum: bool) -> str:
        """Analyse; a table that somebody holds, or that is another's, is left out by the server with a word."""
        words: list[str] = []
        name = sql.Identifier(*table.split("."))
        command = "VACUUM (ANALYZE, SKIP_LOCKED) {}" if vacuum else "ANALYZE (SKIP_LOCKED) {}"
        with self._connected() as connection:
            connection.add_notice_handler(lambda notice: words.append(str(notice.message_primary)))
            connection.execute(sql.SQL(command).format(name))
        return "; ".join(words)

    def add_months(self, first: datetime, last: datetime) -> int:
        """Make room for bars."""
        with translated_errors(self.engine), self.engine.begin() as connection:
            return add_months(connection, first, last)

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        with connected(self.owner_url) as connection:
            try:
                yield connection
            except psycopg.OperationalError as error:
                raise Transient(f"PostgreSQL: {' '.join(str(error).split())}") from error
