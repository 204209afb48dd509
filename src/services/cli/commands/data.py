"""`tradewinds data`: how stored bars stand, what was rejected, repairs from another vendor, quotes, earnings."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json, Who
from src.shared.domain.days import parse_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table
    from rich.text import Text

    from src.services.data_ingestion.domain.company import EarningsTold
    from src.services.data_ingestion.domain.rules.verdict import Verdict
    from src.services.data_ingestion.ports import RejectedRow
    from src.services.data_ingestion.use_cases.quality import Repair, SeriesStatus
    from src.shared.domain.bars import Series
    from src.shared.domain.vendor_data import Quote

_BLOCKED = 1
_NOT_REPAIRED = 1
_NO_QUOTE = 1
_REPORTS_SHOWN = timedelta(days=14)
_STYLES = {"block": "red", "warning": "yellow", "info": ""}

Symbols = Annotated[str, typer.Option(metavar="A,B", help="Of these symbols alone.")]
Vendor = Annotated[str | None, typer.Option(help="Of this vendor alone, such as alpaca.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Look at stored bars and quotes, judge and repair bars.")
    for command in (status, validate, repair, quarantine, quotes, earnings):
        group.command()(command)
    app.add_typer(group, name="data")


def status(symbols: Symbols = "", vendor: Vendor = None, as_json: Json = False) -> None:
    """Show coverage, freshness and verdicts of stored series; exit code 1 if a verdict blocks."""
    from src.services.cli.desk import console, print_json, print_table, wired

    found = wired()
    listed = found.quality.status(_symbols(symbols), found.market_time(), vendor)
    if as_json:
        print_json([_status_dict(each) for each in listed])
    else:
        out = console()
        print_table(out, status_table(listed), "No such bars are stored.")
        faults = faults_table((each.series, each.faults) for each in listed)
        if faults.row_count:
            out.print(faults)
    if any(each.blocks for each in listed):
        raise typer.Exit(_BLOCKED)


def validate(symbols: Symbols = "", as_json: Json = False) -> None:
    """Judge stored series now, as the flow does each night; exit code 1 if a verdict blocks."""
    from src.services.cli.desk import console, print_json, print_table, wired

    found = wired()
    judged = found.quality.validate(_symbols(symbols), found.market_time())
    if as_json:
        print_json(judged)
    else:
        faults = faults_table((each.series, each.faults) for each in judged)
        print_table(console(), faults, f"All {len(judged)} series keep every rule.")
    if any(each.blocking for each in judged):
        raise typer.Exit(_BLOCKED)


def repair(
    symbols: Annotated[str, typer.Option(metavar="A,B", help="Whose hourly bars to fill.")],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day, such as 2025-08-01.")],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day.")],
    vendor_2: Annotated[
        str | None, typer.Option(metavar="VENDOR", help="Take bars of this vendor; else of the one that has most.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    who: Who = "",
) -> None:
    """Fill gaps of the bars that are traded on from another vendor's, where both agree; exit code 1 if it can't."""
    from src.services.cli.desk import console, user_name, wired

    days = parse_day("--from", first), parse_day("--to", last)
    found = wired()
    done = found.quality.repair(
        _symbols(symbols), *days, found.market_time(), who=who or user_name(), vendor=vendor_2, dry_run=dry_run
    )
    console().print(repairs_table(done, "Would be filled" if dry_run else "Repaired"))
    if any(each.objection for each in done):
        raise typer.Exit(_NOT_REPAIRED)


def quarantine(
    symbols: Symbols = "",
    vendor: Vendor = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many of the newest.")] = 50,
    as_json: Json = False,
) -> None:
    """Show rows of vendors that were not let in, each with its reason."""
    from src.services.cli.desk import console, print_json, print_table, wired

    rows = wired().quality.quarantined(_symbols(symbols), vendor, last)
    if as_json:
        print_json(rows)
    else:
        print_table(console(), quarantine_table(rows), "No row was rejected.")


def quotes(
    symbols: Annotated[str, typer.Option(metavar="A,B", help="Whose best bid and ask to ask the broker for.")],
    as_json: Json = False,
) -> None:
    """Show the latest quotes of the broker's data feed; exit code 1 if a symbol has none."""
    from src.services.cli.desk import console, print_json, print_table, wired
    from src.shared.domain.errors import InputInvalid
    from src.shared.domain.ids import parse_symbol

    names = sorted({parse_symbol(name) for name in _symbols(symbols)})
    if not names:
        raise InputInvalid("name at least one symbol: --symbols KO,PEP.")
    found = wired().broker.latest_quotes(names)
    if as_json:
        print_json(list(found.values()))
    else:
        print_table(console(), quotes_table(found.values()), "There is no quote.")
    if absent := [name for name in names if name not in found]:
        typer.echo(f"No quote of {', '.join(absent)}.", err=True)
        raise typer.Exit(_NO_QUOTE)


def earnings(symbols: Symbols = "", as_json: Json = False) -> None:
    """Show when companies report, from the last two weeks on, as vendors told it and what they told before."""
    from src.services.cli.desk import console, print_json, print_table, wired

    found = wired()
    told = found.companies.earnings(_symbols(symbols), found.market_time().date() - _REPORTS_SHOWN)
    if as_json:
        print_json(told)
    else:
        print_table(console(), earnings_table(told), "No day of earnings is known.")


def earnings_table(told: Iterable[EarningsTold]) -> Table:
    """Lay days of earnings out, those that were moved after those that stand."""
    from src.services.cli.desk import table, when

    made = table("Earnings", "symbol", "reports on", "told by", "told at", "", whole=("symbol", "reports on"))
    for each in told:
        day = each.day
        days = f"{day.first_day}" if day.first_day == day.last_day else f"{day.first_day} to {day.last_day}"
        standing = f"until {when(each.withdrawn_at)}" if each.withdrawn_at else "estimated" if day.is_estimate else ""
        made.add_row(each.symbol, days, each.vendor, when(each.told_at), standing)
    return made


def quotes_table(found: Iterable[Quote]) -> Table:
    """Lay quotes out, with the spread in basis points of its middle where both sides are there."""
    from src.services.cli.desk import table, when

    made = table("Latest quotes", "symbol", "bid", "size", "ask", "size", "spread in bp", "at")
    for each in found:
        both = each.bid > 0 and each.ask > 0
        spread = f"{(each.ask - each.bid) / (each.ask + each.bid) * 20_000:.1f}" if both else ""
        made.add_row(
            each.symbol, str(each.bid), str(each.bid_size), str(each.ask), str(each.ask_size), spread, when(each.at)
        )
    return made


def status_table(listed: Sequence[SeriesStatus]) -> Table:
    """Lay series out, a row each."""
    from src.services.cli.desk import table, when

    since = f" since {listed[0].since:%Y-%m-%d}" if listed else ""
    made = table(
        f"Stored bars{since}", "series", "first", "last", "bars", "missing", "longest hole", "late",
        "rejected", "repaired", "judged", "verdict", whole=("series",),
    )  # fmt: skip
    for each in listed:
        hole = f"{each.longest_hole_bars} from {when(each.longest_hole_from)}" if each.longest_hole_bars else ""
        made.add_row(
            str(each.series), when(each.first), when(each.last), f"{each.bars} of {each.expected}",
            str(each.missing), hole, str(each.stale_bars), str(each.quarantined), str(each.repaired),
            when(each.looked_at), _verdict(each),
        )  # fmt: skip
    return made


def faults_table(found: Iterable[tuple[Series, Sequence[Verdict]]]) -> Table:
    """Lay out what is wrong, a row for each rule that a series breaks."""
    from rich.text import Text

    from src.services.cli.desk import table

    made = table("What is wrong", "series", "verdict", "rule", "reason", whole=("series", "verdict", "rule"))
    for series, faults in found:
        for fault in faults:
            made.add_row(str(series), Text(fault.severity, _STYLES[fault.severity]), fault.rule, fault.reason)
    return made


def repairs_table(done: Iterable[Repair], title: str) -> Table:
    """Lay repairs out."""
    from src.services.cli.desk import table

    made = table(title, "series", "from", "missing", "filled", "why not", whole=("series",))
    for each in done:
        made.add_row(str(each.series), each.vendor, str(each.missing), str(each.filled), each.objection or "")
    return made


def quarantine_table(rows: Iterable[RejectedRow]) -> Table:
    """Lay rejected rows out, the newest first."""
    from src.services.cli.desk import jsonable, table, when

    made = table("Rejected rows", "when", "symbol", "vendor", "of", "bar end", "rule", "reason", "row")
    for each in rows:
        of = " ".join(filter(None, (each.dataset, each.timeframe)))
        made.add_row(
            when(each.recorded_at), each.symbol, each.vendor, of, when(each.bar_end), each.rule, each.reason,
            str(jsonable(each.raw)),
        )  # fmt: skip
    return made


def _verdict(each: SeriesStatus) -> Text:
    from rich.text import Text

    if each.blocks:
        return Text("blocked", "red")
    if each.faults:
        return Text("faults", "yellow")
    return Text("sound", "green") if each.looked_at else Text("not judged yet")


def _status_dict(each: SeriesStatus) -> dict[str, object]:
    from dataclasses import fields

    return {field.name: getattr(each, field.name) for field in fields(each)} | {"blocks": each.blocks}


def _symbols(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
