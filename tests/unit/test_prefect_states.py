from __future__ import annotations

from typing import Any, cast

import pytest
from prefect.states import Completed, Failed

from src.shared.domain.errors import InputInvalid, OutcomeUnknown, Terminal, Transient
from src.shared.prefect.states import ended, is_transient

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
