"""Yahoo's bars through the gate into a real PostgreSQL: from the twin, by the real library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from src.services.data_ingestion.adapters.history_repository import SqlHistoryRepository
from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.services.data_ingestion.adapters.yahoo.history import YahooHistory
from src.services.data_ingestion.adapters.yahoo.route import Route
from src.services.data_ingestion.domain.history import HistoryResult
from src.services.data_ingestion.use_cases.history import HistoryLoad
from src.shared.domain.bars import DAILY, HOURLY
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.rate_limit import MinuteLimiter
from src.shared.ports.market_data import Adjustment
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.fakes.vendor import FakeVendor

START = datetime(2025, 3, 3, 5, tzinfo=UTC)
SATURDAY = datetime(2025, 3, 8, 15, tzinfo=UTC)
NEXT_SATURDAY = datetime(2025, 3, 15, 15, tzinfo=UTC)


@dataclass
class Loads:
    """Loads of KELV's bars from a twin's Yahoo, at a time that the test moves."""

    twin: TwinHandle
    engine: Engine
    now: datetime = SATURDAY
    source: YahooHistory = field(init=False)

    def __post_init__(self) -> None:
        self.source = YahooHistory(YahooClient(Route(f"{self.twin.url}/yahoo", 1, 2), MinuteLimiter(1000)))

    def pass_on_to(self, moment: datetime) -> None:
        self.now = moment
        self.twin.admin.move_clock(moment.isoformat())

    def run(self, timeframe: str = HOURLY, adjustment: Adjustment = "split", **more: Any) -> HistoryResult:
        history = HistoryLoad(
            SqlUnitOfWork(self.engine, SqlHistoryRepository), FakeVendor(self.now), TradingCalendar()
        )
        return history.run(self.source, ["KELV"], START, self.now, timeframe, adjustment, **more)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def closes(self, adjustment: Adjustment) -> dict[datetime, float]:
        """Read the stored hours of one adjustment, by their starts."""
        found = self.rows("SELECT bar_start, close, adjustment FROM data_ingestion.market_data ORDER BY bar_start")
        return {start: close for start, close, kept in found if kept == adjustment}


@pytest.fixture
def loads(engine: Engine) -> Iterator[Loads]:
    with running_twin(clock="2025-03-03T15:30:05Z") as twin:
        made = Loads(twin, engine)
        made.pass_on_to(SATURDAY)
        yield made


@pytest.mark.parametrize(("timeframe", "count"), [(HOURLY, 35), (DAILY, 5)])
@pytest.mark.parametrize("adjustment", ["raw", "split", "all"])
def test_hours_and_days_come_whole(loads: Loads, timeframe: str, count: int, adjustment: Adjustment) -> None:
    result = loads.run(timeframe, adjustment)

    assert (result.total("new"), result.total("rejected"), result.total("missing")) == (count, 0, 0)
    assert loads.rows("SELECT DISTINCT vendor, client FROM data_ingestion.load_run") == [("yahoo", "yfinance 1.7.0")]


def test_null_rows_are_set_aside_with_a_reason_and_come_when_all_is_asked_for_anew(loads: Loads) -> None:
    loads.twin.admin.fault(kind="odd_chart", form="null_rows")

    first = loads.run()
    loads.twin.admin.clear_faults()
    second = loads.run(only_missing=False)

    assert (first.total("new"), first.total("rejected")) == (24, 11)
    kept = loads.rows("SELECT count(*), min(vendor), min(reason) FROM data_ingestion.quarantine")
    assert kept == [(11, "yahoo", "a number is missing or not finite")]
    assert (second.total("new"), second.total("unchanged")) == (11, 24)


def test_a_bar_in_progress_is_not_stored(loads: Loads) -> None:
    loads.pass_on_to(datetime(2025, 3, 10, 15, 10, tzinfo=UTC))
    loads.twin.admin.fault(kind="odd_chart", form="unfinished")

    loads.run()

    assert max(loads.closes("split")) == datetime(2025, 3, 10, 13, 30, tzinfo=UTC)


def test_a_split_puts_the_adjusted_series_on_its_new_basis_and_leaves_the_raw_one(loads: Loads) -> None:
    loads.run()
    loads.run(adjustment="raw")
    before, traded = loads.closes("split"), loads.closes("raw")
    loads.twin.admin.post(
        "corporate-actions", type="forward_split", symbol="KELV", ex_date="2025-03-12", new_rate="2"
    )
    loads.pass_on_to(NEXT_SATURDAY)

    loads.run()
    loads.run(adjustment="raw")

    after, raw = loads.closes("split"), loads.closes("raw")
    assert len(after) == len(raw) == 70
    assert [after[start] for start in before] == pytest.approx([close / 2 for close in before.values()], rel=1e-4)
    assert [raw[start] for start in traded] == pytest.approx(list(traded.values()), rel=1e-9)
    assert loads.rows("SELECT adjustment FROM data_ingestion.series_rebase") == [("split",)]
