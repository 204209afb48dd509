"""Plain data: what JSON and PostgreSQL hold without a change, so that it comes back from storage as it went in."""

from __future__ import annotations

import json
import math

from pydantic import JsonValue

DEEPEST = 32


def refuse_unless_plain(value: object, name: str) -> None:
    """Let pass a value that is JSON all through: dict by names, list, text, finite number, bool or None.

    Raises:
        ValueError: it is not; the message says which part, by its name.
    """
    _check(value, name, 0)


def canonical(value: JsonValue) -> str:
    """Write plain data as one text, the same for equal data."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _check(value: object, name: str, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"{name} is nested deeper than {DEEPEST} levels")
    # By the exact type: what only looks like a number, such as numpy's, would come back as another type.
    kind = type(value)
    if kind is dict:
        _check_dict(value, name, depth)
    elif kind is list:
        for i, each in enumerate(value):  # type: ignore[arg-type,var-annotated]
            _check(each, f"{name}[{i}]", depth + 1)
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]
            raise ValueError(f"{name} is {value}, which is not finite")
    elif kind is str:
        _check_text(value, name)  # type: ignore[arg-type]
    elif value is not None and kind not in (int, bool):
        raise ValueError(
            f"{name} is of type {kind.__name__}; dict, list, str, int, float, bool and None can be stored"
        )


def _check_dict(value: object, name: str, depth: int) -> None:
    for key, each in value.items():  # type: ignore[attr-defined]
        if type(key) is not str:
            raise ValueError(f"{name} has the key {key!r}; only text can be a key")
        _check_text(key, f"a key of {name}")
        _check(each, f"{name}.{key}" if name else key, depth + 1)


def _check_text(value: str, name: str) -> None:
    if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name} holds a character that can't be stored")
