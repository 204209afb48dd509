"""Clocks that lie, calendars with odd days, bars that are late, early or wrong: rows 30, 31 and 34 to 36."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from src.config.settings import load_settings
from src.services.data_ingestion.adapters.repository import SqlMarketRepository
from src.services.data_ingestion.bootstrap import build as build_ingestion
from src.services.data_ingestion.domain.gate import judge
from src.services.data_ingestion.domain.grid import Grid
from src.services.data_ingestion.use_cases.ingestion import DataIngestion
from src.services.execution.use_cases.cycle import Gate
from src.services.strategy_engine.bootstrap import build as build_strategy
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.use_cases.slots import StrategyEngine
from src.shared.domain.bars import Bar, BarColumns
from src.shared.domain.errors import InputInvalid, Transient
from src.shared.domain.ids import client_order_id, pair_trade_id
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.conftest import TradingDatabase
from tests.fakes.bar_columns import rows_of
from tests.fakes.stored_market import store_pairs
from tests.fakes.vendor import HALF, FakeVendor
from tests.faults.scene import ELSEWHERE, ENTER, EXIT, PAIR, SLOT, A, B, Scene
from tests.unit.strategy_engine.builders import make_pair

CALENDAR = TradingCalendar()
HOUR = timedelta(hours=1)
SOON = timedelta(seconds=20)
MID_SLOT = timedelta(minutes=30)
LIMIT = timedelta(seconds=30)
BARS, WINDOW = 30, 20

UNTRUSTED = ("critical", "market time can't be trusted")
OPENED = {A: 5, B: -4}


# Clocks


@pytest.mark.parametrize("seconds", [600, -600], ids=["ten minutes fast", "ten minutes slow"])
def test_fault_30_a_broker_ten_minutes_from_our_clock_gets_exits_and_no_entries(scene: Scene, seconds: int) -> None:
    scene.service.cycle.comparison = replace(scene.service.cycle.comparison, host_drift=LIMIT)
    scene.open_pair()
    scene.clock.move_to(scene.slot + MID_SLOT)
    scene.approve(EXIT)
    scene.approve(ENTER, ELSEWHERE)

    scene.lie("clock_skew", seconds=seconds)
    gate = scene.run()

    assert _stopped_by_the_clock(gate)
    assert (scene.state_of(PAIR), scene.state_of(ELSEWHERE)) == ("closed", "abandoned")
    assert UNTRUSTED in scene.alerts()
    assert scene.posts == 4
    scene.twin.admin.clear_faults()
    assert scene.service.cycle.open_gate().reconciled


def test_fault_30_a_brokers_clock_that_jumps_back_stops_entries_until_it_is_there_again(scene: Scene) -> None:
    scene.open_pair()
    scene.clock.move_to(scene.slot + MID_SLOT)
    scene.service.cycle.open_gate()
    scene.approve(EXIT)
    scene.approve(ENTER, ELSEWHERE)

    back = scene.lie("clock_back", seconds=600)
    gate = scene.run()

    assert scene.times_told(back) == 1
    assert _stopped_by_the_clock(gate)
    assert (scene.state_of(PAIR), scene.state_of(ELSEWHERE)) == ("closed", "abandoned")
    assert UNTRUSTED in scene.alerts()
    assert scene.service.cycle.open_gate().reconciled


@pytest.mark.parametrize("minutes", [1, 31])
def test_fault_30_an_orders_id_is_made_of_its_slot_whatever_the_clock_says(scene: Scene, minutes: int) -> None:
    scene.clock.move_to(SLOT + timedelta(minutes=minutes))

    scene.enter()

    trade = pair_trade_id("twin", PAIR, SLOT)
    told = {order["client_order_id"] for order in scene.twin.admin.state()["orders"]}
    assert told == {client_order_id("twin", trade, leg, "open", 1) for leg in (1, 2)}


# Odd days

HALF_DAY_CLOSE = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)


def test_fault_36_nothing_is_sent_after_the_early_close_of_a_half_day(scene: Scene) -> None:
    _at(scene, HALF_DAY_CLOSE - MID_SLOT)
    scene.enter()
    assert scene.states() == ["open"]
    sent = scene.posts

    for late in (timedelta(seconds=5), HOUR, 3 * HOUR):
        scene.slot = HALF_DAY_CLOSE
        scene.clock.move_to(HALF_DAY_CLOSE + late)
        scene.approve(EXIT)
        scene.approve(ENTER, ELSEWHERE)
        assert scene.run().slot == HALF_DAY_CLOSE

    assert scene.posts == sent
    assert (scene.state_of(PAIR), scene.state_of(ELSEWHERE)) == ("closing", "abandoned")
    _at(scene, datetime(2026, 11, 30, 15, 30, tzinfo=UTC))
    scene.run()
    assert scene.state_of(PAIR) == "closed"
    assert scene.held == {}


@pytest.mark.parametrize(
    ("moment", "last_slot"),
    [
        (datetime(2026, 11, 26, 16, 30, tzinfo=UTC), datetime(2026, 11, 25, 21, 0, tzinfo=UTC)),
        (datetime(2026, 11, 24, 3, 0, tzinfo=UTC), datetime(2026, 11, 23, 21, 0, tzinfo=UTC)),
        (datetime(2026, 3, 8, 15, 30, tzinfo=UTC), datetime(2026, 3, 6, 21, 0, tzinfo=UTC)),
        (datetime(2026, 11, 1, 15, 30, tzinfo=UTC), datetime(2026, 10, 30, 20, 0, tzinfo=UTC)),
    ],
    ids=["Thanksgiving", "the night session", "a Sunday on which summer time begins", "… and ends"],
)
def test_fault_36_an_entry_out_of_session_belongs_to_the_last_slot_and_is_not_sent(
    scene: Scene, moment: datetime, last_slot: datetime
) -> None:
    scene.slot = last_slot
    scene.clock.move_to(moment)

    gate = scene.enter()

    assert (gate.slot, gate.market.is_open) == (last_slot, False)
    assert scene.states() == ["abandoned"]
    assert scene.posts == 0


@pytest.mark.parametrize(
    ("day", "slots"),
    [
        ("2026-03-06", ["15:30", "16:30", "17:30", "18:30", "19:30", "20:30", "21:00"]),
        ("2026-03-09", ["14:30", "15:30", "16:30", "17:30", "18:30", "19:30", "20:00"]),
        ("2026-10-30", ["14:30", "15:30", "16:30", "17:30", "18:30", "19:30", "20:00"]),
        ("2026-11-02", ["15:30", "16:30", "17:30", "18:30", "19:30", "20:30", "21:00"]),
        ("2026-11-26", []),
        ("2026-11-27", ["15:30", "16:30", "17:30", "18:00"]),
    ],
)
def test_fault_36_slots_count_from_the_open_of_new_york_whatever_the_season(day: str, slots: list[str]) -> None:
    midnight = datetime.fromisoformat(f"{day}T00:00:00+00:00")

    found = CALENDAR.slots_between(midnight, midnight + timedelta(days=1))

    assert [f"{slot:%H:%M}" for slot in found] == slots


def _stopped_by_the_clock(gate: Gate) -> bool:
    return not gate.reconciled and [line.partition(":")[0] for line in gate.differences] == ["clock"]


def _at(scene: Scene, slot: datetime) -> None:
    scene.slot = slot
    scene.clock.move_to(slot + timedelta(seconds=5))


# Bars


@dataclass
class Desk:
    """Ingestion and strategy on one database, a vendor whose rows can be spoilt, and a pair."""

    vendor: FakeVendor
    ingestion: DataIngestion
    strategy: StrategyEngine
    engine: Engine

    def decide(self) -> tuple[SignalAction, str]:
        """Load what is there and decide about the pair."""
        self.ingestion.fetch_bars(["KO", "PEP"], SLOT, BARS)
        (signal,) = self.strategy.evaluate_slot(SLOT, SLOT + SOON, SLOT + 5 * HOUR).signals
        return signal.action, signal.reason

    def load(self) -> tuple[str, list[str]]:
        """Say how the last load went and what it complained of."""
        (state, problems), *_ = self.rows(
            "SELECT state, problems FROM data_ingestion.load_run ORDER BY started_at DESC"
        )
        return state, list(problems)

    def rows(self, query: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query)))


@pytest.fixture
def engine(trading_database: TradingDatabase) -> Iterator[Engine]:
    made = make_engine(trading_database.app_url, load_settings().database)
    yield made
    made.dispose()


@pytest.fixture
def desk(engine: Engine) -> Desk:
    vendor = FakeVendor(now=SLOT + SOON)
    vendor.fill(["KO", "PEP"], SLOT - timedelta(days=20), SLOT, CALENDAR)
    store_pairs(engine, [make_pair(window=WINDOW)])
    ingestion = DataIngestion(SqlUnitOfWork(engine, SqlMarketRepository), vendor, vendor, vendor, CALENDAR)
    return Desk(vendor, ingestion, build_strategy(load_settings(), engine), engine)


def test_a_vendor_with_good_bars_gives_a_basis_for_a_decision(desk: Desk) -> None:
    assert desk.decide()[0] is not SignalAction.NO_DECISION
    assert desk.load() == ("complete", [])


def _stale(vendor: FakeVendor) -> None:
    for start in (SLOT - HOUR, SLOT - HALF):
        vendor.lose("PEP", start)


def _unfinished(vendor: FakeVendor) -> None:
    vendor.lose("PEP", SLOT - HALF)


def _future(vendor: FakeVendor) -> None:
    for start in (SLOT - HOUR, SLOT - HALF):
        row = vendor.rows.pop(("PEP", start))
        vendor.rows["PEP", start + HOUR] = replace(row, start=start + HOUR)


@pytest.mark.parametrize("spoil", [_stale, _unfinished, _future])
def test_fault_31_without_a_finished_bar_of_the_slot_there_is_no_decision(
    desk: Desk, spoil: Callable[[FakeVendor], None]
) -> None:
    spoil(desk.vendor)

    assert desk.decide() == (SignalAction.NO_DECISION, Reason.STALE_BAR)
    assert desk.load()[0] == "partial"
    assert desk.rows("SELECT 1 FROM strategy.pair_spread") == []
    ((last,),) = desk.rows("SELECT max(bar_end) FROM data_ingestion.market_data WHERE symbol = 'PEP'")
    assert last < SLOT


def test_fault_31_a_slot_that_is_not_over_by_the_brokers_clock_is_neither_loaded_nor_decided(desk: Desk) -> None:
    desk.vendor.now = SLOT - SOON

    with pytest.raises(InputInvalid, match="has not ended yet"):
        desk.decide()
    with pytest.raises(InputInvalid, match="not finished"):
        desk.strategy.evaluate_slot(SLOT, SLOT - SOON, SLOT + 5 * HOUR)
    assert desk.rows("SELECT 1 FROM data_ingestion.market_data") == []
    assert desk.rows("SELECT 1 FROM strategy.pair_signal") == []


BAD_NUMBERS = {
    "NaN": ({"close": nan}, "not finite"),
    "infinite": ({"high": inf}, "not finite"),
    "zero": ({"low": 0.0}, "not above zero"),
    "negative": ({"open": -1.0, "low": -1.0}, "not above zero"),
    "a hundredfold": ({"open": 11e3, "high": 11e3, "low": 11e3, "close": 11e3}, "spike"),
    "crossed": ({"high": 50.0, "low": 150.0}, "high is below low"),
}


@pytest.mark.parametrize(("numbers", "reason"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_fault_34_a_bar_with_a_bad_number_is_rejected_with_its_reason_and_nothing_is_decided(
    desk: Desk, numbers: dict[str, float], reason: str
) -> None:
    row = desk.vendor.rows["PEP", SLOT - HALF]
    desk.vendor.rows["PEP", SLOT - HALF] = replace(row, **numbers)  # type: ignore[arg-type]

    assert desk.decide() == (SignalAction.NO_DECISION, Reason.STALE_BAR)
    state, problems = desk.load()
    assert state == "partial"
    assert [problem for problem in problems if problem.startswith("PEP 2025-03-03 15:30Z: ") and reason in problem]


_START = SLOT - 6 * HOUR
_SPANS = [(_START + n * HOUR, _START + (n + 1) * HOUR) for n in range(6)]
_ANY_BAD = st.one_of(
    st.sampled_from([nan, inf, -inf, 0.0, -0.0]), st.floats(max_value=-1e-9), st.floats(min_value=1001.0 * 100)
)


@given(which=st.sampled_from(["open", "high", "low", "close"]), number=_ANY_BAD, at=st.integers(0, 5))
def test_fault_34_no_number_that_can_not_be_a_price_gets_through(which: str, number: float, at: int) -> None:
    good = [Bar("PEP", start, end, 100.0, 101.0, 99.0, 100.5, 1000.0) for start, end in _SPANS]
    bars = [replace(bar, **{which: number}) if n == at else bar for n, bar in enumerate(good)]  # type: ignore[arg-type]

    verdict = judge(BarColumns.of("PEP", bars), Grid.of(_SPANS), np.array([100.0]), SLOT, spike_ratio=10.0)

    assert rows_of(verdict.accepted) == good[:at] + good[at + 1 :]
    assert [(each.end, bool(each.reason)) for each in verdict.rejected] == [(_SPANS[at][1], True)]


def _doubled(vendor: FakeVendor) -> None:
    row = vendor.rows["PEP", SLOT - HALF]
    # A vendor's list may hold what a dictionary can't: the same half hour with two closes.
    vendor.rows["PEP", SLOT - HALF + timedelta(microseconds=1)] = replace(row, close=row.close + 0.25)


def _missing(vendor: FakeVendor) -> None:
    for start in (SLOT - timedelta(days=3) + 2 * HOUR, SLOT - timedelta(days=3) + 3 * HOUR - HALF):
        vendor.lose("PEP", start)


def _misaligned(vendor: FakeVendor) -> None:
    row = vendor.rows.pop(("PEP", SLOT - HALF))
    vendor.rows["PEP", row.start + timedelta(minutes=7)] = replace(row, start=row.start + timedelta(minutes=7))


def _one_leg_empty(vendor: FakeVendor) -> None:
    for key in [key for key in vendor.rows if key[0] == "PEP"]:
        del vendor.rows[key]


@pytest.mark.parametrize("spoil", [_doubled, _missing, _misaligned, _one_leg_empty])
def test_fault_35_bars_of_the_wrong_shape_leave_a_gap_that_shows_and_give_no_decision(
    desk: Desk, spoil: Callable[[FakeVendor], None]
) -> None:
    spoil(desk.vendor)

    action, reason = desk.decide()

    assert action is SignalAction.NO_DECISION
    assert reason in {Reason.STALE_BAR, Reason.MISSING_BARS, Reason.TOO_FEW_BARS}
    assert desk.load()[0] == "partial"
    ((gaps,),) = desk.rows("SELECT rows_rejected + rows_missing FROM data_ingestion.load_run")
    assert gaps >= 1
    assert desk.rows("SELECT 1 FROM strategy.pair_spread") == []


def test_fault_35_the_same_row_twice_is_noted_and_the_hour_is_good(desk: Desk) -> None:
    row = desk.vendor.rows["PEP", SLOT - HALF]
    desk.vendor.rows["PEP", SLOT - HALF + timedelta(microseconds=1)] = row

    assert desk.decide()[0] is not SignalAction.NO_DECISION
    assert any("a row is there twice" in problem for problem in desk.load()[1])


@pytest.mark.parametrize("kind", ["truncated", "html", "empty"])
def test_fault_35_a_page_that_is_cut_off_fails_the_load_and_the_next_one_brings_it(scene: Scene, kind: str) -> None:
    ingestion = build_ingestion(load_settings(), scene.engine, scene.broker)
    scene.lie(kind, endpoint="GET /v2/stocks/bars")

    with pytest.raises(Transient):
        ingestion.fetch_bars([A, B], SLOT, BARS)

    assert _loads(scene.engine) == [("failed", 0)]
    scene.tell_the_truth()
    assert ingestion.fetch_bars([A, B], SLOT, BARS).complete
    assert _loads(scene.engine)[-1] == ("complete", 2 * BARS)


def test_fault_35_a_page_without_any_bar_is_a_gap_and_no_empty_success(scene: Scene) -> None:
    ingestion = build_ingestion(load_settings(), scene.engine, scene.broker)
    scene.lie("extra", endpoint="GET /v2/stocks/bars", set={"bars": None})

    result = ingestion.fetch_bars([A, B], SLOT, BARS)

    assert (result.complete, result.rows_missing) == (False, 2 * BARS)
    assert _loads(scene.engine) == [("partial", 0)]


def _loads(engine: Engine) -> list[tuple[str, int]]:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT state, rows_written FROM data_ingestion.load_run ORDER BY started_at")
        )
        return [tuple(row) for row in found]
