from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert

from src.services.execution.adapters.sql_facts import SqlFacts
from src.shared.infra.database.tables import load_run

SLOT = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("dataset", "state", "rows", "counts"),
    [
        ("bars", "complete", 0, False),
        ("bars", "complete", 3, True),
        ("bars", "failed", 3, True),
        ("officers", "complete", 3, False),
    ],
)
def test_a_load_is_to_be_told_of_once_it_has_brought_bars(
    engine: Engine, dataset: str, state: str, rows: int, counts: bool
) -> None:
    load = uuid4()
    with engine.begin() as connection:
        connection.execute(
            insert(load_run).values(
                load_run_id=load,
                vendor="alpaca",
                dataset=dataset,
                timeframe="1Hour",
                symbols=["SPY"],
                window_start=SLOT - timedelta(hours=1),
                window_end=SLOT,
                state=state,
                rows_written=rows,
                started_at=SLOT,
                finished_at=SLOT,
            )
        )

    facts = SqlFacts(engine).load([], [], [], since=None)

    assert (("load_run", str(load)) in facts.versions) == counts
