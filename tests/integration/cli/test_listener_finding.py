"""What `tradewinds doctor` says of processes that nobody can ask: what they told last, while that is believed."""

from __future__ import annotations

import pytest
import redis

from src.config.settings import load_settings
from src.services.cli.diagnosis import bridge, listener
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.infra.heartbeat import CONNECTED, EVENT_BRIDGE, LISTENER, Heartbeat, heartbeat_key, last_beat


@pytest.mark.parametrize(
    ("said", "verdict"), [(CONNECTED, "ok"), ("waiting for the stream", "warning"), (None, "warning")]
)
def test_the_listener_is_well_while_it_says_that_it_is_connected(
    embedded_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, said: str | None, verdict: str
) -> None:
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", embedded_redis.url())
    with redis.Redis.from_url(embedded_redis.url()) as client:
        client.delete(heartbeat_key(LISTENER))
    if said is not None:
        Heartbeat(embedded_redis.url(), LISTENER, 60.0).beat(said)

    finding = listener(load_settings())

    assert finding.verdict == verdict
    assert (said or "nobody listens") in finding.detail
    assert bool(finding.mend) == (said is None)


@pytest.mark.parametrize(
    ("said", "verdict"), [(CONNECTED, "ok"), ("waiting for Prefect", "warning"), (None, "warning")]
)
def test_the_bridge_is_well_while_prefect_takes_what_it_asks_for(
    embedded_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, said: str | None, verdict: str
) -> None:
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", embedded_redis.url())
    with redis.Redis.from_url(embedded_redis.url()) as client:
        client.delete(heartbeat_key(EVENT_BRIDGE))
    if said is not None:
        Heartbeat(embedded_redis.url(), EVENT_BRIDGE, 60.0).beat(said)

    [finding] = bridge(load_settings())

    assert finding.verdict == verdict
    assert (said or "nobody starts runs") in finding.detail
    assert bool(finding.mend) == (said is None)


def test_where_no_schedule_starts_anything_no_bridge_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_PREFECT_SCHEDULES_ACTIVE", "false")

    assert list(bridge(load_settings())) == []


def test_without_redis_a_sign_of_life_is_neither_given_nor_found() -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"

    Heartbeat(nowhere, LISTENER, 60.0).beat(CONNECTED)

    assert last_beat(nowhere, LISTENER) is None
