"""Answers recorded by the SDK's authors are readable."""

from __future__ import annotations

import json
from typing import Any

import pytest

from src.shared.infra.alpaca import parsing
from tests.shared_data import shared_file

RECORDED = "data/api_fixtures/alpaca/alpaca_py_trading.json"


def recorded(*tests: str) -> list[Any]:
    # Upstream wrote the symbol of some orders as "AAPL`" by a slip.
    text = shared_file(RECORDED).read_text().replace("AAPL`", "AAPL")
    return [entry["body"] for entry in json.loads(text) if entry["test"] in tests]


def objects(*tests: str) -> list[Any]:
    bodies = recorded(*tests)
    return [item for body in bodies for item in (body if isinstance(body, list) else [body])]


CASES = [
    (parsing.account, "test_get_account"),
    (parsing.asset, "test_get_all_assets"),
    (parsing.asset, "test_get_asset"),
    (parsing.position, "test_get_all_positions"),
    (parsing.order, "test_get_orders"),
    (parsing.order, "test_get_order_by_client_id"),
    (parsing.order, "test_get_order_by_id"),
    (parsing.order, "test_market_order"),
]


@pytest.mark.parametrize(("parse", "test"), CASES)
def test_a_recorded_answer_is_readable(parse: Any, test: str) -> None:
    items = objects(test)
    bad: list[parsing.Quarantined] = []

    good = parsing.read_list("item", items, parse, bad)

    assert bad == []
    assert len(good) == len(items) > 0
