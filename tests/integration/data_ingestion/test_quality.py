"""Series judged, shown and repaired on a real PostgreSQL; real bars among them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, func, insert, select, text
from sqlalchemy.exc import ProgrammingError

from src.config.settings import load_settings
from src.services.data_ingestion.bootstrap import build_quality
from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.timetable import make_timetable
from src.services.data_ingestion.use_cases.quality import DataQuality, SeriesStatus
from src.services.maintenance.adapters.parquet_folder import ParquetFolder
from src.services.maintenance.adapters.sql_archive import SqlBarArchive
from src.services.maintenance.domain.archive import Retention
from src.services.maintenance.use_cases.archive import Archive
from src.shared.domain.bars import DAILY, HOURLY, BarColumns, Series
from src.shared.domain.errors import InputInvalid
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.tables import data_quality, data_quarantine, load_run
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes.stored_market import store_series
from tests.integration.database.conftest import as_owner, engine_for
from tests.shared_data import shared_file
from tests.unit.data_ingestion.series import CALENDAR, NOW, scaled, sound_series, without

__all__ = ["as_owner", "engine_for"]

TRADED = Series("KO", HOURLY, "alpaca", "split")
OTHER = replace(TRADED, vendor="polygon")
HOLE = slice(400, 430)


@pytest.fixture
def quality(engine: Engine) -> DataQuality:
    return replace(build_quality(load_settings(), engine), window=timedelta(days=365))


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(query)).mappings())


def alerts(engine: Engine) -> list[tuple[str, str]]:
    return [(row["severity"], row["title"]) for row in rows(engine, "SELECT * FROM ops.alert ORDER BY recorded_at")]


def failing(quality: DataQuality, series: Series = TRADED, now: datetime = NOW) -> set[str]:
    judged = {each.series: each for each in quality.validate([], now)}
    return {verdict.rule for verdict in judged[series].verdicts if not verdict.passed}


def part_of(series: StoredSeries, places: slice) -> BarColumns:
    kept = np.zeros(len(series.bars), dtype=bool)
    kept[places] = True
    return series.bars.take(kept)


def only(found: Sequence[SeriesStatus]) -> SeriesStatus:
    assert len(found) == 1
    return found[0]


def days_of_hole(whole: StoredSeries) -> tuple[date, date]:
    ends = whole.bars.end[HOLE].astype("datetime64[D]")
    return ends[0].item(), ends[-1].item()


# Verdicts


def test_a_verdict_is_written_when_it_is_new_and_the_look_is_kept_each_time(
    quality: DataQuality, engine: Engine
) -> None:
    store_series(engine, TRADED, sound_series().bars)
    first = quality.validate([], NOW)
    again = quality.validate(["KO"], NOW + timedelta(minutes=1))

    assert (first[0].written, again[0].written) == (len(first[0].verdicts), 0)
    kept = rows(engine, "SELECT * FROM data_ingestion.data_quality")
    assert (len(kept), {row["passed"] for row in kept}) == (len(first[0].verdicts), {True})
    assert {row["window_end"] for row in kept} == {NOW}
    assert rows(engine, "SELECT looked_at FROM data_ingestion.quality_look")[0]["looked_at"] > NOW


def test_a_series_that_turns_to_blocked_and_back_is_told_once_each_time(quality: DataQuality, engine: Engine) -> None:
    whole = sound_series()
    for bars in (whole.bars, without(whole, HOLE).bars, without(whole, HOLE).bars, whole.bars, whole.bars):
        store_series(engine, TRADED, bars)
        quality.validate([], NOW)
    store_series(engine, TRADED, without(whole, HOLE).bars)
    quality.validate([], NOW)

    blocked, sound = f"{TRADED} is blocked", f"{TRADED} is sound again"
    assert alerts(engine) == [("error", blocked), ("info", sound), ("error", blocked)]
    told = rows(engine, "SELECT payload->>'detail' AS detail FROM ops.outbox ORDER BY recorded_at")
    hole = "a hole of 30 bars, 2025-11-20 15:30Z to 2025-11-26 17:30Z (hole)"
    assert [row["detail"] for row in told] == [hole, f"no longer: {hole}", hole]


@pytest.mark.parametrize("window", [365, 120])
def test_a_month_that_came_back_from_the_archive_is_not_judged_and_makes_no_hole(
    quality: DataQuality, engine: Engine, as_owner: Engine, tmp_path: Path, window: int
) -> None:
    store_series(engine, TRADED, sound_series().bars)
    store_series(engine, replace(TRADED, symbol="GONE"), part_of(sound_series(), slice(400)))
    retention = Retention(intraday_days=60, daily_days=None, restored_days=7)
    archive = Archive(SqlUnitOfWork(as_owner, SqlBarArchive), ParquetFolder(tmp_path), retention)
    assert len(archive.move_old_bars(NOW)) == 4  # September to December: all there is of GONE
    quality = replace(quality, window=timedelta(days=window))
    before = only(quality.status([], NOW))

    assert archive.put_back(date(2025, 10, 1), NOW).inserted > 100

    assert failing(quality) == set()
    assert only(quality.status([], NOW)) == replace(before, looked_at=NOW)
    store_series(engine, TRADED, without(sound_series(), slice(-60, -30)).bars)
    assert failing(quality) == {"completeness", "hole"}


def test_a_series_that_nobody_trades_on_is_told_of_more_mildly(quality: DataQuality, engine: Engine) -> None:
    store_series(engine, OTHER, without(sound_series(), HOLE).bars)
    quality.validate([], NOW)

    assert alerts(engine) == [("warning", f"{OTHER} is blocked")]


def test_two_who_judge_at_once_write_and_tell_one_set(quality: DataQuality, engine: Engine) -> None:
    store_series(engine, TRADED, without(sound_series(), HOLE).bars)

    with ThreadPoolExecutor(3) as pool:
        done = [run.result() for run in [pool.submit(quality.validate, [], NOW) for _ in range(3)]]

    assert sorted(each[0].written > 0 for each in done) == [False, False, True]
    assert len(alerts(engine)) == 1


def test_a_verdict_of_a_rule_that_is_no_more_ends(quality: DataQuality, engine: Engine) -> None:
    store_series(engine, TRADED, sound_series().bars)
    row = {
        "verdict_id": uuid4(), "symbol": "KO", "timeframe": HOURLY, "vendor": "alpaca", "adjustment": "split",
        "rule": "phase_of_the_moon", "severity": "block", "passed": False, "reason": "full moon",
        "window_start": NOW, "window_end": NOW, "judged_at": NOW,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(insert(data_quality).values(**row))
    assert only(quality.status(["KO"], NOW)).blocks

    quality.validate([], NOW)

    assert not only(quality.status(["KO"], NOW)).blocks
    assert alerts(engine) == [("info", f"{TRADED} is sound again")]


@pytest.mark.parametrize("change", ["UPDATE {} SET passed = true", "DELETE FROM {}"])
def test_a_verdict_can_not_be_changed(quality: DataQuality, engine: Engine, change: str) -> None:
    with engine.begin() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text(change.format("data_ingestion.data_quality")))


def test_the_newest_verdict_is_in_force_though_the_markets_clock_went_back(
    quality: DataQuality, engine: Engine
) -> None:
    store_series(engine, TRADED, without(sound_series(), HOLE).bars)
    quality.validate([], NOW)
    store_series(engine, TRADED, sound_series().bars)

    quality.validate([], NOW - timedelta(hours=1))

    assert not only(quality.status(["KO"], NOW)).blocks


def test_series_of_two_vendors_are_compared_and_both_are_blocked(quality: DataQuality, engine: Engine) -> None:
    whole = sound_series()
    store_series(engine, TRADED, whole.bars)
    store_series(engine, OTHER, scaled(whole, slice(0, None), 1.02).bars)

    assert [[v.rule for v in each.blocking] for each in quality.validate([], NOW)] == [["vendors_agree"]] * 2


def test_a_load_that_was_killed_is_called_failed_after_a_day(quality: DataQuality, engine: Engine) -> None:
    with engine.begin() as connection:
        for hours in (1, 25):
            values = {
                "timeframe": HOURLY,
                "symbols": ["KO"],
                "window_start": NOW - timedelta(days=1),
                "window_end": NOW,
            }
            begun = func.clock_timestamp() - text(f"interval '{hours} hours'")
            connection.execute(
                insert(load_run).values(
                    load_run_id=uuid4(), vendor=str(hours), state="running", started_at=begun, **values
                )
            )

    closed = [quality.close_lost_loads() for _ in range(2)]

    with engine.connect() as connection:
        rows = connection.execute(select(load_run.c.vendor, load_run.c.state, load_run.c.problems)).all()
    assert closed == [1, 0]
    lost = ["it began and was never heard of again: its process was killed"]
    assert sorted(map(tuple, rows)) == [("1", "running", []), ("25", "failed", lost)]


def test_what_is_no_symbol_is_refused(quality: DataQuality) -> None:
    for call in (quality.validate, quality.status):
        with pytest.raises(InputInvalid, match="not a symbol"):
            call(["KO; DROP TABLE"], NOW)


# Status


def test_the_status_of_a_series_counts_what_is_there_and_what_is_not(quality: DataQuality, engine: Engine) -> None:
    whole = sound_series()
    store_series(engine, TRADED, without(whole, HOLE).bars.take(slice(0, -3)))
    fresh = only(quality.status([], NOW))
    assert (fresh.looked_at, fresh.faults) == (None, ())
    quality.validate([], NOW)

    found = only(quality.status([], NOW))

    count = len(whole.bars)
    assert (found.bars, found.expected, found.missing) == (count - 33, count - 3, 30)
    assert (found.longest_hole_bars, found.longest_hole_from) == (30, datetime(2025, 11, 20, 15, 30, tzinfo=UTC))
    assert (found.stale_bars, found.last) == (3, datetime(2026, 3, 13, 17, 30, tzinfo=UTC))
    assert (found.quarantined, found.repaired, found.looked_at, found.blocks) == (0, 0, NOW, True)
    assert {fault.rule for fault in found.faults} == {"hole", "completeness"}
    assert quality.status([], NOW, "yahoo") == []


def test_rejected_rows_are_counted_and_listed_newest_first(quality: DataQuality, engine: Engine) -> None:
    store_series(engine, TRADED, sound_series().bars)
    with engine.begin() as connection:
        for symbol, vendor in (("KO", "alpaca"), ("KO", "alpaca"), ("PEP", "polygon")):
            connection.execute(insert(data_quarantine).values(**rejected(symbol, vendor)))

    assert only(quality.status([], NOW)).quarantined == 2
    assert [(row.symbol, row.rule) for row in quality.quarantined([], None, 10)] == [
        ("PEP", "spike"), ("KO", "spike"), ("KO", "spike")]  # fmt: skip
    assert len(quality.quarantined(["KO"], None, 1)) == 1
    assert quality.quarantined(["KO"], "polygon", 10) == []


def rejected(symbol: str, vendor: str) -> dict[str, object]:
    return {
        "quarantine_id": uuid4(), "load_run_id": uuid4(), "vendor": vendor, "dataset": "bars", "symbol": symbol,
        "timeframe": HOURLY, "bar_end": NOW, "rule": "spike", "reason": "a spike", "raw": {"close": 1.0},
    }  # fmt: skip


# Repair


def test_a_gap_is_filled_from_another_vendor_and_is_told_to_be_of_it(quality: DataQuality, engine: Engine) -> None:
    whole = sound_series()
    store_series(engine, TRADED, without(whole, HOLE).bars)
    near = scaled(whole, slice(0, None), 1.0005).bars
    store_series(engine, OTHER, near)
    assert "hole" in failing(quality)
    days = days_of_hole(whole)

    tried = quality.repair(["KO"], *days, NOW, who="ada", dry_run=True)
    assert rows(engine, "SELECT 1 FROM data_ingestion.load_run WHERE state = 'repaired'") == []
    done = quality.repair(["KO"], *days, NOW, who="ada")
    again = quality.repair(["KO"], *days, NOW, who="ada")

    assert tried == done
    assert [(each.vendor, each.missing, each.filled, each.objection) for each in done] == [("polygon", 30, 30, None)]
    assert [(each.missing, each.filled, each.objection) for each in again] == [(0, 0, None)]
    assert not only(quality.status(["KO"], NOW, "alpaca")).blocks
    assert only(quality.status(["KO"], NOW, "alpaca")).repaired == 30
    (run,) = rows(engine, "SELECT * FROM data_ingestion.load_run WHERE state = 'repaired'")
    assert (run["vendor"], run["client"], run["rows_written"]) == ("polygon", "repair of alpaca from polygon", 30)
    assert len(run["digest"]) == 32
    bars = rows(engine, "SELECT * FROM data_ingestion.market_data JOIN data_ingestion.load_run AS run"
                        " USING (load_run_id) WHERE run.state = 'repaired'")  # fmt: skip
    assert sorted(row["close"] for row in bars) == sorted(near.close[HOLE].tolist())
    assert rows(engine, "SELECT who, what FROM ops.audit_log") == [{"who": "ada", "what": "bars repaired"}]
    channels = [row["channel"] for row in rows(engine, "SELECT channel FROM ops.outbox ORDER BY recorded_at")]
    assert channels == [f"tradewinds.{said}" for said in
                        ("ops.AlertRaised", "market_data.MarketDataStored", "ops.AlertRaised")]  # fmt: skip


@pytest.mark.parametrize(
    ("places", "factor", "words"),
    [
        (slice(0, None), 1.02, "before the gap, another price basis: the middle close is -198 basis points away"),
        (slice(430, None), 4.0, "after the gap, another price basis"),
        (slice(390, 391), 1.2, "before the gap, closes are 1823 basis points apart"),
        (slice(405, 406), 10.0, "(spike)"),
    ],
)
def test_a_vendor_that_tells_another_story_fills_nothing(
    quality: DataQuality, engine: Engine, places: slice, factor: float, words: str
) -> None:
    whole = sound_series()
    store_series(engine, TRADED, without(whole, HOLE).bars)
    store_series(engine, OTHER, scaled(whole, places, factor).bars)

    (done,) = quality.repair(["KO"], *days_of_hole(whole), NOW, who="ada")

    assert (done.missing, done.filled) == (30, 0)
    assert words in str(done.objection)
    assert only(quality.status(["KO"], NOW, "alpaca")).missing == 30


def test_of_several_vendors_the_one_that_may_and_has_most_fills(quality: DataQuality, engine: Engine) -> None:
    whole = sound_series()
    store_series(engine, TRADED, without(whole, HOLE).bars)
    store_series(engine, replace(TRADED, vendor="another"), scaled(whole, slice(0, None), 1.02).bars)
    store_series(engine, OTHER, without(whole, slice(400, 420)).bars)
    store_series(engine, replace(TRADED, vendor="yahoo"), without(whole, slice(400, 405)).bars)
    store_series(engine, replace(TRADED, vendor="raw", adjustment="raw"), whole.bars)

    (done,) = quality.repair(["KO"], *days_of_hole(whole), NOW, who="ada")

    assert (done.vendor, done.missing, done.filled) == ("yahoo", 30, 25)
    (named,) = quality.repair(["KO"], *days_of_hole(whole), NOW, who="ada", vendor="raw")
    assert str(named.objection).startswith("no 1Hour bars by raw with split prices are stored")


@pytest.mark.parametrize("place", ["before_repair", "repaired", "before_verdicts", "verdicts_stored"])
def test_a_repair_that_ends_between_its_steps_is_done_once_by_the_next_one(
    quality: DataQuality, engine: Engine, place: str
) -> None:
    whole = sound_series()
    store_series(engine, TRADED, without(whole, HOLE).bars)
    store_series(engine, OTHER, whole.bars)
    quality.validate([], NOW)
    days = days_of_hole(whole)

    with armed(f"data_ingestion.{place}:exc"), pytest.raises(Crashed):
        quality.repair(["KO"], *days, NOW, who="ada")
    quality.repair(["KO"], *days, NOW, who="ada")
    quality.validate([], NOW)

    found = only(quality.status(["KO"], NOW, "alpaca"))
    assert (found.missing, found.repaired, found.blocks) == (0, 30, False)
    assert len(rows(engine, "SELECT 1 FROM data_ingestion.load_run WHERE state = 'repaired'")) == 1
    assert alerts(engine) == [("error", f"{TRADED} is blocked"), ("info", f"{TRADED} is sound again")]


@pytest.mark.parametrize(
    ("symbols", "first", "last", "vendor", "words"),
    [
        ([], date(2026, 1, 1), date(2026, 1, 2), None, "at least one symbol"),
        (["KO"], date(2026, 1, 3), date(2026, 1, 2), None, "before it begins"),
        (["KO"], date(2026, 1, 3), date(2027, 1, 2), None, "has not come yet"),
        (["KO"], date(2026, 1, 1), date(2026, 1, 2), "alpaca", "name another vendor"),
        (["ko"], date(2026, 1, 1), date(2026, 1, 2), None, "not a symbol"),
        (["KO"], date(2026, 1, 1), date(2026, 1, 2), None, "nothing to repair"),
    ],
)
def test_a_repair_that_makes_no_sense_is_refused(
    quality: DataQuality, symbols: list[str], first: date, last: date, vendor: str | None, words: str
) -> None:
    with pytest.raises(InputInvalid, match=words):
        quality.repair(symbols, first, last, NOW, who="ada", vendor=vendor)


# Real bars


def test_real_hours_of_polygon_and_yahoo_end_as_is_known_of_them(quality: DataQuality, engine: Engine) -> None:
    now = datetime(2025, 9, 26, 22, 0, tzinfo=UTC)
    polygon = real_hours("mit_polygon_1h.parquet", date(2023, 9, 1), now)
    yahoo = real_hours("mit_yahoo_1h_2025q3.parquet", date(2025, 6, 1), now)
    for vendor, found in (("polygon", polygon), ("yahoo", yahoo)):
        for symbol, bars in found.items():
            store_series(engine, Series(symbol, HOURLY, vendor, "split"), bars)

    judged = quality.validate([], now)
    faults = {(each.series.symbol, each.series.vendor): {v.rule: v for v in each.verdicts if not v.passed}
              for each in judged}  # fmt: skip

    short = {"AAPL", "AMZN", "GOOGL", "META", "MSFT", "QQQ", "SPY"}
    assert {key for key, found in faults.items() if found} == {(symbol, "polygon") for symbol in short}
    for symbol in short:
        told = faults[symbol, "polygon"]
        assert set(told) == {"completeness", "staleness"}
        assert "2025-08-07 13:30Z to 2025-08-07 20:00Z" in told["completeness"].reason
        assert told["staleness"].reason == "the newest bar is of 2025-08-08 20:00Z"
    compared = [
        v.numbers for each in judged for v in each.verdicts if v.rule == "vendors_agree" and v.numbers["vendors"]
    ]
    assert len(compared) == 22
    assert max(float(str(each["worst_bp"])) for each in compared) < 15


def test_real_days_that_are_stamped_at_the_usual_close_are_not_the_calendars_on_half_days(
    engine: Engine, quality: DataQuality
) -> None:
    now = datetime(2016, 7, 1, 22, 0, tzinfo=UTC)
    long_ago = replace(quality, calendar=TradingCalendar(first="2007-01-01"), window=timedelta(days=3104))
    series = Series("SPY", DAILY, "bsd", "split")
    store_series(engine, series, real_days("bsd_daily_close_etf_2008_2016.parquet", "SPY"))

    judged = {verdict.rule: verdict for each in long_ago.validate([], now) for verdict in each.verdicts}

    assert {name for name, verdict in judged.items() if not verdict.passed} == {"alignment", "completeness"}
    assert (judged["alignment"].numbers["misaligned"], judged["completeness"].numbers["lost_sessions"]) == (18, 18)


def real_hours(name: str, first: date, now: datetime) -> dict[str, BarColumns]:
    """Read the bars that begin when an hour of the calendar does."""
    table = pq.read_table(shared_file(f"data/{name}"))
    symbols = np.array(table["symbol"].to_pylist())
    starts = table["timestamp"].to_numpy().astype("datetime64[us]")
    grid = make_timetable(CALENDAR, HOURLY, first, now)
    places = np.minimum(np.searchsorted(grid.starts, starts), len(grid.starts) - 1)
    on_time = grid.starts[places] == starts
    found = {}
    for symbol in sorted(set(symbols.tolist())):
        rows = np.flatnonzero(on_time & (symbols == symbol))
        numbers = (table[column].to_numpy()[rows] for column in ("open", "high", "low", "close", "volume"))
        found[symbol] = BarColumns(
            symbol, grid.starts[places[rows]], grid.ends[places[rows]], *(n.astype(np.float64) for n in numbers)
        )
    return found


def real_days(name: str, symbol: str) -> BarColumns:
    """Read closes stamped 16:00 New York as days from the open to then."""
    table = pq.read_table(shared_file(f"data/{name}"), filters=[("symbol", "=", symbol)])
    ends = table["timestamp"].to_numpy().astype("datetime64[us]")
    numbers = (table[column].to_numpy().astype(np.float64) for column in ("open", "high", "low", "close", "volume"))
    return BarColumns(symbol, ends - np.timedelta64(390, "m"), ends, *numbers)
