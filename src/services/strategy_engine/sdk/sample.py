"""A config for trying a strategy out, where a person gave none: its defaults, and what its JSON Schema lets pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from string import ascii_uppercase
from typing import Any

from src.services.strategy_engine.sdk.config import PAIR_PATTERN, SYMBOL_PATTERN, ConfigSchema

_SYMBOLS = [f"{first}{second}A" for first in ascii_uppercase for second in ascii_uppercase]


def sample_config(schema: ConfigSchema) -> dict[str, Any]:
    """Make up values for the fields that have no default. They need not pass what the model checks besides."""
    described = schema.json_schema()
    names = iter(_SYMBOLS)
    return {field: _sample(described["properties"][field], names) for field in described.get("required", [])}


def _sample(field: dict[str, Any], names: Iterator[str]) -> Any:
    if "enum" in field:
        return field["enum"][0]
    if "const" in field:
        return field["const"]
    for either in ("anyOf", "oneOf"):
        if either in field:
            return _sample(field[either][0], names)
    kind = _KINDS.get(field.get("type", ""))
    return kind(field, names) if kind is not None else None


def _text(field: dict[str, Any], names: Iterator[str]) -> str:
    if field.get("pattern") == SYMBOL_PATTERN:
        return str(next(names))
    if field.get("pattern") == PAIR_PATTERN:
        return f"{next(names)}/{next(names)}"
    return "a" * int(field.get("minLength", 1))


def _number(field: dict[str, Any], _: Iterator[str]) -> float:
    if "minimum" in field:
        return float(field["minimum"])
    return min(1.0, float(field.get("maximum", 1.0)))


def _list(field: dict[str, Any], names: Iterator[str]) -> list[Any]:
    return [_sample(field.get("items", {}), names) for _ in range(max(1, int(field.get("minItems", 1))))]


_KINDS: dict[str, Callable[[dict[str, Any], Iterator[str]], Any]] = {
    "string": _text,
    "number": _number,
    "integer": _number,
    "boolean": lambda *_: False,
    "array": _list,
}
