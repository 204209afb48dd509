"""What a strategy can be told: a pydantic model or a dict of fields. Both become a strict model and JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PydanticUserError,
    Tag,
    ValidationError,
    create_model,
)
from pydantic.config import JsonDict
from pydantic_core import core_schema

from src.services.strategy_engine.sdk.models import first_error, path_of, stricter
from src.services.strategy_engine.sdk.plain import plain_copy
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_pair_id, parse_symbol

MOST_CONFIG_LETTERS = 64_000
MOST_SYMBOLS = 200
MOST_PAIRS = 2_000
MOST_LETTERS = 500
MOST_ERRORS_SAID = 3

_ONE = r"[A-Z][A-Z0-9.]{0,9}"
# `$` alone would let a line feed pass after the last letter in some languages.
SYMBOL_PATTERN = rf"^{_ONE}(?!\n)$"
PAIR_PATTERN = rf"^(?!({_ONE})/\1$){_ONE}/{_ONE}(?!\n)$"
_TEXT_PATTERN = r"^[^\u0000]*$"

_STRICT = ConfigDict(
    strict=True,
    extra="forbid",
    frozen=True,
    allow_inf_nan=False,
    validate_default=True,
    arbitrary_types_allowed=False,
)


def _a_symbol(text: str) -> str:
    return _checked(parse_symbol, text)


def _a_pair(text: str) -> str:
    return _checked(parse_pair_id, text)


def _checked(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except InputInvalid as error:
        raise ValueError(str(error)) from None
    return text


class Different:
    """Marks a tuple whose items are all different: `Annotated[tuple[Symbol, ...], Different()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check it after the items."""
        return core_schema.no_info_after_validator_function(_all_different, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Say it in JSON Schema."""
        return {**handler(schema), "uniqueItems": True}


def _all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for i, each in enumerate(values):
        if each in values[:i]:
            raise ValueError(f"{each} is there twice")
    return values


Symbol = Annotated[str, AfterValidator(_a_symbol), Field(json_schema_extra={"pattern": SYMBOL_PATTERN})]
"""A symbol such as BRK.B."""

PairName = Annotated[str, AfterValidator(_a_pair), Field(json_schema_extra={"pattern": PAIR_PATTERN})]
"""A pair such as KO/PEP; never a symbol with itself."""

Symbols = Annotated[tuple[Symbol, ...], Field(min_length=1, max_length=MOST_SYMBOLS), Different()]
"""Different symbols, at least one."""


def _branch(value: object) -> str:
    return "all" if isinstance(value, str) else "list"


_Pairs = Annotated[tuple[PairName, ...], Field(min_length=1, max_length=MOST_PAIRS), Different()]
PairNames = Annotated[Annotated[Literal["all"], Tag("all")] | Annotated[_Pairs, Tag("list")], Discriminator(_branch)]
"""The word "all", or different pairs, at least one."""


class FieldSpec(BaseModel):
    """One field of a CONFIG_SCHEMA that is a dict.

    `min` and `max` bound the value of an int or float, the letters of a str, and the number of symbols;
    `step` is a hint for forms and searches. A default of None means that the field may be left out and is None then.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    type: Literal["bool", "int", "float", "str", "symbol", "symbols", "pair", "pairs"]
    default: Any = None
    min: float | int | None = None
    max: float | int | None = None
    step: Annotated[float | int, Field(gt=0)] | None = None
    choices: tuple[str | int | float, ...] | list[str | int | float] | None = None
    description: str = ""


@dataclass(frozen=True)
class ConfigSchema:
    """The config of a strategy type: what it may hold, and its JSON Schema."""

    key: str
    model: type[BaseModel]

    def validate(self, values: Mapping[str, object]) -> BaseModel:
        """Turn plain values into a config that can't be changed, with the defaults filled in.

        Raises:
            InputInvalid: a field is unknown, missing, not finite, of another type or out of bounds; one line names
                the field and the bound.
        """
        try:
            plain = plain_copy(dict(values), "")
        except ValueError as error:
            raise InputInvalid(f"config of {self.key}: {error}") from None
        text = json.dumps(_whole(plain), ensure_ascii=False)
        if len(text) > MOST_CONFIG_LETTERS:
            raise InputInvalid(f"config of {self.key}: it has {len(text)} letters; {MOST_CONFIG_LETTERS} at most")
        try:
            return self.model.model_validate_json(text)
        except ValidationError as error:
            raise InputInvalid(f"config of {self.key}: {self._said(error)}") from None
        except Exception as error:
            # A validator that the strategy's author wrote failed in its own way.
            raise InputInvalid(f"config of {self.key}: {type(error).__name__}: {error}") from error

    def json_schema(self) -> dict[str, Any]:
        """Describe the config as JSON Schema. What holds between fields is not in it."""
        return self.model.model_json_schema()

    def plain(self, config: BaseModel) -> dict[str, JsonValue]:
        """Turn a config back into plain values, defaults included: what is stored."""
        values: dict[str, JsonValue] = config.model_dump(mode="json")
        return values

    def stored(self, typed: Mapping[str, object]) -> dict[str, JsonValue]:
        """Check what a person gave and return it as it is stored; one text for a list is a list of one.

        Raises:
            InputInvalid: as `validate`.
        """
        fields = self.json_schema().get("properties", {})
        values = {name: [told] if _lacks_a_list(told, fields.get(name, {})) else told for name, told in typed.items()}
        return self.plain(self.validate(values))

    def _said(self, error: ValidationError) -> str:
        # A wrong item of a list makes the list too short as well: one word about each field is enough.
        first = {each["loc"][:1]: each for each in reversed(error.errors(include_url=False))}
        errors = [self._one(each) for each in reversed(first.values())]
        more = len(errors) - MOST_ERRORS_SAID
        return "; ".join(errors[:MOST_ERRORS_SAID]) + (f"; and {more} more" if more > 0 else "")

    def _one(self, error: Any) -> str:
        name = path_of(error["loc"])
        if error["type"] == "extra_forbidden":
            return f"{name} is no field of it; there are {', '.join(self.model.model_fields) or 'none'}"
        if error["type"] == "missing":
            return f"{name} is missing"
        said = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
        return f"{name} = {_shown(error['input'])}: {said}" if name else said


def config_schema(declared: object, key: str) -> ConfigSchema:
    """Make a schema of what a class declares as CONFIG_SCHEMA.

    Raises:
        InputInvalid: it is neither a pydantic model nor a dict of fields, a field's description is wrong, or a
            default breaks its own bound.
    """
    try:
        schema = ConfigSchema(key, _model(declared, key))
        _refuse_bad_defaults(schema)
    except InputInvalid as error:
        raise InputInvalid(f"CONFIG_SCHEMA of {key}: {error}") from None
    except PydanticUserError as error:
        raise InputInvalid(f"CONFIG_SCHEMA of {key}: {error.message}") from None
    return schema


def _model(declared: object, key: str) -> type[BaseModel]:
    if isinstance(declared, Mapping):
        return _model_of_fields(declared, key)
    if isinstance(declared, type) and issubclass(declared, BaseModel):
        return stricter(declared, _STRICT)
    raise InputInvalid("it is neither a pydantic model nor a dict of fields")


def _model_of_fields(declared: Mapping[Any, Any], key: str) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, described in declared.items():
        if not isinstance(name, str) or not name.isidentifier() or name.startswith(("_", "model_")):
            raise InputInvalid(f"{name!r} can't name a field")
        if not isinstance(described, Mapping):
            raise InputInvalid(f"{name} is no dict with type, default, min, max, step, choices, description")
        try:
            spec = FieldSpec.model_validate(dict(described))
        except ValidationError as error:
            raise InputInvalid(f"{name}: {first_error(error)}") from None
        fields[name] = _field(name, spec, optional="default" in described and described["default"] is None)
    title = "".join(part.capitalize() for part in key.split("_")) + "Config"
    return create_model(title, __config__=_STRICT, __module__=__name__, **fields)


def _field(name: str, spec: FieldSpec, *, optional: bool) -> tuple[Any, Any]:
    annotation = _annotation(name, spec)
    if optional:
        annotation = annotation | None
    default: Any = ... if spec.default is None and not optional else _frozen(spec.default)
    hints: JsonDict = {} if spec.step is None else {"step": spec.step}
    return annotation, Field(default, description=spec.description or None, json_schema_extra=hints)


def _frozen(default: Any) -> Any:
    return tuple(default) if isinstance(default, list) else default


def _annotation(name: str, spec: FieldSpec) -> Any:
    if spec.min is not None and spec.max is not None and spec.min > spec.max:
        raise InputInvalid(f"{name}: min {spec.min} is above max {spec.max}")
    if spec.type in ("bool", "symbol", "pair", "pairs") and (spec.min is not None or spec.max is not None):
        raise InputInvalid(f"{name}: a {spec.type} has no min and max")
    if spec.type != "float" and any(isinstance(each, float) for each in (spec.min, spec.max)):
        raise InputInvalid(f"{name}: min and max of {spec.type} are whole numbers")
    annotation = _kinds()[spec.type](spec)
    if spec.choices is None:
        return annotation
    if spec.type not in ("int", "float", "str", "symbol"):
        raise InputInvalid(f"{name}: a {spec.type} has no choices")
    choices = tuple(spec.choices)
    if not choices:
        raise InputInvalid(f"{name}: choices is empty")
    return Annotated[
        annotation,
        AfterValidator(partial(_one_of, choices=choices)),
        Field(json_schema_extra={"enum": list(choices)}),
    ]


def _kinds() -> dict[str, Callable[[FieldSpec], Any]]:
    return {
        "bool": lambda _: bool,
        "int": lambda spec: Annotated[int, Field(ge=spec.min, le=spec.max)],
        "float": lambda spec: Annotated[float, Field(ge=spec.min, le=spec.max)],
        "str": lambda spec: Annotated[
            str,
            Field(
                min_length=_count(spec.min, 0),
                max_length=_count(spec.max, MOST_LETTERS),
                json_schema_extra={"pattern": _TEXT_PATTERN},
            ),
        ],
        "symbol": lambda _: Symbol,
        "symbols": lambda spec: Annotated[
            tuple[Symbol, ...],
            Field(min_length=_count(spec.min, 1), max_length=_count(spec.max, MOST_SYMBOLS)),
            Different(),
        ],
        "pair": lambda _: PairName,
        "pairs": lambda _: PairNames,
    }


def _count(bound: float | None, otherwise: int) -> int:
    return otherwise if bound is None else int(bound)


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ValueError(f"it must be one of {', '.join(map(str, choices))}")
    return value


def _refuse_bad_defaults(schema: ConfigSchema) -> None:
    try:
        schema.model.model_validate_json("{}")
    except ValidationError as error:
        wrong = [each for each in error.errors(include_url=False) if each["type"] != "missing"]
        if wrong:
            raise InputInvalid(f"its default {schema._one(wrong[0])}") from None
    schema.json_schema()


def _lacks_a_list(told: object, field: Mapping[str, Any]) -> bool:
    kinds = [field, *field.get("anyOf", ()), *field.get("oneOf", ())]
    is_text = any(kind.get("type") == "string" and kind.get("const", told) == told for kind in kinds)
    return isinstance(told, str) and not is_text and any(kind.get("type") == "array" for kind in kinds)


def _whole(value: Any) -> Any:
    """Write 2.0 as 2, as JSON Schema sees it: there an integer is a number without a fraction."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"
