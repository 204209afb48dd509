"""`tradewinds risk`: the limits in force, their history, and what is used of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json, Who, Why

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

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
    as_json: Json = False,
) -> None:
    """Show every limit: its value, who set it when and why, and how much of it is used now."""
    from src.services.cli.desk import console, print_json, wired
    from src.services.cli.limit_table import history_lines, limit_lines

    found = wired()
    lines, why_not = limit_lines(found) if history is None else (history_lines(found, history), "")
    if as_json:
        print_json(lines)
        return
    out = console()
    if history is None:
        out.print(limits_table(lines, is_wide=out.width >= _WIDE))
    else:
        out.print(history_table(lines, history))
    if why_not:
        out.print(f"The broker is away ({why_not}): what is used is not known.", soft_wrap=True)


def set_limit(
    name: Annotated[str, typer.Argument(help="As `tradewinds risk show` lists it.")],
    value: Annotated[str, typer.Argument(help="A number, 15% for a fraction, on or off for a switch.")],
    why: Why = "",
    who: Who = "",
) -> None:
    """Give a limit another value from the next review on. No restart is needed; what is held stays."""
    from datetime import UTC, datetime

    from src.services.cli.desk import user_name, wired
    from src.shared.domain.risk_limits import LIMIT_BOUNDS

    before, after = wired().limits.set(name, value, who or user_name(), why, datetime.now(UTC))
    bounds = LIMIT_BOUNDS[name]
    if after == before:
        typer.echo(f"{name} is {bounds.show(before.value)} already, set by {before.who}: {before.why}")
        return
    typer.echo(
        f"{name}: {bounds.show(before.value)} → {bounds.show(after.value)} ({bounds.unit}), version {after.version}"
    )


def limits_table(lines: Iterable[LimitLine], *, is_wide: bool) -> Table:
    """Lay the limits out; on a narrow screen without setting, time and reason, which --json has too."""
    from src.services.cli.desk import table, when

    # A name cut short could not be typed again.
    whole = ("limit", "value", "unit", "used")
    made = table("Limits", *whole, *(("setting", "since", "who", "why") if is_wide else ("who",)), whole=whole)
    for line in lines:
        origin = (line.setting, when(line.since), line.who, line.why) if is_wide else (line.who,)
        made.add_row(line.name, line.value, line.unit, line.used, *origin)
    return made


def history_table(lines: Iterable[LimitLine], name: str) -> Table:
    """Lay the values out that a limit has had."""
    from src.services.cli.desk import table, when

    made = table(f"History of {name}", "version", "value", "unit", "since", "who", "why")
    for line in lines:
        made.add_row(str(line.version), line.value, line.unit, when(line.since), line.who, line.why)
    return made
