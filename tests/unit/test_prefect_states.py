from __future__ import annotations

from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import Completed, Failed

from src.shared.domain.errors import InputInvalid, NotTheWriter, OutcomeUnknown, Terminal, Transient, Unreachable
from src.shared.prefect.states import ended, ended_in_order, ended_load, is_transient, is_transient_or_busy, joined

NOBODY = cast("Any", None)


def test_an_end_with_nothing_done_is_completed_under_its_own_name() -> None:
    state = ended("MARKET_CLOSED", "Thanksgiving.", {"orders": 0})

    assert state.is_completed()
    assert state.name == "MARKET_CLOSED"
    assert state.message == "Thanksgiving."


@pytest.mark.parametrize("error", [Transient("again"), Unreachable("PostgreSQL is being restarted")])
def test_what_may_pass_by_itself_is_tried_again(error: Exception) -> None:
    assert is_transient(NOBODY, NOBODY, Failed(data=error))
    assert is_transient_or_busy(NOBODY, NOBODY, Failed(data=error))


@pytest.mark.parametrize(
    "error",
    [Terminal("no"), OutcomeUnknown("perhaps"), InputInvalid("wrong"), ValueError("bug"), TimeoutError()],
)
def test_every_other_error_is_not(error: Exception) -> None:
    assert not is_transient(NOBODY, NOBODY, Failed(data=error))


def test_a_state_without_an_error_is_not_tried_again() -> None:
    assert not is_transient(NOBODY, NOBODY, Completed(data=1))


def test_a_step_of_the_cycle_also_waits_for_another_writer() -> None:
    assert is_transient_or_busy(NOBODY, NOBODY, Failed(data=NotTheWriter("manage-orders is at work")))


@pytest.mark.parametrize("error", [Terminal("no"), OutcomeUnknown("perhaps"), ValueError("bug")])
def test_a_step_of_the_cycle_is_not_repeated_after_any_other_error(error: Exception) -> None:
    assert not is_transient_or_busy(NOBODY, NOBODY, Failed(data=error))


def load(**told: Any) -> dict[str, Any]:
    return {"symbols": 3, "asked": 3, "failed": []} | told


def test_a_load_that_brought_everything_ends_with_its_summary() -> None:
    assert ended_load(load()) == load()


def test_a_load_that_brought_a_part_names_what_failed() -> None:
    state = ended_load(load(failed=["KYLO", "NOPE"]))

    assert isinstance(state, State)
    assert (state.name, state.message) == ("PARTIAL", "2 of 3 symbols failed: KYLO, NOPE.")


def test_a_load_that_had_nothing_to_ask_says_so() -> None:
    state = ended_load(load(asked=0))

    assert isinstance(state, State)
    assert (state.type, state.name) == (StateType.COMPLETED, "NOT_DUE")


@pytest.mark.parametrize(
    ("states", "name"),
    [
        ([Completed(), Completed()], None),
        ([Completed(), Failed(message="away")], "PARTIAL"),
        ([Failed(message="away"), Completed()], "PARTIAL"),
        ([Completed(name="PARTIAL"), Completed()], "PARTIAL"),
        ([Failed(message="away"), Failed(message="away")], "Failed"),
    ],
)
def test_flows_in_order_fail_together_and_are_partial_apart(states: list[State[Any]], name: str | None) -> None:
    ended = ended_in_order(["first", "second"], states)

    assert (ended.name if isinstance(ended, State) else None) == name


def test_a_symbol_has_failed_that_failed_in_either_of_two_loads() -> None:
    told = joined({"symbols": 2, "failed": ["KYLO"]}, {"rows_changed": 3, "failed": ["KELV", "KYLO"]})

    assert told == {"symbols": 2, "events_changed": 3, "failed": ["KELV", "KYLO"]}
