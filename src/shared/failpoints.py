"""Named places between a decision and its booking at which a test may end, break or hold the process.

    FAILPOINT=execution.before_post:kill                       at the first arrival
    FAILPOINT=execution.before_post:exc:3,relay.marked:kill    the first one at the third arrival; both armed

Actions: `kill` ends the process with SIGKILL, `exc` raises `Crashed`, which no handler of errors catches, `sleep`
pauses for two seconds, `hang` never returns, `stop` stops the process as SIGSTOP does until somebody continues it.
Processes read the variable when they start (`arm_from_environment`). Off, a failpoint is one look into an empty
dictionary.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast, get_args

from src.shared.domain.errors import InputInvalid

VARIABLE = "FAILPOINT"
SLEEP_SECONDS = 2.0

OF_A_SLOT = {
    "data_ingestion.load_begun": "the load is written down, nothing was asked for",
    "data_ingestion.before_bars": "bars and their event are written, not committed",
    "data_ingestion.bars_stored": "… and committed",
    "strategy_engine.before_decisions": "decisions of instances, and signals from them, are written, not committed",
    "strategy_engine.decisions_stored": "… and committed",
    "strategy_engine.before_signals": "signals and their events are written, not committed",
    "strategy_engine.signals_stored": "… and committed",
    "risk_management.before_exits": "decisions on exits are written, not committed",
    "risk_management.exits_decided": "… and committed; entries are not decided",
    "risk_management.before_entries": "decisions on entries are written, not committed",
    "risk_management.entries_decided": "… and committed",
    "execution.gate_clock_read": "a gate begins: the broker's clock was read",
    "execution.before_announcements": "what companies announced is written, not committed",
    "execution.announcements_kept": "… and committed",
    "execution.before_freeze": "pairs are frozen for a company's action, not committed",
    "execution.pairs_frozen": "… and committed",
    "execution.before_action": "what a company's action does to a trade is booked, not committed",
    "execution.action_booked": "… and committed",
    "execution.before_market_time": "the latest time of the broker's clock is written, not committed",
    "execution.market_time_kept": "… and committed",
    "execution.before_quarantine": "what can't be read is put aside and told, not committed",
    "execution.quarantined": "… and committed",
    "execution.became_writer": "the slot's execution holds the lock and an epoch, nothing more",
    "execution.before_begin": "a new trade is written, not committed",
    "execution.begun": "… and committed",
    "execution.step_chosen": "the next step was chosen from what was read; nothing of it is done",
    "execution.before_intent": "an order's intent is written, not committed",
    "execution.intent_committed": "… and committed; nothing was sent",
    "execution.before_save": "a new state of an order is written, not committed",
    "execution.saved": "… and committed",
    "execution.before_sending": "that an order is being sent is written, not committed; the risk state is held",
    "execution.before_post": "that the order is being sent is committed; it was not sent",
    "execution.after_post": "the broker took the order; nobody here knows",
    "execution.answer_committed": "what became of the request is committed",
    "execution.unknown_committed": "that an order's outcome is unknown is committed; it is about to be looked up",
    "execution.looked_up": "the broker was asked for an order of unknown outcome; the answer is not written",
    "execution.before_cancel": "a late order is about to be cancelled",
    "execution.after_cancel": "the broker was asked to cancel",
    "execution.fills_read": "executions were read from the broker, none is booked",
    "execution.before_booking": "executions are booked, not committed",
    "execution.booked": "… and committed",
    "execution.before_move": "a trade's new state is written, not committed",
    "execution.moved": "… and committed",
    "execution.before_alert": "an alert and its event are written, not committed",
    "execution.alerted": "… and committed",
    "analytics.before_results": "results are written, not committed",
    "analytics.results_recorded": "… and committed",
    "risk_management.before_reading": "a reading of the portfolio is written, not committed",
    "risk_management.reading_kept": "… and committed",
    "risk_management.before_alerts": "alerts of the portfolio and their events are written, not committed",
    "risk_management.alerts_raised": "… and committed",
    "data_ingestion.before_verdicts": "verdicts on series of bars and their alerts are written, not committed",
    "data_ingestion.verdicts_stored": "… and committed",
    "execution.before_snapshot": "a snapshot of positions is written, not committed",
    "execution.snapshot_kept": "… and committed",
    "risk_management.before_limit": "a limit's new value, its audit line and its event are written, not committed",
    "risk_management.limit_set": "… and committed",
    "risk_management.before_state": "a risk state that a person set is written and told, not committed",
    "risk_management.state_set": "… and committed",
    "execution.before_note": "a line of the audit log about a person's deed is written, not committed",
    "execution.noted": "… and committed",
    "relay.before_positions": "events have their positions, not committed",
    "relay.positions_given": "… and committed",
    "relay.before_publish": "an event is about to be published",
    "relay.after_publish": "… and was published; nothing says so",
    "relay.marked": "the batch is marked as published",
    "consumer.before_handle": "an event is marked in the open transaction, its effects are still to come",
    "consumer.before_commit": "its effects are written, not committed",
    "consumer.after_commit": "… and committed",
}
"""The failpoints that a slot comes by, in its order, and what is so when a process gets there."""

OF_LOADS = {
    "data_ingestion.history_begun": "a long load is written down, nothing was asked for",
    "data_ingestion.before_history": "bars of a long load are written, not committed",
    "data_ingestion.history_stored": "… and committed",
    "data_ingestion.before_reference": "listings, splits or dividends are written, not committed",
    "data_ingestion.reference_stored": "… and committed",
    "data_ingestion.before_rebase": "a whole series is replaced by one on another price basis, not committed",
    "data_ingestion.rebased": "… and committed",
    "data_ingestion.before_repair": "gaps are filled from another vendor's bars, not committed",
    "data_ingestion.repaired": "… and committed; nothing was judged since",
    "data_ingestion.company_load_begun": "a load of company data is written down, nothing was asked for",
    "data_ingestion.before_company": "what is said of a company is written, not committed",
}
"""Those of long loads of past bars, of what is known of companies, and of repairs."""

OF_WRITE_OFFS = {
    "execution.before_write_off": "shares that the broker has not are booked out by a person's word, not committed",
    "execution.written_off": "… and committed; what is left of the trade is not closed",
}
"""Those of what a person books out."""

OF_PAIRS = {
    "strategy_engine.before_pair": "a pair's new fit and its verdict, or its next mode, are written, not committed",
    "strategy_engine.pair_kept": "… and committed",
}
"""Those of the life of a pair."""

OF_INDICATORS = {
    "analytics.before_indicators": "indicators of a batch of series are written, not committed",
    "analytics.indicators_stored": "… and committed",
}
"""Those of technical indicators."""

OF_INSTANCES = {
    "strategy_engine.before_instance": "an instance is made, changed, switched or ended, not committed",
    "strategy_engine.instance_changed": "… and committed",
    "strategy_engine.before_states": "states that ticks have changed are written, not committed",
    "strategy_engine.states_kept": "… and committed",
}
"""Those of instances of strategies."""
OF_DISCOVERY = {
    "strategy_engine.search_begun": "that a search for pairs begins is committed; nothing was searched",
    "strategy_engine.before_search": "all that it found is written, not committed",
    "strategy_engine.search_stored": "… and committed; none of its pairs is watched yet",
    "strategy_engine.pair_found": "one of its pairs is registered; the search does not say so yet",
}
"""Those of the search for pairs."""

OF_MAINTENANCE = {
    "maintenance.before_file": "bars of a month are read under a lock, no file is written",
    "maintenance.file_unnamed": "their file is written under a passing name",
    "maintenance.file_kept": "… has its name and was read back; the bars are still in the table",
    "maintenance.before_removal": "the bars are removed and their file is recorded, not committed",
    "maintenance.bars_archived": "… and committed",
    "maintenance.before_dump": "that a backup begins is committed; nothing is written",
    "maintenance.dump_unnamed": "a dump is written under a passing name",
    "maintenance.dump_kept": "… and has its name, beside its manifest; it was not restored for trial",
    "maintenance.before_drill_ends": "a trial database holds the dump's rows; the verdict is not written",
    "maintenance.before_swap": "a restored database is checked and has a passing name",
}
"""Those of the archive, of backups and of restores."""

FAILPOINTS = (
    OF_A_SLOT | OF_WRITE_OFFS | OF_LOADS | OF_PAIRS | OF_INDICATORS | OF_INSTANCES | OF_DISCOVERY | OF_MAINTENANCE
)
"""Every failpoint there is."""

Action = Literal["kill", "exc", "sleep", "hang", "stop"]


class Crashed(BaseException):
    """The process is to be taken for dead here: what it holds in memory is gone, its locks are free."""


@dataclass
class Armed:
    """What happens at the `nth` arrival."""

    action: Action
    nth: int
    arrivals: int = 0


_armed: dict[str, Armed] = {}


def failpoint(name: str) -> None:
    """Be at a named place."""
    if _armed and (armed := _armed.get(name)) is not None:
        armed.arrivals += 1
        if armed.arrivals == armed.nth:
            _act(armed.action, name)


def arm(text: str) -> None:
    """Arm what a text in the form of the module's head names; an empty text arms nothing.

    Raises:
        InputInvalid: the text has another form, or names a failpoint that does not exist; nothing is armed.
    """
    _armed.update([_parsed(part.strip()) for part in text.split(",")] if text.strip() else [])


def requested() -> str:
    """What the environment asks for."""
    return os.environ.get(VARIABLE, "")


def arm_from_environment() -> None:
    """Arm what the environment asks for; a process does so once, when it starts.

    Raises:
        InputInvalid: as `arm`.
    """
    arm(requested())


def disarm() -> None:
    """Arm nothing any more."""
    _armed.clear()


@contextmanager
def armed(text: str) -> Iterator[None]:
    """Arm for the length of a block."""
    arm(text)
    try:
        yield
    finally:
        disarm()


def _parsed(part: str) -> tuple[str, Armed]:
    name, _, rest = part.partition(":")
    action, colon, nth = rest.partition(":")
    count = nth if colon else "1"
    if action not in get_args(Action) or not (count.isascii() and count.isdecimal() and int(count) > 0):
        raise InputInvalid(f"{VARIABLE}={part!r} is not name:action[:nth] with action {', '.join(get_args(Action))}.")
    if name not in FAILPOINTS:
        raise InputInvalid(f"{VARIABLE}={part!r} names no failpoint: they are listed in src/shared/failpoints.py.")
    return name, Armed(cast("Action", action), int(count))


def _act(action: Action, name: str) -> None:
    if action == "exc":
        raise Crashed(name)
    if action == "sleep":
        time.sleep(SLEEP_SECONDS)
        return
    print(f"failpoint {name}: {action}", file=sys.stderr, flush=True)  # noqa: T201 (the last word of this process)
    if action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(3600)
