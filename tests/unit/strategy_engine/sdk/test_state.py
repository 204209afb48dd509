"""A strategy's state: declared, plain, bounded, and the same after it was stored."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from src.services.strategy_engine.sdk.state import state_schema
from src.shared.domain.errors import InputInvalid, StrategyFault

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Model(BaseModel):
    """A state as a model."""

    held: int = 0
    prices: list[float] = Field(default_factory=list)
    note: str | None = None


@given(PLAIN)
def test_a_dict_comes_back_from_storage_as_it_went_in(value: Any) -> None:
    schema = state_schema({"value": None}, "mine")
    state = schema.load(None)
    state["value"] = value

    stored = json.loads(json.dumps(schema.plain(state)))

    assert schema.load(stored) == {"value": value}
    assert schema.plain(schema.load(stored)) == stored


@given(st.integers(-100, 100), st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5))
def test_a_model_comes_back_from_storage_as_it_went_in(held: int, prices: list[float]) -> None:
    schema = state_schema(Model, "mine")
    state = schema.load(None)
    state.held, state.prices = held, prices

    stored = json.loads(json.dumps(schema.plain(state)))

    assert schema.load(stored) == state


def test_each_fresh_state_is_its_own_copy_of_the_defaults() -> None:
    schema = state_schema({"prices": []}, "mine")
    schema.load(None)["prices"].append(1.0)

    assert schema.load(None) == {"prices": []}


def test_what_was_stored_does_not_change_with_what_the_strategy_still_holds() -> None:
    schema = state_schema({"prices": []}, "mine")
    state = schema.load(None)
    stored = schema.plain(state)
    state["prices"].append(1.0)

    assert stored == {"prices": []}


@pytest.mark.parametrize("declared", [{"held": 0, "prices": [1.0], "note": None}, Model], ids=["dict", "model"])
def test_a_state_of_an_older_file_keeps_what_both_know(declared: Any) -> None:
    schema = state_schema(declared, "mine")

    assert schema.plain(schema.load({"held": 3, "gone": True}))["held"] == 3
    assert "gone" not in schema.plain(schema.load({"held": 3, "gone": True}))


def test_a_stored_state_of_another_type_does_not_fit_a_model() -> None:
    with pytest.raises(StrategyFault, match="stored state does not fit: held: Input should be a valid integer"):
        state_schema(Model, "mine").load({"held": "three"})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "state.value is nan, which is not finite"),
        ([1.0, math.inf], r"state.value\[1\] is inf, which is not finite"),
        (np.float64(math.inf), "state.value is inf, which is not finite"),
        (np.zeros(2), "state.value is of type ndarray"),
        ((1, 2), "state.value is of type tuple"),
        ({1, 2}, "state.value is of type set"),
        ({"a": {1: 2}}, "state.value.a has the key 1; only text can be a key"),
        ("\x00", "state.value holds a character that can't be stored"),
        ("\ud800", "state.value holds a character that can't be stored"),
        ("a" * 64_000, "it has 64012 bytes; 64000 at most"),
    ],
)
def test_a_state_that_cannot_be_stored_is_an_error_of_the_strategy(value: Any, said: str) -> None:
    schema = state_schema({"value": None}, "mine")

    with pytest.raises(StrategyFault, match=said):
        schema.plain({"value": value})


@pytest.mark.parametrize("value", [np.int64(3), np.float64(1.5), np.bool_(True), [np.float32(0.5)]])
def test_a_number_of_numpy_is_stored_as_a_number(value: Any) -> None:
    schema = state_schema({"value": None}, "mine")

    stored = schema.plain({"value": value})

    assert stored == {"value": value}
    assert json.loads(json.dumps(stored)) == stored


def test_a_state_that_holds_itself_or_is_nested_without_end_cannot_be_stored() -> None:
    schema = state_schema({"value": None}, "mine")
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(StrategyFault, match="nested deeper than 32 levels"):
        schema.plain({"value": endless})


@pytest.mark.parametrize("state", [{}, {"value": 1, "other": 2}])
def test_only_declared_names_are_state(state: dict[str, Any]) -> None:
    with pytest.raises(StrategyFault, match="STATE declares other names"):
        state_schema({"value": None}, "mine").plain(state)


def test_a_model_is_checked_when_it_is_stored_however_it_was_changed() -> None:
    schema = state_schema(Model, "mine")
    state = schema.load(None)
    state.prices.append(math.nan)

    with pytest.raises(StrategyFault, match=r"prices\[0\]: Input should be a finite number"):
        schema.plain(state)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (["held"], "neither a dict of defaults nor a pydantic model"),
        ({"held": math.nan}, "state.held is nan"),
        ({"held": {1, 2}}, "state.held is of type set"),
        ({1: 2}, "the key 1"),
    ],
)
def test_a_declaration_that_cannot_be_stored_is_refused(declared: Any, said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        state_schema(declared, "mine")


def test_every_field_of_a_model_has_a_default() -> None:
    class Lacking(BaseModel):
        held: int

    with pytest.raises(InputInvalid, match="held: Field required; each field has a default"):
        state_schema(Lacking, "mine")
