"""Process entry of the execution service.

`python -m src.services.execution.main` runs the flow run a worker handed over; with `listen` it hears the broker's
trade updates and takes fills in as they come, until it is stopped.
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

    app = typer.Typer(name="execution", add_completion=False, no_args_is_help=True)

    @app.callback()
    def about() -> None:
        """Orders, fills and books."""

    app.command(name="listen")(listen)
    app()


def listen() -> None:
    """Take fills in as soon as the broker hints at them, until stopped."""
    from src.config.settings import load_settings
    from src.services.execution.listen import listen as run
    from src.shared.domain.errors import UserError
    from src.shared.infra.logging import configure_logging

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = load_settings()
        configure_logging(settings, "execution")
        run(settings, stop)
    except UserError as error:
        sys.stderr.write(f"execution: {error}\n")
        raise SystemExit(_USER_ERROR) from None


if __name__ == "__main__":
    service_main("execution", commands)
