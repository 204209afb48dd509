"""PostgreSQL's client programs: which ones fit a server, and running them without a password in sight."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url

from src.services.maintenance.domain.backups import BackupFailed, major
from src.shared.domain.errors import InputInvalid
from src.shared.infra.embedded.postgres import installed_programs

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
# Since 17, pg_restore sets a parameter that older servers do not know.
_NEW_PARAMETERS = 17


@dataclass(frozen=True)
class Programs:
    """A folder with pg_dump and pg_restore of one major version."""

    folder: Path
    version: int
    text: str

    def run(self, tool: str, *arguments: str, url: str | None, seconds: float) -> str:
        """Run one of them, against a database if a URL is given; return what it printed.

        The password goes through the environment: a command line can be read by everyone on the machine.

        Raises:
            BackupFailed: it ended with an error or took too long; one line says what it said last.
        """
        where, environment = _address(url)
        try:
            done = subprocess.run(
                [str(self.folder / tool), *where, *arguments],
                env={**_without_libpq(os.environ), **environment, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise BackupFailed(f"{tool} took longer than {seconds:g} s (TRADEWINDS_MAINTENANCE_BACKUP_…).") from None
        if done.returncode != 0:
            raise BackupFailed(f"{tool} failed: {_what_it_said(done.stderr) or f'exit {done.returncode}'}")
        return done.stdout


def to_dump(server_version: int) -> Programs:
    """Choose the programs that read a server: of its own major version, else the next newer.

    Raises:
        InputInvalid: all that are here are older than the server.
    """
    wanted = major(server_version)
    fitting = [each for each in _installed() if each.version >= wanted]
    if not fitting:
        raise InputInvalid(
            f"The server is PostgreSQL {wanted}, and {_listed()} can't read it: "
            f"put pg_dump {wanted} or newer on PATH (Debian: postgresql-client-{wanted})."
        )
    return min(fitting, key=lambda each: each.version)


def to_restore(server_version: int) -> Programs:
    """Choose the programs that write to a server: of its own major version, else the newest.

    Raises:
        InputInvalid: only such are here that can't write to a server this old.
    """
    wanted = major(server_version)
    found = _installed()
    if exact := [each for each in found if each.version == wanted]:
        return exact[0]
    if wanted < _NEW_PARAMETERS and not any(each.version < _NEW_PARAMETERS for each in found):
        raise InputInvalid(
            f"The server is PostgreSQL {wanted}, and {_listed()} can't restore into servers before "
            f"{_NEW_PARAMETERS}: put pg_restore {wanted} on PATH (Debian: postgresql-client-{wanted})."
        )
    return newest()


def newest() -> Programs:
    """Choose the programs that read the most kinds of dumps."""
    return max(_installed(), key=lambda each: each.version)


def libpq_url(url: str) -> str:
    """Write a SQLAlchemy URL as libpq and psycopg take it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _installed() -> list[Programs]:
    folders = [installed_programs() / "bin"]
    if on_path := shutil.which("pg_dump"):
        folders.append(Path(on_path).parent)
    return [_look_at(folder) for folder in folders if (folder / "pg_restore").exists()]


def _look_at(folder: Path) -> Programs:
    said = subprocess.run(
        [str(folder / "pg_dump"), "--version"], capture_output=True, text=True, check=False, timeout=30
    ).stdout.strip()
    found = _VERSION.search(said)
    return Programs(folder, int(found[1]) if found else 0, said)


def _listed() -> str:
    return " and ".join(each.text or str(each.folder) for each in _installed())


def _address(url: str | None) -> tuple[list[str], dict[str, str]]:
    if url is None:
        return [], {}
    parsed = make_url(url)
    query = {name: value for name, value in parsed.query.items() if name != "password"}
    address = URL.create(
        "postgresql", parsed.username, None, parsed.host, parsed.port, parsed.database, query
    ).render_as_string()
    password = parsed.password or parsed.query.get("password")
    return [f"--dbname={address}", "--no-password"], {"PGPASSWORD": str(password)} if password else {}


def _without_libpq(environment: os._Environ[str]) -> dict[str, str]:
    # What somebody's shell says of another server must not lead us there; where their certificates lie may.
    chosen = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSERVICE", "PGOPTIONS")
    return {name: value for name, value in environment.items() if name not in chosen}


def _what_it_said(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line] or lines[-1:]
    return told[0] if told else ""
