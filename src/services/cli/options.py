"""Options that several commands take alike."""

from __future__ import annotations

from typing import Annotated

import typer

FIT_BARS = 1200
"""Hourly bars that a pair is fitted and judged on where nobody says otherwise: about 252 calendar days."""

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Who = Annotated[str, typer.Option(help="Who does it; else the user of this system.")]
Why = Annotated[str, typer.Option(help="For the audit log; required.")]
