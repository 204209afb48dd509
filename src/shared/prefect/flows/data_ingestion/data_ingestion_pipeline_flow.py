"""By hand or from a script: a whole evening's data in its order."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.flows.analytics.daily_indicators_flow import daily_indicators
from src.shared.prefect.flows.data_ingestion.polygon_daily_ingestion_flow import polygon_daily_ingestion
from src.shared.prefect.flows.data_ingestion.validate_data_quality_flow import validate_data_quality
from src.shared.prefect.flows.data_ingestion.yahoo_market_data_flow import yahoo_market_data
from src.shared.prefect.states import ended_in_order


@flow(name="data-ingestion-pipeline", retries=1, retry_delay_seconds=60, timeout_seconds=14400)
async def data_ingestion_pipeline(symbols: list[str] | None = None) -> dict[str, Any] | State[Any]:
    """Run Polygon.io, Yahoo, indicators and validation, each whatever became of the one before."""
    states: list[State[Any]] = [
        await polygon_daily_ingestion(symbols, return_state=True),
        await yahoo_market_data(symbols, return_state=True),
        await daily_indicators(symbols, return_state=True),
        await validate_data_quality(symbols, return_state=True),
    ]
    return ended_in_order(["Polygon.io", "Yahoo", "indicators", "validation"], states)
