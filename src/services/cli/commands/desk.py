"""`tradewinds reconcile`, `close`, `write-off` and `flatten`: what a person does by hand, with ours only."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json, Who, Why
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_symbol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from src.services.execution.domain.desk import Comparison
    from src.services.execution.use_cases.desk import Carried, Closing, Person
    from src.shared.domain.pairs import PairTrade

_UNFINISHED = _DIFFER = 1


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(reconcile)
    app.command()(close)
    app.command("write-off")(write_off)
    app.command()(flatten)


def reconcile(
    explain: Annotated[
        bool, typer.Option("--explain", help="Show both sides, what a difference means and what to do.")
    ] = False,
    who: Who = "",
    why: Annotated[str, typer.Option(help="For the audit log.")] = "asked by hand",
    as_json: Json = False,
) -> None:
    """Carry on what is unfinished and compare our books with the broker; exit code 1 if they disagree."""
    from rich.text import Text

    from src.services.cli.desk import console, print_json, print_table, wired

    desk = wired().execution.desk
    gate = desk.reconcile(_person(who, why))
    rows = desk.explain(gate) if explain else ()
    if as_json:
        differences = {"differences": gate.differences, **({"compared": rows} if explain else {})}
        print_json({"slot": gate.slot, "reconciled": gate.reconciled, **differences})
    else:
        out = console()
        if explain:
            print_table(out, comparisons_table(rows), "Neither side holds anything or has an order.")
        for difference in gate.differences:
            out.print(Text("✗", "red"), difference, soft_wrap=True)
        verdict = "Books and broker agree." if gate.reconciled else "Books and broker disagree: entries wait."
        out.print(verdict if gate.reconciled or explain else f"{verdict} --explain says what to do.")
    if not gate.reconciled:
        raise typer.Exit(_DIFFER)


def close(
    name: Annotated[str, typer.Argument(metavar="PAIR|ID", help="The pair whose trade is to be closed, or its id.")],
    why: Why = "",
    who: Who = "",
) -> None:
    """Close a pair's trade now, or at the next open; exactly what it holds, and nothing else of the account."""
    from src.services.cli.desk import wired

    _report(wired().execution.desk.close(name, _person(who, why)))


def write_off(
    name: Annotated[str, typer.Argument(metavar="PAIR|ID", help="The pair whose trade it is, or the trade's id.")],
    symbol: Annotated[str, typer.Argument(help="The leg of which shares are gone.")],
    price: Annotated[str, typer.Argument(help="Dollars that each share was sold or bought back for; 0 for nothing.")],
    why: Why = "",
    who: Who = "",
) -> None:
    """Book out shares that are gone from the account for good; what is left of the trade is closed."""
    from src.services.cli.desk import wired

    _report(wired().execution.desk.write_off(name, parse_symbol(symbol), _dollars(price), _person(who, why)))


def flatten(
    confirm: Annotated[bool, typer.Option("--confirm", help="Do it; else only say what would be done.")] = False,
    why: Annotated[str, typer.Option(help="For the audit log; required with --confirm.")] = "",
    who: Who = "",
) -> None:
    """Close every trade of ours. What else the account holds is never touched."""
    from src.services.cli.desk import console, wired

    desk = wired().execution.desk
    if not confirm:
        planned = desk.unfinished()
        if planned:
            console().print(plan_table(planned))
        raise InputInvalid(f"Nothing was sent: --confirm closes {_counted(planned)}.")
    _report(desk.flatten(_person(who, why)))


def comparisons_table(rows: Iterable[Comparison]) -> Table:
    """Lay both sides out, row by row."""
    from rich.text import Text

    from src.services.cli.desk import table

    colour = {"agree": "green", "external": "yellow", "differ": "red"}
    made = table(
        "Our books and the broker", "what", "which", "in our books", "at the broker", "verdict", "means", "do"
    )
    for row in rows:
        verdict = Text(row.verdict.upper(), colour[row.verdict])
        made.add_row(row.kind, row.subject, row.ours, row.theirs, verdict, row.meaning, row.advice)
    return made


def plan_table(trades: Iterable[PairTrade]) -> Table:
    """List the trades that would be closed."""
    from src.services.cli.desk import table, when

    made = table("Would be closed", "pair", "state", "opened")
    for trade in trades:
        made.add_row(trade.pair_id, trade.state.value, when(trade.slot))
    return made


def _report(closing: Closing) -> None:
    from rich.text import Text

    from src.services.cli.desk import console, dollars

    out = console()
    if not closing.trades:
        out.print("We hold nothing: there is no unfinished trade.")
    for each in closing.trades:
        trade = each.after
        if each.is_flat:
            result = f", {dollars(trade.realized_pnl)} booked" if trade.realized_pnl is not None else ""
            became = f"{trade.pair_id}: {each.before.state.value} → {trade.state.value}{result}"
            out.print(Text("✓", "green"), became, soft_wrap=True)
        else:
            out.print(Text("…", "yellow"), f"{trade.pair_id}: {_waits(each, closing)}", soft_wrap=True)
    waiting = [each for each in closing.trades if not each.is_flat]
    if len(closing.trades) > 1:
        out.print(f"{len(closing.trades) - len(waiting)} flat, {len(waiting)} waiting.")
    if any(each.trouble or closing.market.is_open for each in waiting):
        raise typer.Exit(_UNFINISHED)


def _waits(each: Carried, closing: Closing) -> str:
    from src.services.cli.desk import when

    state = f"{each.before.state.value} → {each.after.state.value}"
    if each.trouble:
        return f"{state}, not finished: {' '.join(each.trouble.split())} manage-orders carries it on."
    if not closing.market.is_open:
        return (
            f"{state}. The market is closed: it is closed at the next open, {when(closing.market.next_open)} UTC, "
            "by manage-orders."
        )
    return f"{state}, not finished yet; manage-orders carries it on."


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InputInvalid(f"{text!r} is no price in dollars: write it like 12.34.") from None


def _person(who: str, why: str) -> Person:
    from src.services.cli.desk import user_name
    from src.services.execution.use_cases.desk import Person

    return Person(who or user_name(), why)


def _counted(trades: list[PairTrade]) -> str:
    return "the 1 trade that is not over" if len(trades) == 1 else f"the {len(trades)} trades that are not over"
