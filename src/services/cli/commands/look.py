"""`tradewinds positions`, `orders`, `trades`: look, change nothing; `verify` checks and opens the gate twice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json
from src.shared.domain.days import parse_moment
from src.shared.domain.errors import InputInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.table import Table

    from src.services.execution.domain.desk import OrderStory, SymbolPosition, TradeLine, TradeStory
    from src.services.execution.domain.invariants import Invariant
    from src.services.execution.use_cases.look import Orders

_BROKEN = 1
_MANY_ORDERS = 200

PairOption = Annotated[str | None, typer.Option("--pair", help="Of this pair alone, such as SPY/QQQ.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(positions)
    app.command()(orders)
    app.command()(trades)
    app.command()(verify)


def positions(as_json: Json = False) -> None:
    """Show what is held: ours by pair trade, the account's, and what is not ours."""
    from src.services.cli.desk import broker_or_none, console, print_json, print_table, say_away, wired

    found = wired()
    broker, why_not = broker_or_none(found)
    held = found.look.positions(broker)
    if as_json:
        print_json({"broker": not why_not, "positions": [_position_dict(each) for each in held]})
        return
    out = console()
    print_table(out, positions_table(held), "Nothing is held.")
    say_away(out, why_not)


def orders(
    name: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One order: all that ever happened to it.")
    ] = None,
    pair: PairOption = None,
    every: Annotated[bool, typer.Option("--all", help=f"Also what is over: the newest {_MANY_ORDERS}.")] = False,
    as_json: Json = False,
) -> None:
    """Show our unfinished orders, and open ones at the broker that are not ours."""
    from src.services.cli.desk import broker_or_none, console, print_json, print_table, say_away, wired

    found = wired()
    if name is not None:
        story = found.look.order(name)
        if as_json:
            print_json(story)
        else:
            print_order(console(), story)
        return
    broker, why_not = broker_or_none(found)
    listed = found.look.orders(broker, pair, _MANY_ORDERS if every else None)
    if as_json:
        print_json(listed)
        return
    out = console()
    print_table(out, orders_table(listed), "There is no order." if every else "No order is open; --all shows all.")
    say_away(out, why_not)


def trades(
    name: Annotated[
        str | None, typer.Argument(metavar="[ID|PAIR]", help="One trade, or the newest of a pair, with --why.")
    ] = None,
    pair: PairOption = None,
    is_open: Annotated[
        bool | None, typer.Option("--open/--closed", help="Unfinished ones, or finished ones.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many of the newest.")] = 20,
    why: Annotated[
        bool, typer.Option("--why", help="The numbers of its decisions, its orders, fills, ledger.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show trades, or with --why everything that led to one and came of it."""
    from src.services.cli.desk import console, print_json, print_table, wired

    if why and name is None:
        raise InputInvalid("--why needs a trade: `tradewinds trades SPY/QQQ --why`, or its id.")
    found = wired()
    if name is None:
        listed = found.look.trades(pair, is_open, last)
        if as_json:
            print_json(listed)
        else:
            print_table(console(), trades_table(listed), "There is no such trade yet.")
        return
    story = found.look.trade(name)
    if as_json:
        print_json(story if why else story.line)
    elif why:
        print_trade(console(), story)
    else:
        console().print(trades_table([story.line]))


def verify(
    since: Annotated[
        str, typer.Option(help="Look at the broker's orders from this UTC day or time on; else from our first one.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Check the invariants I1 to I8 against the broker; exit code 1 if one is broken.

    For I8 the gate opens twice, as in every run: what is unfinished is carried on.
    """
    from src.services.cli.desk import console, invariants_table, print_json, wired

    asked = parse_moment("--since", since) if since else None
    found = wired()
    start = asked or found.look.first_slot() or found.execution.cycle.market_clock().now
    checked = found.execution.verification.run(start - timedelta(minutes=1))
    if as_json:
        print_json({"since": start, "holds": _all_hold(checked), "invariants": checked})
    else:
        console().print(invariants_table(checked))
    if not _all_hold(checked):
        raise typer.Exit(_BROKEN)


def positions_table(held: tuple[SymbolPosition, ...]) -> Table:
    """Lay positions out: a row for each trade's shares, a sum where several share a symbol, others' apart."""
    from rich.text import Text

    from src.services.cli.desk import dollars, price, shares, table, when

    made = table(
        "Positions", "symbol", "whose", "state", "shares", "avg price", "price", "unrealised", "ours", "broker"
    )
    for each in held:
        shown = price(each.price) + (f"\n{when(each.price_at)}" if each.price_at else "")
        totals = shares(each.ours), "unknown" if each.broker is None else shares(each.broker)
        for number, holding in enumerate(each.holdings):
            sums = totals if number == 0 else ("", "")
            made.add_row(
                each.symbol, holding.pair_id, holding.state, shares(holding.quantity), price(holding.avg_price),
                shown, dollars(each.pnl_of(holding)), *sums,
            )  # fmt: skip
        if each.external:
            sums = ("", "") if each.holdings else totals
            made.add_row(
                each.symbol, Text("EXTERNAL", "yellow"), "left alone", shares(each.external), "", shown, "", *sums
            )
    return made


def orders_table(listed: Orders) -> Table:
    """Lay orders out, others' last."""
    from rich.text import Text

    from src.services.cli.desk import exactly, price, shares, table

    made = table(
        "Orders (times UTC)", "order", "trade of", "leg", "action", "symbol", "quantity", "state", "filled", "price",
        "planned", "why",
    )  # fmt: skip
    for line in listed.ours:
        i = line.intent
        made.add_row(
            i.client_order_id, line.pair_id, str(i.leg), i.action.value, i.symbol, shares(i.quantity), i.state.value,
            shares(i.filled_quantity), price(i.filled_avg_price), exactly(i.created_at), i.reason or "",
        )  # fmt: skip
    for order in listed.external or ():
        made.add_row(
            order.client_order_id, Text("EXTERNAL", "yellow"), "", "", order.symbol, shares(order.quantity),
            order.status, shares(order.filled_quantity), price(order.filled_avg_price), exactly(order.created_at),
            "left alone",
        )  # fmt: skip
    return made


def print_order(out: Console, story: OrderStory) -> None:
    """Print one order with every state it had."""
    from src.services.cli.desk import exactly, price, shares, table
    from src.services.execution.use_cases.look import Orders

    out.print(orders_table(Orders((story.line,), ())))
    made = table("Its life (market time; recorded by the database)", "", "event", "at", "recorded", "filled", "price")
    made.add_column("why", overflow="fold")
    for step in story.steps:
        made.add_row(
            str(step.version), step.event, exactly(step.occurred_at), exactly(step.recorded_at),
            shares(step.filled_quantity), price(step.filled_avg_price), step.reason or "",
        )  # fmt: skip
    out.print(made)


def trades_table(listed: list[TradeLine] | tuple[TradeLine, ...]) -> Table:
    """Lay trades out."""
    from src.services.cli.desk import dollars, shares, table, when

    made = table(
        "Trades (slots in UTC)", "trade of", "direction", "state", "opened", "closed", "shares\nheld 1",
        "shares\nheld 2", "booked", "why", "id",
    )  # fmt: skip
    for line in listed:
        t, is_pair = line.trade, line.trade.instance_id is None
        made.add_row(
            t.pair_id, t.direction.words(in_pair=is_pair), t.state.value, when(t.slot), when(t.closed_slot),
            shares(line.held_1), shares(line.held_2) if is_pair else "", dollars(t.realized_pnl),
            t.close_reason or "", str(t.id),
        )  # fmt: skip
    return made


def print_trade(out: Console, story: TradeStory) -> None:
    """Print everything about one trade."""
    from src.services.cli.desk import exactly, price, shares, table, when
    from src.services.execution.use_cases.look import Orders

    out.print(trades_table([story.line]))
    for each in story.decisions:
        made = table(f"Decided at {when(each.slot)}: {each.action} ({each.signal_reason})", "who", "numbers")
        made.add_row("signal", _numbers(each.signal_numbers))
        if each.code is not None:
            made.add_row(f"risk: {each.code}", f"{each.risk_reason}\n{_numbers(each.risk_numbers or {})}")
        out.print(made)
    for audit in story.audits:
        out.print(f"{audit.what} by {audit.who}: {audit.why} ({exactly(audit.recorded_at)})", soft_wrap=True)
    out.print(orders_table(Orders(story.orders, ())))
    made = table("Fills", "order", "symbol", "quantity", "price", "at")
    for fill in story.executions:
        made.add_row(
            fill.client_order_id, fill.symbol, shares(fill.quantity), price(fill.price), exactly(fill.occurred_at)
        )
    out.print(made)
    made = table("Ledger, summed", "account", "asset", "quantity")
    for (account, asset), amount in story.ledger.items():
        made.add_row(account, asset, shares(amount))
    out.print(made)


def _numbers(numbers: Mapping[str, object]) -> str:
    """One line for what is plain, then one for each rule that has numbers of its own."""
    flat = {name: value for name, value in numbers.items() if not isinstance(value, dict)}
    rules = {name: value for name, value in numbers.items() if isinstance(value, dict)}
    lines = [_listed(flat)] if flat else []
    return "\n".join(lines + [f"{name}: {_listed(each)}" for name, each in rules.items()])


def _listed(numbers: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_rounded(value)}" for name, value in numbers.items())


def _rounded(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == [] else str(value)


def _position_dict(each: SymbolPosition) -> dict[str, object]:
    return {
        "symbol": each.symbol,
        "ours": each.ours,
        "broker": each.broker,
        "external": each.external,
        "price": each.price,
        "price_at": each.price_at,
        "unrealized_pnl": each.unrealized_pnl,
        "holdings": each.holdings,
    }


def _all_hold(checked: list[Invariant]) -> bool:
    return all(each.holds for each in checked)
