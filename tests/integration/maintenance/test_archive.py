"""Bars of a real database go to files and come back; killed anywhere, rows or a whole file are there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, delete, insert, select, text, update

from src.services.maintenance.adapters.parquet_folder import ParquetFolder
from src.services.maintenance.adapters.sql_archive import SqlBarArchive
from src.services.maintenance.domain.archive import Moved, Retention
from src.services.maintenance.use_cases.archive import Archive
from src.shared.domain.errors import InputInvalid, Transient
from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.tables import archive_file, load_run, market_data, series_rebase
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.prefect.config import SOURCE_ROOT
from tests.conftest import TradingDatabase
from tests.integration.database.conftest import as_owner, engine_for
from tests.integration.database.rows import BAR, add_load

__all__ = ["as_owner", "engine_for"]

NOW = datetime(2026, 7, 15, 6, tzinfo=UTC)
RETENTION = Retention(intraday_days=90, daily_days=None, restored_days=7)
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
# kept by 90 days before the fifteenth of July: April, May, June, July
BARS_A_MONTH = 40

ARCHIVE_ONCE = """
import sys
from datetime import datetime
from pathlib import Path
from sqlalchemy import create_engine
from src.services.maintenance.adapters.parquet_folder import ParquetFolder
from src.services.maintenance.adapters.sql_archive import SqlBarArchive
from src.services.maintenance.domain.archive import Retention
from src.services.maintenance.use_cases.archive import Archive
from src.shared.failpoints import arm_from_environment
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
arm_from_environment()
store = SqlUnitOfWork(create_engine(sys.argv[1]), SqlBarArchive)
archive = Archive(store, ParquetFolder(Path(sys.argv[2])), Retention(90, None, 7))
archive.move_old_bars(datetime.fromisoformat(sys.argv[3]))
"""


@dataclass(frozen=True)
class Bars:
    """A database with bars of several months, and the folder that they are archived in."""

    engine: Engine
    url: str
    folder: Path
    load: UUID

    @property
    def archive(self) -> Archive:
        return Archive(SqlUnitOfWork(self.engine, SqlBarArchive), ParquetFolder(self.folder), RETENTION)

    def add(self, first: datetime, count: int, **values: Any) -> None:
        bars = [
            BAR
            | {
                "bar_start": first + timedelta(hours=n),
                "bar_end": first + timedelta(hours=n + 1),
                "load_run_id": self.load,
                "close": 500.0 + n / 77,
                "adjustment": "split",
            }
            | values
            for n in range(count)
        ]
        with self.engine.begin() as connection:
            add_months(connection, bars[0]["bar_end"], bars[-1]["bar_end"])
            connection.execute(insert(market_data), bars)

    def rows(self) -> list[tuple[Any, ...]]:
        query = select(market_data).order_by(*market_data.primary_key)
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def files(self) -> list[tuple[str, int]]:
        query = select(archive_file.c.file, archive_file.c.rows).order_by(archive_file.c.file)
        with self.engine.connect() as connection:
            return [(name, rows) for name, rows in connection.execute(query)]

    def on_disk(self) -> list[str]:
        return sorted(each.relative_to(self.folder).as_posix() for each in self.folder.rglob("*") if each.is_file())

    def run(self, now: datetime = NOW) -> list[Moved]:
        return self.archive.move_old_bars(now)


@pytest.fixture
def bars(as_owner: Engine, trading_database: TradingDatabase, tmp_path: Path) -> Iterator[Bars]:
    with as_owner.begin() as connection:
        load = add_load(connection)
    made = Bars(as_owner, trading_database.owner_url, tmp_path / "archive", load)
    for month in (2, 3, 4, 7):
        made.add(datetime(2026, month, 2, 12, tzinfo=UTC), BARS_A_MONTH)
    made.add(datetime(2026, 3, 2, tzinfo=UTC), BARS_A_MONTH, symbol="QQQ", vendor="yahoo")
    made.add(datetime(2020, 3, 2, tzinfo=UTC), 3, timeframe="1Day")
    made.add(datetime(2026, 7, 14, tzinfo=UTC), 1, vendor="yahoo", symbol="QQQ")
    yield made


def test_months_older_than_the_retention_go_to_files_and_the_rest_stays(bars: Bars) -> None:
    before = bars.rows()

    moved = bars.run()

    assert [(str(each.series), each.rows) for each in moved] == [
        ("alpaca 1Hour 2026-02", 40),
        ("alpaca 1Hour 2026-03", 40),
        ("yahoo 1Hour 2026-03", 40),
    ]
    assert bars.on_disk() == [name for name, _ in bars.files()]
    assert bars.files() == [
        ("alpaca/1Hour/2026-02.001.parquet", 40),
        ("alpaca/1Hour/2026-03.001.parquet", 40),
        ("yahoo/1Hour/2026-03.001.parquet", 40),
    ]
    assert len(bars.rows()) == len(before) - 120
    assert {row[1] for row in bars.rows() if row[2].year == 2020} == {"1Day"}


def test_a_file_is_plain_parquet_with_every_column(bars: Bars) -> None:
    bars.run()

    read = pq.read_table(bars.folder / "alpaca/1Hour/2026-03.001.parquet", partitioning=None)

    assert read.column_names == [column.name for column in market_data.columns]
    assert read.column("bar_end")[0].as_py() == datetime(2026, 3, 2, 13, tzinfo=UTC)
    assert read.column("close")[1].as_py() == 500.0 + 1 / 77
    assert pq.ParquetFile(bars.folder / "alpaca/1Hour/2026-03.001.parquet").metadata.row_group(0).column(
        0
    ).compression == ("ZSTD")


def test_a_second_run_changes_nothing(bars: Bars) -> None:
    bars.run()
    before = (bars.rows(), bars.files(), {name: (bars.folder / name).stat().st_mtime_ns for name in bars.on_disk()})

    assert bars.run() == []

    after = (bars.rows(), bars.files(), {name: (bars.folder / name).stat().st_mtime_ns for name in bars.on_disk()})
    assert after == before


def test_rows_that_come_late_make_a_part_of_their_own(bars: Bars) -> None:
    bars.run()
    bars.add(datetime(2026, 3, 20, tzinfo=UTC), 2)

    moved = bars.run()

    assert [(each.rows, each.file and each.file.file) for each in moved] == [(2, "alpaca/1Hour/2026-03.002.parquet")]
    assert len([name for name, _ in bars.files() if "2026-03" in name]) == 3


def test_what_was_put_back_is_bit_for_bit_what_went(bars: Bars) -> None:
    before = bars.rows()
    bars.run()

    done = [bars.archive.put_back(month, NOW) for month in (date(2026, 2, 1), MARCH)]

    assert [(each.files, each.rows, each.inserted) for each in done] == [(1, 40, 40), (2, 80, 80)]
    assert bars.rows() == before


def test_a_month_that_was_put_back_stays_a_week_and_goes_without_another_file(bars: Bars) -> None:
    bars.run()
    files = bars.files()
    bars.archive.put_back(MARCH, NOW)

    assert bars.run(NOW + timedelta(days=6)) == []
    moved = bars.run(NOW + timedelta(days=8))

    assert [(each.rows, each.file) for each in moved] == [(40, None), (40, None)]
    assert bars.files() == files


def test_of_a_bar_that_was_restated_the_newest_part_counts(bars: Bars) -> None:
    bars.run()
    bars.archive.put_back(MARCH, NOW)
    change = update(market_data).where(
        market_data.c.bar_end == datetime(2026, 3, 2, 13, tzinfo=UTC), market_data.c.vendor == "alpaca"
    )
    with bars.engine.begin() as connection:
        connection.execute(change.values(close=500.75))
    expected = bars.rows()

    moved = bars.run(NOW + timedelta(days=8))
    done = bars.archive.put_back(MARCH, NOW)

    assert [(each.rows, each.file and each.file.rows) for each in moved] == [(40, 1), (40, None)]
    assert (done.rows, done.inserted) == (80, 80)
    assert bars.rows() == expected


def test_a_bar_that_is_what_it_was_two_parts_ago_is_written_again(bars: Bars) -> None:
    """Else the part between would count, though it was not the last."""
    change = update(market_data).where(
        market_data.c.bar_end == datetime(2026, 3, 2, 13, tzinfo=UTC), market_data.c.vendor == "alpaca"
    )
    for later, close in ((0, 500.5), (8, 500.75), (16, 500.5)):
        with bars.engine.begin() as connection:
            connection.execute(change.values(close=close))
        expected = bars.rows()
        bars.run(NOW + timedelta(days=later))
        bars.archive.put_back(MARCH, NOW + timedelta(days=later))

    assert [name for name, _ in bars.files() if name.startswith("alpaca/1Hour/2026-03")] == [
        f"alpaca/1Hour/2026-03.00{part}.parquet" for part in (1, 2, 3)
    ]
    assert [row for row in bars.rows() if row[2].month == 3] == [row for row in expected if row[2].month == 3]


def test_putting_back_leaves_what_the_table_has(bars: Bars) -> None:
    bars.run()
    bars.add(datetime(2026, 3, 2, 12, tzinfo=UTC), 3, close=499.5)

    done = bars.archive.put_back(MARCH, NOW)

    assert (done.rows, done.inserted) == (80, 77)
    assert [row[9] for row in bars.rows() if row[0] == "SPY" and row[2].month == 3].count(499.5) == 3
    assert bars.archive.put_back(MARCH, NOW).inserted == 0


def test_bars_of_a_basis_that_is_no_longer_the_series_own_are_left_out(bars: Bars) -> None:
    bars.run()
    with bars.engine.begin() as connection:
        connection.execute(
            insert(series_rebase).values(
                rebase_id=uuid4(),
                symbol="SPY",
                timeframe="1Hour",
                vendor="alpaca",
                adjustment="split",
                factor=0.5,
                reason="test",
                effective_at=NOW,
                load_run_id=bars.load,
            )
        )

    done = bars.archive.put_back(MARCH, NOW)

    assert (done.rows, done.inserted, done.left_out) == (40, 40, 40)
    assert {row[0] for row in bars.rows() if row[2].month == 3 and row[2].year == 2026} == {"QQQ"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(file.read_bytes()[:-9]),
        lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
        lambda file: pq.write_table(pq.read_table(file, partitioning=None).slice(1), file),
    ],
    ids=["gone", "cut", "flipped", "fewer rows"],
)
def test_a_file_that_is_not_whole_is_named_and_nothing_is_put_back_from_it(bars: Bars, damage: Any) -> None:
    bars.run()
    damage(bars.folder / "yahoo/1Hour/2026-03.001.parquet")
    before = bars.rows()

    broken = [each.file for each in bars.archive.verify() if each.fault]

    assert broken == ["yahoo/1Hour/2026-03.001.parquet"]
    with pytest.raises(InputInvalid, match=r"yahoo/1Hour/2026-03\.001\.parquet can't be restored: it"):
        bars.archive.put_back(MARCH, NOW)
    assert bars.rows() == before


def test_what_a_broken_file_should_hold_is_written_again_while_the_table_has_it(bars: Bars) -> None:
    bars.run()
    bars.archive.put_back(MARCH, NOW)
    (bars.folder / "yahoo/1Hour/2026-03.001.parquet").unlink()

    moved = bars.run(NOW + timedelta(days=8))

    assert [each.file and each.file.file for each in moved] == [None, "yahoo/1Hour/2026-03.002.parquet"]


def test_nothing_goes_while_no_new_bars_come_in(bars: Bars) -> None:
    with bars.engine.begin() as connection:
        connection.execute(delete(market_data).where(market_data.c.bar_end > datetime(2026, 4, 1, tzinfo=UTC)))

    assert bars.run() == []


def test_who_writes_a_month_makes_it_wait(bars: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    with bars.engine.connect() as other:
        other.execute(text("LOCK TABLE data_ingestion.market_data_y2026m02 IN ROW EXCLUSIVE MODE"))
        with (
            SqlUnitOfWork(bars.engine, SqlBarArchive)() as work,
            pytest.raises(Transient, match="somebody is writing these bars"),
        ):
            from src.services.maintenance.adapters import sql_archive

            monkeypatch.setattr(sql_archive, "_LOCK_WAIT", "100ms")
            from src.services.maintenance.domain.archive import SeriesMonth

            work.repo.lock(SeriesMonth(date(2026, 2, 1), "alpaca", "1Hour"))


def test_bars_of_loads_that_are_not_here_are_not_put_back(bars: Bars) -> None:
    bars.run()
    with bars.engine.begin() as connection:
        connection.execute(delete(market_data))
        connection.execute(delete(load_run))

    with pytest.raises(InputInvalid, match="80 of these bars were brought by loads that are not in this database"):
        bars.archive.put_back(MARCH, NOW)


def test_a_month_that_is_not_archived_is_a_persons_mistake(bars: Bars) -> None:
    with pytest.raises(InputInvalid, match="Nothing of 2019-01 is archived"):
        bars.archive.put_back(date(2019, 1, 1), NOW)


@pytest.mark.parametrize(
    "place",
    [
        "maintenance.before_file",
        "maintenance.file_unnamed",
        "maintenance.file_kept",
        "maintenance.before_removal",
        "maintenance.bars_archived",
    ],
)
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_anywhere_every_bar_is_in_the_table_or_in_a_whole_file(bars: Bars, place: str, nth: int) -> None:
    before = bars.rows()
    environment = {**os.environ, "FAILPOINT": f"{place}:kill:{nth}"}

    ended = subprocess.run(
        [sys.executable, "-c", ARCHIVE_ONCE, bars.url, str(bars.folder), NOW.isoformat()],
        env=environment,
        cwd=SOURCE_ROOT,
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert everywhere(bars) == before
    bars.run()
    assert everywhere(bars) == before
    assert [each for each in bars.archive.verify() if each.fault] == []
    assert [name for name in bars.on_disk() if not name.endswith(".001.parquet")] == []
    assert bars.run() == []


def test_a_stray_file_with_other_rows_is_left_alone(bars: Bars) -> None:
    stray = bars.folder / "alpaca/1Hour/2026-03.001.parquet"
    stray.parent.mkdir(parents=True)
    pq.write_table(pq.ParquetFile(_some_parquet(bars)).read().slice(0, 3), stray)
    content = stray.read_bytes()

    bars.run()

    assert stray.read_bytes() == content
    assert ("alpaca/1Hour/2026-03.002.parquet", 40) in bars.files()
    assert [each.file for each in bars.archive.verify() if each.fault] == ["alpaca/1Hour/2026-03.001.parquet"]


def _some_parquet(bars: Bars) -> Path:
    series = bars.folder.parent / "other"
    other = Archive(SqlUnitOfWork(bars.engine, SqlBarArchive), ParquetFolder(series), RETENTION)
    with other.store() as work:
        work.repo.lock(_march())
        written = other.folder.write(_march(), work.repo.unarchived(_march()), [])
    return series / written.file


def _march() -> Any:
    from src.services.maintenance.domain.archive import SeriesMonth

    return SeriesMonth(MARCH, "alpaca", "1Hour")


def everywhere(bars: Bars) -> list[tuple[Any, ...]]:
    """The rows of the table and of the files on record, which are whole; no row is in both."""
    kept = bars.rows()
    for name, rows in bars.files():
        read = pq.ParquetFile(bars.folder / name).read()
        assert read.num_rows == rows
        columns = [read.column(column.name).to_pylist() for column in market_data.columns]
        place = [column.name for column in market_data.columns].index("load_run_id")
        columns[place] = [UUID(each) for each in columns[place]]
        kept += list(zip(*columns, strict=True))
    return sorted(kept, key=lambda row: (row[0], row[1], row[3], row[4], row[2]))
