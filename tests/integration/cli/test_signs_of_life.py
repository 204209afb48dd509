"""What `tradewinds doctor` and the monitor say of processes that nobody can ask: what each told last, and when."""

from __future__ import annotations

import asyncio

import pytest
import redis

from src.config.settings import load_settings
from src.services.cli.diagnosis import bridge, listener, strategy_engine
from src.services.notification.bootstrap import build_probes
from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.infra.heartbeat import (
    CONNECTED,
    EVENT_BRIDGE,
    LISTENER,
    NO_ENGINE,
    STRATEGY_ENGINE,
    Heartbeat,
    heartbeat_key,
    last_beat,
    last_seen_key,
)


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


def test_the_engine_leads_waits_or_is_dead_since_it_was_last_well(
    embedded_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", embedded_redis.url())
    settings, key = load_settings(), heartbeat_key(STRATEGY_ENGINE)
    probe = next(each for each in build_probes(settings) if each.name == "Strategy engine")
    leader, second = (Heartbeat(embedded_redis.url(), STRATEGY_ENGINE, 60.0) for _ in range(2))
    with redis.Redis.from_url(embedded_redis.url()) as client:
        client.delete(key, last_seen_key(key))
        never = strategy_engine(settings), asyncio.run(probe.ask())
        leader.beat(CONNECTED)
        second.stand_by("waiting: another engine leads")
        leads = strategy_engine(settings), asyncio.run(probe.ask())
        client.delete(key)
        dead = strategy_engine(settings)
        with pytest.raises(Unreachable) as silent:
            asyncio.run(probe.ask())
        second.stand_by("waiting: another engine leads")
        waits = strategy_engine(settings), asyncio.run(probe.ask())
        seen = client.get(last_seen_key(key))
        client.delete(key, last_seen_key(key))

    assert isinstance(seen, bytes)
    assert [(each.verdict, said) for each, said in (never, leads, waits)] == [
        ("ok", NO_ENGINE),
        ("ok", CONNECTED),
        ("warning", "waiting: another engine leads"),
    ]
    assert (dead.verdict, f"no sign of life since {seen.decode()}" in dead.detail, bool(dead.mend)) == (
        "warning",
        True,
        True,
    )
    assert str(silent.value).startswith(f"no sign of life since {seen.decode()}: ")


def test_without_redis_a_sign_of_life_is_neither_given_nor_found() -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"

    Heartbeat(nowhere, LISTENER, 60.0).beat(CONNECTED)

    assert last_beat(nowhere, LISTENER) is None
