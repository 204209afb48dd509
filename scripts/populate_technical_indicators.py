"""Work technical indicators out and store them, without a Prefect server."""

import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.shared.domain.days import parse_day
from src.shared.prefect.scripts import progress_bar, run_script, wired_for

_FAILED = 1


def populate(
    symbols: Annotated[str, typer.Option(help="Such as SPY,QQQ; all that have bars where none is named.")] = "",
    timeframe: Annotated[str, typer.Option(help="1Day or 1Hour; both where none is named.")] = "",
    first: Annotated[str, typer.Option("--from", help="From this day on, such as 2025-03-03.")] = "",
    last: Annotated[str, typer.Option("--to", help="Up to this day.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Say what would be written, write nothing.")] = False,
    resume: Annotated[bool, typer.Option(help="Leave what stands alone, write what is missing or stale.")] = False,
) -> None:
    """Work the indicators of stored bars out anew, or with --resume go on where an earlier run ended."""
    from src.shared.domain.errors import TradewindsError, UserError

    days = _day("--from", first), _day("--to", last)
    indicators = wired_for("populate-technical-indicators").indicators
    batches = indicators.batches([timeframe] if timeframe else (), [name for name in symbols.split(",") if name])
    rows, whole, failures = 0, 0, 0
    with progress_bar("Batches", len(batches)) as step:
        for batch in batches:
            try:
                done = indicators.compute(batch, "missing" if resume else "all", *days, dry_run=dry_run)
            except UserError:
                raise
            except TradewindsError as error:
                failures += len(batch.symbols)
                print(f"{batch.kind}, {', '.join(batch.symbols)}: {error}", file=sys.stderr)
            else:
                rows, whole = rows + done.written, whole + done.untouched_series
            step()
    count = sum(len(batch.symbols) for batch in batches)
    print(f"{rows} rows {'to be written' if dry_run else 'written'}, {whole} of {count} series were up to date.")
    if failures:
        print(f"{failures} series failed: run it again with --resume.", file=sys.stderr)
        raise SystemExit(_FAILED)


def _day(option: str, text: str) -> date | None:
    return parse_day(option, text) if text else None


if __name__ == "__main__":
    run_script(populate)
