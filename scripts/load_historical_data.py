"""Load past bars of a vendor, without a Prefect server: the same use case as the flows."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.shared.domain.bars import HOURLY
from src.shared.prefect.scripts import listed_symbols, parse_midnight, progress_bar, run_script, wired_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from src.services.data_ingestion.domain.grid import Span
    from src.shared.ports.market_data import Adjustment

_SOME_FAILED = 1
_COUNTS = ("new", "restated", "unchanged", "rejected", "missing")
_ONE_DAY = timedelta(days=1)


def load_historical_data(
    vendor: Annotated[str, typer.Option(help="alpaca, polygon or yahoo.")],
    first: Annotated[str, typer.Option("--from", help="First day, like 2024-01-31.")],
    last: Annotated[str, typer.Option("--to", help="Last day; without it today.")] = "",
    symbols: Annotated[str, typer.Option(help="Comma-separated, such as SPY,QQQ.")] = "",
    symbols_file: Annotated[
        Path | None, typer.Option(help="A file with a symbol on each line; what follows a # is left out.")
    ] = None,
    timeframe: Annotated[str, typer.Option(help="1Hour or 1Day.")] = HOURLY,
    adjustment: Annotated[str, typer.Option(help="raw, split, dividend or all.")] = "split",
    workers: Annotated[int, typer.Option(min=1, max=16, help="So many symbols are loaded at once.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked for, and stop.")] = False,
    resume: Annotated[
        bool, typer.Option(help="Only what no finished load has brought; else all is asked for again.")
    ] = True,
) -> None:
    """Bring past bars of some symbols in and judge what is stored of them.

    Exits with 1 when some did not come, with 2 for a wrong word.
    """
    wanted = listed_symbols(symbols, symbols_file)
    start, end = parse_midnight("--from", first), parse_midnight("--to", last) + _ONE_DAY if last else None
    wired = wired_for("load-historical-data")
    # Which adjustments there are is said by the use case.
    how = cast("Adjustment", adjustment)
    bars = wired.bar_source(vendor), wanted, start, end or wired.broker.clock().now, timeframe, how
    if dry_run:
        _tell(wired.history.plan(*bars, only_missing=resume))
        return
    with progress_bar("Loading", len(set(wanted))) as step:
        result = wired.history.run(*bars, only_missing=resume, progress=lambda _: step(), workers=workers)
    counts = ", ".join(f"{result.total(name)} {name}" for name in _COUNTS)
    print(f"{vendor} {timeframe} {adjustment}, bars: {counts}")
    for each in result.failed:
        print(f"{each.symbol}: {each.failure}", file=sys.stderr)
    for judged in wired.quality.validate(wanted, wired.broker.clock().now):
        for fault in judged.blocking:
            print(f"{judged.series}: {fault.reason} ({fault.rule}); it is not traded on", file=sys.stderr)
    if result.failed:
        raise SystemExit(_SOME_FAILED)


def _tell(plan: "Mapping[str, Sequence[Span]]") -> None:
    for symbol, spans in plan.items():
        told = ", ".join(f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%MZ}" for start, end in spans)
        print(f"{symbol}: {told or 'nothing is missing'}")


if __name__ == "__main__":
    run_script(load_historical_data)
