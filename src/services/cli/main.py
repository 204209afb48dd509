"""The `tradewinds` command: one module per group of commands, each adds its own to the application."""

from __future__ import annotations

import sys

import typer

from src.services.cli.commands import (
    archive,
    backup,
    data,
    demo,
    desk,
    doctor,
    indicators,
    instance,
    look,
    pairs,
    replay,
    risk,
    risk_state,
    run_flow,
    strategy,
    suite,
    twin,
    workflow,
)
from src.services.cli.options import storable
from src.shared.domain.errors import TradewindsError, UserError
from src.shared.infra.process_start import begin_process

_FAILED, _USER_ERROR, _INTERRUPTED = 1, 2, 130


def application() -> typer.Typer:
    """Build the application with every command."""
    app = typer.Typer(
        name="tradewinds",
        help="Discover, validate, trade, reconcile and report equity pairs.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for group in (
        demo, suite, pairs, strategy, instance, data, look, desk, replay, risk_state, risk, indicators, run_flow,
        backup, archive, twin, doctor, workflow,
    ):  # fmt: skip
        group.register(app)
    return app


def run() -> None:
    """Run the command line; a person's mistake is one line on stderr and exit code 2, any other failure one and 1."""
    try:
        begin_process()
        words = [storable(word) for word in sys.argv[1:]]
        raise SystemExit(application()(words, prog_name="tradewinds", standalone_mode=False) or 0)
    except typer.TyperException as error:
        raise SystemExit(_misused(error)) from None
    except UserError as error:
        raise SystemExit(_say(error, _USER_ERROR)) from None
    except TradewindsError as error:
        raise SystemExit(_say(error, _FAILED)) from None
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


def _misused(error: typer.TyperException) -> int:
    """Say what is wrong with the words; a group without a command has shown its help, and has no message."""
    context: typer.Context | None = getattr(error, "ctx", None)
    if message := " ".join(error.format_message().split()):
        hint = f" See `{context.command_path} --help`." if context is not None else ""
        sys.stderr.write(f"error: {message}{hint}\n")
    return error.exit_code


def _say(error: TradewindsError, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
    return code


if __name__ == "__main__":
    run()
