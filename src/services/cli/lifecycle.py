"""Bring the whole suite of one state folder up and down, and keep an eye on it in between."""

from __future__ import annotations

import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from src.config.settings import Settings
from src.services.cli.children import Child, Needs, children, wanted
from src.services.cli.externals import account_at_broker, require_externals
from src.shared.domain.errors import UserError
from src.shared.infra.embedded.ports import require_free_port
from src.shared.infra.embedded.stack import (
    EmbeddedStack,
    needs_postgres,
    needs_redis,
    postgres,
    redis,
    stack_lock,
    supervisor,
    trading_database_url,
)

Step = Callable[[str], AbstractContextManager[None]]

_UP = "up"
_LOOK_SECONDS = 1.0
_MOST_RESTARTS = 5
_RESTARTS_WITHIN_SECONDS = 600.0
_FOREGROUND_STOP_SECONDS = 180.0
_STRAY_SECONDS = 5.0
_HASTY_SECONDS = 3.0
_SETTLED_SECONDS = 2.0


class AlreadyUp(UserError):
    """Everything runs already. Nothing has been done."""


class Suite:
    """Servers and processes of one state folder.

    ``step`` wraps each piece of work, to show progress; ``flows`` names the deployments to register, all when None.
    """

    def __init__(self, settings: Settings, step: Step, flows: Sequence[str] | None = None) -> None:
        self._settings = settings
        self._step = step
        self._flows = flows
        self._supervisor = supervisor(settings)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the state folder and let `tradewinds down` find this process.

        Raises:
            FolderLocked: another `tradewinds up` holds it.
            AlreadyUp: all of it runs, and nobody watches over it in the foreground.
        """
        with stack_lock(self._settings):
            orphaned = self._supervisor.record(_UP) is not None
            if not orphaned and self._is_all_up():
                raise AlreadyUp(
                    f"Tradewinds already runs in {self._settings.home}: "
                    "see `tradewinds status`, or stop it with `tradewinds down`."
                )
            self._supervisor.enlist_this_process(_UP)
            try:
                yield
            finally:
                self._supervisor.forget(_UP)

    def start(self) -> None:
        """Start what does not run, each as soon as what it needs is there; a failure undoes what was started.

        What only has to be waited for gets ready side by side: the Prefect server makes its own schema while ours
        is brought up to date.
        """
        from src.shared.infra.environment import check_settings

        check_settings(self._settings)
        self._check_ports()
        require_externals(self._settings)
        account = account_at_broker(self._settings)
        with ExitStack() as undo:
            self._start_servers(undo)
            self._check_owner(account)
            self._launch("servers", undo)
            self._migrate(account)
            self._launch("schema", undo)
            self._import_prefect()
            self._await("servers")
            self._deploy()
            self._launch("deployments", undo)
            self._await("deployments")
            self._await("schema")
            undo.pop_all()

    def stop(self, *, drain: bool = True) -> None:
        """Stop everything of this folder, last started first. What does not run is left alone."""
        for child in reversed(children()):
            if self._supervisor.record(child.name) is not None:
                with self._step(f"{child.title} stopped"):
                    self._supervisor.stop(child.name, child.stop_seconds if drain else _HASTY_SECONDS)
        self._supervisor.stop_strays(_STRAY_SECONDS)
        if (self._settings.home / "postgres").exists() or (self._settings.home / "redis").exists():
            with self._step("PostgreSQL and Redis stopped"):
                EmbeddedStack(self._settings).stop()

    def end_foreground(self) -> None:
        """Ask a `tradewinds up` that stays in the foreground to stop what it started, and wait for it."""
        if self._supervisor.is_running(_UP):
            with self._step("the `tradewinds up` of this folder ended"):
                self._supervisor.stop(_UP, _FOREGROUND_STOP_SECONDS)
        self._supervisor.forget(_UP)

    def watch(self, say: Callable[[str], None]) -> None:
        """Look every second and start again what ended; never returns.

        Raises:
            UserError: one process ended again and again.
        """
        restarts: dict[str, list[float]] = defaultdict(list)
        given_up: set[str] = set()
        while True:
            time.sleep(_LOOK_SECONDS)
            for name, start in self._ended():
                if name in given_up:
                    continue
                try:
                    self._count(restarts[name], name)
                except UserError as error:
                    if name in self._vital():
                        raise
                    given_up.add(name)
                    say(f"{error} The rest goes on without it.")
                    continue
                say(f"{name} ended and is started again (see {self._log(name)})")
                try:
                    start()
                except UserError as error:
                    say(str(error))

    def _vital(self) -> set[str]:
        return {"postgres", "redis", *(child.name for child in wanted(self._settings) if child.is_vital)}

    def _count(self, moments: list[float], name: str) -> None:
        now = time.monotonic()
        moments[:] = [moment for moment in moments if now - moment < _RESTARTS_WITHIN_SECONDS] + [now]
        if len(moments) > _MOST_RESTARTS:
            raise UserError(f"{name} ended {len(moments)} times in ten minutes: see {self._log(name)}.")

    def _ended(self) -> Iterator[tuple[str, Callable[[], None]]]:
        if needs_postgres(self._settings) and not postgres(self._settings).is_running():
            yield "postgres", postgres(self._settings).start
        if needs_redis(self._settings) and not redis(self._settings).is_running():
            yield "redis", redis(self._settings).start
        for child in wanted(self._settings):
            if not self._supervisor.is_running(child.name):
                yield child.name, lambda child=child: self._run(child)  # type: ignore[misc]

    def _start_servers(self, undo: ExitStack) -> None:
        servers = [server for server in (postgres(self._settings), redis(self._settings)) if not server.is_running()]
        with self._step("PostgreSQL and Redis ready"):
            EmbeddedStack(self._settings).start()
        for server in servers:
            undo.callback(server.stop)

    def _check_owner(self, account: str | None) -> None:
        # before it is migrated: another environment's database is not ours to change
        from src.shared.infra import environment

        environment.check_known(self._settings, trading_database_url(self._settings, "owner"), account)

    def _migrate(self, account: str | None) -> None:
        from src.shared.infra import environment
        from src.shared.infra.database import migrate

        with self._step("database schema up to date"):
            migrate.upgrade(trading_database_url(self._settings, "owner"))
        with self._step(f"environment '{self._settings.environment}' agrees with keys, URL and database"):
            environment.check(self._settings, trading_database_url(self._settings), account)
        with self._step("risk limits in force"):
            self._settle_limits()

    def _settle_limits(self) -> None:
        from src.services.risk_management.bootstrap import build_limits
        from src.shared.infra.database.engine import make_engine

        engine = make_engine(trading_database_url(self._settings), self._settings.database)
        try:
            build_limits(self._settings, engine).settle()
        finally:
            engine.dispose()

    def _import_prefect(self) -> None:
        # Done while the server starts: it takes a second or more.
        from src.shared.prefect.config import adopt, client_environment

        adopt(client_environment(self._settings))
        importlib.import_module("prefect.flows")

    def _deploy(self) -> None:
        from src.shared.prefect.deployments import deploy

        with self._step("flows deployed"):
            deploy(self._settings, only=self._flows)

    def _launch(self, needs: Needs, undo: ExitStack) -> None:
        for child in self._that_need(needs):
            if not self._supervisor.is_running(child.name):
                undo.callback(self._supervisor.stop, child.name, child.stop_seconds)
            self._supervisor.start(child.spec(self._settings))

    def _await(self, needs: Needs) -> None:
        for child in self._that_need(needs):
            with self._step(f"{child.title} ready"):
                self._wait_ready(child)

    def _that_need(self, needs: Needs) -> list[Child]:
        return [child for child in wanted(self._settings) if child.needs == needs]

    def _run(self, child: Child) -> None:
        self._supervisor.start(child.spec(self._settings))
        self._wait_ready(child)

    def _wait_ready(self, child: Child) -> None:
        self._supervisor.wait_ready(
            child.name, lambda: self._is_ready(child), self._settings.stack.start_timeout_seconds
        )

    def _is_ready(self, child: Child) -> bool:
        process = self._supervisor.process(child.name)
        if process is None:
            return False
        if child.is_ready is None:
            return time.time() - process.create_time() > _SETTLED_SECONDS
        return child.is_ready(self._settings)

    def _check_ports(self) -> None:
        for child in wanted(self._settings):
            port = child.port(self._settings)
            if port is not None and not self._supervisor.is_running(child.name):
                require_free_port(*port)

    def _servers_up(self) -> bool:
        ready = not needs_postgres(self._settings) or postgres(self._settings).is_running()
        return ready and (not needs_redis(self._settings) or redis(self._settings).is_running())

    def _is_all_up(self) -> bool:
        running = (self._supervisor.is_running(child.name) for child in wanted(self._settings))
        return self._servers_up() and all(running)

    def _log(self, name: str) -> Path:
        return self._settings.home / "logs" / f"{name}.log"
