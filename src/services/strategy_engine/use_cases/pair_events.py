"""The one event that each change of a pair's row is told by, and the one way to commit it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from src.services.strategy_engine.ports import RegisteredPair
from src.shared.domain.ids import slot_key
from src.shared.domain.pairs import PairMode
from src.shared.failpoints import failpoint
from src.shared.messages.base import Event
from src.shared.messages.signals import PairModeChanged, PairRefitted
from src.shared.ports.unit_of_work import Work


def pair_event(before: PairMode | None, after: RegisteredPair, at: datetime, who: str, why: str) -> Event:
    """Tell that a pair has gone from mode to mode, or that it was written anew in the same mode."""
    pair, mode, slot = after.pair.id, after.pair.mode, slot_key(at)
    if before is mode:
        return PairRefitted.of(pair, after.version, at, slot, pair_id=pair, mode=mode.value, who=who, why=why)
    return PairModeChanged.of(
        pair,
        after.version,
        at,
        slot,
        pair_id=pair,
        before=before.value if before else None,
        after=mode.value,
        who=who,
        why=why,
    )


def commit_pair(work: Work[Any]) -> None:
    """Commit a pair's row with what was written beside it."""
    failpoint("strategy_engine.before_pair")
    work.commit()
    failpoint("strategy_engine.pair_kept")
