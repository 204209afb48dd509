"""What a company is to do, as a request to the admin API or a table of a file of faults says it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from src.services.twin.domain.company import ActionTerms, ActionType
from src.services.twin.domain.errors import FaultInvalid
from src.services.twin.domain.moments import to_micros


class Announcement(BaseModel):
    """A corporate action to come. `delisting` means worthless_removal; `announced_at` hides it until then."""

    model_config = ConfigDict(extra="forbid")

    type: ActionType
    symbol: str
    ex_date: date
    old_rate: Decimal = Field(Decimal(1), gt=0, le=1_000_000)
    new_rate: Decimal = Field(Decimal(1), gt=0, le=1_000_000)
    rate: Decimal = Field(Decimal(0), ge=0, le=1_000_000)
    new_symbol: str | None = Field(None, pattern=r"^[A-Z][A-Z0-9.]{0,9}$")
    announced_at: AwareDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _delisting(cls, values: Any) -> Any:
        renamed = isinstance(values, dict) and values.get("type") == "delisting"
        return {**values, "type": ActionType.WORTHLESS_REMOVAL} if renamed else values

    @property
    def terms(self) -> ActionTerms:
        """What is to happen."""
        return ActionTerms(**self.model_dump(exclude={"announced_at"}))

    @property
    def told_from(self) -> int | None:
        """Microseconds from which clients hear of it; None: at once."""
        return None if self.announced_at is None else to_micros(self.announced_at)


def parse_announcements(rows: Any) -> list[Announcement]:
    """Read corporate actions from tables as TOML has them.

    Raises:
        FaultInvalid: one can't be used; the line names its number, from 1, and the key.
    """
    if not isinstance(rows, list):
        raise FaultInvalid("corporate actions are a list of tables")
    return [_parse(number, row) for number, row in enumerate(rows, start=1)]


def _parse(number: int, row: Any) -> Announcement:
    if not isinstance(row, Mapping):
        raise FaultInvalid(f"corporate action {number} is no table of keys")
    try:
        return Announcement.model_validate(dict(row))
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in error["loc"])
        raise FaultInvalid(f"corporate action {number}: {key}: {error['msg']}") from exc
