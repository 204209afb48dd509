"""`tradewinds instance`: strategies at work, each off, observing or active."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from src.services.cli.options import ConfigFile, Fields, Json, Who, Why
from src.shared.domain.instances import MAIN_ACCOUNT, US_MARKET, InstanceMode

Id = Annotated[str, typer.Argument(metavar="ID", help="As `tradewinds instance list` names it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Run strategies: many at a time, each off, observing or active.")
    group.command(name="create")(create)
    group.command(name="list")(list_all)
    group.command(name="show")(show)
    group.command(name="set")(set_config)
    group.command(name="mode")(switch)
    group.command(name="delete")(delete)
    group.command(name="render")(render)
    app.add_typer(group, name="instance")


def create(
    name: Annotated[str, typer.Argument(metavar="ID", help="Small letters, digits and dashes; it never changes.")],
    strategy: Annotated[str, typer.Argument(help="A strategy, named as its file.")],
    fields: Fields = None,
    config: ConfigFile = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    account: Annotated[str, typer.Option(help="Where it trades; it never changes.")] = MAIN_ACCOUNT,
    market: Annotated[str, typer.Option(help="The exchange's calendar; it never changes.")] = US_MARKET,
    why: Why = "",
    who: Who = "",
) -> None:
    """Make an instance of a strategy. It is off until `tradewinds instance mode` switches it."""
    from datetime import UTC, datetime

    from src.services.cli.desk import user_name, wired
    from src.services.cli.instance_fields import read_fields

    made = wired().instances.create(
        name,
        strategy,
        read_fields(fields or [], config),
        who=who or user_name(),
        why=why,
        now=datetime.now(UTC),
        note=note,
        account=account,
        market=market,
    )
    typer.echo(f"{made.id} ({made.strategy}) is made and off: tradewinds instance mode {made.id} observe")


def list_all(as_json: Json = False) -> None:
    """List every instance: what it is, its mode, how it is."""
    from datetime import UTC, datetime

    from src.services.cli.desk import console, print_json, print_table, wired
    from src.services.cli.instance_tables import instances_table

    found, now = wired().instances.list(), datetime.now(UTC)
    if as_json:
        print_json([_standing_dict(each, now) for each in found])
        return
    print_table(console(), instances_table(found, now), "There is no instance.")


def show(
    name: Id,
    most: Annotated[int, typer.Option("--last", min=1, max=500, help="Decisions and faults to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Show an instance: its config, what it decided lately, and how it failed."""
    from datetime import UTC, datetime

    from src.services.cli.desk import console, dollars, print_json, wired
    from src.services.cli.instance_tables import (
        config_table,
        decisions_table,
        faults_table,
        instances_table,
        trades_table,
    )

    story, now = wired().instances.show(name, most), datetime.now(UTC)
    if as_json:
        remembered = story.standing.state.state if story.standing.state else None
        more: dict[str, object] = {"state": remembered, "decisions": story.decisions, "faults": story.faults}
        more |= {"trades": story.trades, "booked": story.booked}
        print_json({**_standing_dict(story.standing, now), **more})
        return
    out = console()
    out.print(instances_table([story.standing], now))
    asked = story.standing.instance
    out.print(
        f"account {asked.account}, market {asked.market}, config version {asked.config_version}", soft_wrap=True
    )
    tables = config_table(asked.config), trades_table(story.trades), decisions_table(story.decisions)
    for made in (*tables, faults_table(story.faults)):
        if made.row_count:
            out.print(made)
    if story.booked.trades:
        count = "1 trade is" if story.booked.trades == 1 else f"{story.booked.trades} trades are"
        out.print(f"{count} over and booked {dollars(story.booked.dollars)}", soft_wrap=True)


def set_config(
    name: Id,
    fields: Fields = None,
    config: ConfigFile = None,
    note: Annotated[str | None, typer.Option(help="Another note.")] = None,
    why: Why = "",
    who: Who = "",
) -> None:
    """Change fields of an instance's config; FIELD= goes back to the strategy's own value. What is refused changes
    nothing."""
    from datetime import UTC, datetime

    from src.services.cli.desk import user_name, wired
    from src.services.cli.instance_fields import read_fields

    before, after = wired().instances.set(
        name, read_fields(fields or [], config), who=who or user_name(), why=why, now=datetime.now(UTC), note=note
    )
    if after == before:
        typer.echo(f"{name} is so already: nothing was changed.")
    elif after.config_version == before.config_version:
        typer.echo(f"{name} has another note.")
    else:
        typer.echo(f"{name}: config version {after.config_version} from now on; the strategy begins anew.")


def switch(name: Id, mode: InstanceMode, why: Why = "", who: Who = "") -> None:
    """Switch an instance: off, observe (it thinks and can't act) or active. What is held is managed in any mode."""
    from datetime import UTC, datetime

    from src.services.cli.desk import user_name, wired

    before, after = wired().instances.mode(name, mode, who=who or user_name(), why=why, now=datetime.now(UTC))
    typer.echo(f"{name} is {mode.value} already." if before == after else f"{name}: {before.mode} → {after.mode}")


def delete(name: Id, why: Why = "", who: Who = "") -> None:
    """End an instance that is off and holds nothing. Its decisions stay; its name is not given again."""
    from src.services.cli.desk import user_name, wired

    wired().instances.delete(name, who=who or user_name(), why=why)
    typer.echo(f"{name} is gone.")


def render(name: Id, as_json: Json = False) -> None:
    """Draw what an instance shows, as tables and lines, after the last slot it decided in."""
    from datetime import UTC, datetime

    from src.services.cli.desk import console, print_json, wired
    from src.services.cli.instance_tables import print_widgets

    with wired().instance_slots() as slots:
        widgets = slots.draw(name, datetime.now(UTC))
    if as_json:
        print_json(widgets)
        return
    out = console()
    print_widgets(out, widgets)
    if not widgets:
        out.print(f"{name} shows nothing.", soft_wrap=True)


def _standing_dict(standing: Any, now: Any) -> dict[str, object]:
    from src.services.cli.instance_tables import health

    state = standing.state
    return {
        "instance": standing.instance,
        "health": health(standing, now),
        "last_slot": state.slot if state else None,
        "fault": standing.open_fault,
    }
