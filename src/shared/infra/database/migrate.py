"""Move a database to a revision of the schema."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from src.shared.infra.database.revisions import MIGRATIONS, check_revision, connected, revision_of


def upgrade(owner_url: str, revision: str = "head") -> None:
    """Bring the schema to a revision, in one transaction: all of it or nothing. At that revision: no change.

    Several processes may upgrade at once, the later ones wait; within a process Alembic allows one at a time.

    Args:
        owner_url: who may create schemas; the objects will belong to this role.
        revision: as Alembic writes it.

    Raises:
        SchemaMismatch: the database is at a revision that this code does not know.
        Unreachable: no server answers.
    """
    with connected(owner_url) as connection:
        command.upgrade(_config_for_known(connection), revision)


def downgrade(owner_url: str, revision: str) -> None:
    """Take the schema back to a revision (`base`: nothing), in one transaction. Data of what is dropped is lost.

    Raises:
        SchemaMismatch: the database is at a revision that this code does not know.
        Unreachable: no server answers.
    """
    with connected(owner_url) as connection:
        command.downgrade(_config_for_known(connection), revision)


def _config_for_known(connection: Connection) -> Config:
    check_revision(revision_of(connection))
    connection.rollback()
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
