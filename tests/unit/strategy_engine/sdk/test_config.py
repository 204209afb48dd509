"""A strategy's config: two ways to declare it, one strict model, and JSON Schema that says the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, create_model, model_validator

from src.services.strategy_engine.sdk import PairName, PairNames, Symbol, Symbols
from src.services.strategy_engine.sdk.config import ConfigSchema, config_schema
from src.shared.domain.errors import InputInvalid

REVERSION = {
    "symbol": {"type": "symbol", "description": "What is traded."},
    "entry_z": {"type": "float", "default": 2.0, "min": 0.1, "max": 10, "step": 0.1},
    "bars": {"type": "int", "default": 20, "min": 2, "max": 500},
    "side": {"type": "str", "default": "both", "choices": ["long", "short", "both"]},
    "overnight": {"type": "bool", "default": False},
}


class Reversion(BaseModel):
    """The same, as a model."""

    symbol: Symbol = Field(description="What is traded.")
    entry_z: float = Field(2.0, ge=0.1, le=10)
    bars: int = Field(20, ge=2, le=500)
    side: Literal["long", "short", "both"] = "both"
    overnight: bool = False


BOTH = [config_schema(REVERSION, "reversion"), config_schema(Reversion, "reversion")]
both_ways = pytest.mark.parametrize("schema", BOTH, ids=["dict", "model"])


@both_ways
def test_what_is_left_out_has_its_default_and_nothing_can_be_changed_afterwards(schema: ConfigSchema) -> None:
    config: Any = schema.validate({"symbol": "KO", "entry_z": 3})

    assert schema.plain(config) == {
        "symbol": "KO",
        "entry_z": 3.0,
        "bars": 20,
        "side": "both",
        "overnight": False,
    }
    with pytest.raises(ValueError, match="frozen"):
        config.bars = 3


@both_ways
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "symbol is missing"),
        ({"symbol": "ko"}, "symbol = \"ko\": 'ko' is not a symbol"),
        ({"symbol": 3}, "symbol = 3: should be a valid string"),
        ({"symbol": "KO", "entry_z": 0}, "entry_z = 0: should be greater than or equal to 0.1"),
        ({"symbol": "KO", "entry_z": 1e9}, "entry_z = 1000000000: should be less than or equal to 10"),
        ({"symbol": "KO", "entry_z": math.nan}, "entry_z is nan, which is not finite"),
        ({"symbol": "KO", "entry_z": -math.inf}, "entry_z is -inf, which is not finite"),
        ({"symbol": "KO", "entry_z": "2"}, "should be a valid number"),
        ({"symbol": "KO", "entry_z": True}, "entry_z = true: should be a valid number"),
        ({"symbol": "KO", "entry_z": None}, "entry_z = null: should be a valid number"),
        ({"symbol": "KO", "bars": 2.5}, "bars = 2.5: should be a valid integer"),
        ({"symbol": "KO", "overnight": 1}, "overnight = 1: should be a valid boolean"),
        ({"symbol": "KO", "side": "up"}, 'side = "up": '),
        ({"symbol": "KO", "leverage": 1e9}, "leverage is no field of it; there are symbol, entry_z, bars, side"),
        ({"symbol": "KO", "bars": object()}, "bars is of type object"),
        ({"symbol": "K\x00O"}, "symbol holds a character that can't be stored"),
    ],
)
def test_a_poisoned_config_is_refused_in_one_line_with_the_field_and_the_bound(
    schema: ConfigSchema, values: dict[str, object], said: str
) -> None:
    with pytest.raises(InputInvalid) as refused:
        schema.validate(values)

    assert said in str(refused.value)
    assert str(refused.value).startswith("config of reversion: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pair": "KO/KO"}, "pairs a symbol with itself"),
        ({"pair": "KO-PEP"}, "is not a pair"),
        ({"pair": "KO/PEP", "pairs": []}, "at least 1 item"),
        ({"pair": "KO/PEP", "pairs": "some"}, "pairs = \"some\": should be 'all'"),
        ({"pair": "KO/PEP", "pairs": ["A/B", "A/B"]}, "A/B is there twice"),
        ({"pair": "KO/PEP", "pairs": ["A/B", "A/A"]}, 'pairs[1] = "A/A": '),
        ({"pair": "KO/PEP", "symbols": "SPY"}, 'symbols = "SPY": should be a valid '),
        ({"pair": "KO/PEP", "symbols": ["SPY", "SPY"]}, "SPY is there twice"),
        ({"pair": "KO/PEP", "symbols": ["SPY", "qqq"]}, 'symbols[1] = "qqq": '),
    ],
)
def test_a_symbol_is_never_paired_with_itself_and_nothing_is_named_twice(
    values: dict[str, object], said: str
) -> None:
    fields: dict[str, dict[str, object]] = {
        "pair": {"type": "pair"},
        "pairs": {"type": "pairs", "default": "all"},
        "symbols": {"type": "symbols", "default": ["SPY"]},
    }
    schema = config_schema(fields, "pairs")
    oracle = Draft202012Validator(schema.json_schema())

    assert schema.plain(schema.validate({"pair": "KO/PEP"})) == {"pair": "KO/PEP", "pairs": "all", "symbols": ["SPY"]}
    assert oracle.is_valid({"pair": "KO/PEP", "pairs": ["A/B", "B/A"]})
    assert not oracle.is_valid(values)
    with pytest.raises(InputInvalid) as refused:
        schema.validate(values)
    assert said in str(refused.value)


def test_one_text_that_a_person_types_for_a_list_is_a_list_of_one() -> None:
    class Mine(BaseModel):
        pairs: PairNames = "all"
        symbols: Symbols | None = None
        word: str | Symbols = "none"

    schema = config_schema(Mine, "mine")

    stored = schema.stored({"pairs": "KO/PEP", "symbols": "SPY", "word": "SPY"})

    assert stored == {"pairs": ["KO/PEP"], "symbols": ["SPY"], "word": "SPY"}
    assert schema.stored({"pairs": "all"})["pairs"] == "all"
    with pytest.raises(InputInvalid, match=r'pairs\[0\] = "some": '):
        schema.stored({"pairs": "some"})


def test_what_holds_between_fields_is_checked_by_the_model() -> None:
    class Band(BaseModel):
        low: float = 1.0
        high: float = 2.0

        @model_validator(mode="after")
        def _rising(self) -> Band:
            if not self.low < self.high:
                raise ValueError(f"low {self.low} must be below high {self.high}")
            return self

    with pytest.raises(InputInvalid, match=r"low 3\.0 must be below high 2\.0"):
        config_schema(Band, "band").validate({"low": 3.0})


def test_a_validator_that_fails_in_its_own_way_is_the_configs_fault() -> None:
    class Odd(BaseModel):
        bars: int = 1

        @model_validator(mode="after")
        def _divide(self) -> Odd:
            if 1 / self.bars > 0:
                return self
            raise ValueError("negative")

    with pytest.raises(InputInvalid, match="config of odd: ZeroDivisionError"):
        config_schema(Odd, "odd").validate({"bars": 0})


def test_a_config_of_any_length_is_not_stored() -> None:
    class Long(BaseModel):
        text: str

    with pytest.raises(InputInvalid, match="64000 at most"):
        config_schema(Long, "long").validate({"text": "a" * 64_000})


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (3, "neither a pydantic model nor a dict"),
        ({"bars": 3}, "bars is no dict with type"),
        ({"bars": {}}, "bars: type: Field required"),
        ({"bars": {"type": "integer"}}, "bars: type: Input should be 'bool', 'int'"),
        ({"bars": {"type": "int", "minimum": 3}}, "bars: minimum: Extra inputs are not permitted"),
        ({"bars": {"type": "int", "min": 3, "max": 2}}, "bars: min 3 is above max 2"),
        ({"bars": {"type": "int", "min": 3, "default": 2}}, "its default bars = 2: should be greater than or equal"),
        ({"bars": {"type": "int", "default": "two"}}, 'its default bars = "two": should be a valid integer'),
        ({"bars": {"type": "float", "default": math.inf}}, "its default bars = Infinity: should be a finite number"),
        ({"bars": {"type": "int", "step": 0}}, "bars: step: Input should be greater than 0"),
        ({"side": {"type": "str", "choices": []}}, "side: choices is empty"),
        ({"side": {"type": "str", "choices": ["a"], "default": "b"}}, "must be one of a"),
        ({"on": {"type": "bool", "min": 0}}, "on: a bool has no min and max"),
        ({"on": {"type": "bool", "choices": ["a"]}}, "on: a bool has no choices"),
        ({"name": {"type": "str", "max": 2.5}}, "name: min and max of str are whole numbers"),
        ({"bars": {"type": "int", "min": 0.5}}, "bars: min and max of int are whole numbers"),
        ({"a b": {"type": "int"}}, "'a b' can't name a field"),
        ({"model_config": {"type": "int"}}, "'model_config' can't name a field"),
    ],
)
def test_a_wrong_schema_is_refused_with_the_field_that_is_wrong(declared: object, said: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        config_schema(declared, "mine")

    assert str(refused.value).startswith("CONFIG_SCHEMA of mine: ")
    assert said in str(refused.value)


def test_step_and_description_are_hints_in_json_schema() -> None:
    described = BOTH[0].json_schema()

    assert described["properties"]["entry_z"]["step"] == 0.1
    assert described["properties"]["symbol"]["description"] == "What is traded."
    assert described["required"] == ["symbol"]
    assert described["additionalProperties"] is False
    BOTH[0].validate({"symbol": "KO", "entry_z": 2.05})


@dataclass(frozen=True)
class Declared:
    """A field declared in both ways, and values that stand near its bounds."""

    spec: dict[str, Any]
    annotation: Any
    values: st.SearchStrategy[Any]


SYMBOLS = st.sampled_from(["A", "BRK.B", "SPY", "TOOLONGSYMBOL", "spy", "", "A\n", "1A"])
PAIRS = st.sampled_from(["A/B", "B/A", "A/A", "A", "a/b", "A/B\n", "AB/A", "SPY/SPY.X"])
ODD = st.sampled_from([None, True, False, 0, 1, -1, 2.5, 1.0, 1e300, "", "1", [], ["A"], {}, {"a": 1}, "all"])


@st.composite
def bounds(draw: st.DrawFn, numbers: st.SearchStrategy[Any]) -> tuple[Any, Any]:
    low, high = sorted((draw(numbers), draw(numbers)))
    keep_low, keep_high = draw(st.booleans()), draw(st.booleans())
    return low if keep_low else None, high if keep_high else None


@st.composite
def numbers(draw: st.DrawFn) -> Declared:
    kind, annotation = draw(st.sampled_from([("int", int), ("float", float)]))
    some = st.integers(-50, 50) if kind == "int" else st.floats(-50, 50)
    low, high = draw(bounds(some))
    spec = {"type": kind, "min": low, "max": high}
    near = st.one_of(some, *(st.just(bound) for bound in (low, high) if bound is not None))
    return Declared(spec, Annotated[annotation, Field(ge=low, le=high)], near)


@st.composite
def texts(draw: st.DrawFn) -> Declared:
    if draw(st.booleans()):
        choices = draw(st.lists(st.text("abc", max_size=3), min_size=1, max_size=3, unique=True))
        return Declared({"type": "str", "choices": choices}, Literal[tuple(choices)], st.sampled_from(choices))
    low, high = draw(bounds(st.integers(0, 6)))
    spec = {"type": "str", "min": low, "max": high}
    annotation = Annotated[str, Field(min_length=low or 0, max_length=500 if high is None else high)]
    return Declared(spec, annotation, st.text("aé\n€😀", max_size=8))


FIELDS = st.one_of(
    numbers(),
    texts(),
    st.just(Declared({"type": "bool"}, bool, st.booleans())),
    st.just(Declared({"type": "symbol"}, Symbol, SYMBOLS)),
    st.just(Declared({"type": "symbols"}, Symbols, st.lists(SYMBOLS, max_size=3))),
    st.just(Declared({"type": "pair"}, PairName, PAIRS)),
    st.just(Declared({"type": "pairs"}, PairNames, st.one_of(st.just("all"), st.lists(PAIRS, max_size=3)))),
)


@st.composite
def declared_and_told(draw: st.DrawFn) -> tuple[dict[str, Declared], dict[str, bool], dict[str, Any]]:
    """Random fields, which of them may be left out, and values that are right, wrong or not there."""
    fields = draw(st.dictionaries(st.sampled_from(["alpha", "beta", "gamma"]), FIELDS, max_size=3))
    optional = {name: draw(st.booleans()) for name in fields}
    told = {
        name: draw(st.one_of(each.values, each.values, each.values, ODD))
        for name, each in fields.items()
        if draw(st.integers(0, 5))
    }
    if not draw(st.integers(0, 5)):
        told["unknown"] = 1
    return fields, optional, told


def outcome(schema: ConfigSchema, values: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return schema.plain(schema.validate(values))
    except InputInvalid as error:
        assert "\n" not in str(error).replace("\\n", "")
        return None


@settings(max_examples=200, deadline=None)
@given(declared_and_told())
def test_both_ways_and_json_schema_accept_the_same_values(
    chosen: tuple[dict[str, Declared], dict[str, bool], dict[str, Any]],
) -> None:
    fields, optional, told = chosen
    spec = {name: {**each.spec, **({"default": None} if optional[name] else {})} for name, each in fields.items()}
    annotations: dict[str, Any] = {
        name: (each.annotation | None, None) if optional[name] else (each.annotation, ...)
        for name, each in fields.items()
    }
    by_dict = config_schema(spec, "mine")
    by_model = config_schema(create_model("Mine", **annotations), "mine")

    accepted = outcome(by_dict, told)

    assert outcome(by_model, told) == accepted
    assert Draft202012Validator(by_dict.json_schema()).is_valid(told) == (accepted is not None)
    if accepted is not None:
        # What is stored is a config again, and the same one.
        assert outcome(by_dict, accepted) == accepted


@settings(max_examples=100, deadline=None)
@given(declared_and_told(), st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_no_number_that_is_not_finite_passes_anywhere(
    chosen: tuple[dict[str, Declared], dict[str, bool], dict[str, Any]], poison: float, data: st.DataObject
) -> None:
    fields, _, told = chosen
    assume(fields)
    schema = config_schema({name: each.spec for name, each in fields.items()}, "mine")
    where = data.draw(st.sampled_from(sorted(fields)))
    poisoned = data.draw(st.sampled_from([poison, [poison], {"a": [poison]}]))

    with pytest.raises(InputInvalid, match=rf"{where}.* not finite"):
        schema.validate({**{name: each for name, each in told.items() if name == where}, where: poisoned})
