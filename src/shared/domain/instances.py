"""Instances of strategies: what a person asked of one, and what can go wrong with it."""

from __future__ import annotations

import re
from enum import StrEnum

from src.shared.domain.errors import InputInvalid

INSTANCE_PATTERN = r"^[a-z][a-z0-9-]{0,47}$"
DEFAULT_PAIRS = "default-pairs"
"""The instance that a new installation has: every pair, under the thresholds of the settings."""

MAIN_ACCOUNT = "main"
"""The one account of an installation; an instance keeps the name it was made with."""

US_MARKET = "XNYS"

_NAME = re.compile(INSTANCE_PATTERN)


class InstanceMode(StrEnum):
    """What an instance may do: nothing, think, or act."""

    OFF = "off"
    OBSERVE = "observe"
    ACTIVE = "active"


class FaultKind(StrEnum):
    """How a call of a strategy failed."""

    EXCEPTION = "exception"
    TIME_OUT = "time_out"
    MEMORY = "memory"
    DIED = "died"
    # The file is gone or can't be read, or its schema no longer takes the config.
    BROKEN = "broken"


def parse_instance_id(text: str) -> str:
    """Return `text` if an instance may be called so.

    Raises:
        InputInvalid: it may not.
    """
    if not _NAME.fullmatch(text):
        raise InputInvalid(
            f"{text!r} names no instance: small letters, digits and dashes, a letter first, at most 48, "
            "such as calm-pairs."
        )
    return text
