"""A service's process that works until it is stopped: one command, clean ends, one line for a person's mistake."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

from src.config.settings import Settings

_USER_ERROR = 2

Work = Callable[[Settings, threading.Event], None]


def offer(service: str, about: str, verb: str, what: str, find: Callable[[], Work]) -> None:
    """Offer one command; what it runs is looked up when it is given, so that help is there at once."""
    import typer

    app = typer.Typer(name=service, help=about, add_completion=False, no_args_is_help=True)

    # With a callback of its own the one command has to be named.
    app.callback(help=about)(lambda: None)
    app.command(name=verb, help=what)(lambda: run_until_stopped(service, find()))
    app()


def run_until_stopped(service: str, work: Work) -> None:
    """Run `work` until SIGTERM or SIGINT sets its event; a mistake in the settings is one line and exit code 2."""
    from src.config.settings import load_settings
    from src.shared.domain.errors import UserError
    from src.shared.infra.logging import configure_logging
    from src.shared.infra.process_start import begin_process

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        begin_process()
        settings = load_settings()
        configure_logging(settings, service)
        work(settings, stop)
    except UserError as error:
        sys.stderr.write(f"{service}: {error}\n")
        raise SystemExit(_USER_ERROR) from None
