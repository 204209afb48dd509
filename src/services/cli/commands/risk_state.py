"""`tradewinds halt` and `resume`: the kill switch, which works also while the broker is away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Who, Why
from src.shared.domain.errors import InputInvalid, Refused, Transient

if TYPE_CHECKING:
    from src.shared.domain.risk import RiskState


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(halt)
    app.command()(resume)


def halt(
    what: Annotated[
        str, typer.Argument(metavar="[entries|everything]", help="entries: exits go on. everything: no order at all.")
    ] = "entries",
    why: Why = "",
    who: Who = "",
) -> None:
    """Stop entries, or everything; nothing that is held is sold by it."""
    from src.shared.domain.risk import RiskState

    levels = {"entries": RiskState.REDUCING, "everything": RiskState.HALTED}
    if what not in levels:
        raise InputInvalid(f"halt {what}: write entries (exits go on) or everything (no order at all).")
    _set(levels[what], who, why, needs_broker=False)


def resume(why: Why = "", who: Who = "") -> None:
    """Let entries and exits go on; the account's peak of equity counts anew from now."""
    from src.shared.domain.risk import RiskState

    _set(RiskState.ACTIVE, who, why, needs_broker=True)


def _set(after: RiskState, who: str, why: str, *, needs_broker: bool) -> None:
    from src.services.cli.desk import user_name, wired

    found = wired()
    risk = found.kill_switch
    try:
        now = found.unasked_broker.clock().now
    except (Transient, Refused):
        if needs_broker:
            raise
        now = datetime.now(UTC)
    before = risk.standing()
    standing = risk.set_state(after, who or user_name(), why, now)
    typer.echo(f"{before.state.value} → {standing.state.value} (by {standing.who}: {standing.why})")
