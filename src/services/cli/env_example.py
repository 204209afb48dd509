"""The file that shows every setting, made from the settings models so that it can't be out of date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import BaseModel

from src.config.settings import Settings

_HEAD = """\
# Every setting of Tradewinds. Copy this file to .env and change what you need: all of it is optional.
# An empty value means the default. Variables in the process environment come before this file.
# Made by `tradewinds doctor --env-example`.
"""


def render() -> str:
    """The text of deployment/env.example."""
    hints = get_type_hints(Settings)
    sections = (_section(hints[field.name]) for field in fields(Settings))
    return _HEAD + "".join(f"\n{section}" for section in sections)


def _section(component: type[BaseModel]) -> str:
    title = (component.__doc__ or component.__name__).strip().splitlines()[0]
    return f"# --- {title}\n" + "".join(_lines(component))


def _lines(component: type[BaseModel]) -> Iterator[str]:
    prefix = str(component.model_config.get("env_prefix", ""))
    for name, info in component.model_fields.items():
        yield f"# {info.description or name}\n"
        yield f"{prefix}{name}".upper() + f"={_default(info.get_default(call_default_factory=True))}\n"


def _default(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
