"""Wires the notification service from settings. Nothing connects here."""

from __future__ import annotations

from src.config.settings import Settings
from src.services.notification.adapters.health_probes import HeartbeatProbe, HttpProbe, PostgresProbe, RedisProbe
from src.services.notification.ports import Probe
from src.shared.infra.alpaca.keys import broker_headers
from src.shared.infra.embedded.stack import redis_url, trading_database_url
from src.shared.infra.heartbeat import LISTENER, NO_ENGINE, STRATEGY_ENGINE


def build_probes(settings: Settings) -> tuple[Probe, ...]:
    """Return one probe for each thing that Tradewinds stands on."""
    return (
        PostgresProbe("PostgreSQL", lambda: _database_url(settings)),
        RedisProbe("Redis", lambda: redis_url(settings)),
        HeartbeatProbe("Trade updates listener", LISTENER, lambda: redis_url(settings)),
        HeartbeatProbe("Strategy engine", STRATEGY_ENGINE, lambda: redis_url(settings), NO_ENGINE),
        HttpProbe("Broker clock", f"{settings.broker_url}/v2/clock", lambda: broker_headers(settings)),
        HttpProbe("Prefect API", f"{settings.prefect_api_url}/health"),
    )


def _database_url(settings: Settings) -> str:
    # psycopg itself reads the address without SQLAlchemy's name for the driver.
    return trading_database_url(settings).replace("postgresql+psycopg://", "postgresql://", 1)
