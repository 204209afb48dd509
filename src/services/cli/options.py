"""Options that several commands take alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Who = Annotated[str, typer.Option(help="Who does it; else the user of this system.")]
Why = Annotated[str, typer.Option(help="For the audit log; required.")]
Fields = Annotated[list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of the config.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", exists=True, dir_okay=False, help="A TOML or JSON file of fields.")
]
