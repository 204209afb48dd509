"""The `tradewinds` command: one module per group of commands, each adds its own to the application."""

from __future__ import annotations

import sys

import typer

from src.services.cli.commands import demo, doctor, pairs, run_flow, suite
from src.shared.domain.errors import UserError
from src.shared.failpoints import arm_from_environment

_USER_ERROR, _INTERRUPTED = 2, 130


def application() -> typer.Typer:
    """Build the application with every command."""
    app = typer.Typer(
        name="tradewinds",
        help="Discover, validate, trade, reconcile and report equity pairs.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for group in (demo, suite, pairs, run_flow, doctor):
        group.register(app)
    return app


def run() -> None:
    """Run the command line; a person's mistake is one line on stderr and exit code 2."""
    try:
        arm_from_environment()
        application()()
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        raise SystemExit(_USER_ERROR) from None
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


if __name__ == "__main__":
    run()
