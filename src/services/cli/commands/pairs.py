"""`tradewinds pairs`: find pairs, and name those that are traded."""

from __future__ import annotations

from typing import Annotated

import typer

from src.services.cli.commands.discover import discover, why

_NONE_TRADED = 1


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Find pairs, and name those that are traded.")
    group.command(name="add")(add)
    group.command(name="rebase")(rebase)
    group.command(name="discover")(discover)
    group.command(name="why")(why)
    group.callback()(pairs)
    app.add_typer(group, name="pairs")


def pairs() -> None:
    """Find pairs, and name those that are traded."""


def add(
    names: Annotated[
        list[str], typer.Argument(help="Pairs such as SPY/QQQ; the first leg is regressed on the second.")
    ],
    bars: Annotated[int, typer.Option(min=60, max=5000, help="Hourly bars to fit on.")] = 500,
    why: Annotated[str, typer.Option(help="For the audit log.")] = "named by hand",
) -> None:
    """Load bars, fit each pair and trade it from the next hour on; a poor fit is only watched."""
    from rich.console import Console

    from src.services.cli.desk import user_name
    from src.services.cli.pair_fits import fit_pairs, fits_table
    from src.shared.domain.ids import parse_pair_id
    from src.shared.prefect.tasks.wiring import services

    for name in names:
        parse_pair_id(name)
    wired = services()
    cycle = wired.execution.cycle
    until = cycle.calendar.last_slot(cycle.market_clock().now)
    fitted = fit_pairs(wired, names, until=until, bars=bars, who=user_name(), why=why)
    Console(highlight=False).print(
        fits_table(fitted, f"Pairs, fitted on {bars} hourly bars up to {until:%Y-%m-%d %H:%M} UTC")
    )
    if not any(pair.traded for pair in fitted):
        raise typer.Exit(_NONE_TRADED)


def rebase(
    pair: Annotated[str, typer.Argument(help="A frozen pair such as SPY/QQQ.")],
    why: Annotated[str, typer.Option(help="For the audit log.")],
    bars: Annotated[int, typer.Option(min=60, max=5000, help="Hourly bars to fit on.")] = 500,
) -> None:
    """Fit a pair that a company's action froze anew, on adjusted history, and let it trade again."""
    from rich.console import Console

    from src.services.cli.desk import user_name
    from src.services.cli.pair_fits import fit_pairs, fits_table
    from src.shared.domain.errors import InputInvalid
    from src.shared.prefect.tasks.wiring import services

    wired = services()
    cycle = wired.execution.cycle
    until = cycle.calendar.last_slot(cycle.market_clock().now)
    mode = wired.strategy.mode_to_rebase(pair, until)
    (fitted,) = fit_pairs(wired, [pair], until=until, bars=bars, who=user_name(), why=why, mode=mode)
    if fitted.beta is None:
        raise InputInvalid(f"{pair} stays frozen: {fitted.objections}")
    title = f"Re-based on {bars} hourly bars up to {until:%Y-%m-%d %H:%M} UTC"
    Console(highlight=False).print(fits_table([fitted], title))
