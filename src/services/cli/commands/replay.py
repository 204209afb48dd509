"""`tradewinds replay`: take the stored decisions of a day again and say where and why one comes out otherwise."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json
from src.shared.domain.days import parse_day

if TYPE_CHECKING:
    from rich.table import Table

    from src.services.strategy_engine.domain.bar_versions import BarChange
    from src.services.strategy_engine.domain.replay import ReplayedDecision
    from src.services.strategy_engine.use_cases.replay import ReplayedDay

_UNEXPLAINED = 1


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(replay)


def replay(
    day: Annotated[str, typer.Option("--day", metavar="DAY", help="A session, such as 2025-10-20.")],
    pair: Annotated[str | None, typer.Option("--pair", help="Of this pair alone, such as SPY/QQQ.")] = None,
    as_json: Json = False,
) -> None:
    """Take a day's stored decisions again from the stored bars; exit code 1 if one differs and nothing says why."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from src.services.cli.desk import console, print_json, wired

    today = datetime.now(ZoneInfo("America/New_York")).date()
    chosen = parse_day("--day", day)
    with closing(wired().replay) as again:
        found = again.day(chosen, today, pair)
    if as_json:
        print_json(_facts(found))
    else:
        out = console()
        if not found.decisions:
            out.print(f"No decision is stored of {found.day}{f' about {pair}' if pair else ''}.")
        else:
            out.print(counts_table(found))
            if found.different:
                out.print(differences_table(found.different))
            if found.undecided:
                slots = ", ".join(f"{slot:%H:%M}" for slot in found.undecided)
                out.print(f"No decision is stored of the slots {slots} UTC.", soft_wrap=True)
    if found.unexplained:
        raise typer.Exit(_UNEXPLAINED)


def counts_table(found: ReplayedDay) -> Table:
    """Count the decisions by cause."""
    from src.services.cli.desk import table

    made = table(f"{len(found.decisions)} decisions of {found.day}, taken again", "quantity", "result", "means")
    for cause, count in found.counts.items():
        made.add_row(str(count), cause.value, cause.meaning)
    return made


def differences_table(found: tuple[ReplayedDecision, ...]) -> Table:
    """Lay out what did not simply come out the same, a row for each decision."""
    from src.services.cli.desk import table, when

    made = table("What differs", "slot", "about", "decided", "result", "because", whole=("slot", "about", "result"))
    for each in found:
        decided = f"{each.action} {each.reason}".strip()
        made.add_row(when(each.slot), each.about, decided, each.cause.value, "\n".join(_reasons(each)))
    return made


def _reasons(each: ReplayedDecision) -> list[str]:
    changes = [_change(change) for change in each.changes]
    return [*each.notes, *changes, *(f"{difference}" for difference in each.differences)]


def _change(change: BarChange) -> str:
    from src.services.cli.desk import exactly, when

    what = "" if change.what == "close" else f"{change.what} "
    old = "none" if change.old is None else f"{change.old:g}"
    new = "none" if change.new is None else f"{change.new:g}"
    said = f"{change.kind.value} bar {change.symbol} at {when(change.end)}: {what}{old} → {new}"
    return f"{said} ({exactly(change.at)})"


def _facts(found: ReplayedDay) -> dict[str, object]:
    return {
        "day": found.day.isoformat(),
        "counts": found.counts,
        "unexplained": found.unexplained,
        "undecided": found.undecided,
        "decisions": found.decisions,
    }
