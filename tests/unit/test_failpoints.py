"""Failpoints: what the variable may say, what happens at one, and who refuses to start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from src.shared.domain.errors import InputInvalid
from src.shared.failpoints import FAILPOINTS, Crashed, arm, arm_from_environment, armed, disarm, failpoint
from src.shared.prefect.config import SOURCE_ROOT

NAME, OTHER = "execution.before_post", "relay.marked"


@pytest.fixture(autouse=True)
def nothing_armed() -> Iterator[None]:
    disarm()
    yield
    disarm()


def test_nothing_happens_at_a_failpoint_that_is_not_armed() -> None:
    arm("")
    with armed(f"{OTHER}:exc"):
        failpoint(NAME)


def test_the_nth_arrival_counts_and_only_that() -> None:
    with armed(f"{NAME}:exc:2"):
        failpoint(NAME)
        with pytest.raises(Crashed, match=NAME):
            failpoint(NAME)
        failpoint(NAME)


def test_several_are_armed_at_once() -> None:
    with armed(f"{NAME}:exc, {OTHER}:exc"):
        for name in (NAME, OTHER):
            with pytest.raises(Crashed):
                failpoint(name)


def test_a_crash_is_caught_by_no_handler_of_errors() -> None:
    assert not issubclass(Crashed, Exception)


@pytest.mark.parametrize(
    "text",
    [
        "execution.before_post",
        "execution.before_post:explode",
        "execution.before_post:kill:0",
        "execution.before_post:kill:",
        "execution.before_post:kill:two",
        "execution.before_post:kill:²",
        "execution.nowhere:kill",
        ":kill",
        "execution.before_post:kill,",
    ],
)
def test_a_text_that_means_nothing_is_refused_and_arms_nothing(text: str) -> None:
    with pytest.raises(InputInvalid, match="FAILPOINT="):
        arm(f"{NAME}:exc,{text}")
    failpoint(NAME)


def test_the_environment_is_read_when_a_process_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILPOINT", f"{NAME}:exc")
    failpoint(NAME)

    arm_from_environment()

    with pytest.raises(Crashed):
        failpoint(NAME)


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "src.services.cli.main", "doctor", "--env-example"],
        ["-m", "src.services.notification.main", "serve"],
        ["scripts/prefect/start_prefect_worker.py"],
    ],
    ids=lambda command: command[-1],
)
def test_a_process_does_not_start_with_a_failpoint_that_does_not_exist(command: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "FAILPOINT": "nowhere:kill", "TRADEWINDS_ENV_FILE": os.devnull},
        cwd=SOURCE_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "FAILPOINT='nowhere:kill' names no failpoint" in ended.stderr


def test_every_failpoint_says_what_is_so_there() -> None:
    assert all(name.count(".") == 1 and meaning for name, meaning in FAILPOINTS.items())
