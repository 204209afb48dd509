"""What the server of processes imports and computes once, so that each of its children starts at once."""

from importlib import import_module

from src.shared.domain.sessions import TradingCalendar

for name in (
    "tests.chaos.scene",
    "tests.integration.execution.processes",
    "src.services.analytics.bootstrap",
    "src.services.data_ingestion.bootstrap",
    "src.services.maintenance.bootstrap",
    "src.shared.prefect.scripts",
):
    import_module(name)

TradingCalendar()
