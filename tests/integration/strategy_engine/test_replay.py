"""`tradewinds replay`: decisions taken again, on a real PostgreSQL, with bars that came by the real loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import create_engine, insert, text

from src.services.data_ingestion.adapters.history_repository import SqlHistoryRepository
from src.services.data_ingestion.use_cases.history import HistoryLoad
from src.services.strategy_engine.bootstrap import build_cells, build_instances, build_slots
from src.services.strategy_engine.domain.replay import Cause
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid
from src.shared.domain.instances import InstanceMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.tables import risk_decision
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes.bar_source import FakeBarSource
from tests.fakes.desk import FIRST, PAIR, SECOND, Installation
from tests.fakes.pairs import registered_pair, write_pair
from tests.fakes.trouble import RANGE
from tests.fakes.typed import Said
from tests.fakes.vendor import FakeVendor

CALENDAR = TradingCalendar()
DAY = "2025-03-03"
SESSION = CALENDAR.sessions(date(2025, 3, 3), date(2025, 3, 3))[0]
SLOTS = [end for _, end in SESSION.bar_spans()]
CLOSE = SLOTS[-1]
SPANS = CALENDAR.last_spans(CLOSE, 60)
STARTS = {end: start for start, end in SPANS}
LOADED = ("KELV", "KYLO", "ZEAL", "ZINC")
HALF = timedelta(minutes=30)

# What the spread does at a slot, in units of its calm swing of 0.01.
ENTRY, HOLD, STOP, ENTRY_AFTER_STOP = -3.25, -1.5, -20.0, -17.0


@dataclass
class Scene:
    """The desk with bars of four symbols, and two pairs that were fitted on earlier ones."""

    desk: Installation
    source: FakeBarSource = field(default_factory=FakeBarSource)

    def fill(self, moves: Mapping[datetime, float]) -> None:
        """Have bars whose log spread swings calmly and stands at the given multiple of the swing at some slots."""
        swing = 0.01 * np.cos(np.pi * np.arange(len(SPANS)))
        for i, (_, end) in enumerate(SPANS):
            swing[i] = 0.01 * moves[end] if end in moves else swing[i]
        for symbol, closes in zip(LOADED, _legs(swing), strict=True):
            self.source.fill(symbol, SPANS[0][0], CLOSE, price=100.0)
            for (start, end), close in zip(SPANS, closes, strict=True):
                self.set(symbol, start, end, float(close))

    def set(self, symbol: str, start: datetime, end: datetime, close: float, high: float | None = None) -> None:
        """Have another close in all half hours of a bar, and maybe a high of its own."""
        moment = start
        while moment < end:
            prices = {"open": close, "high": high or close * 1.001, "low": close * 0.999, "close": close}
            self.source.change(symbol, "30Min", moment, **prices)
            moment += HALF

    def stored_close(self, symbol: str, end: datetime) -> float:
        with self.desk.services.engine.connect() as connection:
            return float(read_closes(connection, [symbol], [end]).closes[0, 0])

    def load(self, *, again: bool = False, until: datetime = CLOSE) -> None:
        history = HistoryLoad(
            SqlUnitOfWork(self.desk.services.engine, SqlHistoryRepository), FakeVendor(until), CALENDAR
        )
        result = history.run(self.source, LOADED, SPANS[0][0], until, only_missing=not again)
        assert not result.failed

    def decide(self, *slots: datetime) -> list[tuple[str, str]]:
        found = []
        for slot in slots:
            signals = self.desk.services.strategy.evaluate_slot(slot, slot + timedelta(seconds=20), CLOSE).signals
            found += [(each.action.value, each.reason) for each in signals if each.pair_id == PAIR]
        return found

    def replay(self, *words: str) -> Said:
        return self.desk.tradewinds("replay", "--day", DAY, *words)

    def facts(self) -> tuple[int, dict[str, Any]]:
        said = self.replay("--json")
        return said.code, json.loads(said.out)

    def as_owner(self, sql: str, **values: object) -> None:
        """Do what no role of the system may do."""
        engine = create_engine(self.desk.database.owner_url)
        with engine.begin() as connection:
            assert connection.execute(text(sql), values).rowcount
        engine.dispose()

    def approve(self, slot: datetime, action: SignalAction) -> None:
        """Approve the signal that the slot has, as risk management does, and have it traded."""
        first, second = (5, -4) if action.is_entry else (0, 0)
        with self.desk.services.engine.begin() as connection:
            connection.execute(
                insert(risk_decision).values(
                    decision_id=uuid4(),
                    signal_id=signal_id(PAIR, slot),
                    pair_id=PAIR,
                    slot=slot,
                    action=action.value,
                    approved=True,
                    code="APPROVED",
                    reason="within limits",
                    quantity_1=first,
                    quantity_2=second,
                    numbers={},
                )
            )
        self.desk.move_to(slot + timedelta(seconds=25))
        self.desk.trade()


def _legs(swing: Floats) -> list[Floats]:
    # The registered hedge ratio is 0.8; the other pair's spread is calm.
    second = np.full(len(swing), 50.0)
    calm = 0.01 * np.cos(np.pi * np.arange(len(swing)))
    return [np.exp(swing) * second**0.8, second, np.exp(calm) * second**0.8, second]


@pytest.fixture
def scene(desk: Installation) -> Scene:
    made = Scene(desk)
    with desk.services.engine.begin() as connection:
        write_pair(connection, registered_pair("ZEAL/ZINC", SPANS[0][1]))
        connection.execute(
            text("UPDATE strategy.pair_registry SET fitted_to = :at WHERE pair_id = :pair"),
            {"at": SPANS[0][1], "pair": PAIR},
        )
    return made


def only(facts: dict[str, Any], cause: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [each for each in facts["decisions"] if each["cause"] == cause]
    assert len(found) == 1
    return found[0]


def test_a_whole_trade_with_its_stop_and_cool_down_comes_out_the_same_to_the_last_bit(scene: Scene) -> None:
    first, second, third, fourth, *rest = SLOTS
    scene.fill({second: ENTRY, third: HOLD, fourth: STOP, rest[0]: ENTRY_AFTER_STOP})
    scene.load()

    decided = scene.decide(first, second)
    scene.approve(second, SignalAction.ENTER_LONG)
    decided += scene.decide(third, fourth)
    scene.approve(fourth, SignalAction.STOP)
    decided += scene.decide(*rest)
    code, facts = scene.facts()

    assert scene.desk.states() == ["closed"]
    assert decided[:5] == [
        ("stay_out", "BELOW_ENTRY"),
        ("enter_long", "ENTRY_Z"),
        ("hold", "HOLDING"),
        ("stop", "STOP_Z"),
        ("stay_out", "COOL_DOWN"),
    ]
    assert (code, facts["counts"], facts["undecided"]) == (0, {"same": 14}, [])


def test_a_bar_that_was_restated_since_explains_the_difference(scene: Scene) -> None:
    slot = SLOTS[1]
    scene.fill({slot: ENTRY})
    scene.load(until=slot)
    assert scene.decide(slot) == [("enter_long", "ENTRY_Z")]
    scene.set(FIRST, STARTS[slot], slot, 22.0)
    scene.load(again=True, until=slot)

    code, facts = scene.facts()
    table = scene.replay().out

    assert code == 0
    assert facts["counts"] == {"same": 1, "restated bar": 1}
    found = only(facts, "restated bar")
    (change,) = found["changes"]
    assert (change["symbol"], change["end"], change["new"]) == (FIRST, slot.isoformat(), 22.0)
    assert change["old"] == pytest.approx(np.exp(0.01 * ENTRY) * 50**0.8)
    assert found["differences"] == []
    assert f"restated bar {FIRST} at 2025-03-03 16:30" in " ".join(table.replace("│", " ").split())


def test_a_bar_that_came_after_the_decision_explains_it(scene: Scene) -> None:
    slot = SLOTS[0]
    scene.fill({slot: ENTRY})
    whole = dict(scene.source.rows)
    for half in (STARTS[slot], STARTS[slot] + HALF):
        scene.source.lose(SECOND, "30Min", half)
    scene.load(until=slot)
    assert scene.decide(slot) == [("no_decision", "STALE_BAR")]
    scene.source.rows = whole
    scene.load(again=True, until=slot)

    code, facts = scene.facts()

    assert (code, facts["counts"]) == (0, {"same": 1, "bar arrived later": 1})
    (change,) = only(facts, "bar arrived later")["changes"]
    assert (change["symbol"], change["old"], change["new"]) == (SECOND, None, 50.0)


def test_a_series_that_was_put_on_another_basis_explains_it(scene: Scene) -> None:
    scene.fill({})
    scene.load()
    scene.decide(*SLOTS)
    scene.source.split(FIRST, 4.0)
    scene.load(again=True)

    code, facts = scene.facts()

    assert (code, facts["counts"]) == (0, {"same": 7, "series re-based": 7})


def test_bars_in_the_archive_are_not_comparable_and_the_command_to_have_them_back_is_told(scene: Scene) -> None:
    scene.fill({})
    scene.load()
    scene.decide(SLOTS[0])
    # As the archive leaves it, with the part of the window that lies in March.
    scene.as_owner(
        "INSERT INTO ops.archive_file"
        " (file, month, vendor, timeframe, part, rows, bytes, file_sha256, content_sha256,"
        " created_at, verified_at) VALUES ('a', '2025-03-01', 'alpaca', '1Hour', 1, 1, 1, '', '', now(), now())"
    )
    scene.as_owner("DELETE FROM data_ingestion.market_data WHERE bar_end >= '2025-03-01'")

    code, facts = scene.facts()

    assert (code, facts["counts"]) == (0, {"bars archived": 2})
    assert "tradewinds archive restore --month 2025-03" in scene.replay().out


# What somebody may do to a row of a decision, and how the decision then differs from what it was taken from.
TAMPERED = [
    ("UPDATE strategy.pair_signal SET action = 'hold' WHERE {row}", "action: hold → stay_out"),
    ("UPDATE strategy.pair_signal SET numbers = numbers || '{{\"z\": 1.5}}' WHERE {row}", "z: 1.5 → "),
    ("UPDATE strategy.pair_signal SET numbers = numbers - 'z' WHERE {row}", "z: nothing → "),
    (
        "UPDATE strategy.pair_signal SET numbers = numbers - 'alpha' WHERE {row}",
        "its numbers can't be read: alpha: field required",
    ),
    ("UPDATE strategy.pair_spread SET z = z + 1e-6 WHERE {row}", "pair_spread.z: "),
    (
        "UPDATE strategy.pair_signal SET numbers = numbers || '{{\"held_bars\": 3}}' WHERE {row}",
        "held_bars: 3 → nothing",
    ),
    ("DELETE FROM strategy.pair_signal WHERE {row}", "its event says stay_out, and its row is gone"),
]


def test_what_nothing_explains_is_told_exactly_and_is_exit_code_1(scene: Scene) -> None:
    scene.fill({})
    scene.load()
    scene.decide(*SLOTS)
    for slot, (sql, _) in zip(SLOTS, TAMPERED, strict=True):
        scene.as_owner(sql.format(row=f"pair_id = '{PAIR}' AND slot = '{slot}'"))
    scene.as_owner(
        "UPDATE data_ingestion.market_data SET close = 50.025 WHERE symbol = 'ZINC' AND bar_end = :slot",
        slot=CLOSE,
    )
    scene.as_owner(
        'UPDATE strategy.pair_signal SET numbers = numbers || \'{"rules": 0, "z": 1.5}\''
        " WHERE pair_id = 'ZEAL/ZINC' AND slot = :slot",
        slot=SLOTS[0],
    )

    said = scene.replay("--json")
    facts = json.loads(said.out)
    shown = " ".join(scene.replay("--pair", PAIR).out.replace("│", " ").split())

    # Where a row is gone, the other pair is decided alone: arrays of another shape may round otherwise.
    assert (said.code, facts["counts"]["unexplained"], len(facts["decisions"])) == (1, 8, 14)
    assert facts["counts"]["same"] >= 4
    assert facts["counts"]["same"] + facts["counts"].get("rounding", 0) == 5
    assert only(facts, "other rules")["notes"] == ["decided by rules 0, those of today are rules 1"]
    differing = [each for each in facts["decisions"] if each["cause"] == "unexplained"]
    for slot, (_, words) in zip(SLOTS, TAMPERED, strict=True):
        (found,) = (each for each in differing if each["slot"] == slot.isoformat() and each["about"] == PAIR)
        written = [
            *found["notes"],
            *(
                f"{each['name']}: {_shown(each['stored'])} → {_shown(each['replayed'])}"
                for each in found["differences"]
            ),
        ]
        assert any(line.startswith(words) for line in written), (words, written)
        assert words.strip() in shown
    bars = [each["name"] for each in differing[-1]["differences"]]
    assert differing[-1]["about"] == "ZEAL/ZINC"
    assert {"price_2", "z", "pair_spread.z", "event.z"} <= set(bars)


def _shown(value: object) -> object:
    return "nothing" if value is None else value


def test_a_frozen_pair_and_blocked_bars_come_out_the_same_after_both_are_over(scene: Scene) -> None:
    scene.fill({SLOTS[2]: ENTRY})
    scene.load()
    scene.as_owner(
        "INSERT INTO data_ingestion.corporate_action (corporate_action_id, symbol, kind, vendor_type, ex_date,"
        " old_rate, new_rate, cash_per_share, raw)"
        " VALUES ('a', :symbol, 'split', 'forward_split', '2025-03-03', 1, 4, 0, '{}')",
        symbol=FIRST,
    )
    scene.as_owner(
        "INSERT INTO execution.pair_freeze (pair_id, corporate_action_id, symbol, kind, since, effective_at)"
        " VALUES (:pair, 'a', :symbol, 'split', '2025-03-01', '2025-03-02')",
        pair=PAIR, symbol=FIRST,
    )  # fmt: skip
    frozen = scene.decide(SLOTS[0])
    scene.as_owner("UPDATE execution.pair_freeze SET released_at = clock_timestamp(), released_by = 'test'")
    verdict = (
        "INSERT INTO data_ingestion.data_quality (verdict_id, symbol, timeframe, vendor, adjustment, rule, severity,"
        " passed, reason, numbers, window_start, window_end, judged_at) VALUES (gen_random_uuid(), :symbol, '1Hour',"
        " 'alpaca', 'split', 'gap', 'block', :passed, 'a hole', '{\"bars\": 7}', now(), now(), now())"
    )
    scene.as_owner(verdict, symbol=SECOND, passed=False)
    blocked = scene.decide(SLOTS[1])
    scene.as_owner(verdict, symbol=SECOND, passed=True)
    after = scene.decide(SLOTS[2])

    code, facts = scene.facts()

    assert [*frozen, *blocked, *after] == [
        ("no_decision", "FROZEN"),
        ("no_decision", "DATA_BLOCKED"),
        ("enter_long", "ENTRY_Z"),
    ]
    assert (code, facts["counts"]) == (0, {"same": 6})


def test_a_pair_that_was_fitted_anew_is_no_difference(scene: Scene) -> None:
    scene.fill({})
    scene.load()
    scene.decide(*SLOTS)
    scene.as_owner(
        "UPDATE strategy.pair_registry"
        " SET alpha = 1, beta = 2, z_window_bars = 30, fitted_to = now(), mode = 'retired',"
        " gate_id = NULL, gate_passed = false"
    )

    code, facts = scene.facts()

    assert (code, facts["counts"]) == (0, {"same": 14})


def test_a_trade_that_moved_while_the_slot_was_decided_is_told(scene: Scene) -> None:
    scene.fill({SLOTS[0]: ENTRY})
    scene.load()
    scene.decide(SLOTS[0])
    scene.approve(SLOTS[0], SignalAction.ENTER_LONG)
    assert scene.desk.states() == ["open"]
    # The order that committed last was written down before the decision that had not seen it.
    scene.as_owner(
        "UPDATE ops.outbox SET recorded_at = recorded_at + interval '1 hour' WHERE channel LIKE '%PairOpen%'"
    )
    scene.as_owner("UPDATE execution.pair_trade SET recorded_at = recorded_at + interval '1 hour', state = 'closed'")
    assert scene.decide(SLOTS[1]) == [("stay_out", "BELOW_ENTRY")]
    scene.as_owner(
        "UPDATE strategy.pair_signal SET recorded_at = recorded_at + interval '61 minutes' - interval '10 seconds'"
        " WHERE slot = :slot",
        slot=SLOTS[1],
    )

    code, facts = scene.facts()

    found = only(facts, "moved meanwhile")
    assert (code, found["slot"]) == (0, SLOTS[1].isoformat())
    assert found["notes"] == ["while the slot was decided, trade: none → open"]


def test_instances_decide_the_same_again_and_what_changed_since_is_told(scene: Scene) -> None:
    scene.fill({SLOTS[0]: ENTRY})
    scene.load(until=SLOTS[1])
    settings, engine = scene.desk.services.settings, scene.desk.services.engine
    settings.strategy_folder.mkdir()
    file = settings.strategy_folder / "counting.py"
    file.write_text(COUNTING)
    (settings.strategy_folder / "range.py").write_text(RANGE)
    by: dict[str, Any] = {"who": "test", "why": "test", "now": SLOTS[0]}
    instances = build_instances(settings, engine)
    instances.create("reverting", "mean_reversion", {"symbol": FIRST, "window_bars": 20}, **by)
    instances.create("mine", "counting", {"symbol": FIRST}, **by)
    instances.create("whole", "range", {"symbol": FIRST}, **by)
    for name in ("reverting", "mine", "whole"):
        instances.mode(name, InstanceMode.OBSERVE, **by)
    with closing(build_cells(settings)) as cells:
        slots = build_slots(settings, engine, cells)
        for slot in SLOTS[:2]:
            assert {"reverting", "mine", "whole"} <= set(
                slots.run_instances(slot, slot + timedelta(seconds=20), CLOSE).decided
            )
    scene.as_owner("ALTER TABLE strategy.instance_decision DISABLE TRIGGER USER")
    # Decisions of before there were whole bars do not say that they were on closes.
    scene.as_owner(
        "UPDATE strategy.instance_decision SET given = given - 'whole_bars' WHERE instance_id = 'reverting'"
    )

    code, facts = scene.facts()
    # A high is restated that only the second slot has seen, then the whole bar; a wish is taken away by hand, a file
    # is edited.
    close = scene.stored_close(FIRST, SLOTS[1])
    scene.set(FIRST, STARTS[SLOTS[1]], SLOTS[1], close, high=2 * close)
    scene.load(again=True, until=SLOTS[1])
    high = scene.facts()[1]
    scene.set(FIRST, STARTS[SLOTS[1]], SLOTS[1], 21.0)
    scene.load(again=True, until=SLOTS[1])
    scene.as_owner(
        "UPDATE strategy.instance_decision SET wishes = '[]' WHERE instance_id = 'reverting' AND slot = :slot",
        slot=SLOTS[0],
    )
    file.write_text(COUNTING.replace("0.25", "0.5"))
    code_after, after = scene.facts()
    file.unlink()
    gone = of("mine", scene.facts()[1])

    assert (code, facts["counts"]) == (0, {"same": 8})
    assert [each["cause"] for each in of("whole", high)] == ["same", "restated bar"]
    (change,) = of("whole", high)[1]["changes"]
    assert (change["what"], change["new"], change["old"] < change["new"]) == ("high", 2 * close, True)
    assert [each["cause"] for each in of("reverting", high)] == ["same", "same"]
    assert [each["action"] for each in of("reverting", facts)] == ["target KELV", "target KELV"]
    assert code_after == 1
    tampered, restated = of("reverting", after)
    assert (tampered["cause"], restated["cause"]) == ("unexplained", "restated bar")
    (difference,) = tampered["differences"]
    assert (difference["name"], difference["stored"]) == ("wishes", "[]")
    assert '"reason": "ENTRY_Z"' in difference["replayed"]
    (change,) = restated["changes"]
    assert (change["symbol"], change["end"], change["new"]) == (FIRST, SLOTS[1].isoformat(), 21.0)
    mine = of("mine", after)[0]
    assert (mine["cause"], [each["name"] for each in mine["differences"]]) == ("other rules", ["wishes"])
    assert mine["notes"][0].startswith("its file was ")
    assert gone[0]["cause"] == "other rules"
    assert "counting" in gone[0]["notes"][0]


def of(about: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in facts["decisions"] if each["about"] == about]


COUNTING = """
from src.services.strategy_engine.sdk import Strategy


class Counting(Strategy):
    CONFIG_SCHEMA = {"symbol": {"type": "symbol"}}
    STATE = {"bars": 0}

    def on_bar(self, context, bar):
        context.state["bars"] += 1
        context.orders.target(context.config.symbol, 0.25)
"""


def test_a_market_that_is_ahead_of_the_host_is_replayed_as_far_as_it_has_decided(scene: Scene) -> None:
    scene.fill({})
    scene.load()
    day = date.fromisoformat(DAY)
    with closing(scene.desk.services.replay) as again:
        with pytest.raises(InputInvalid, match="is not over"):
            again.day(day, today=day - timedelta(days=1))

        scene.decide(SLOTS[0])

        assert again.day(day, today=day - timedelta(days=1)).counts == {Cause.SAME: 2}


def test_what_can_t_be_replayed_is_one_line(scene: Scene) -> None:
    say = scene.desk.tradewinds

    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    next_one = CALENDAR.sessions(tomorrow, tomorrow + timedelta(days=9))[0].day

    future = say("replay", "--day", str(next_one))
    sunday = say("replay", "--day", "2025-03-02")
    typo = say("replay", "--day", "yesterday")
    pair = say("replay", "--day", DAY, "--pair", "KELV")
    empty = say("replay", "--day", DAY)

    assert [each.code for each in (future, sunday, typo, pair, empty)] == [2, 2, 2, 2, 0]
    assert future.err == f"error: {next_one} is not over: there is nothing to replay before its slots are decided.\n"
    assert "2025-03-02 has no session" in sunday.err
    assert "--day 'yesterday' is no day" in typo.err
    assert "'KELV' is not a pair" in pair.err
    assert empty.out == "No decision is stored of 2025-03-03.\n"
    assert all(each.err.count("\n") == 1 for each in (future, sunday, typo, pair))
