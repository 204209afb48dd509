"""`tradewinds indicators`: what technical indicators say of a symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from src.services.analytics.domain.indicators import LatestIndicators


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Show the technical indicators of a symbol.")
    group.command(name="show")(show)
    group.callback()(indicators)
    app.add_typer(group, name="indicators")


def indicators() -> None:
    """Show the technical indicators of a symbol."""


def show(
    symbol: Annotated[str, typer.Argument(help="A symbol such as SPY.")],
    as_json: Json = False,
) -> None:
    """Show the newest values of every series of bars that is stored of a symbol."""
    from src.services.cli.desk import console, print_json, wired
    from src.shared.domain.ids import parse_symbol

    parse_symbol(symbol)
    found = wired().indicators.latest(symbol)
    if as_json:
        print_json(found)
    else:
        console().print(latest_table(symbol, found))


def latest_table(symbol: str, series: Sequence[LatestIndicators]) -> Table:
    """Lay the newest values out, a column for each series; a value that there is not yet is left empty."""
    from src.services.cli.desk import table, when

    made = table(f"Indicators of {symbol} (bars end in UTC)", "indicator")
    for each in series:
        made.add_column(f"{each.kind}\n{when(each.bar_end)}", justify="right")
    for name in series[0].values:
        numbers = [each.values[name] for each in series]
        made.add_row(name.replace("_", " "), *("" if number is None else f"{number:,.6g}" for number in numbers))
    return made
