"""Old logs go, and nothing else; the database is analysed and vacuumed by its owner, and has room for new months."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from src.config.settings import load_settings
from src.services.maintenance.adapters.log_folder import LogFolder
from src.services.maintenance.adapters.sql_upkeep import SqlUpkeep
from src.services.maintenance.use_cases.upkeep import clean_logs, optimise
from src.shared.domain.errors import InputInvalid
from src.shared.infra.database.engine import make_engine
from tests.conftest import TradingDatabase
from tests.polling import eventually

NOW = datetime(2026, 3, 31, 6, tzinfo=UTC)


def fill(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("x" * 10)


def test_old_logs_of_ours_go_and_whatever_else_lies_there_stays(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    old = ["tradewinds-execution.2026-02-28.jsonl", "tradewinds-prefect-worker.2025-01-01.jsonl"]
    kept = [
        "tradewinds-execution.2026-03-01.jsonl",
        "tradewinds-execution.jsonl",
        "tradewinds-execution.2026-02-28.jsonl.gz",
        "tradewinds-execution.2026-02-31.jsonl",
        "notes.2025-01-01.jsonl",
        "worker.log",
    ]
    fill(logs, *old, *kept)
    fill(tmp_path, old[0])
    fill(logs / "below", old[0])
    (logs / "tradewinds-linked.2025-01-01.jsonl").symlink_to(tmp_path / old[0])

    done = clean_logs(LogFolder(tmp_path), NOW, keep_days=30)

    assert (sorted(done.files), done.bytes) == (sorted(old), 20)
    assert sorted(each.name for each in logs.iterdir()) == sorted(
        [*kept, "below", "tradewinds-linked.2025-01-01.jsonl"]
    )
    assert (tmp_path / old[0]).is_file()
    assert (logs / "below" / old[0]).is_file()
    assert clean_logs(LogFolder(tmp_path), NOW, keep_days=30).files == ()


def test_a_folder_of_logs_that_leads_elsewhere_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "tradewinds-execution.2025-01-01.jsonl")
    home = tmp_path / "home"
    home.mkdir()
    (home / "logs").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputInvalid, match="nothing was removed"):
        clean_logs(LogFolder(home), NOW, keep_days=30)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_without_logs_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert clean_logs(LogFolder(tmp_path), NOW, keep_days=30).files == ()


def test_dead_rows_go_statistics_come_and_months_are_made_ahead(
    trading_database: TradingDatabase, engine: Engine
) -> None:
    owner = make_engine(trading_database.owner_url, load_settings().database)
    with owner.begin() as connection:
        # The server would clean up by itself, sooner or later.
        connection.execute(text("ALTER TABLE ops.consumer_position SET (autovacuum_enabled = off)"))
        connection.execute(
            text("INSERT INTO ops.consumer_position SELECT 'c' || n, n, now() FROM generate_series(1, 5000) n")
        )
    with owner.begin() as connection:
        connection.execute(text("DELETE FROM ops.consumer_position WHERE position > 1000"))
    owner.dispose()
    # What a session did is counted when it ends.
    eventually(lambda: _dead_rows(engine, "consumer_position") == 4000)
    upkeep = SqlUpkeep(engine, trading_database.owner_url)

    done, again = (optimise(upkeep, NOW, months_ahead=3) for _ in range(2))

    by_name = {each.before.name: each for each in done.tables}
    treated = by_name["ops.consumer_position"]
    assert (treated.before.dead_rows, treated.after.dead_rows, treated.vacuumed) == (4000, 0, True)
    assert treated.after.live_rows == 1000
    assert [name for name, each in by_name.items() if each.vacuumed] == ["ops.consumer_position"]
    assert [each.refused for each in done.tables if each.refused] == []
    assert (done.months_added, again.months_added) == (4, 0)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT to_regclass('data_ingestion.market_data_y2026m06')")).scalar_one()
    assert found is not None


def test_a_role_that_does_not_own_the_tables_is_told_which_were_left_out(
    trading_database: TradingDatabase, engine: Engine
) -> None:
    done = optimise(SqlUpkeep(engine, trading_database.app_url), NOW, months_ahead=1)

    assert all("permission denied" in each.refused for each in done.tables)
    assert len(done.tables) > 30


def _dead_rows(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = :t"), {"t": table}
        )
        return int(found.scalar_one())
