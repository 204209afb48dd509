"""`tradewinds pairs`: find and name pairs, look at them, and move them through their lives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from src.services.cli.commands.discover import discover, why
from src.services.cli.options import FIT_BARS, Json, Who, Why

if TYPE_CHECKING:
    from collections.abc import Callable

    from src.services.strategy_engine.ports import PairCard

_NONE_TRADED = 1

Name = Annotated[str, typer.Argument(metavar="PAIR", help="A registered pair such as SPY/QQQ.")]
Bars = Annotated[
    int,
    typer.Option(min=60, max=5000, help="Hourly bars: fitted on the first two thirds, judged on the rest."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        no_args_is_help=True, help="Find and name pairs, look at them, move them through their lives."
    )
    group.command(name="add")(add)
    group.command(name="rebase")(rebase)
    group.command()(discover)
    group.command()(why)
    group.command(name="list")(list_pairs)
    for command in (show, promote, demote, retire, history):
        group.command()(command)
    group.callback()(pairs)
    app.add_typer(group, name="pairs")


def pairs() -> None:
    """Find and name pairs, look at them, move them through their lives."""


def add(
    names: Annotated[
        list[str], typer.Argument(help="Pairs such as SPY/QQQ; the first leg is regressed on the second.")
    ],
    bars: Bars = FIT_BARS,
    mode: Annotated[Literal["active", "observe"], typer.Option(help="Trade it, or watch it only.")] = "active",
    why: Annotated[str, typer.Option(help="For the audit log.")] = "named by hand",
) -> None:
    """Load bars, fit each pair, let the gate judge it, and trade it from the next hour on if it passed.

    A pair that does not pass is watched, and the table says which number falls short.
    """
    from rich.console import Console

    from src.services.cli.desk import user_name
    from src.services.cli.pair_fits import fit_pairs, fits_shown
    from src.shared.domain.ids import parse_pair_id
    from src.shared.domain.pairs import PairMode
    from src.shared.prefect.tasks.wiring import services

    for name in names:
        parse_pair_id(name)
    wired = services()
    cycle = wired.execution.cycle
    until = cycle.calendar.last_slot(cycle.market_clock().now)
    wanted = PairMode(mode)
    fitted = fit_pairs(wired, names, until=until, bars=bars, who=user_name(), why=why, mode=wanted)
    title = f"Pairs, fitted and judged on {bars} hourly bars up to {until:%Y-%m-%d %H:%M} UTC"
    Console(highlight=False).print(fits_shown(fitted, title))
    if wanted is PairMode.ACTIVE and not any(pair.traded for pair in fitted):
        raise typer.Exit(_NONE_TRADED)


def rebase(
    pair: Annotated[str, typer.Argument(help="A frozen pair such as SPY/QQQ.")],
    why: Annotated[str, typer.Option(help="For the audit log.")],
    bars: Bars = FIT_BARS,
) -> None:
    """Fit a pair that a company's action froze anew, on adjusted history; it trades again if the gate lets it."""
    from rich.console import Console

    from src.services.cli.desk import user_name
    from src.services.cli.pair_fits import fit_pairs, fits_shown
    from src.shared.domain.errors import InputInvalid
    from src.shared.prefect.tasks.wiring import services

    wired = services()
    cycle = wired.execution.cycle
    until = cycle.calendar.last_slot(cycle.market_clock().now)
    mode = wired.strategy.mode_to_rebase(pair, until)
    (fitted,) = fit_pairs(wired, [pair], until=until, bars=bars, who=user_name(), why=why, mode=mode)
    if fitted.beta is None:
        raise InputInvalid(f"{pair} stays frozen: {fitted.objections}")
    title = f"Re-based on {bars} hourly bars up to {until:%Y-%m-%d %H:%M} UTC"
    Console(highlight=False).print(fits_shown([fitted], title))


def list_pairs(as_json: Json = False) -> None:
    """Show every pair: its mode, the numbers of its gate, hours watched, a trade under way, its last signal."""
    from src.services.cli.desk import console, print_json, print_table, wired
    from src.services.cli.pair_cards import card_dict, pairs_table

    lives = wired().lives
    cards = lives.cards()
    if as_json:
        print_json([card_dict(card, lives.ways_up(card)) for card in cards])
        return
    print_table(console(), pairs_table(cards), "No pair is registered: `tradewinds pairs add SPY/QQQ` names one.")


def show(pair: Name, as_json: Json = False) -> None:
    """Show every number of a pair, and what keeps it from its next promotion."""
    from src.services.cli.desk import console, print_json, wired
    from src.services.cli.pair_cards import card_dict, print_card

    lives = wired().lives
    card = lives.card(pair)
    if as_json:
        print_json(card_dict(card, lives.ways_up(card)))
    else:
        print_card(console(), card, lives.ways_up(card))


def promote(pair: Name, why: Why = "", who: Who = "") -> None:
    """Take a pair one step up: from candidate to observe, from observe to active."""
    from src.services.cli.desk import wired

    _step(wired().lives.promote, pair, why, who)


def demote(pair: Name, why: Why = "", who: Who = "") -> None:
    """Trade an active pair no more; a trade under way is managed to its end, then the pair is watched."""
    from src.services.cli.desk import wired

    _step(wired().lives.demote, pair, why, who)


def retire(pair: Name, why: Why = "", who: Who = "") -> None:
    """Watch a pair no more; a trade under way is managed to its end first."""
    from src.services.cli.desk import wired

    _step(wired().lives.retire, pair, why, who)


def history(pair: Name, as_json: Json = False) -> None:
    """Show what happened to a pair: when, who, what, why."""
    from src.services.cli.desk import console, print_json, print_table, wired
    from src.services.cli.pair_cards import history_table

    lines = wired().lives.history(pair)
    if as_json:
        print_json(lines)
    else:
        print_table(console(), history_table(lines, pair), f"The audit log says nothing of {pair}.")


def _step(take: Callable[..., PairCard], pair: str, why: str, who: str) -> None:
    from src.services.cli.desk import user_name
    from src.services.cli.pair_cards import mode_of

    card = take(pair, at=datetime.now(UTC), who=who or user_name(), why=why)
    typer.echo(f"{pair} is {mode_of(card)} now.")
