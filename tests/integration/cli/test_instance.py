"""`tradewinds instance`, typed, on a real PostgreSQL and a twin; and its step of the hourly flow's tasks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from src.shared.prefect.tasks.strategy_engine_tasks import run_instances, symbols_to_watch
from tests.fakes.desk import PAIR, SLOT, Installation
from tests.fakes.trouble import TROUBLE


def test_a_file_that_never_ends_is_refused_and_the_command_comes_back(desk: Installation) -> None:
    folder = desk.services.settings.strategy_folder
    folder.mkdir(parents=True)
    (folder / "endless.py").write_text("while True:\n    pass\n")

    said = desk.tradewinds("instance", "create", "mine", "endless", "--why", "to see")

    assert (said.code, said.out) == (2, "")
    assert said.err == f"error: {folder}/endless.py can't be loaded: the call took more than 2 s of CPU\n"


def test_an_instance_is_made_watched_changed_and_ended(desk: Installation) -> None:
    Path(desk.services.settings.strategy_folder).mkdir(parents=True)
    (desk.services.settings.strategy_folder / "trouble.py").write_text(TROUBLE)
    why = ("--why", "to see", "--who", "ada")

    made = desk.tradewinds("instance", "create", "mine", "trouble", "symbol=KELV", "--note", "a try", *why)
    seen = desk.tradewinds("instance", "mode", "mine", "observe", *why)
    basket = ("symbols=KELV,KYLO,QVEL",)
    desk.tradewinds("instance", "create", "three", "basket", *basket, *why)
    refused = desk.tradewinds("instance", "mode", "three", "active", *why)
    desk.tradewinds("instance", "delete", "three", *why)
    gate = desk.services.execution.cycle.open_gate()
    symbols = asyncio.run(symbols_to_watch.fn())
    counts = asyncio.run(run_instances.fn(gate, acting=False))
    shown = desk.tradewinds("instance", "show", "mine")
    drawn = desk.tradewinds("instance", "render", "default-pairs", "--json")
    poisoned = desk.tradewinds("instance", "set", "mine", "symbol=../x", *why)
    unexplained = desk.tradewinds("instance", "set", "mine", "symbol=KYLO")
    changed = desk.tradewinds("instance", "set", "mine", "symbol=KYLO", *why)
    story = json.loads(desk.tradewinds("instance", "show", "mine", "--json").out)
    desk.tradewinds("instance", "mode", "mine", "off", *why)
    ended = desk.tradewinds("instance", "delete", "mine", *why)
    left = json.loads(desk.tradewinds("instance", "list", "--json").out)

    assert (made.code, made.out) == (0, "mine (trouble) is made and off: tradewinds instance mode mine observe\n")
    assert seen.out == "mine: off → observe\n"
    assert refused.code == 2
    assert refused.err.startswith("error: three can be observed: what is traded are single symbols")
    assert refused.err.count("\n") == 1
    assert "KELV" in symbols
    assert counts == {"decided": 2, "failed": 0, "resting": 0}
    assert "would have: hold 50.0% in KELV" in shown.out
    assert "a try" in shown.out
    assert {each["kind"] for each in json.loads(drawn.out)} >= {"metric", "table"}
    assert PAIR in drawn.out
    assert (poisoned.code, unexplained.code) == (2, 2)
    assert "symbol" in poisoned.err
    assert poisoned.err.count("\n") == 1
    assert "--why" in unexplained.err
    assert changed.out == "mine: config version 2 from now on; the strategy begins anew.\n"
    assert story["instance"]["config"] == {"symbol": "KYLO"}
    assert [each["slot"] for each in story["decisions"]] == [SLOT.isoformat()]
    assert ended.out == "mine is gone.\n"
    assert [each["instance"]["id"] for each in left] == ["default-pairs"]
    assert [what for _, what, subject, _ in desk.audits() if subject == "mine"] == [
        "instance created",
        "instance switched",
        "instance set",
        "instance switched",
        "instance deleted",
    ]


def test_what_there_is_not_is_said_in_one_line(desk: Installation) -> None:
    for words in (
        ("show", "nobody"),
        ("render", "nobody"),
        ("set", "nobody", "a=1", "--why", "x"),
        ("create", "a", "pears", "--why", "x"),
    ):
        said = desk.tradewinds("instance", *words)

        assert said.code == 2
        assert said.err.count("\n") == 1
        assert "There is no" in said.err
