"""Which events start which runs, and how many."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.shared.messages.base import Event
from src.shared.messages.envelope import EVENT_TYPES
from src.shared.messages.ops import AlertRaised
from src.shared.messages.orders import PairClosed
from src.shared.messages.risk import TradeApproved
from src.shared.prefect.config import SOURCE_ROOT
from src.shared.prefect.table import read_table
from src.shared.prefect.triggers import TRIGGERS, Start, start_for
from tests.fakes.events import example

AT = datetime(2026, 3, 9, 14, 35, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def start(event: Event, at: datetime = AT, owner: str = "twin") -> Start:
    found = start_for(event, at, owner, MINUTE)
    assert found is not None
    return found


def test_an_approval_starts_a_run_for_its_slot_when_its_window_is_over() -> None:
    found = start(example(TradeApproved))

    assert found.deployment == "execute-trades/execute-trades"
    assert found.parameters == {"slot": "2026-03-09T14:30Z"}
    assert found.wait == MINUTE


def test_approvals_of_one_review_share_a_run_and_a_later_review_of_the_slot_gets_another() -> None:
    first, second = example(TradeApproved, "a"), example(TradeApproved, "b")

    assert start(first).key == start(second, AT + timedelta(seconds=20)).key
    assert start(first).key != start(second, AT + MINUTE).key


def test_runs_of_other_slots_accounts_and_events_are_not_shared() -> None:
    another = example(TradeApproved).model_copy(update={"correlation_id": "2026-03-09T15:30Z"})
    keys = [
        start(example(TradeApproved)).key,
        start(another).key,
        start(example(TradeApproved), owner="paper PA1").key,
        start(example(PairClosed)).key,
        start(example(AlertRaised)).key,
    ]

    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("severity", "starts"), [("info", False), ("warning", True), ("critical", True)])
def test_an_alert_starts_a_look_at_the_portfolio_from_warnings_on(severity: str, starts: bool) -> None:
    found = start_for(example(AlertRaised, severity=severity), AT, "twin", MINUTE)

    assert (found is not None) is starts


def test_every_other_event_starts_nothing() -> None:
    ours = {row.event for row in TRIGGERS}

    others = [start_for(example(kind), AT, "twin", MINUTE) for kind in EVENT_TYPES.values() if kind not in ours]

    assert set(others) == {None}


def test_what_is_started_is_deployed_and_takes_these_parameters() -> None:
    rows = {row.name: row for row in read_table().deployments}
    for trigger in TRIGGERS:
        flow, _, name = trigger.deployment.partition("/")
        path, _, function = rows[name].entrypoint.partition(":")
        found = _definition(path, function)

        assert _flow_name(found) == flow
        assert set(start(example(trigger.event)).parameters) <= {each.arg for each in found.args.args}


def _definition(path: str, function: str) -> ast.AsyncFunctionDef:
    tree = ast.parse((SOURCE_ROOT / path).read_text(encoding="utf-8"))
    [found] = [each for each in tree.body if isinstance(each, ast.AsyncFunctionDef) and each.name == function]
    return found


def _flow_name(definition: ast.AsyncFunctionDef) -> Any:
    [decorator] = definition.decorator_list
    assert isinstance(decorator, ast.Call)
    [name] = [each.value for each in decorator.keywords if each.arg == "name"]
    assert isinstance(name, ast.Constant)
    return name.value
