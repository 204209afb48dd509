"""What the server of processes imports and computes once, so that each of its children starts at once."""

import tests.chaos.scene
import tests.integration.execution.processes  # noqa: F401
from src.shared.domain.sessions import TradingCalendar

TradingCalendar()
