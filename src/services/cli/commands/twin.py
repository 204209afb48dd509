"""`tradewinds twin`: the offline stand-in for Alpaca, for anybody's code."""

from __future__ import annotations

import typer

from src.services.twin.main import serve
from src.services.twin.main import twin as about


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help=about.__doc__)
    group.command(name="serve")(serve)
    group.callback()(about)
    app.add_typer(group, name="twin")
