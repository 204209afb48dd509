"""Named places between a decision and its booking at which a test may end, break or hold the process.

    FAILPOINT=execution.sending:kill                     at the first arrival
    FAILPOINT=execution.sending:exc:3,relay.publish:kill  the first one at the third arrival; both armed

Actions: `kill` ends the process with SIGKILL, `exc` raises `Crashed`, which no handler of errors catches, `sleep`
pauses for two seconds, `hang` never returns. Off, a failpoint is one look into an empty dictionary.
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

Action = Literal["kill", "exc", "sleep", "hang"]


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
        InputInvalid: the text has another form.
    """
    for part in filter(None, text.split(",")):
        name, _, rest = part.strip().partition(":")
        action, _, nth = rest.partition(":")
        if not name or action not in get_args(Action) or not (nth or "1").isdecimal() or int(nth or "1") < 1:
            raise InputInvalid(
                f"{VARIABLE}={part!r} is not name:action[:nth] with action {', '.join(get_args(Action))}."
            )
        _armed[name] = Armed(cast("Action", action), int(nth or "1"))


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


def _act(action: Action, name: str) -> None:
    if action == "exc":
        raise Crashed(name)
    if action == "sleep":
        time.sleep(SLEEP_SECONDS)
        return
    print(f"failpoint {name}: {action}", file=sys.stderr, flush=True)  # noqa: T201 (the last word of this process)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(3600)


arm(os.environ.get(VARIABLE, ""))
