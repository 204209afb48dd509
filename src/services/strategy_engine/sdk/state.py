"""What a strategy remembers from slot to slot, and over restarts: declared, plain, bounded."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from src.services.strategy_engine.sdk.models import first_error, stricter
from src.services.strategy_engine.sdk.plain import canonical, plain_copy
from src.shared.domain.errors import InputInvalid, StrategyFault

MOST_STATE_BYTES = 64_000

PlainState = dict[str, JsonValue]

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, validate_assignment=True)


@dataclass(frozen=True)
class StateSchema:
    """The declared state of a strategy type: a dict with defaults, or a model whose fields all have one."""

    defaults: PlainState
    model: type[BaseModel] | None

    def load(self, stored: Mapping[str, JsonValue] | None) -> Any:
        """Make the state that a strategy works on, a dict or a model: a fresh one, or a stored one.

        What a stored state lacks has its default; what is no longer declared is dropped.

        Raises:
            StrategyFault: the stored one does not fit what is declared now.
        """
        known = {name: value for name, value in (stored or {}).items() if name in self.defaults}
        values = copy.deepcopy({**self.defaults, **known})
        if self.model is None:
            return values
        try:
            return self.model.model_validate_json(json.dumps(values))
        except ValidationError as error:
            raise StrategyFault(f"its stored state does not fit: {first_error(error)}") from None

    def plain(self, state: Any) -> PlainState:
        """Turn a state into what is stored.

        Raises:
            StrategyFault: it can't be stored: a name that is not declared or is gone, something that JSON does not
                hold, a number that is not finite, or more than 64,000 bytes.
        """
        values = self._values(state)
        if values.keys() != self.defaults.keys():
            odd = ", ".join(sorted(values.keys() ^ self.defaults.keys(), key=str))
            raise StrategyFault(f"its state can't be stored: STATE declares other names ({odd})")
        try:
            # A copy: what the strategy keeps a hand on must not change what was stored.
            stored: PlainState = plain_copy(values, "state")
        except ValueError as error:
            raise StrategyFault(f"its state can't be stored: {error}") from None
        if (size := len(canonical(stored).encode())) > MOST_STATE_BYTES:
            raise StrategyFault(f"its state can't be stored: it has {size} bytes; {MOST_STATE_BYTES} at most")
        return stored

    def _values(self, state: Any) -> dict[str, Any]:
        if self.model is None:
            return dict(state)
        try:
            # Lists and dicts inside may have been changed without a check.
            checked = self.model.model_validate(state.model_dump())
            values: dict[str, Any] = checked.model_dump(mode="json")
        except (ValidationError, ValueError) as error:
            said = first_error(error) if isinstance(error, ValidationError) else str(error)
            raise StrategyFault(f"its state can't be stored: {said}") from None
        return values


def state_schema(declared: object, key: str) -> StateSchema:
    """Make a schema of what a class declares as STATE.

    Raises:
        InputInvalid: it is neither a dict nor a pydantic model, has a field without a default, or a default that
            can't be stored.
    """
    if isinstance(declared, Mapping):
        schema = StateSchema(copy.deepcopy(dict(declared)), None)
    elif isinstance(declared, type) and issubclass(declared, BaseModel):
        strict = stricter(declared, _STRICT)
        try:
            defaults = strict().model_dump(mode="json")
        except ValidationError as error:
            raise InputInvalid(f"STATE of {key}: {first_error(error)}; each field has a default") from None
        schema = StateSchema(defaults, strict)
    else:
        raise InputInvalid(f"STATE of {key}: it is neither a dict of defaults nor a pydantic model")
    try:
        schema.plain(schema.load(None))
    except StrategyFault as error:
        raise InputInvalid(f"STATE of {key}: {error}") from None
    return schema
