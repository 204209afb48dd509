"""What the bus says when its Redis is away or does not want us."""

from __future__ import annotations

from uuid import uuid4

import pytest

from src.shared.domain.errors import SettingsInvalid, Transient, Unreachable
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.messages.envelope import Envelope
from tests.integration.bus.conftest import MortalRedis

ENVELOPE = Envelope(position=1, event_id=uuid4(), channel="tradewinds.ops.AlertRaised", payload={})


def test_a_redis_that_is_away_is_transient_and_its_password_stays_hidden() -> None:
    bus = RedisBus(f"redis://:secret@127.0.0.1:{free_port()}/0")

    for act in (lambda: bus.publish(ENVELOPE), bus.subscribe):
        with pytest.raises(Transient, match=r"Redis at 127\.0\.0\.1:\d+ is away") as away:
            act()
        assert "secret" not in str(away.value)


def test_a_wrong_password_is_said_and_not_repeated(embedded_redis: EmbeddedRedis) -> None:
    bus = RedisBus(f"redis://:wrong-secret@127.0.0.1:{embedded_redis.port}/0")

    with pytest.raises(Unreachable, match="refuses the password") as refused:
        bus.publish(ENVELOPE)
    assert "wrong-secret" not in str(refused.value)


def test_what_is_no_redis_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        RedisBus("http://:secret@localhost")
    assert "secret" not in str(refused.value)


def test_a_listener_learns_that_it_may_have_missed_something(mortal_redis: MortalRedis) -> None:
    bus = RedisBus(mortal_redis.url)

    with bus.subscribe() as subscription:
        mortal_redis.kill()
        with pytest.raises(Transient, match="is away"):
            subscription.receive(5.0)
    mortal_redis.start()
    with bus.subscribe() as anew:
        bus.publish(ENVELOPE)

        assert anew.receive(5.0) == ENVELOPE
    bus.close()


def test_what_is_no_envelope_is_stepped_over(mortal_redis: MortalRedis) -> None:
    import redis

    bus = RedisBus(mortal_redis.url)

    with redis.Redis.from_url(mortal_redis.url) as stranger, bus.subscribe() as subscription:
        stranger.publish("tradewinds.ops.AlertRaised", b"\xff not JSON")
        stranger.publish("tradewinds.ops.AlertRaised", '{"position": -1}')
        bus.publish(ENVELOPE)

        assert subscription.receive(5.0) == ENVELOPE
    bus.close()
