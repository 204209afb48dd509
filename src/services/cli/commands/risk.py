"""`tradewinds risk`: the limits in force, their history, and what is used of them."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from src.services.cli.limit_table import LimitLine

_WIDE = 120


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Show and change the limits that every entry must pass.")
    group.command(name="show")(show)
    group.command(name="set")(set_limit)
    app.add_typer(group, name="risk")


def show(
    history: Annotated[str | None, typer.Option(metavar="NAME", help="Every value this limit has had.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show every limit: its value, who set it when and why, and how much of it is used now."""
    from src.services.cli.limit_table import history_lines, limit_lines
    from src.shared.prefect.tasks.wiring import services

    lines = limit_lines(services()) if history is None else history_lines(services(), history)
    if as_json:
        typer.echo(json.dumps([line.as_dict() for line in lines], indent=2))
        return
    _print(lines, "Limits" if history is None else f"History of {history}")


def set_limit(
    name: Annotated[str, typer.Argument(help="As `tradewinds risk show` lists it.")],
    value: Annotated[str, typer.Argument(help="A number, 15% for a fraction, on or off for a switch.")],
    why: Annotated[str, typer.Option(help="For the audit log.")],
    who: Annotated[str, typer.Option(help="For the audit log; your login by default.")] = "",
) -> None:
    """Give a limit another value from the next review on. No restart is needed; what is held stays."""
    from datetime import UTC, datetime

    from src.shared.domain.risk_limits import LIMIT_BOUNDS
    from src.shared.prefect.tasks.wiring import services

    before, after = services().limits.set(name, value, who or getpass.getuser(), why, datetime.now(UTC))
    bounds = LIMIT_BOUNDS[name]
    if after == before:
        typer.echo(f"{name} is {bounds.show(before.value)} already, set by {before.who}: {before.why}")
        return
    typer.echo(
        f"{name}: {bounds.show(before.value)} -> {bounds.show(after.value)} ({bounds.unit}), version {after.version}"
    )


def _print(lines: list[LimitLine], title: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    console = Console(highlight=False)
    is_wide = console.width >= _WIDE
    # a name cut short could not be typed again; since and why need room, and are in --json too
    whole = [Column(head, no_wrap=True) for head in ("Limit", "Value", "Unit", "Used")]
    table = Table(*whole, *(("Setting", "Since", "Who", "Why") if is_wide else ("Who",)), title=title)
    for line in lines:
        origin = [line.setting, f"{line.since:%Y-%m-%d %H:%M}", escape(line.who), escape(line.why)]
        table.add_row(line.name, line.value, line.unit, line.used, *(origin if is_wide else origin[2:3]))
    console.print(table)
