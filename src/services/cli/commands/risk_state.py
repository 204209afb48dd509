"""`tradewinds halt`, the kill switch, which waits for no broker, and `resume`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Who, Why
from src.shared.domain.errors import InputInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from src.shared.domain.risk import RiskState
    from src.shared.prefect.tasks.wiring import Services


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
    # The broker's time is not worth waiting for: one that hangs would let orders go out meanwhile.
    _set(levels[what], who, why, lambda _: datetime.now(UTC))


def resume(why: Why = "", who: Who = "") -> None:
    """Let entries and exits go on; the account's peak of equity counts anew from now."""
    from src.shared.domain.risk import RiskState

    # The peak of equity counts from it anew, among points that have market time.
    _set(RiskState.ACTIVE, who, why, lambda found: found.unasked_broker.clock().now)


def _set(after: RiskState, who: str, why: str, now: Callable[[Services], datetime]) -> None:
    from src.services.cli.desk import user_name, wired

    found = wired()
    risk = found.kill_switch
    before = risk.standing()
    standing = risk.set_state(after, who or user_name(), why, now(found))
    typer.echo(f"{before.state.value} → {standing.state.value} (by {standing.who}: {standing.why})")
