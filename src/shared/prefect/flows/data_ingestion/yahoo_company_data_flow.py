"""Every week: who the companies are, then their key figures."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.flows.data_ingestion.yahoo_company_information_flow import yahoo_company_information
from src.shared.prefect.flows.data_ingestion.yahoo_key_statistics_flow import yahoo_key_statistics
from src.shared.prefect.states import ended_in_order


@flow(name="yahoo-company-data", retries=1, retry_delay_seconds=300, timeout_seconds=7200)
async def yahoo_company_data(symbols: list[str] | None = None, force: bool = False) -> dict[str, Any] | State[Any]:
    """Run the information flow and then the key statistics flow; the second runs whatever became of the first."""
    states = [
        await yahoo_company_information(symbols, force, return_state=True),
        await yahoo_key_statistics(symbols, force, return_state=True),
    ]
    return ended_in_order(["information", "key statistics"], states)
