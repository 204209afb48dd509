"""What every process of ours does first."""

from __future__ import annotations

import gc

from src.shared.failpoints import arm_from_environment

NEW_OBJECTS = 50_000
"""So many more objects than were freed, and Python looks for cycles among them; it begins with 700."""


def begin_process() -> None:
    """Arm what the environment asks for, and let imports, which make objects and no garbage, go on undisturbed.

    Raises:
        InputInvalid: as `arm_from_environment`.
    """
    gc.set_threshold(NEW_OBJECTS, 20, 100)
    arm_from_environment()
