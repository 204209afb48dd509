"""Models of a strategy's author, made strict: nothing is turned into another type, and nothing unknown passes."""

from __future__ import annotations

import types

from pydantic import BaseModel, ConfigDict, ValidationError


def stricter(declared: type[BaseModel], rules: ConfigDict) -> type[BaseModel]:
    """Derive a model with the same fields under other rules."""
    body = {"model_config": rules, "__module__": declared.__module__, "__doc__": declared.__doc__}
    made: type[BaseModel] = types.new_class(
        declared.__name__, (declared,), exec_body=lambda space: space.update(body)
    )
    return made


def first_error(error: ValidationError) -> str:
    """Say the first thing that is wrong: where and what."""
    first = error.errors(include_url=False)[0]
    return f"{path_of(first['loc'])}: {first['msg']}".removeprefix(": ")


def path_of(loc: tuple[int | str, ...]) -> str:
    """Write where an error is: the field, and the place in a list."""
    # Of a union the tag of the branch stands in the path as well; people know nothing of it.
    return "".join(f"[{each}]" if isinstance(each, int) else each if not i else "" for i, each in enumerate(loc))
