"""Tasks of data ingestion for long loads of any vendor. Repeating any of them is harmless: what is stored stays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.domain.errors import SettingsInvalid
from src.shared.prefect.monitoring import leave_table, progress
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from src.services.data_ingestion.domain.history import HistoryResult, SymbolOutcome
    from src.services.data_ingestion.domain.reference import ReferenceResult
    from src.shared.ports.market_data import Adjustment

Span = tuple[datetime, datetime]

# A vendor that is away is given a minute: these loads have the whole night.
_MINUTES = [60.0, 60.0, 60.0]
_NAMED = 20


@repeatable("active-symbols")
async def active_symbols() -> list[str]:
    """List the symbols of pairs of any mode but retired, and those that were loaded before."""
    return services().symbols.active()


@repeatable("what-is-not-set-up")
async def what_is_not_set_up(vendor: str) -> str | None:
    """Say in one line which setting a vendor lacks; None if it can be asked."""
    try:
        services().bar_source(vendor)
    except SettingsInvalid as missing:
        return str(missing)
    return None


@repeatable("recent-window")
async def recent_window(days: int) -> Span:
    """Return the last so many days, up to now by the broker's clock."""
    now = services().broker.clock().now
    return now - timedelta(days=days), now


@repeatable("window-of-the-plan")
async def window_of_the_plan(first: date | None, last: date | None) -> Span:
    """Turn days into a span that the plan of Polygon.io's key has."""
    from src.services.data_ingestion.adapters.polygon.errors import PLAN_SETTING
    from src.services.data_ingestion.domain.windows import days_window

    wired = services()
    now = wired.broker.clock().now
    return days_window(first, last, now, wired.settings.polygon.history_days, PLAN_SETTING)


@repeatable("windows-to-go-on")
async def windows_to_go_on(
    vendor: str, symbols: list[str], timeframe: str, otherwise: Span
) -> list[tuple[Span, list[str]]]:
    """Group symbols by the span since their last finished load; a symbol without any gets the other span."""
    first, now = otherwise
    groups = services().symbols.starts(vendor, timeframe, symbols, first)
    return [((start, now), list(names)) for start, names in groups.items() if start < now]


@repeatable("load-history", delays=_MINUTES)
async def load_history(
    vendor: str,
    symbols: list[str],
    span: Span,
    timeframe: str,
    adjustment: Adjustment = "split",
    resume: bool = True,
) -> HistoryResult:
    """Store a vendor's bars of a span, several symbols at once; fails only if no symbol could be loaded."""
    wired = services()
    source, history = wired.bar_source(vendor), wired.history
    what = f"{vendor} bars of {timeframe}, {len(symbols)} symbols"
    async with progress(f"{vendor}-bars", len(symbols), what) as step:

        def count(outcome: SymbolOutcome) -> None:
            if outcome.failure is not None:
                logger.warning("{} was not loaded: {}", outcome.symbol, outcome.failure)
            step()

        result = await asyncio.to_thread(
            history.run, source, symbols, *span, timeframe, adjustment, only_missing=resume, progress=count
        )
    logger.info(
        "{}: {} new, {} restated, {} rejected, {} missing, {} symbols failed.",
        what,
        *(result.total(name) for name in ("new", "restated", "rejected", "missing")),
        len(result.failed),
    )
    return result


@repeatable("load-reference", delays=_MINUTES)
async def load_reference(symbols: list[str], since: datetime | None) -> ReferenceResult:
    """Store Polygon.io's listings, splits and dividends of symbols."""
    wired = services()
    day = None if since is None else since.date()
    result = await asyncio.to_thread(wired.reference.run, wired.reference_source(), symbols, day)
    for each in result.outcomes:
        logger.info(
            "{}s: {} new, {} changed, {} rejected. {}",
            each.dataset,
            each.kept.new,
            each.kept.changed,
            each.rejected,
            each.failure or "",
        )
    if result.unknown:
        logger.warning("Polygon.io does not list {}.", named(result.unknown))
    return result


@task(name="publish-load", cache_policy=NO_CACHE)
async def publish_load(vendor: str, loads: dict[str, list[HistoryResult]]) -> tuple[dict[str, Any], list[str]]:
    """Leave what loads brought, by timeframe, as a table on the run; return a summary and a line on what failed."""
    outcomes = [(timeframe, each) for timeframe, results in loads.items() for one in results for each in one.outcomes]
    await leave_table(f"{vendor}-load", [_row(timeframe, each) for timeframe, each in outcomes], f"Bars of {vendor}.")
    failed = sorted({each.symbol for _, each in outcomes if each.failure is not None})
    counts = {
        name: sum(int(getattr(each, name)) for _, each in outcomes)
        for name in ("new", "unchanged", "restated", "rejected", "missing")
    }
    summary = {"symbols": len({each.symbol for _, each in outcomes}), **counts, "failed": failed}
    return summary, [f"{len(failed)} of {summary['symbols']} symbols failed: {named(failed)}."] if failed else []


def named(symbols: Sequence[str]) -> str:
    """List symbols, the first ones of many by name."""
    rest = len(symbols) - _NAMED
    return ", ".join(symbols[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _row(timeframe: str, outcome: SymbolOutcome) -> dict[str, Any]:
    return {
        "symbol": outcome.symbol,
        "bars": timeframe,
        "new": outcome.new,
        "unchanged": outcome.unchanged,
        "restated": outcome.restated,
        "rejected": outcome.rejected,
        "missing": outcome.missing,
        "failed": outcome.failure or "",
    }
