"""`tradewinds pairs discover` and `pairs why`: search for pairs now, and what a search said of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json, Who

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from src.services.strategy_engine.domain.discovery import FoundPair, ScanPart
    from src.services.strategy_engine.domain.scan.engle_granger import PairScan
    from src.services.strategy_engine.ports import PairWord
    from src.services.strategy_engine.use_cases.discovery import DiscoveryReport

_SHOWN = 50
_SAID = {
    "observe": "watched from now on",
    "known": "registered before",
    "candidate": "passed",
    "chosen": "would be watched",
}


def discover(
    symbols: Annotated[str, typer.Option(metavar="A,B,C", help="Among these symbols; else all with bars.")] = "",
    symbols_file: Annotated[
        Path | None, typer.Option(help="A file with a symbol on each line; what follows a # is left out.")
    ] = None,
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day of the bars to search.")] = "",
    until: Annotated[str, typer.Option(metavar="DAY", help="Last day; else that of the newest bar.")] = "",
    top: Annotated[
        int | None, typer.Option(min=0, max=100, help="So many of the best are watched; else by the settings.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing and watch nothing.")] = False,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Look at all pairs of symbols whose bars are stored, and watch the best that pass the gate; none is traded."""
    from src.services.cli.desk import print_json, user_name, wired
    from src.services.strategy_engine.use_cases.discovery import Request
    from src.shared.domain.days import parse_day
    from src.shared.prefect.scripts import listed_symbols

    request = Request(
        tuple(listed_symbols(symbols, symbols_file)),
        parse_day("--from", first) if first else None,
        parse_day("--until", until) if until else None,
        top,
    )
    found = wired()
    report = found.discovery.discover(
        request, now=found.market_time(), who=who or user_name(), dry_run=dry_run, scan=_scan
    )
    if as_json:
        print_json(report)
    else:
        _print(report, dry_run=dry_run)


def why(
    pair: Annotated[str, typer.Argument(help="A pair such as SPY/QQQ; either leg may come first.")],
    as_json: Json = False,
) -> None:
    """Say at which step a pair fell in the last search that had both its symbols, and by which numbers."""
    from src.services.cli.desk import console, print_json, wired

    word = wired().discovery.why(pair)
    if as_json:
        print_json(word)
        return
    out = console()
    out.print(sentence(pair, word), soft_wrap=True)
    out.print(word_table(word))


def steps_table(report: DiscoveryReport) -> Table:
    """Lay out at which step how many fell."""
    from src.services.cli.desk import table

    search = report.search
    made = table("", "step", "came", "fell", "left")
    for column in made.columns[1:]:
        column.justify = "right"
    out = len(search.excluded)
    made.add_row("symbols", str(len(search.symbols) + out), str(out), str(len(search.symbols)), end_section=True)
    for each in report.tallies:
        made.add_row(each.step.replace("_", " "), *(f"{n:,}" for n in (each.came, each.fell, each.came - each.fell)))
    return made


def pairs_table(pairs: Sequence[FoundPair], title: str) -> Table:
    """Lay out pairs that came to the gate."""
    from src.services.cli.desk import table

    made = table(
        title,
        "pair",
        "rank",
        "corr",
        "adj. p",
        "β",
        "half-life",
        "Sharpe",
        "wins",
        "drawdown",
        "trips",
        "",
        whole=("pair",),
    )
    for column in made.columns[1:-1]:
        column.justify = "right"
    for each in pairs:
        remark = "; ".join(filter(None, (_SAID.get(each.outcome.value, ""), each.reason, each.events)))
        made.add_row(
            each.id, f"{each.score:.3f}", f"{each.correlation:.2f}", f"{each.p_adjusted:.2g}", f"{each.beta:.3f}",
            f"{each.half_life_bars:.1f}", *_trial(each), remark,
        )  # fmt: skip
    return made


def left_out(report: DiscoveryReport) -> str:
    """Say in a line which symbols were left out, the first few by name."""
    out = report.search.excluded
    if not out:
        return ""
    named = "; ".join(f"{each.symbol}: {each.words}" for each in out[:5])
    return f"Left out: {named}" + (f"; and {len(out) - 5} more (--json names them)." if len(out) > 5 else ".")


def sentence(pair: str, word: PairWord) -> str:
    """Say what became of a pair."""
    search = word.search
    window = f"the search of {search.window_start:%Y-%m-%d} to {search.window_end:%Y-%m-%d}"
    if word.step == "passed":
        return (
            f"{pair} passed every step of {window}: {word.outcome.value}{f', {word.reason}' if word.reason else ''}."
        )
    return f"{pair} fell at the step '{word.step.replace('_', ' ')}' of {window}: {word.reason}."


def word_table(word: PairWord) -> Table:
    """Lay out the numbers that a pair was judged by."""
    from src.services.cli.desk import table

    made = table("By these numbers", "number", "value")
    made.columns[1].justify = "right"
    for name, value in word.numbers.items():
        if value is not None:
            made.add_row(name.replace("_", " "), f"{value:,.6g}")
    return made


def _print(report: DiscoveryReport, *, dry_run: bool) -> None:
    from src.services.cli.desk import console

    out, search = console(), report.search
    window = f"{search.window_start:%Y-%m-%d %H:%M} to {search.window_end:%Y-%m-%d %H:%M} UTC"
    out.print(f"Search {search.id}: bars of {window}", soft_wrap=True)
    out.print(steps_table(report))
    if line := left_out(report):
        out.print(line, soft_wrap=True)
    survivors = report.survivors
    if survivors:
        out.print(pairs_table(survivors[:_SHOWN], "Passed the gate"))
    fallen = [each for each in report.found if each not in survivors]
    if fallen:
        out.print(pairs_table(fallen[:_SHOWN], "Fell at the gate"))
    out.print(_conclusion(report, dry_run=dry_run), soft_wrap=True)


def _conclusion(report: DiscoveryReport, *, dry_run: bool) -> str:
    if dry_run:
        return "A dry run: nothing is stored and nothing is watched."
    if report.already_done:
        return "This search was done before; nothing was changed."
    if not report.survivors:
        return "No pair passed: nothing is watched because of this search."
    watched = ", ".join(pair.id for pair in report.observed)
    return f"Watched from the next hour on: {watched}." if watched else "Nothing new is watched."


def _trial(pair: FoundPair) -> tuple[str, ...]:
    if pair.sharpe is None or pair.win_rate is None or pair.max_drawdown is None:
        return ("",) * 4
    return (f"{pair.sharpe:.2f}", f"{pair.win_rate:.0%}", f"{pair.max_drawdown:.1%}", f"{pair.round_trips:.0f}")


def _scan(parts: Sequence[ScanPart]) -> Iterable[PairScan]:
    from src.shared.prefect.scripts import progress_bar

    with progress_bar("Scanning", len(parts)) as step:
        for part in parts:
            yield part.scan()
            step()
