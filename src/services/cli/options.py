"""Options that several commands take alike, and how they are read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from src.shared.domain.errors import InputInvalid

FIT_BARS = 1200
"""Hourly bars that a pair is fitted and judged on where nobody says otherwise: about 252 calendar days."""

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Who = Annotated[str, typer.Option(help="Who does it; else the user of this system.")]
Why = Annotated[str, typer.Option(help="For the audit log; required.")]
Fields = Annotated[list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of the config.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", exists=True, dir_okay=False, help="A TOML or JSON file of fields.")
]


def parse_day(option: str, text: str) -> date:
    """Read a day.

    Raises:
        InputInvalid: it is none; `option` is what the person has typed it for.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputInvalid(f"{option} {text}: write a day such as 2025-08-01.") from None
