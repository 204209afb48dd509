"""The orchestrator may store an error and read it back in another process."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest

from src.shared.domain.errors import DuplicateOrderId, Refused, TradewindsError


def _tree(root: type[TradewindsError]) -> Iterator[type[TradewindsError]]:
    yield root
    for below in root.__subclasses__():
        yield from _tree(below)


def _ours() -> list[type[TradewindsError]]:
    return sorted({kind for kind in _tree(TradewindsError) if kind.__module__.startswith("src.")}, key=str)


def _example(kind: type[TradewindsError]) -> TradewindsError:
    return kind("no", "40310000") if issubclass(kind, Refused) else kind("no")


@pytest.mark.parametrize("kind", _ours())
def test_every_error_survives_being_pickled_and_copied(kind: type[TradewindsError]) -> None:
    error = _example(kind)

    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert type(again) is kind
        assert str(again) == "no"
        assert again.__dict__ == error.__dict__


def test_a_duplicate_keeps_the_vendors_code() -> None:
    again = pickle.loads(pickle.dumps(DuplicateOrderId("must be unique", "40010001")))  # noqa: S301

    assert (again.code, again.args) == ("40010001", ("must be unique",))
