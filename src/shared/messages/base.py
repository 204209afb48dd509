"""What every message has in common.

An event is frozen and in the past tense. Its id is made from what changed and to which version, so that telling the
same change twice is telling one event. `occurred_at` is market time; the outbox adds when it was recorded.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from src.shared.domain.ids import derived_id


class Event(BaseModel):
    """A change that has happened to one aggregate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speaker: ClassVar[str]
    aggregate: ClassVar[str]
    schema_version: ClassVar[int] = 1

    event_id: UUID
    aggregate_id: str
    aggregate_version: int
    occurred_at: AwareDatetime
    correlation_id: str

    @classmethod
    def of(
        cls, aggregate_id: object, version: int, occurred_at: datetime, correlation_id: str, **facts: object
    ) -> Self:
        """Make the one event of this aggregate's change to `version`."""
        key = str(aggregate_id)
        return cls.model_validate(
            {
                "event_id": derived_id("event", cls.aggregate, key, str(version)),
                "aggregate_id": key,
                "aggregate_version": version,
                "occurred_at": occurred_at,
                "correlation_id": correlation_id,
                **facts,
            }
        )

    @classmethod
    def channel(cls) -> str:
        """Name the Redis channel: `tradewinds.<speaker>.<event>`."""
        return f"tradewinds.{cls.speaker}.{cls.__name__}"
