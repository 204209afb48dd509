"""What a strategy asks for. Nothing happens when it is asked: mode, risk and execution decide."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from src.shared.domain.pairs import Direction


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EnterPair(_Asked):
    """Open a trade of a registered pair."""

    kind: Literal["enter_pair"] = "enter_pair"
    pair_id: str
    direction: Direction
    reason: str = ""


class ExitPair(_Asked):
    """Close the trade of a pair."""

    kind: Literal["exit_pair"] = "exit_pair"
    pair_id: str
    reason: str = ""


class Target(_Asked):
    """Hold a symbol for this fraction of the instance's capital: negative is short, zero is nothing."""

    kind: Literal["target"] = "target"
    symbol: str
    fraction: float
    reason: str = ""


Wish = Annotated[EnterPair | ExitPair | Target, Field(discriminator="kind")]

WISHES: TypeAdapter[tuple[Wish, ...]] = TypeAdapter(tuple[Wish, ...])
"""Turns wishes into plain data (`dump_python(wishes, mode="json")`) and back (`validate_python`)."""
