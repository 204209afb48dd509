from __future__ import annotations

from typing import Any, cast

import pytest
from prefect.states import Completed, Failed

from src.shared.domain.errors import InputInvalid, NotTheWriter, OutcomeUnknown, Terminal, Transient
from src.shared.prefect.states import ended, is_transient, is_transient_or_busy

NOBODY = cast("Any", None)


def test_an_end_with_nothing_done_is_completed_under_its_own_name() -> None:
    state = ended("MARKET_CLOSED", "Thanksgiving.", {"orders": 0})

    assert state.is_completed()
    assert state.name == "MARKET_CLOSED"
    assert state.message == "Thanksgiving."


def test_only_a_transient_error_is_tried_again() -> None:
    assert is_transient(NOBODY, NOBODY, Failed(data=Transient("again")))


@pytest.mark.parametrize(
    "error",
    [Terminal("no"), OutcomeUnknown("perhaps"), InputInvalid("wrong"), ValueError("bug"), TimeoutError()],
)
def test_every_other_error_is_not(error: Exception) -> None:
    assert not is_transient(NOBODY, NOBODY, Failed(data=error))


def test_a_state_without_an_error_is_not_tried_again() -> None:
    assert not is_transient(NOBODY, NOBODY, Completed(data=1))


@pytest.mark.parametrize("error", [Transient("again"), NotTheWriter("manage-orders is at work")])
def test_a_step_of_the_cycle_also_waits_for_another_writer(error: Exception) -> None:
    assert is_transient_or_busy(NOBODY, NOBODY, Failed(data=error))


@pytest.mark.parametrize("error", [Terminal("no"), OutcomeUnknown("perhaps"), ValueError("bug")])
def test_a_step_of_the_cycle_is_not_repeated_after_any_other_error(error: Exception) -> None:
    assert not is_transient_or_busy(NOBODY, NOBODY, Failed(data=error))
