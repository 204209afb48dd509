"""The table of bars: what goes in by COPY comes out the same, and only bars of a load that is written down go in."""

from __future__ import annotations

from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from src.services.data_ingestion.adapters.bar_table import FIRST_MOMENT, LAST_MOMENT, BarTable
from src.services.data_ingestion.domain.basis import OtherBasis
from src.shared.domain.bars import BarColumns, Series
from src.shared.infra.database.engine import translated_errors
from tests.fakes.bar_columns import rows_of
from tests.integration.database.rows import add_load

SPY = Series("SPY", "1Hour", "alpaca", "split")
LONG = Series("BRK.B12345", "1Day", "polygon", "dividend")
HOUR = np.timedelta64(1, "h")


def bars(symbol: str, count: int = 60, price: float = 100.0) -> BarColumns:
    # Over the end of a year, an hour of daylight saving and a leap day: times are times.
    end = np.datetime64("2023-12-31T20:00", "us") + 26 * HOUR * np.arange(count)
    close = price + np.random.default_rng(5).normal(0, 1, count)
    return BarColumns(symbol, end - HOUR, end, close, close + 2, close - 2, close, np.linspace(0.0, 1e14, count))


def stored(engine: Engine, series: Series) -> BarColumns:
    with engine.connect() as connection:
        return BarTable(connection).stored([series], FIRST_MOMENT, LAST_MOMENT)[series]


@pytest.mark.parametrize("series", [SPY, LONG], ids=["short names", "long names"])
def test_what_goes_in_comes_out_to_the_last_bit(engine: Engine, series: Series) -> None:
    columns = bars(series.symbol)
    with engine.begin() as connection:
        run_id = add_load(connection)
        written = BarTable(connection).put({series: columns}, run_id)

    assert rows_of(stored(engine, series)) == rows_of(columns)
    assert (written[series].new, written[series].unchanged, written[series].restated) == (60, 0, 0)
    with engine.connect() as connection:
        key = connection.execute(
            text("SELECT DISTINCT symbol, timeframe, vendor, adjustment, load_run_id FROM data_ingestion.market_data")
        ).one()
    assert tuple(key) == (series.symbol, series.timeframe, series.vendor, series.adjustment, run_id)


def test_the_digest_is_of_the_rows_and_not_of_the_load(engine: Engine) -> None:
    digests = []
    for price in (100.0, 100.0, 101.0):
        with engine.connect() as connection:
            run_id = add_load(connection)
            digests.append(BarTable(connection).put({SPY: bars("SPY", price=price)}, run_id)[SPY].digest)

    assert digests[0] == digests[1] != digests[2]


def test_bars_of_a_load_that_is_not_written_down_do_not_go_in(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(ValueError, match="not written down"):
        BarTable(connection).put({SPY: bars("SPY")}, uuid4())


def test_the_same_again_changes_no_row_and_leaves_no_dead_one(engine: Engine) -> None:
    for _ in range(2):
        with engine.begin() as connection:
            written = BarTable(connection).put({SPY: bars("SPY")}, add_load(connection))

    assert (written[SPY].unchanged, written[SPY].rows) == (60, 0)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        connection.commit()
        tuples = connection.execute(
            text(
                "SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_dead_tup) FROM pg_stat_user_tables"
                " WHERE relname LIKE 'market_data_y%'"
            )
        ).one()
    assert tuple(tuples) == (60, 0, 0)


def test_what_is_on_another_basis_is_not_written(engine: Engine) -> None:
    with engine.begin() as connection:
        BarTable(connection).put({SPY: bars("SPY")}, add_load(connection))
    columns = bars("SPY", 70)
    open_, high, low, close = (column / 2 for column in columns.columns[2:6])
    halved = BarColumns("SPY", columns.start, columns.end, open_, high, low, close, columns.volume)

    with engine.connect() as connection, pytest.raises(OtherBasis, match=r"by a factor of 0\.5$"):
        BarTable(connection).put({SPY: halved}, add_load(connection))

    assert rows_of(stored(engine, SPY)) == rows_of(bars("SPY"))


def test_a_row_that_the_table_refuses_is_told_as_every_error_of_the_server_is(engine: Engine) -> None:
    columns = bars("SPY")
    columns.low[3] = -1.0

    with (
        pytest.raises(IntegrityError, match="prices_sane"),
        translated_errors(engine),
        engine.connect() as connection,
    ):
        BarTable(connection).put({SPY: columns}, add_load(connection))
