"""Commands typed in the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from src.services.cli.main import run


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Typed = Callable[..., Said]


def typing_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Return what types a command's words and reads what it says."""

    def tradewinds(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["tradewinds", *words])
        capsys.readouterr()
        try:
            run()
        except SystemExit as ended:
            printed = capsys.readouterr()
            return Said(int(ended.code or 0), printed.out, printed.err)
        raise AssertionError("a command always says how it ended")

    return tradewinds
