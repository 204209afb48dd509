"""A rehearsal: what is wrong with a strategy comes out on a made-up market."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.services.strategy_engine.adapters.template_file import write_template
from src.services.strategy_engine.domain.instances import Failed, Job, Stepped
from src.services.strategy_engine.domain.rehearsal import made_up_closes, made_up_pairs
from src.services.strategy_engine.ports import Market
from src.services.strategy_engine.sdk.config import config_schema
from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER, Loader
from src.services.strategy_engine.sdk.sample import sample_config
from src.services.strategy_engine.use_cases.rehearsal import SLOTS, Rehearsal, Rehearsals
from src.shared.domain.errors import InputInvalid
from src.shared.domain.instances import FaultKind
from src.shared.domain.sessions import TradingCalendar
from tests.fakes.strategy_runner import InlineRunner
from tests.unit.strategy_engine.sdk.scene import written

WHOLE = """\
from src.services.strategy_engine.sdk import Strategy


class Whole(Strategy):
    CONFIG_SCHEMA = {"symbol": {"type": "symbol"}}
    WARMUP_BARS = 20
    WHOLE_BARS = True

    def on_bar(self, context, bar):
        symbol = context.config.symbol
        bars = context.bars(symbol, 20)
        now = bar.bars.get(symbol)
        context.note(bars=len(bars.high), high=bars.high[-1], widest=(bars.high - bars.low).max())
        if now is not None and now.volume > 0:
            context.orders.target(symbol, 0.1, reason="TRADED" if now.low < now.high else "STILL")
"""

BUILT_IN = sorted(path.stem for path in BUILT_IN_FOLDER.glob("[a-z]*.py"))

MINE = """\
import random
import time

from src.services.strategy_engine.sdk import Context, SlotBar, Strategy

CALLS = []


class Mine(Strategy):
    CONFIG_SCHEMA = {"symbol": {"type": "symbol"}}
    STATE = {"count": 0}
    WARMUP_BARS = 20

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        CALLS.append(1)
        DOES

    def render(self, context: Context) -> list:
        return SHOWS
"""


def rehearsed(
    path: Path, config: dict[str, Any] | None = None, clock: Callable[[], float] = lambda: 0.0
) -> Rehearsal:
    kind = Loader().load(path, built_in=path.parent == BUILT_IN_FOLDER)
    with closing(InlineRunner(path.parent)) as runner:
        rehearsals = Rehearsals(runner, TradingCalendar(), clock, most_seconds=60.0)
        return rehearsals.rehearse(kind, {**sample_config(kind.config), **(config or {})})


def mine(folder: Path, does: str = "context.state['count'] += 1", shows: str = "[]") -> Path:
    return written(folder, "mine.py", MINE.replace("DOES", does).replace("SHOWS", shows))


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_strategy_passes(name: str) -> None:
    done = rehearsed(BUILT_IN_FOLDER / f"{name}.py")

    assert done.slots == SLOTS
    assert done.widgets
    # The made-up basket is not long enough to be trusted; all others act.
    assert bool(done.asked) is (name != "basket")


def test_what_the_template_makes_passes_as_it_is(tmp_path: Path) -> None:
    path = write_template("my_trend", tmp_path / "new")

    done = rehearsed(path)

    assert path == tmp_path / "new" / "my_trend.py"
    assert Loader().load(path).strategy.__name__ == "MyTrend"
    assert {"target CROSSED_UP", "target CROSSED_DOWN"} <= done.asked.keys()
    assert not {"Template", "TITLE", "NAME"} & set(path.read_text().replace(".", " ").split())


def test_a_template_never_overwrites(tmp_path: Path) -> None:
    written(tmp_path, "my_trend.py", "mine")

    with pytest.raises(InputInvalid, match=r"my_trend\.py is there already: it is not overwritten"):
        write_template("my_trend", tmp_path)
    assert (tmp_path / "my_trend.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My", "'My' names no strategy"),
        ("../evil", "names no strategy"),
        ("a b", "names no strategy"),
        ("pairs", "A built-in strategy is called pairs"),
    ],
)
def test_a_template_has_a_name_that_a_strategy_can_have(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        write_template(name, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_template_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    written(tmp_path, "file", "no folder")

    with pytest.raises(InputInvalid, match="file can't be made: File exists"):
        write_template("my_trend", tmp_path / "file")


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("1 / 0", r"mine: on_bar: ZeroDivisionError: division by zero \(mine.py, line 16\)"),
        ("context.note(now=time.time_ns())", "gave two different numbers"),
        ("context.log(str(random.random()))", "gave two different log"),
        ("context.state['count'] += len(CALLS)", "gave two different state"),
        ("context.orders.target('AAA', 0.1 * (len(CALLS) % 2))", "gave two different wishes"),
        ("context.state['count'] = float('nan')", "state.count is nan, which is not finite"),
        ("context.orders.target('AAA', context.history('AAA', 20).mean())", "asked to hold 9"),
        ("context.history('AAA', 21)", "read 21 bars of AAA; it says that it needs 20"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, does: str, said: str) -> None:
    with pytest.raises(InputInvalid, match=said) as refused:
        rehearsed(mine(tmp_path, does))

    assert "\n" not in str(refused.value)


def test_a_missing_bar_comes_up(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="KeyError: 'AAA'"):
        rehearsed(mine(tmp_path, "bar.closes['AAA']"))


def test_what_is_no_widget_comes_up(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="mine: render: "):
        rehearsed(mine(tmp_path, shows="['<b>']"))


def test_a_state_that_its_own_model_changes_comes_up(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "mine.py",
        """
        from pydantic import BaseModel, field_validator
        from src.services.strategy_engine.sdk import Strategy

        class State(BaseModel):
            text: str = ""

            @field_validator("text")
            @classmethod
            def _longer(cls, text):
                return text + "!"

        class Mine(Strategy):
            CONFIG_SCHEMA = {}
            STATE = State

            def on_bar(self, context, bar):
                context.state.text = "a"
        """,
    )

    with pytest.raises(InputInvalid, match="its state does not come back from storage as it went in"):
        rehearsed(path)


def test_a_config_that_is_refused_is_no_rehearsal(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="leverage is no field of it"):
        rehearsed(mine(tmp_path), {"leverage": 1e9})


def test_it_is_ended_where_it_takes_too_long(tmp_path: Path) -> None:
    seconds = itertools.count(step=10)

    with pytest.raises(InputInvalid, match="mine: 6 of 120 bars took more than 60 s"):
        rehearsed(mine(tmp_path), clock=lambda: float(next(seconds)))


def test_what_ends_its_process_is_told_with_the_name_of_the_strategy(tmp_path: Path) -> None:
    class Ending(InlineRunner):
        def steps(self, market: Market, jobs: Sequence[Job]) -> list[Stepped | Failed]:
            return [Failed(FaultKind.TIME_OUT, "the call took more than 2 s of CPU")] * len(jobs)

    kind = Loader().load(mine(tmp_path))
    with pytest.raises(InputInvalid, match=r"^mine: the call took more than 2 s of CPU$"):
        Rehearsals(Ending(tmp_path), TradingCalendar(), lambda: 0.0, 60.0).rehearse(kind, {"symbol": "AAA"})


def test_ticks_are_rehearsed_where_they_are_looked_at(tmp_path: Path) -> None:
    path = mine(tmp_path)
    path.write_text(
        path.read_text() + "\n    def on_tick(self, context, tick):\n        raise ValueError(tick.symbol)\n"
    )

    with pytest.raises(InputInvalid, match="mine: on_tick: ValueError: AAA"):
        rehearsed(path)


def test_the_made_up_market_is_the_same_each_time_and_has_one_hole() -> None:
    first, second = (made_up_closes(("AAA", "BBB"), 50, 30, TradingCalendar()) for _ in range(2))

    assert first.ends == second.ends
    assert np.array_equal(first.closes, second.closes, equal_nan=True)
    assert np.argwhere(np.isnan(first.closes)).tolist() == [[30, 0]]
    assert [each.pair.id for each in made_up_pairs(("KO/PEP",))] == ["KO/PEP"]
    assert len(made_up_pairs("all")) == 2


def test_a_config_is_made_up_where_there_is_no_default() -> None:
    declared = {
        "symbol": {"type": "symbol"},
        "symbols": {"type": "symbols", "min": 2},
        "pair": {"type": "pair"},
        "pairs": {"type": "pairs"},
        "bars": {"type": "int", "min": 3},
        "share": {"type": "float", "max": 0.5},
        "name": {"type": "str", "min": 2},
        "side": {"type": "str", "choices": ["long", "short"]},
        "on": {"type": "bool"},
        "there": {"type": "int", "default": 7},
    }
    schema = config_schema(declared, "mine")

    made = sample_config(schema)

    assert schema.plain(schema.validate(made)) == {
        "symbol": "AAA",
        "symbols": ["ABA", "ACA"],
        "pair": "ADA/AEA",
        "pairs": "all",
        "bars": 3,
        "share": 0.5,
        "name": "aa",
        "side": "long",
        "on": False,
        "there": 7,
    }


def test_a_strategy_that_reads_whole_bars_is_given_them_and_a_missing_one_is_missing(tmp_path: Path) -> None:
    done = rehearsed(written(tmp_path, "whole.py", WHOLE))

    assert done.asked == {"target TRADED": SLOTS - 1}
    assert done.numbers["bars"] == 20
    assert done.numbers["high"] > 0
