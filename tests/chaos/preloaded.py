"""What the server of processes imports and computes once, so that each of its children starts at once."""

import src.services.analytics.bootstrap
import src.services.data_ingestion.bootstrap
import src.services.execution.bootstrap
import src.services.risk_management.bootstrap
import src.services.strategy_engine.bootstrap
import src.shared.infra.alpaca.factory
import src.shared.infra.alpaca.wire
import src.shared.infra.database.migrate
import src.shared.infra.embedded.stack
import src.shared.infra.environment
import tests.chaos.scene  # noqa: F401
from src.shared.domain.sessions import TradingCalendar

TradingCalendar()
