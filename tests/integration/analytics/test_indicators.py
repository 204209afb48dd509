"""Technical indicators on a real database: what is stored equals TA-Lib over the whole series, whatever happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, func, select, text

from src.config.settings import load_settings
from src.services.analytics.adapters.sql_indicators import SqlIndicatorRepository
from src.services.analytics.bootstrap import build_indicators
from src.services.analytics.domain.indicators import COLUMNS, IndicatorParameters, indicator_set, values
from src.services.analytics.use_cases.indicators import Batch, Indicators
from src.shared.domain.bars import DAILY, HOURLY, BarKind, Floats, StoredBars
from src.shared.domain.errors import InputInvalid, Transient
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.moments import server_microseconds
from src.shared.infra.database.tables import indicator_set as sets
from src.shared.infra.database.tables import market_data, technical_indicators
from tests.fakes.bar_series import made_up, part, restated
from tests.fakes.stored_market import remove_bars, store_bars
from tests.shared_data import shared_file

KIND = BarKind(DAILY, "polygon", "split")
HOURS = BarKind(HOURLY, "alpaca", "split")
SERIES = {"KO": made_up(300, 1), "PEP": made_up(260, 2)}
ONE = Batch(KIND, ("KO",))
BOTH = Batch(KIND, ("KO", "PEP"))


@pytest.fixture
def indicators(engine: Engine) -> Indicators:
    return build_indicators(load_settings(), engine)


def stored(engine: Engine, symbol: str, kind: BarKind = KIND) -> dict[str, Floats]:
    """Read every column of a series, NaN for NULL, and the ends of its bars in the server's microseconds."""
    t = technical_indicators.c
    query = select(t.bar_end, *(t[name] for name in COLUMNS)).where(
        t.symbol == symbol, t.timeframe == kind.timeframe, t.vendor == kind.vendor, t.adjustment == kind.adjustment
    )
    with engine.connect() as connection:
        found = connection.execute(query.order_by(t.bar_end)).all()
    columns = {name: np.array([row[i + 1] for row in found], dtype=float) for i, name in enumerate(COLUMNS)}
    return {"end": server_microseconds([row[0] for row in found]).astype(float), **columns}


def assert_stored(engine: Engine, bars: StoredBars, symbol: str = "KO", kind: BarKind = KIND) -> None:
    """Compare what is stored with TA-Lib over the whole series."""
    found = stored(engine, symbol, kind)
    expected = values(indicator_set(IndicatorParameters(), kind.timeframe), bars)
    assert len(found["end"]) == len(bars)
    for name in COLUMNS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=0, err_msg=name)


def written(engine: Engine) -> dict[tuple[str, datetime], str]:
    """Name the transaction that wrote each row."""
    t = technical_indicators.c
    with engine.connect() as connection:
        return {
            (symbol, end): writer
            for symbol, end, writer in connection.execute(
                select(t.symbol, t.bar_end, text("xmin::text")).select_from(technical_indicators)
            )
        }


def test_the_whole_series_is_stored_as_ta_lib_gives_it_and_a_second_run_writes_nothing(
    indicators: Indicators, engine: Engine
) -> None:
    store_bars(engine, KIND, SERIES)

    first = indicators.compute(BOTH)
    rows = written(engine)
    again = indicators.compute(BOTH)

    assert (first.bars, first.written, first.replaced_series, first.untouched_series) == (560, 560, 0, 0)
    assert (again.bars, again.written, again.replaced_series, again.untouched_series) == (560, 0, 0, 2)
    assert written(engine) == rows
    for symbol, bars in SERIES.items():
        assert_stored(engine, bars, symbol)


def test_the_bars_of_a_series_with_nothing_new_are_not_read(
    indicators: Indicators, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_bars(engine, KIND, SERIES)
    indicators.compute(BOTH)
    read: list[list[str]] = []
    real = SqlIndicatorRepository.bars

    def bars(self: SqlIndicatorRepository, kind: BarKind, symbols: Sequence[str]) -> dict[str, StoredBars]:
        read.append(list(symbols))
        return real(self, kind, symbols)

    monkeypatch.setattr(SqlIndicatorRepository, "bars", bars)
    quiet = indicators.compute(BOTH)
    store_bars(engine, KIND, {"PEP": restated(SERIES["PEP"], slice(3, 4), 1.01)})
    news = indicators.compute(BOTH)

    assert read == [["PEP"]]
    assert (quiet.bars, quiet.written, quiet.untouched_series) == (560, 0, 2)
    assert (news.bars, news.written, news.untouched_series) == (560, 257, 1)


@pytest.mark.parametrize("change", ["late", "gone", "restated", "rows gone", "rows of no bar", "head gone"])
def test_whatever_is_said_to_be_up_to_date_has_nothing_to_do(
    indicators: Indicators, engine: Engine, change: str
) -> None:
    bars = SERIES["KO"]
    in_the_middle = bars.end[100:101]
    with engine.begin() as connection:
        store_bars(engine, KIND, {"KO": bars if change != "late" else without(bars, 100)})
        indicators.compute(ONE)
        if change in {"late", "restated"}:
            store_bars(engine, KIND, {"KO": bars if change == "late" else restated(bars, slice(100, 101), 1.01)})
        elif change == "gone":
            remove_bars(connection, KIND, {"KO": in_the_middle})
        elif change == "head gone":
            remove_bars(connection, KIND, {"KO": bars.end[:100]})
        else:
            t = technical_indicators
            moved = t.update().values(bar_end=t.c.bar_end + timedelta(hours=1))
            which = t.c.bar_end == in_the_middle[0].item().replace(tzinfo=UTC)
            connection.execute((t.delete() if change == "rows gone" else moved).where(which))
    with indicators.store() as work:
        said = work.repo.up_to_date(KIND, ["KO"], indicator_set(indicators.parameters, DAILY).set_id)

    assert said == ({"KO": 200} if change == "head gone" else {})
    assert (indicators.compute(ONE).written == 0) is (change == "head gone")


def without(bars: StoredBars, place: int) -> StoredBars:
    kept = np.delete(np.arange(len(bars)), place)
    return replace(bars, **{each.name: getattr(bars, each.name)[kept] for each in fields(bars)})


def test_day_by_day_comes_to_the_same_as_all_at_once(indicators: Indicators, engine: Engine) -> None:
    bars = SERIES["KO"]
    for count in range(225, 240):
        store_bars(engine, KIND, {"KO": part(bars, slice(count))})
        assert indicators.compute(ONE).written == (225 if count == 225 else 1)

    assert_stored(engine, part(bars, slice(239)))


def test_after_days_without_a_run_what_is_missing_is_made_up_for(indicators: Indicators, engine: Engine) -> None:
    bars = SERIES["KO"]
    store_bars(engine, KIND, {"KO": part(bars, slice(250))})
    indicators.compute(ONE)
    store_bars(engine, KIND, {"KO": bars})

    assert indicators.compute(ONE).written == 50
    assert_stored(engine, bars)


def test_a_bar_that_came_late_has_everything_after_it_worked_out_anew(indicators: Indicators, engine: Engine) -> None:
    bars = SERIES["KO"]
    store_bars(engine, KIND, {"KO": bars})
    with engine.begin() as connection:
        remove_bars(connection, KIND, {"KO": bars.end[100:101]})
    indicators.compute(ONE)
    before = written(engine)
    store_bars(engine, KIND, {"KO": part(bars, slice(100, 101))})

    assert indicators.compute(ONE).written == 200
    assert_stored(engine, bars)
    after = written(engine)
    assert sum(before.get(key) == writer for key, writer in after.items()) == 100


def test_a_series_on_another_price_basis_is_worked_out_anew_from_its_first_bar(
    indicators: Indicators, engine: Engine
) -> None:
    store_bars(engine, KIND, SERIES)
    indicators.compute(BOTH)
    halved = restated(SERIES["KO"], slice(None), 0.5)
    store_bars(engine, KIND, {"KO": halved})

    found = indicators.compute(BOTH)

    assert (found.written, found.replaced_series, found.untouched_series) == (300, 1, 1)
    assert_stored(engine, halved)
    assert_stored(engine, SERIES["PEP"], "PEP")


def test_one_restated_bar_changes_its_row_and_all_after_it(indicators: Indicators, engine: Engine) -> None:
    bars = SERIES["KO"]
    store_bars(engine, KIND, {"KO": bars})
    indicators.compute(ONE)
    corrected = restated(bars, slice(280, 281), 1.01)
    store_bars(engine, KIND, {"KO": corrected})

    assert indicators.compute(ONE).written == 20
    assert_stored(engine, corrected)


def test_a_restatement_that_was_written_before_and_committed_after_a_run_is_seen_by_the_next(
    indicators: Indicators, engine: Engine
) -> None:
    bars = SERIES["KO"]
    store_bars(engine, KIND, {"KO": bars})
    indicators.compute(ONE)
    # By the clock this bar was recorded before its row was made.
    early = restated(bars, slice(299, 300), 1.01)
    early = replace(early, recorded_at=np.where(early.end == early.end[-1], bars.recorded_at - 5, bars.recorded_at))
    store_bars(engine, KIND, {"KO": early})

    assert indicators.compute(ONE).written == 1
    assert_stored(engine, early)


def test_other_parameters_make_another_set_and_everything_anew(indicators: Indicators, engine: Engine) -> None:
    store_bars(engine, KIND, SERIES)
    indicators.compute(BOTH)
    changed = replace(indicators, parameters=IndicatorParameters(rsi_bars=7))

    assert changed.compute(BOTH).written == 560
    assert changed.compute(BOTH).written == 0

    found = stored(engine, "KO")["rsi"]
    assert np.isfinite(found[7:]).all() and np.isnan(found[:7]).all()
    with engine.connect() as connection:
        ids = set(connection.execute(select(technical_indicators.c.set_id)).scalars())
        kept = {row.set_id: row.indicators for row in connection.execute(select(sets))}
    assert len(ids) == 1 and ids < set(kept) and len(kept) == 2
    [rsi] = [each for each in kept[ids.pop()]["indicators"] if each["outputs"] == ["rsi"]]
    assert (rsi["function"], rsi["parameters"]) == ("RSI", {"timeperiod": 7})


def test_where_the_archive_took_the_head_its_rows_stay_and_the_rest_goes_on(
    indicators: Indicators, engine: Engine
) -> None:
    bars = made_up(1000, 3)
    store_bars(engine, KIND, {"KO": part(bars, slice(950))})
    indicators.compute(ONE)
    with engine.begin() as connection:
        remove_bars(connection, KIND, {"KO": bars.end[:500]})
    store_bars(engine, KIND, {"KO": part(bars, slice(950, None))})

    assert indicators.compute(ONE).written == 50
    assert indicators.compute(ONE, "all").written == 0

    found, expected = stored(engine, "KO"), values(indicator_set(IndicatorParameters(), DAILY), bars)
    for name in COLUMNS:
        # MACD is a difference of prices: it is as exact as they are, also where it is near nought.
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-9 * 80, err_msg=name)


def test_only_the_asked_days_are_written_and_later_rows_are_never_left_stale(
    indicators: Indicators, engine: Engine
) -> None:
    bars = SERIES["KO"]
    store_bars(engine, KIND, {"KO": bars})
    first, last = (bars.end[i].item().date() for i in (240, 259))

    assert indicators.compute(ONE, "missing", first, last).written == 20
    assert indicators.compute(ONE, "missing", first, last).written == 0
    assert indicators.compute(ONE, "all", first, last).written == 20
    assert indicators.compute(ONE).written == 300
    assert indicators.compute(ONE, "all", first, last).written == 60
    assert_stored(engine, bars)


def test_a_dry_run_counts_and_writes_nothing(indicators: Indicators, engine: Engine) -> None:
    store_bars(engine, KIND, SERIES)

    assert indicators.compute(BOTH, dry_run=True).written == 560
    assert written(engine) == {}


def test_two_runs_at_once_write_every_row_once(indicators: Indicators, engine: Engine) -> None:
    store_bars(engine, KIND, SERIES)

    with ThreadPoolExecutor(4) as pool:
        counts = [each.written for each in pool.map(lambda _: indicators.compute(BOTH), range(4))]

    assert sorted(counts) == [0, 0, 0, 560]
    assert_stored(engine, SERIES["KO"])


@pytest.mark.parametrize(("place", "left"), [("before_indicators", 0), ("indicators_stored", 560)])
def test_a_run_that_dies_leaves_a_batch_whole_or_not_at_all(
    indicators: Indicators, engine: Engine, place: str, left: int
) -> None:
    store_bars(engine, KIND, SERIES)
    with armed(f"analytics.{place}:exc"), pytest.raises(Crashed):
        indicators.compute(BOTH)

    assert len(written(engine)) == left
    indicators.compute(BOTH)
    assert_stored(engine, SERIES["KO"])


def test_what_the_server_refuses_in_a_copy_looks_like_any_other_statement(
    indicators: Indicators, engine: Engine
) -> None:
    store_bars(engine, KIND, SERIES)
    with engine.connect() as other:
        other.execute(text("LOCK TABLE analytics.technical_indicators IN SHARE MODE"))
        with engine.connect() as probe:
            probe.execute(text("SET statement_timeout = 200"))
            probe.commit()
            # The pool gives the same connection again.
        with pytest.raises(Transient, match="statement timeout"):
            replace(indicators).compute(BOTH)
        other.rollback()

    assert written(engine) == {}


def test_series_are_listed_by_kind_in_batches(indicators: Indicators, engine: Engine) -> None:
    store_bars(engine, KIND, {name: made_up(3) for name in ("A", "B", "C")})
    store_bars(engine, HOURS, {"B": made_up(3)})
    store_bars(engine, BarKind("5Min", "polygon", "split"), {"Z": made_up(3)})
    small = replace(indicators, batch_symbols=2)

    assert small.batches() == [Batch(KIND, ("A", "B")), Batch(KIND, ("C",)), Batch(HOURS, ("B",))]
    assert small.batches([HOURLY]) == [Batch(HOURS, ("B",))]
    assert small.batches(symbols=["B"]) == [Batch(KIND, ("B",)), Batch(HOURS, ("B",))]
    assert small.batches(vendor="alpaca", adjustment="raw") == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"timeframes": ["1Week"]}, "timeframe '1Week' has no indicators; name one of 1Day, 1Hour."),
        ({"symbols": ["ko"]}, "'ko' is not a symbol"),
        ({"symbols": ["KO", "NOPE"]}, r"no bars \(1Day, 1Hour\) are stored of NOPE: load them first."),
        ({"symbols": ["KO"], "vendor": "yahoo"}, r"no bars \(1Day, 1Hour\) are stored of KO"),
    ],
)
def test_what_can_not_be_computed_is_refused_in_one_line(
    indicators: Indicators, engine: Engine, asked: dict[str, Any], said: str
) -> None:
    store_bars(engine, KIND, SERIES)

    with pytest.raises(InputInvalid, match=said) as refused:
        indicators.batches(**asked)
    assert "\n" not in str(refused.value)


def test_reversed_days_are_refused(indicators: Indicators) -> None:
    with pytest.raises(InputInvalid, match="2025-03-04 is later than 2025-03-03"):
        indicators.compute(ONE, "missing", date(2025, 3, 4), date(2025, 3, 3))


def test_the_newest_row_of_each_series_is_found(indicators: Indicators, engine: Engine) -> None:
    store_bars(engine, KIND, SERIES)
    store_bars(engine, HOURS, {"KO": made_up(5)})
    for batch in indicators.batches():
        indicators.compute(batch)

    daily, hourly = indicators.latest("KO")

    assert (daily.kind, hourly.kind) == (KIND, HOURS)
    assert daily.bar_end == SERIES["KO"].end[-1].item().replace(tzinfo=UTC)
    assert daily.values["obv"] == stored(engine, "KO")["obv"][-1]
    assert (hourly.values["sma_short"], hourly.values["obv"] is not None) == (None, True)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM analytics.latest_indicators")).scalar_one() == 3
    with pytest.raises(InputInvalid, match="no indicators of NOPE are stored"):
        indicators.latest("NOPE")


@pytest.fixture
def real_hours() -> Iterator[dict[str, StoredBars]]:
    frame = pq.read_table(shared_file("data/mit_polygon_1h.parquet")).to_pandas()
    recorded = np.datetime64("2025-10-01", "us")
    yield {
        symbol: StoredBars(
            end=(rows["timestamp"].dt.tz_convert(None).to_numpy("M8[us]") + np.timedelta64(1, "h")),
            recorded_at=np.full(len(rows), recorded),
            **{name: rows[name].to_numpy(float) for name in ("open", "high", "low", "close", "volume")},
        )
        for symbol, rows in frame.groupby("symbol")
    }


def test_real_hours_of_eleven_symbols_equal_ta_lib_though_they_came_in_two_parts(
    indicators: Indicators, engine: Engine, real_hours: dict[str, StoredBars]
) -> None:
    batch = Batch(HOURS, tuple(real_hours))
    store_bars(engine, HOURS, {symbol: part(bars, slice(len(bars) // 2)) for symbol, bars in real_hours.items()})
    indicators.compute(batch)
    store_bars(engine, HOURS, real_hours)
    indicators.compute(batch)

    with engine.connect() as connection:
        bars = connection.execute(select(func.count()).select_from(market_data)).scalar_one()
    assert len(written(engine)) == bars > 26_000
    for symbol, series in real_hours.items():
        assert_stored(engine, series, symbol, HOURS)
