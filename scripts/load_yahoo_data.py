"""Load bars and company data from Yahoo, without a Prefect server: the same use cases as the flows."""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.shared.domain.errors import InputInvalid, TradewindsError, UserError
from src.shared.domain.ids import parse_symbol
from src.shared.prefect.scripts import parse_midnight, progress_bar, run_script, wired_for
from src.shared.prefect.tasks.wiring import Services

if TYPE_CHECKING:
    from src.services.data_ingestion.domain.company import CompanyDataset
    from src.shared.ports.market_data import Adjustment

COMPANY_DATA = {
    "information": ("information",),
    "officers": ("officers",),
    "statistics": ("statistics",),
    "statements": ("statements",),
    "holders": ("holders",),
    "dividends": ("dividends", "splits"),
    "earnings": ("earnings",),
}
EVERYTHING = ("bars", *COMPANY_DATA)
ADJUSTMENTS: tuple["Adjustment", ...] = ("split", "raw")

Failures = dict[str, str]
Step = Callable[[], None]
Window = tuple[datetime, datetime]
Load = tuple[str, Callable[[Step], tuple[str, Failures]]]


def load_yahoo_data(
    what: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(EVERYTHING)}.")] = ",".join(EVERYTHING),
    symbols: Annotated[str, typer.Option(help="Comma-separated; without it every active symbol.")] = "",
    first: Annotated[str, typer.Option("--from", help="First day of the bars, like 2025-01-31.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last day of the bars; without it today.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked for, and stop.")] = False,
    resume: Annotated[
        bool, typer.Option(help="Only bars that are missing and data that is due; else all anew.")
    ] = True,
) -> None:
    """Bring in what Yahoo has of some symbols. Exits with 1 when something did not come, with 2 for a wrong word."""
    names = _chosen(what)
    wired = wired_for("load-yahoo-data")
    wanted = _symbols(symbols, wired)
    window = _window(first, last, wired)
    if dry_run:
        _tell_plan(names, wanted, window, wired, resume=resume)
        return
    loads = [load for name in names for load in _loads(name, window, wanted, wired, resume=resume)]
    failures = [line for told, work in loads for line in _with_bar(told, len(wanted), work)]
    for line in failures:
        print(line, file=sys.stderr)
    if failures:
        raise SystemExit(1)


def _chosen(what: str) -> list[str]:
    names = [name.strip() for name in what.split(",") if name.strip()]
    unknown = [name for name in names if name not in EVERYTHING]
    if unknown or not names:
        raise InputInvalid(f"--what {what!r} can't be loaded; choose of {', '.join(EVERYTHING)}.")
    return names


def _symbols(text: str, wired: Services) -> list[str]:
    named = [parse_symbol(name.strip()) for name in text.split(",") if name.strip()]
    wanted = named or wired.symbols.active()
    if not wanted:
        raise InputInvalid("no symbol is active: name some with --symbols.")
    return sorted(set(wanted))


def _window(first: str, last: str, wired: Services) -> Window:
    from src.services.data_ingestion.adapters.yahoo.history import HOURLY_DAYS

    now = wired.broker.clock().now
    end = min(now, parse_midnight("--to", last) + timedelta(days=1)) if last else now
    oldest = now - timedelta(days=HOURLY_DAYS)
    start = parse_midnight("--from", first) if first else oldest
    if start < oldest:
        raise InputInvalid(
            f"--from {first}: Yahoo keeps hourly bars for two years; begin at {oldest:%Y-%m-%d} or later."
        )
    if start >= end:
        raise InputInvalid(f"--from {start:%Y-%m-%d} is not before --to {end:%Y-%m-%d}.")
    return start, end


def _tell_plan(names: list[str], symbols: list[str], window: Window, wired: Services, *, resume: bool) -> None:
    start, end = window
    for name in names:
        if name == "bars":
            told = ", ".join(symbols)
            print(f"bars: hourly, {' and '.join(ADJUSTMENTS)}, {start:%Y-%m-%d} to {end:%Y-%m-%d %H:%MZ}, of {told}")
            continue
        for dataset in _datasets(name):
            due = wired.companies.due(dataset, symbols) if resume else symbols
            print(f"{dataset}: {', '.join(due) or 'nothing is due'}")


def _loads(name: str, window: Window, wanted: list[str], wired: Services, *, resume: bool) -> list[Load]:
    """Name the loads that one word of --what stands for, with what does each."""
    if name == "bars":
        return [
            (f"bars ({adjustment})", partial(_bars, wanted, window, adjustment, wired, resume=resume))
            for adjustment in ADJUSTMENTS
        ]
    return [(str(dataset), partial(_company, dataset, wanted, wired, resume=resume)) for dataset in _datasets(name)]


def _datasets(name: str) -> "list[CompanyDataset]":
    from src.services.data_ingestion.domain.company import CompanyDataset

    return [CompanyDataset(each) for each in COMPANY_DATA[name]]


def _bars(
    symbols: list[str], window: Window, adjustment: "Adjustment", wired: Services, step: Step, *, resume: bool
) -> tuple[str, Failures]:
    result = wired.history.run(
        wired.bar_source("yahoo"),
        symbols,
        *window,
        adjustment=adjustment,
        only_missing=resume,
        progress=lambda _: step(),
        workers=wired.settings.yahoo.symbols_at_once,
    )
    told = (
        f"{result.rows_written} rows written, {result.total('rejected')} rejected, {result.total('missing')} missing"
    )
    return told, {each.symbol: each.failure or "" for each in result.failed}


def _company(
    dataset: "CompanyDataset", symbols: list[str], wired: Services, step: Step, *, resume: bool
) -> tuple[str, Failures]:
    load = wired.companies.load(dataset, symbols, force=not resume, progress=lambda *_: step())
    told = f"{len(load.asked)} of {len(symbols)} were due, {load.rows_changed} rows changed"
    return told, {each.symbol: each.reason for each in load.failed}


def _with_bar(name: str, total: int, work: Callable[[Step], tuple[str, Failures]]) -> list[str]:
    """Do one load under a progress bar; returns a line for each symbol that failed."""
    with progress_bar(name, total) as step:
        try:
            told, failures = work(step)
        except UserError:
            raise
        except TradewindsError as error:
            told, failures = "nothing came", {"all symbols": str(error)}
    print(f"{name}: {told}")
    return [f"{name}, {symbol}: {why}" for symbol, why in failures.items()]


if __name__ == "__main__":
    run_script(load_yahoo_data)
