"""Tasks of the search for pairs. The scan is done in parts: in this process, or on the workers of a Dask cluster.

To a worker Prefect sends the flow and its tasks by value, with the globals that their bodies name. A logger can't be
sent: what is logged here is logged by functions that are no tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.domain.errors import Unreachable
from src.shared.prefect.monitoring import leave_table, progress
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from prefect_dask.task_runners import DaskTaskRunner

    from src.config.settings import StrategySettings
    from src.services.strategy_engine.domain.discovery import Findings, FoundPair, ScanPart
    from src.services.strategy_engine.domain.scan.engle_granger import PairScan
    from src.services.strategy_engine.use_cases.discovery import DiscoveryReport, Plan

_WHO = "weekly-pair-discovery"
_SCHEDULER_SECONDS = 10.0


@repeatable("plan-search")
async def plan_search(
    symbols: list[str] | None, first: date | None, last: date | None, observe: int | None
) -> Plan | str:
    """Choose window and symbols, and look whether this search was done before; or say why there is none to do."""
    from src.services.strategy_engine.domain.universe import NothingToSearch
    from src.services.strategy_engine.use_cases.discovery import Request

    wired = services()
    request = Request(tuple(symbols or ()), first, last, observe)
    try:
        plan = wired.discovery.plan(request, now=wired.market_time(), who=_WHO)
    except NothingToSearch as error:
        return str(error)
    _log_plan(plan)
    return plan


def _connect(runner: DaskTaskRunner, settings: StrategySettings) -> None:
    try:
        # The first look at it connects.
        _ = runner.client
    except OSError as error:
        where = f"TRADEWINDS_STRATEGY_DISCOVERY_DASK_SCHEDULER={settings.discovery_dask_scheduler}"
        raise Unreachable(f"No scheduler of Dask answers: start one, or correct {where}.") from error


@task(name="scan-part", cache_policy=NO_CACHE)
def scan_part(part: ScanPart) -> PairScan:
    """Test some pairs."""
    return part.scan()


async def scan_universe(plan: Plan) -> list[PairScan]:
    """Scan all pairs of a search, each part as a task."""
    parts = services().discovery.parts(plan)
    settings = services().settings.strategy
    alone = settings.discovery_workers == 1 and not settings.discovery_dask_scheduler
    async with progress("discovery-progress", len(parts), "Parts of the scan that are done.") as step:
        # In a thread: the run goes on telling that it lives.
        if alone:
            return await asyncio.to_thread(_scan_here, parts, step)
        return await asyncio.to_thread(_scan_on_dask, parts, settings, step)


@repeatable("judge-pairs")
async def judge_pairs(plan: Plan, scanned: list[PairScan]) -> Findings:
    """Sift what was scanned, bring what is left to the gate, and choose the best."""
    return await asyncio.to_thread(services().discovery.judge, plan, scanned)


@repeatable("store-search")
async def store_search(plan: Plan, findings: Findings) -> None:
    """Store every pair with its numbers and the step it fell at."""
    services().discovery.begin(plan)
    await asyncio.to_thread(services().discovery.keep, plan, findings)


@repeatable("observe-pairs")
async def observe_pairs(plan: Plan) -> DiscoveryReport:
    """Watch the chosen pairs from now on."""
    report = services().discovery.observe(plan, _WHO)
    _log_report(report)
    return report


@task(name="publish-search", cache_policy=NO_CACHE)
async def publish_search(report: DiscoveryReport) -> None:
    """Leave two tables on the run: at which step how many pairs fell, and those that passed the gate."""
    search = report.search
    window = f"{search.window_start:%Y-%m-%d} to {search.window_end:%Y-%m-%d %H:%M} UTC"
    await leave_table("discovery-steps", step_rows(report), f"Search {search.id}, {window}.")
    described = f"{len(report.survivors)} pairs passed the gate; the best are watched, none is traded by itself."
    await leave_table("discovery-pairs", [pair_row(pair) for pair in report.survivors], described)


def step_rows(report: DiscoveryReport) -> list[dict[str, Any]]:
    """Say of symbols and pairs how many came to each step and how many fell."""
    search, out = report.search, len(report.search.excluded)
    rows: list[dict[str, Any]] = [
        {"step": "symbols", "came": len(search.symbols) + out, "fell": out, "left": len(search.symbols)}
    ]
    rows += [
        {"step": each.step.replace("_", " "), "came": each.came, "fell": each.fell, "left": each.came - each.fell}
        for each in report.tallies
    ]
    return rows


def pair_row(pair: FoundPair) -> dict[str, Any]:
    """Lay out a pair that passed the gate."""
    return {
        "pair": pair.id,
        "outcome": pair.outcome.value,
        "rank": round(pair.score, 4),
        "correlation": round(pair.correlation, 3),
        "adjusted p": float(f"{pair.p_adjusted:.3g}"),
        "beta": round(pair.beta, 4),
        "half-life": round(pair.half_life_bars, 1),
        "mean |z|": round(pair.mean_abs_z, 3),
        "Sharpe": None if pair.sharpe is None else round(pair.sharpe, 2),
        "win rate": pair.win_rate,
        "drawdown": pair.max_drawdown,
        "round trips": pair.round_trips,
        "events": pair.events or "",
        "remark": pair.reason or "",
    }


def discovery_end(report: DiscoveryReport) -> dict[str, Any] | State[Any]:
    """Say how a run ended: ALREADY_DONE, or the counts."""
    summary = {
        "search": str(report.search.id),
        "until": report.search.window_end.isoformat(),
        "symbols": len(report.search.symbols),
        "pairs": report.tallies[0].came if report.tallies else 0,
        "passed": len(report.survivors),
        "observed": [pair.id for pair in report.observed],
    }
    return ended("ALREADY_DONE", "This search was done before.", summary) if report.already_done else summary


def _log_plan(plan: Plan) -> None:
    search = plan.search
    logger.info(
        "Search {} over {} symbols, {:%Y-%m-%d} to {:%Y-%m-%d}; {} left out.",
        search.id,
        len(search.symbols),
        search.window_start,
        search.window_end,
        len(search.excluded),
    )


def _log_report(report: DiscoveryReport) -> None:
    for pair in report.observed:
        logger.info("{} is watched: rank {:.3f}, Sharpe {:.2f} unseen.", pair.id, pair.score, pair.sharpe)


def _scan_here(parts: list[ScanPart], step: Callable[[], None]) -> list[PairScan]:
    found = []
    for part in parts:
        found.append(scan_part(part))
        step()
    return found


def _scan_on_dask(parts: list[ScanPart], settings: StrategySettings, step: Callable[[], None]) -> list[PairScan]:
    """Scan on the workers of a scheduler, or on threads of this process that Dask looks after.

    The scan spends its time in matrix products, where threads run side by side; processes would have to be started.

    Raises:
        Unreachable: no scheduler answers at the address of the settings.
    """
    from prefect_dask.task_runners import DaskTaskRunner

    runner: DaskTaskRunner
    if settings.discovery_dask_scheduler:
        patience = {"timeout": _SCHEDULER_SECONDS}
        runner = DaskTaskRunner(address=settings.discovery_dask_scheduler, client_kwargs=patience)
    else:
        local = {"n_workers": 1, "threads_per_worker": settings.discovery_workers, "processes": False}
        runner = DaskTaskRunner(cluster_kwargs={**local, "dashboard_address": None})
    found = []
    with runner:
        _connect(runner, settings)
        for future in [runner.submit(scan_part, {"part": part}) for part in parts]:
            found.append(future.result())
            step()
    return found
