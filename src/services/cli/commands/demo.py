"""`tradewinds demo`: a market replayed through the whole suite, on a stack of its own."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.commands.suite import interrupt, shown_on
from src.shared.domain.days import parse_day
from src.shared.domain.errors import InputInvalid

if TYPE_CHECKING:
    from rich.console import Console

    from src.config.settings import Settings
    from src.services.analytics.adapters.sql_activity import SqlActivity
    from src.services.cli.demo.plan import Plan, Request, Runner
    from src.services.cli.demo.replay import SlotRun
    from src.services.cli.demo.summary import Summary

_FAILED = 1
_PUBLISHING_SECONDS = 20.0
_POLL_SECONDS = 0.1
_PIPED_WIDTH = 120


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(demo)


def demo(
    data: Annotated[Path | None, typer.Option(help="Your own bars, parquet or csv; else a synthetic market.")] = None,
    pairs: Annotated[str, typer.Option(help="Pairs to trade, such as SPY/QQQ,QQQ/XLK.")] = "",
    start: Annotated[str, typer.Option(help="First New York day to trade, YYYY-MM-DD.")] = "",
    slots: Annotated[int | None, typer.Option(min=1, help="Hours to trade; else two sessions.")] = None,
    runner: Annotated[str, typer.Option(help="worker, or inline: in this process, faster.")] = "worker",
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running and print where.")] = False,
) -> None:
    """Replay hours of trading through the real suite and show what it did."""
    from rich.console import Console

    from src.config.settings import load_settings
    from src.services.cli.demo.plan import make_plan, read_market
    from src.services.cli.demo.stage import prepare
    from src.shared.domain.sessions import TradingCalendar

    request = _request(data, pairs, start, slots, runner, keep=keep)
    signal.signal(signal.SIGTERM, interrupt)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    began = time.monotonic()
    settings = load_settings()
    plan = make_plan(request, read_market(settings.twin.seed, request.data), TradingCalendar())
    settings = prepare(settings.home / "demo", request)
    _log_to_file_only(settings)
    with _suite(settings, console, keep=keep):
        summary = _perform(settings, request, plan, console, began)
    if summary.failures:
        raise typer.Exit(_FAILED)


def _request(data: Path | None, pairs: str, start: str, slots: int | None, runner: str, *, keep: bool) -> Request:
    from src.services.cli.demo.plan import Request, parse_pairs

    if runner not in ("worker", "inline"):
        raise InputInvalid(f"RUNNER={runner}: write worker or inline.")
    if data is not None and not pairs:
        raise InputInvalid("DATA needs PAIRS: name the pairs to trade, such as PAIRS=SPY/QQQ,QQQ/XLK.")
    chosen: Runner = "inline" if runner == "inline" else "worker"
    day = parse_day("START", start) if start else None
    return Request(data, parse_pairs(pairs), day, slots, chosen, keep)


def _log_to_file_only(settings: Settings) -> None:
    """The console is for the demo's own words; what the services say is in the log folder and in the runs' logs."""
    from src.shared.infra.logging import configure_logging
    from src.shared.prefect.monitoring import install_run_log_sink

    configure_logging(settings, "demo", console=io.StringIO())
    install_run_log_sink()


@contextmanager
def _suite(settings: Settings, console: Console, *, keep: bool) -> Iterator[None]:
    from src.services.cli.demo.replay import FLOW
    from src.services.cli.lifecycle import Suite

    # Only who keeps the suite has a use for the other flows, which take their time to be registered.
    suite = Suite(settings, shown_on(console), flows=None if keep else [FLOW])
    with suite.claimed():
        try:
            suite.start()
            yield
        except BaseException:
            suite.stop(drain=False)
            raise
        if keep:
            _say_where(settings, console)
        else:
            suite.stop(drain=False)


def _perform(settings: Settings, request: Request, plan: Plan, console: Console, began: float) -> Summary:
    from src.services.cli.demo.replay import flow_run_states, replay
    from src.services.cli.demo.stage import Twin
    from src.services.cli.demo.summary import Summary, show
    from src.services.cli.pair_fits import fit_pairs
    from src.shared.prefect.tasks.wiring import services

    twin, wired = Twin(settings.twin_url), services()
    twin.begin_at(plan.fit_until + timedelta(seconds=1))
    with console.status("loading bars and fitting pairs …"):
        fitted = fit_pairs(wired, plan.pairs, until=plan.fit_until, bars=plan.fit_bars, who="demo", why="replayed")
    runs = replay(settings, twin, plan, request.runner, _progress(console, plan))
    _wait_for_publishing(wired.activity)
    summary = Summary(
        pairs=fitted,
        runs=runs,
        flow_runs=asyncio.run(flow_run_states(settings)),
        activity=wired.activity.read(),
        invariants=wired.execution.verification.run(plan.fit_until - timedelta(days=1)),
        own_data=request.data is not None,
        runner=request.runner,
        seconds=time.monotonic() - began,
    )
    target = settings.home / "summary.json"
    target.write_text(json.dumps(summary.as_dict(), indent=2) + "\n")
    show(summary, console)
    console.print(f"The same as JSON: {target}")
    return summary


def _progress(console: Console, plan: Plan) -> Callable[[SlotRun], None]:
    from src.services.cli.demo.summary import NEW_YORK

    done = iter(range(1, len(plan.slots) + 1))

    def say(run: SlotRun) -> None:
        when = f"{run.slot.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York"
        console.print(f"{next(done):>4}/{len(plan.slots)}  {when}  {run.state}  {run.seconds:.1f} s")

    return say


def _wait_for_publishing(activity: SqlActivity) -> None:
    """Give the relay a moment to tell the last events; what it has not told by then is a failure of the demo."""
    end = time.monotonic() + _PUBLISHING_SECONDS
    while activity.unpublished() and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)


def _say_where(settings: Settings, console: Console) -> None:
    from src.services.cli.children import wanted

    for child in wanted(settings):
        if url := child.url(settings):
            console.print(f"{child.title}: {url}")
    console.print(f"Everything runs on. Stop it with: TRADEWINDS_HOME={settings.home} make down")
