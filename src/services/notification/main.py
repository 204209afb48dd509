"""Process entry of the notification service.

`python -m src.services.notification.main` runs the flow run a worker handed over; with `serve` it relays the
outbox and tells people what happens, until it is stopped.
"""

from __future__ import annotations

import signal
import sys
import threading

from src.shared.infra.flow_run import service_main

_USER_ERROR = 2


def commands() -> None:
    """Offer the commands of the service."""
    import typer

    app = typer.Typer(name="notification", add_completion=False, no_args_is_help=True)

    @app.callback()
    def about() -> None:
        """Relay events and tell people what happens."""

    app.command(name="serve")(serve)
    app()


def serve() -> None:
    """Relay the outbox and log what happens, until stopped."""
    from src.config.settings import load_settings
    from src.services.notification.serve import serve as run
    from src.shared.domain.errors import UserError
    from src.shared.failpoints import arm_from_environment
    from src.shared.infra.logging import configure_logging

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        arm_from_environment()
        settings = load_settings()
        configure_logging(settings, "notification")
        run(settings, stop)
    except UserError as error:
        sys.stderr.write(f"notification: {error}\n")
        raise SystemExit(_USER_ERROR) from None


if __name__ == "__main__":
    service_main("notification", commands)
