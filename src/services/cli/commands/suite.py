"""`tradewinds up`, `down` and `status`."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from src.config.settings import Settings
    from src.services.cli.lifecycle import Step, Suite

_NOT_UP = 1
_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything is ready.")] = False,
) -> None:
    """Start everything that is not external, and stay until Ctrl-C."""
    from rich.console import Console

    from src.config.settings import load_settings
    from src.services.cli.lifecycle import Suite

    console = Console(stderr=True, highlight=False)
    settings = load_settings()
    suite = Suite(settings, shown_on(console))
    signal.signal(signal.SIGTERM, interrupt)
    with suite.claimed():
        suite.start()
        _print_urls(settings)
        if not detach:
            _stay(suite, console)


def down(
    now: Annotated[bool, typer.Option("--now", help="Do not wait for flow runs under way.")] = False,
) -> None:
    """Stop everything of this state folder, and nothing else."""
    from rich.console import Console

    from src.config.settings import load_settings
    from src.services.cli.lifecycle import Suite
    from src.shared.infra.embedded.stack import stack_lock

    console = Console(stderr=True, highlight=False)
    settings = load_settings()
    if not settings.home.exists():
        console.print(f"Nothing runs in {settings.home}.")
        return
    suite = Suite(settings, shown_on(console))
    suite.end_foreground()
    with stack_lock(settings):
        suite.stop(drain=not now)
    console.print("Tradewinds is down.")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show what runs; exit code 1 unless all of it does."""
    from rich.console import Console

    from src.config.settings import load_settings
    from src.services.cli.state import as_table, look

    settings = load_settings()
    report = look(settings)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        Console(highlight=False).print(as_table(report))
    if not report.all_up:
        raise typer.Exit(_NOT_UP)


def _stay(suite: Suite, console: Console) -> None:
    console.print("Ctrl-C stops everything.")
    try:
        suite.watch(lambda text: console.print(f"[yellow]![/] {text}", soft_wrap=True))
    except KeyboardInterrupt as pressed:
        _stop(suite, console)
        # our handler of SIGTERM gives the interrupt an argument, a terminal's Ctrl-C has none
        raise typer.Exit(0 if pressed.args else _INTERRUPTED) from None
    except BaseException:
        _stop(suite, console)
        raise


def _stop(suite: Suite, console: Console) -> None:
    try:
        suite.stop()
    except KeyboardInterrupt:
        console.print("[yellow]![/] not waiting for flow runs any longer")
        suite.stop(drain=False)


def interrupt(*_: object) -> None:
    """Handle a signal as Ctrl-C is handled."""
    raise KeyboardInterrupt("SIGTERM")


def shown_on(console: Console) -> Step:
    """Return a wrapper that shows each piece of work on a console while it lasts and once it is done."""

    @contextmanager
    def step(text: str) -> Iterator[None]:
        with console.status(f"{text} …"):
            yield
        console.print(f"[green]✓[/] {text}")

    return step


def _print_urls(settings: Settings) -> None:
    from src.services.cli.children import wanted

    for child in wanted(settings):
        if url := child.url(settings):
            typer.echo(f"{child.title}: {url}")
