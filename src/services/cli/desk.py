"""What the commands at the desk share: the services, wired quietly, and how numbers and times are shown."""

from __future__ import annotations

import dataclasses
import getpass
import io
import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.services.cli.options import storable
from src.shared.domain.errors import Refused, Transient
from src.shared.domain.quantities import plain

if TYPE_CHECKING:
    from src.services.execution.domain.invariants import Invariant
    from src.shared.infra.alpaca.client import AlpacaClient
    from src.shared.prefect.tasks.wiring import Services

_PIPED_WIDTH = 160
_RIGHT = frozenset({"shares", "ours", "broker", "avg price", "price", "unrealised", "booked", "filled", "quantity"})


def wired() -> Services:
    """Return the services as flows have them, checked alike; what they log goes to the log folder alone.

    Raises:
        UserError: the stack does not run, or keys, URL and database do not belong together.
    """
    from src.shared.infra.logging import configure_logging
    from src.shared.prefect.tasks.wiring import services

    found = services()
    # Before anything is written: where no stack runs, no folder is made.
    _ = found.engine
    configure_logging(found.settings, "cli", console=io.StringIO())
    return found


def broker_or_none(found: Services) -> tuple[AlpacaClient | None, str]:
    """Return the broker, or why there is none now.

    Raises:
        UserError: keys, URL and database do not belong together.
    """
    try:
        return found.broker, ""
    except (Transient, Refused) as error:
        return None, " ".join(str(error).split())


def user_name() -> str:
    """Name the person as the system knows them; "unknown" where it does not."""
    try:
        return storable(getpass.getuser())
    except (KeyError, OSError):
        return "unknown"


def console() -> Console:
    """Return where tables go: a terminal's width, or a fixed one for a file. What people wrote is shown as it is."""
    made = Console(highlight=False, markup=False)
    return made if made.is_terminal else Console(highlight=False, markup=False, width=_PIPED_WIDTH)


def table(title: str, *columns: str, whole: Collection[str] = ()) -> Table:
    """Make an empty table; numbers stand at the right, and what is in the columns `whole` is never broken."""
    made = Table(title=title, title_justify="left")
    for name in columns:
        right = name.split("\n")[0] in _RIGHT
        made.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=name in whole)
    return made


def print_table(out: Console, made: Table, nothing: str) -> None:
    """Print a table, or one sentence where it has no rows."""
    if made.row_count:
        out.print(made)
    else:
        out.print(nothing, soft_wrap=True)


def say_away(out: Console, why_not: str) -> None:
    """Say that the broker's side is missing, where it is."""
    if why_not:
        out.print(f"The broker is away ({why_not}): these are our books alone.", soft_wrap=True)


def invariants_table(invariants: Iterable[Invariant]) -> Table:
    """Lay the invariants out with what was looked at and what broke them."""
    made = table("Invariants", "", "what must hold", "looked at", "result")
    for each in invariants:
        result = Text("holds", "green") if each.holds else Text("; ".join(each.breaches), "red")
        made.add_row(each.name, each.meaning, str(each.checked), result)
    return made


def print_json(value: object) -> None:
    """Print dataclasses, money, times and mappings as JSON: money and shares as text, times in UTC."""
    typer.echo(json.dumps(jsonable(value), indent=2))


def jsonable(value: Any) -> Any:
    """Turn a value into what JSON holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(each) for each in value]
    return _scalar(value)


def shares(quantity: Decimal | None) -> str:
    """Write signed shares; empty where they are not known."""
    return "" if quantity is None else plain(quantity)


def price(value: Decimal | None) -> str:
    """Write a price; empty where it is not known."""
    return "" if value is None else f"{value:,.2f}"


def dollars(amount: Decimal | None) -> str:
    """Write signed dollars; empty where they are not known."""
    return "" if amount is None else f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def when(moment: datetime | None) -> str:
    """Write a time in UTC to the minute; empty where there is none."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def exactly(moment: datetime) -> str:
    """Write a time in UTC to the millisecond."""
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def _key(key: object) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _scalar(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, UUID) else value
