"""Options that several commands take alike, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FIT_BARS = 1200
"""Hourly bars that a pair is fitted and judged on where nobody says otherwise: about 252 calendar days."""

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Who = Annotated[str, typer.Option(help="Who does it; else the user of this system.")]
Why = Annotated[str, typer.Option(help="For the audit log; required.")]
Fields = Annotated[list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of the config.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", exists=True, dir_okay=False, help="A TOML or JSON file of fields.")
]


def storable(text: str) -> str:
    """Put a question mark for what no database keeps: bytes that were not UTF-8, and the zero byte.

    A reason, or the name of whoever gives it, is never refused for them: a halt must work.
    """
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
