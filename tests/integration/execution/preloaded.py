"""What the server of processes imports and computes once, so that each of its children starts at once."""

import src.services.execution.bootstrap
import src.shared.infra.alpaca.wire  # noqa: F401
import tests.integration.execution.processes  # noqa: F401
from src.shared.domain.sessions import TradingCalendar

TradingCalendar()
