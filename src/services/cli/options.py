"""Options that several commands take alike."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Who = Annotated[str, typer.Option(help="Who does it; else the user of this system.")]
Why = Annotated[str, typer.Option(help="For the audit log; required.")]
