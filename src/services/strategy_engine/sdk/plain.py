"""Plain data: what JSON and PostgreSQL hold without a change, so that it comes back from storage as it went in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import JsonValue

DEEPEST = 32


def plain_copy(value: object, name: str) -> Any:
    """Copy a value that is JSON all through: dict by names, list, text, finite number, bool or None.

    A single number of NumPy becomes one of Python's.

    Raises:
        ValueError: it is not; the message says which part, by its name.
    """
    return _copy(value, name, 0)


def storable(text: str, most: int) -> str:
    """Make a text one that can be stored: no more letters than `most`, and none that no database takes."""
    plain = text.replace("\x00", "�").encode("utf-8", "replace").decode("utf-8")
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def canonical(value: JsonValue | Mapping[str, JsonValue]) -> str:
    """Write plain data as one text, the same for equal data."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _copy(value: Any, name: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"{name} is nested deeper than {DEEPEST} levels")
    if isinstance(value, np.generic):
        value = value.item()
    # By the exact type: what only looks like one of these would come back as another.
    kind = type(value)
    if kind is dict:
        return {
            _key(key, name): _copy(each, f"{name}.{key}" if name else key, depth + 1) for key, each in value.items()
        }
    if kind is list:
        return [_copy(each, f"{name}[{i}]", depth + 1) for i, each in enumerate(value)]
    if kind is str:
        return _text(value, name)
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{name} is {value}, which is not finite")
    if value is not None and kind not in (int, float, bool):
        raise ValueError(
            f"{name} is of type {kind.__name__}; dict, list, str, int, float, bool and None can be stored"
        )
    return value


def _key(key: object, name: str) -> str:
    if type(key) is not str:
        raise ValueError(f"{name} has the key {key!r}; only text can be a key")
    return _text(key, f"a key of {name}")


def _text(value: str, name: str) -> str:
    if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name} holds a character that can't be stored")
    return value
