"""What a demo did, as a table to read and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console, Group, RenderableType
from rich.table import Table

from src.services.analytics.domain.activity import Activity, TradeLine
from src.services.cli.demo.replay import SlotRun
from src.services.cli.desk import dollars, invariants_table
from src.services.cli.pair_fits import FittedPair, fits_shown
from src.services.execution.domain.invariants import Invariant
from src.shared.domain.quantities import plain

NEW_YORK = ZoneInfo("America/New_York")
_NONE_PASSED = (
    "No pair passed the gate, so all of them were only watched; the table of pairs says what each lacks. A pair is "
    "traded once its rules have earned money on hours that its fit did not see. Where round trips are missing, more "
    "hours before the first slot help: give more data, or a later START."
)


@dataclass(frozen=True)
class Summary:
    """Everything a demo reports. `own_data`: bars that a person gave, where no trade is an honest result."""

    pairs: Sequence[FittedPair]
    runs: Sequence[SlotRun]
    flow_runs: Mapping[str, int]
    activity: Activity
    invariants: Sequence[Invariant]
    own_data: bool
    runner: str
    seconds: float

    @property
    def traded(self) -> bool:
        """Say whether at least one pair trade was opened and closed again."""
        return self.activity.count("closed") > 0

    @property
    def failures(self) -> list[str]:
        """Say what keeps this demo from being a success."""
        found = [f"{i.name} is broken: {'; '.join(i.breaches)}" for i in self.invariants if not i.holds]
        found += [
            f"the run of {run.slot:%Y-%m-%d %H:%M} UTC ended {run.state}: {run.message}"
            for run in self.runs
            if not run.completed
        ]
        if not self.traded and not self.own_data:
            found.append("no pair trade was opened and closed")
        if self.activity.outbox["published"] < self.activity.outbox["recorded"]:
            found.append("not every event was published")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON; money as text."""
        activity = self.activity
        return {
            "ok": not self.failures,
            "failures": self.failures,
            "runner": self.runner,
            "seconds": round(self.seconds, 1),
            "slots": len(self.runs),
            "pairs": [asdict(pair) for pair in self.pairs],
            "signals": dict(activity.signals),
            "decisions": {"approved": activity.approvals, "denied": dict(activity.denials)},
            "orders": dict(activity.orders),
            "fills": activity.fills,
            "trades": [_trade_dict(line) for line in activity.trades],
            "pair_trades": {
                "opened": activity.count("open", "closing", "closed"),
                "closed": activity.count("closed"),
                "unwound": activity.count("unwound"),
                "abandoned": activity.count("abandoned"),
                "orphaned": activity.count("orphaned"),
                "realized_pnl": str(activity.realized_pnl),
            },
            "flow_runs": dict(self.flow_runs),
            "slot_seconds": [round(run.seconds, 2) for run in self.runs],
            "events": dict(activity.outbox),
            "alerts": activity.alerts,
            "invariants": [
                {"name": i.name, "meaning": i.meaning, "checked": i.checked, "breaches": list(i.breaches)}
                for i in self.invariants
            ],
        }


def show(summary: Summary, console: Console) -> None:
    """Print it for a person."""
    parts: list[RenderableType] = [
        fits_shown(summary.pairs, "Pairs, fitted and judged on the bars before the first slot"),
        _counts(summary),
        _trades(summary.activity.trades),
        invariants_table(summary.invariants),
    ]
    console.print(Group(*parts))
    for failure in summary.failures:
        console.print(f"[red]✗[/] {failure}")
    if not summary.failures:
        console.print(f"[green]✓[/] {_verdict(summary)}")


def _verdict(summary: Summary) -> str:
    if not summary.traded:
        if not any(pair.traded for pair in summary.pairs):
            return _NONE_PASSED
        return "No pair trade was opened and closed in these bars. That is an honest result, not an error."
    closed, pnl = summary.activity.count("closed"), summary.activity.realized_pnl
    return f"{closed} pair trades opened and closed, {dollars(pnl)} booked, every invariant holds."


def _counts(summary: Summary) -> Table:
    activity = summary.activity
    table = Table(title="What happened", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("how many")
    rows = {
        "slots replayed": f"{len(summary.runs)} by {summary.runner}, {summary.seconds:.0f} s in all",
        "flow runs": _listed(summary.flow_runs),
        "signals": _listed(activity.signals),
        "decisions": _listed({"approved": activity.approvals, **activity.denials}),
        "orders": _listed(activity.orders),
        "fills": str(activity.fills),
        "pair trades": _listed(_by_state(activity.trades)),
        "booked profit": dollars(activity.realized_pnl),
        "events": _listed(activity.outbox),
        "alerts": str(activity.alerts),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _trades(trades: Sequence[TradeLine]) -> Table:
    table = Table(title="Pair trades (slots in New York time)", title_justify="left")
    for name in ("pair", "direction", "opened", "closed", "state", "why"):
        table.add_column(name)
    for name in ("shares 1", "shares 2", "booked"):
        table.add_column(name, justify="right")
    for line in trades:
        table.add_row(
            line.pair_id,
            line.direction.replace("_", " "),
            _when(line.opened_slot),
            _when(line.closed_slot) if line.closed_slot else "",
            line.state,
            line.reason or "",
            plain(line.quantity_1),
            plain(line.quantity_2),
            "" if line.realized_pnl is None else dollars(line.realized_pnl),
        )
    return table


def _by_state(trades: Sequence[TradeLine]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in trades:
        counts[line.state] = counts.get(line.state, 0) + 1
    return counts


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.lower()} {count}" for name, count in sorted(counts.items())) or "none"


def _when(slot: Any) -> str:
    return f"{slot.astimezone(NEW_YORK):%m-%d %H:%M}"


def _trade_dict(line: TradeLine) -> dict[str, Any]:
    return {
        "pair": line.pair_id,
        "direction": line.direction,
        "state": line.state,
        "opened": line.opened_slot.isoformat(),
        "closed": line.closed_slot.isoformat() if line.closed_slot else None,
        "quantity_1": plain(line.quantity_1),
        "quantity_2": plain(line.quantity_2),
        "reason": line.reason,
        "realized_pnl": None if line.realized_pnl is None else f"{line.realized_pnl:.2f}",
    }
