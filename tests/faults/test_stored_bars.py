"""Bars that are stored and are not sound as a series: no trade is opened on them, and the decision says why.

Each row is put into a real database past the gate for single rows, judged, and a slot is decided in which the pair
would else be entered: rows 31 to 36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import IntegrityError

from src.config.settings import load_settings
from src.services.data_ingestion.bootstrap import build_quality
from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.timetable import Timetable, make_timetable
from src.services.data_ingestion.use_cases.quality import DataQuality
from src.services.strategy_engine.bootstrap import build as build_strategy
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.use_cases.slots import StrategyEngine
from src.shared.domain.bars import HOURLY, BarColumns, Series
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import Direction, PairMode
from src.shared.domain.signals import Signal, SignalAction
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import corporate_action, stock_splits, symbol
from tests.conftest import TradingDatabase
from tests.fakes.stored_market import store_pairs, store_series, store_trade
from tests.unit.data_ingestion.series import CALENDAR, place_of, scaled, spoilt, walk, without
from tests.unit.strategy_engine.builders import make_pair

SLOT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
NOW = SLOT + timedelta(seconds=20)
CLOSE = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
FIRST = date(2025, 9, 2)
PAIR = make_pair("KO", "PEP", window=20)
DIRTY, CLEAN = (Series(name, HOURLY, "alpaca", "split") for name in ("KO", "PEP"))
HOUR = np.timedelta64(1, "h")
SPLIT_DAY = date(2026, 1, 15)
# Spreads of ±0.01 and a last one, which has a z of −2.5 or −3.7 then.
CALM, ENTER, STOP = 0.01, -0.0325, -0.08


@dataclass(frozen=True)
class Market:
    """Two legs that are stored, judged and decided about."""

    engine: Engine
    quality: DataQuality
    strategy: StrategyEngine

    def put(self, dirty: StoredSeries) -> None:
        store_series(self.engine, dirty.key, dirty.bars)

    def judge(self) -> dict[str, set[str]]:
        """Judge what is stored, and name what blocks by symbol."""
        judged = self.quality.validate([], NOW)
        return {each.series.symbol: {verdict.rule for verdict in each.blocking} for each in judged}

    def decide(self) -> Signal:
        (signal,) = self.strategy.evaluate_slot(SLOT, NOW, CLOSE).signals
        return signal

    def numbers(self) -> dict[str, Any]:
        return self.rows("SELECT numbers FROM strategy.pair_signal")[0]["numbers"]  # type: ignore[no-any-return]

    def rows(self, query: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query)).mappings())

    def write(self, statement: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(statement)


@pytest.fixture
def market(trading_database: TradingDatabase) -> Iterator[Market]:
    settings = load_settings()
    engine = make_engine(trading_database.app_url, settings.database)
    quality = replace(build_quality(settings, engine), window=timedelta(days=365))
    made = Market(engine, quality, build_strategy(settings, engine))
    store_pairs(engine, [PAIR])
    store_series(engine, CLEAN, leg(CLEAN).bars)
    yield made
    engine.dispose()


def times() -> Timetable:
    return make_timetable(CALENDAR, HOURLY, FIRST, NOW)


def leg(series: Series, last: float = ENTER) -> StoredSeries:
    """One leg: a walk that both share; the first one swings around the second and ends away from it."""
    grid = times()
    count = grid.finished
    prices = np.array(walk(count, seed=7)[:4])
    if series == DIRTY:
        spread = CALM * np.cos(np.pi * np.arange(count))
        spread[-1] = last
        close = prices[3] * np.exp(spread)
        opened = np.concatenate([close[:1], close[:-1]])
        prices = np.array([opened, np.maximum(opened, close) * 1.0005, np.minimum(opened, close) * 0.9995, close])
    columns = [*prices, np.random.default_rng(11).integers(10_000, 50_000, count).astype(np.float64)]
    return StoredSeries(series, BarColumns(series.symbol, grid.starts[:count], grid.ends[:count], *columns), grid)


def refused(market: Market, rule: str) -> dict[str, Any]:
    """Judge and decide: the rule blocks the one leg alone, the decision says so; answer with its numbers."""
    assert market.judge() == {"KO": {rule}, "PEP": set()}
    signal = market.decide()
    assert (signal.action, signal.reason) == (SignalAction.NO_DECISION, Reason.DATA_BLOCKED)
    numbers = market.numbers()
    assert (numbers["block_symbol"], numbers["block_rule"]) == ("KO", rule)
    return numbers


def test_fault_36_half_days_holidays_and_both_changes_of_the_clocks_are_sound_and_traded(market: Market) -> None:
    market.put(leg(DIRTY))

    assert market.judge() == {"KO": set(), "PEP": set()}
    assert market.decide().action is SignalAction.ENTER_LONG


def test_fault_35_an_87_day_hole_is_not_traded_across(market: Market) -> None:
    whole = leg(DIRTY)
    market.put(without(whole, slice(place_of(whole, date(2025, 9, 10)), place_of(whole, date(2025, 12, 6)))))

    numbers = refused(market, "hole")

    assert numbers["block_longest_hole_bars"] == 431
    assert numbers["block_reason"] == "a hole of 431 bars, 2025-09-10 13:30Z to 2025-12-05 21:00Z"


def test_fault_35_a_session_that_is_stored_twice_is_not_traded_on(market: Market) -> None:
    whole = leg(DIRTY)
    at = place_of(whole, date(2026, 1, 14))
    columns = ("open", "high", "low", "close", "volume")
    copied = {name: getattr(whole.bars, name)[at - 7 : at] for name in columns}
    market.put(spoilt(whole, slice(at, at + 7), **copied))

    assert refused(market, "repeated_session")["block_first"] == "2026-01-14 14:30Z"


@pytest.mark.parametrize("ratio", [4.0, 0.1], ids=["split", "reverse split"])
@pytest.mark.parametrize("told_by", ["the broker", "another vendor", "nobody"])
def test_fault_32_a_split_that_is_still_in_the_prices_is_not_traded_on(
    market: Market, ratio: float, told_by: str
) -> None:
    whole = leg(DIRTY)
    market.put(scaled(whole, slice(0, place_of(whole, SPLIT_DAY)), ratio))
    announce(market, ratio, told_by)

    numbers = refused(market, "unadjusted_split")

    assert ("2026-01-15" in numbers["block_reason"].split(" at ")[0]) == (told_by != "nobody")
    assert numbers["block_ratio"] == pytest.approx(1 / ratio, rel=0.05)
    assert numbers["block_at"] == "2026-01-15 15:30Z"


def test_fault_32_a_split_that_is_taken_out_is_no_fault(market: Market) -> None:
    market.put(leg(DIRTY))
    announce(market, 4.0, "the broker")

    assert market.judge()["KO"] == set()


def test_fault_32_an_adjustment_that_changes_across_a_hole_is_not_traded_on(market: Market) -> None:
    whole = leg(DIRTY)
    at = place_of(whole, SPLIT_DAY)
    market.put(without(scaled(whole, slice(0, at), 4.0), slice(at - 9, at)))

    assert refused(market, "basis_across_hole")["block_ratio"] == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("status", ["inactive", "delisted"])
def test_fault_33_a_symbol_that_is_not_listed_any_more_is_not_traded(market: Market, status: str) -> None:
    market.put(leg(DIRTY))
    known = {"symbol": "KO", "tradable": False, "shortable": False, "easy_to_borrow": False, "updated_at": NOW}
    market.write(insert(symbol).values(**known, status=status, status_reason="merged into PEP"))

    assert refused(market, "listed")["block_reason"] == f"the symbol is {status}: merged into PEP"


def test_fault_34_a_price_that_hangs_is_not_traded_on(market: Market) -> None:
    whole = leg(DIRTY)
    price = whole.bars.close[300]
    market.put(spoilt(whole, slice(300, 315), open=price, high=price, low=price, close=price))

    assert refused(market, "frozen_price")["block_longest_run_bars"] == 14


def test_fault_34_a_price_a_hundred_times_its_neighbours_is_not_traded_on(market: Market) -> None:
    market.put(scaled(leg(DIRTY), slice(300, 301), 100.0))

    assert refused(market, "spike")["block_ratio"] == pytest.approx(100, rel=0.05)


def test_fault_34_the_database_itself_lets_no_impossible_number_in(market: Market) -> None:
    for column, value in product(("open", "high", "low", "close", "volume"), (np.nan, np.inf, -1.0)):
        with pytest.raises(IntegrityError, match=r"sane|null value"):
            market.put(spoilt(leg(DIRTY), [300], **{column: value}))


def test_fault_31_a_bar_that_is_not_over_is_not_traded_on(market: Market) -> None:
    whole = leg(DIRTY)
    grid, at = whole.timetable, whole.timetable.finished
    early = BarColumns.joined("KO", [whole.bars, whole.bars.take(slice(-1, None))])
    early.start[-1], early.end[-1] = grid.starts[at], grid.ends[at]
    market.put(replace(whole, bars=early))

    assert refused(market, "finished")["block_first"] == "2026-03-10 16:30Z"


def test_fault_31_a_stale_series_is_warned_of_and_the_decision_sees_for_itself(market: Market) -> None:
    market.put(without(leg(DIRTY), slice(-9, None)))

    judged = {each.series.symbol: each for each in market.quality.validate([], NOW)}
    signal = market.decide()

    assert [v.rule for v in judged["KO"].verdicts if not v.passed] == ["staleness"]
    assert (signal.action, signal.reason) == (SignalAction.NO_DECISION, Reason.STALE_BAR)


@pytest.mark.parametrize(
    ("day", "spoil"),
    [
        (date(2025, 11, 28), lambda bars, at: late(bars, at + 4)),
        (date(2025, 11, 3), lambda bars, at: shifted(bars, slice(at, at + 35))),
        (date(2026, 3, 9), lambda bars, at: shifted(bars, slice(at, at + 7))),
    ],
    ids=["a bar after an early close", "a week of summer time in winter", "a day of winter time in summer"],
)
def test_fault_36_bars_at_hours_that_the_exchange_does_not_have_are_not_traded_on(
    market: Market, day: date, spoil: Callable[[BarColumns, int], BarColumns]
) -> None:
    whole = leg(DIRTY)
    market.put(replace(whole, bars=spoil(whole.bars, place_of(whole, day))))

    assert str(refused(market, "alignment")["block_first"]).startswith(f"{day}")


def test_fault_35_exits_and_stops_of_an_open_trade_go_on_whatever_is_said_of_its_bars(market: Market) -> None:
    whole = leg(DIRTY, STOP)
    market.put(without(whole, slice(100, 200)))
    store_trade(market.engine, PAIR, Direction.LONG_SPREAD, CALENDAR.last_spans(SLOT, 4)[0][1])

    assert market.judge()["KO"] == {"hole"}
    signal = market.decide()

    assert (signal.action, signal.reason) == (SignalAction.STOP, Reason.STOP_Z)
    assert market.numbers()["block_rule"] == "hole"


def test_fault_35_a_pair_is_not_fitted_on_a_series_that_blocks(market: Market) -> None:
    market.put(without(leg(DIRTY), slice(100, 200)))
    market.judge()

    with pytest.raises(InputInvalid, match=r"The bars of KO can't be fitted on: a hole of 100 bars, .* \(hole\)"):
        market.strategy.register_pair(
            "KO", "PEP", until=SLOT, bars=300, mode=PairMode.ACTIVE, who="ada", why="a test"
        )


def late(bars: BarColumns, at: int) -> BarColumns:
    """Have one bar more after the close."""
    more = bars.take(np.insert(np.arange(len(bars)), at, at - 1))
    more.start[at] = more.end[at - 1]
    more.end[at] = more.start[at] + HOUR
    return more


def shifted(bars: BarColumns, places: slice) -> BarColumns:
    """Have bars an hour off."""
    moved = bars.take(np.arange(len(bars)))
    moved.start[places] += HOUR
    moved.end[places] += HOUR
    return moved


def announce(market: Market, ratio: float, by: str) -> None:
    """Have the split told."""
    old, new = (1, ratio) if ratio > 1 else (1 / ratio, 1)
    key = {"symbol": "KO", "ex_date": SPLIT_DAY}
    if by == "the broker":
        action = {"corporate_action_id": "1", "kind": "split", "vendor_type": "split", "cash_per_share": 0, "raw": {}}
        market.write(insert(corporate_action).values(**key, **action, old_rate=old, new_rate=new))
    if by == "another vendor":
        (run,) = market.rows("SELECT load_run_id FROM data_ingestion.market_data WHERE symbol = 'KO' LIMIT 1")
        market.write(insert(stock_splits).values(**key, **run, vendor="polygon", old_shares=old, new_shares=new))
