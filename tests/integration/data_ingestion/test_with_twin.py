"""The wired service: settings in, bars from the twin in PostgreSQL."""

from __future__ import annotations

import pytest

from src.config.settings import load_settings
from src.services.data_ingestion.bootstrap import build
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.engine import make_engine
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import running_twin


def test_bars_of_the_twin_reach_the_table_and_come_back_as_a_grid(
    trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    with running_twin(clock="2025-03-03T15:30:05Z") as twin:
        for name in ("API_KEY", "SECRET_KEY", "ENVIRONMENT"):
            monkeypatch.delenv(f"TRADEWINDS_ALPACA_{name}", raising=False)
        monkeypatch.setenv("TRADEWINDS_ENV_FILE", f"{tmp_path}/none")
        monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", twin.url)
        monkeypatch.setenv("TRADEWINDS_ALPACA_DATA_URL", twin.url)
        settings = load_settings()
        engine = make_engine(trading_database.app_url, settings.database)
        ingestion = build(settings, engine)
        slot = TradingCalendar().last_slot(ingestion.clock.clock().now)

        result = ingestion.fetch_bars(["KELV", "KYLO"], slot, 100)
        known = ingestion.refresh_symbols(["KELV", "KYLO", "NOSUCH"])

    assert (result.rows_written, result.problems) == (200, ())
    assert known == 2
    ends = [end for _, end in TradingCalendar().last_spans(slot, 100)]
    with engine.connect() as connection:
        series = read_closes(connection, ["KELV", "KYLO"], ends)
    engine.dispose()
    assert (series.closes > 0).all()
