"""Which events start which deployments: one table, one row each.

What an event starts is also started by a schedule, or done by the run that said it. So a run of its own comes a
window later, and finds the work done where all went well. Events of one window share it: it begins when the window
is over, so whatever they left to do is there by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from src.shared.messages.base import Event
from src.shared.messages.ops import AlertRaised
from src.shared.messages.orders import PairClosed
from src.shared.messages.risk import TradeApproved

STALE_AFTER = timedelta(hours=1)
"""What an older event would start is done by now, or was left to the next slot: it starts nothing."""


@dataclass(frozen=True)
class Start:
    """One run to ask for. The server makes one run of a deployment for a key, however often it is asked."""

    deployment: str
    parameters: Mapping[str, Any]
    key: str
    wait: timedelta


@dataclass(frozen=True)
class Trigger:
    """A row: the event, the ``flow/deployment`` it starts and with what, and which of the events count."""

    event: type[Event]
    deployment: str
    parameters: Callable[[Any], Mapping[str, Any]] = field(default=lambda _: {})
    counts: Callable[[Any], bool] = field(default=lambda _: True)


def _slot(event: Event) -> Mapping[str, Any]:
    return {"slot": event.correlation_id}


TRIGGERS: tuple[Trigger, ...] = (
    Trigger(TradeApproved, "execute-trades/execute-trades", parameters=_slot),
    Trigger(PairClosed, "calculate-performance/calculate-performance"),
    Trigger(
        AlertRaised,
        "generate-risk-alerts/generate-risk-alerts",
        counts=lambda event: event.severity != "info",
    ),
)


def start_for(event: Event, recorded_at: datetime, owner: str, window: timedelta) -> Start | None:
    """Return the run that an event asks for, None where it asks for none.

    The key holds the parameters and the window rather than the event: what is approved of one slot at one time is
    traded by one run. It does not hold the slot alone: what a later review of the slot approves must start another
    run, for the first may be over.

    Args:
        recorded_at: when it was written down, by the wall clock: market time may stand still.
        owner: whose events they are; several installations may share a Prefect server.
        window: how long events are gathered, and what came of them is left to the run that said them.
    """
    row = next((row for row in TRIGGERS if isinstance(event, row.event) and row.counts(event)), None)
    if row is None:
        return None
    parameters = row.parameters(event)
    began = datetime.fromtimestamp(recorded_at.timestamp() // window.total_seconds() * window.total_seconds(), UTC)
    words = [owner, type(event).__name__, *map(str, parameters.values()), began.isoformat()]
    return Start(row.deployment, parameters, " ".join(words), window)
