"""`tradewinds doctor`: what is reachable, which versions, every setting and where it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from src.services.cli.diagnosis import Diagnosis

_UNWELL = 1
_WIDE = 120


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    env_example: Annotated[
        bool, typer.Option("--env-example", help="Print the text of deployment/env.example instead.")
    ] = False,
) -> None:
    """Say what is reachable, what is set, and how to mend what is wrong; exit code 1 if something is."""
    if env_example:
        from src.services.cli.env_example import render

        typer.echo(render(), nl=False)
        return
    from src.config.settings import load_settings
    from src.services.cli.diagnosis import diagnose

    diagnosis = diagnose(load_settings())
    if as_json:
        typer.echo(json.dumps(diagnosis.as_dict(), indent=2))
    else:
        _print(diagnosis)
    if not diagnosis.is_well:
        raise typer.Exit(_UNWELL)


def _print(diagnosis: Diagnosis) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    colour = {"ok": "green", "warning": "yellow", "wrong": "red"}
    console.print(_settings_table(diagnosis, with_meaning=console.width >= _WIDE))
    console.print("Versions: " + ", ".join(f"{name} {value}" for name, value in diagnosis.versions.items()))
    for finding in diagnosis.findings:
        verdict = f"[{colour[finding.verdict]}]{finding.verdict:<7}[/]"
        mend = f" {escape(finding.mend)}" if finding.verdict != "ok" else ""
        console.print(f"{verdict} {escape(finding.name)}: {escape(finding.detail)}{mend}", soft_wrap=True)


def _settings_table(diagnosis: Diagnosis, *, with_meaning: bool) -> Table:
    from rich.markup import escape
    from rich.table import Column, Table

    # a name cut short could not be copied; what each means is in deployment/env.example too
    columns = [Column("Setting", no_wrap=True), Column("Value", overflow="fold"), Column("From")]
    if with_meaning:
        columns.append(Column("Meaning"))
    table = Table(*columns, title="Settings", title_justify="left")
    for origin in diagnosis.settings:
        meaning = [escape(origin.meaning)] if with_meaning else []
        table.add_row(origin.variable, escape(origin.value), origin.source, *meaning)
    return table
