"""The shared request limit with several processes, a real Redis that dies, and a broker that counts."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from src.shared.domain.errors import OutcomeUnknown, Transient
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.processes import wait_ended
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.infra.rate_limit import Patience
from src.shared.infra.shared_limit import SharedLimiter
from tests.fakes.hand_clock import HandClock
from tests.fakes.twin_server import running_twin
from tests.forked import context
from tests.polling import BOUND

PROCESSES = 4
WINDOW_SECONDS = 0.5
LIMIT = 20
PATIENT_SECONDS = 5.0
"""What Redis may take here: a busy machine must not look like a Redis that is away."""


def hammer(redis_url: str, account: str, quota: int, results: Any) -> None:
    """Take so many permits as fast as they come; tell when each was asked for and when it was there."""
    limiter = SharedLimiter(
        redis_url,
        account,
        LIMIT,
        window_seconds=WINDOW_SECONDS,
        patience=Patience(0.0),
        redis_seconds=PATIENT_SECONDS,
    )
    taken: list[tuple[float, float]] = []
    while len(taken) < quota:
        asked = time.monotonic()
        try:
            limiter.take(urgent=True)
        except Transient:
            time.sleep(0.002)
            continue
        taken.append((asked, time.monotonic()))
    results.put(taken)


def ask_for_the_time(redis_url: str, account: str, twin_url: str, tries: int, results: Any) -> None:
    """Make so many requests without waiting for permits; tell how many were answered, and what else was said."""
    limiter = SharedLimiter(redis_url, account, LIMIT, patience=Patience(0.0), redis_seconds=PATIENT_SECONDS)
    client = AlpacaClient(Endpoints(twin_url, twin_url, SecretStr("TWIN"), SecretStr("twin"), 5.0, 30.0), limiter)
    answered, said = 0, set[str]()
    for _ in range(tries):
        try:
            client.clock()
            answered += 1
        except Transient as error:
            said.add("own request limit" if "own request limit" in str(error) else str(error))
    results.put((answered, said))


def together(work: Callable[..., None], *args: Any) -> list[Any]:
    """Run a function in several processes and return what each puts."""
    processes = context()
    results: Any = processes.Queue()
    children: list[Any] = [processes.Process(target=work, args=(*args, results)) for _ in range(PROCESSES)]
    for child in children:
        child.start()
    found = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join(BOUND)
    assert [child.exitcode for child in children] == [0] * PROCESSES
    return found


def test_four_processes_never_take_more_than_the_limit_in_any_window(embedded_redis: EmbeddedRedis) -> None:
    told = together(hammer, embedded_redis.url(), uuid.uuid4().hex, LIMIT)

    taken = sorted(permit for each in told for permit in each)
    assert len(taken) == PROCESSES * LIMIT
    for asked, _ in taken:
        # Only what is sure: permits asked for and there between the ends of one window.
        sure = [permit for permit in taken if permit[0] >= asked and permit[1] < asked + WINDOW_SECONDS]
        assert len(sure) <= LIMIT


def test_four_processes_at_a_broker_with_the_same_limit_meet_no_429(embedded_redis: EmbeddedRedis) -> None:
    with running_twin(requests_per_minute=LIMIT) as twin:
        told = together(ask_for_the_time, embedded_redis.url(), uuid.uuid4().hex, twin.url, LIMIT)

    assert sum(answered for answered, _ in told) == LIMIT
    assert {word for _, said in told for word in said} == {"own request limit"}


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "redis", free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def kill(server: EmbeddedRedis) -> None:
    process = psutil.Process(server.pid() or 0)
    os.kill(process.pid, signal.SIGKILL)
    wait_ended([process], BOUND)


def granted(limiter: SharedLimiter, *, urgent: bool = False) -> int:
    """Take all the permits there are."""
    count = 0
    while True:
        try:
            limiter.take(urgent=urgent)
        except Transient:
            return count
        count += 1


def test_without_redis_a_process_goes_by_its_own_count_and_redis_hears_of_it_when_it_is_back(
    own_redis: EmbeddedRedis,
) -> None:
    clock, account = HandClock(), uuid.uuid4().hex

    def limiter() -> SharedLimiter:
        return SharedLimiter(
            own_redis.url(),
            account,
            100,
            patience=Patience(0.0),
            redis_seconds=PATIENT_SECONDS,
            now=clock.read,
            sleep=clock.sleep,
        )

    first, second = limiter(), limiter()
    for _ in range(30):
        first.take()
    kill(own_redis)

    # More than the share of a process that is alone is out already; what is urgent may have the whole limit.
    assert granted(first) == 0
    assert granted(second) == 20
    for _ in range(5):
        first.take(urgent=True)

    own_redis.start()
    clock.now += 20
    first.take()
    second.take()
    assert granted(first) == 80 - 30 - 20 - 5 - 2


def test_a_pause_asked_for_by_one_process_holds_back_the_others(embedded_redis: EmbeddedRedis) -> None:
    account = uuid.uuid4().hex
    first, second = (
        SharedLimiter(embedded_redis.url(), account, LIMIT, redis_seconds=PATIENT_SECONDS) for _ in range(2)
    )
    first.pause(30)

    with pytest.raises(Transient, match="vendor"):
        second.take()
    second.take(urgent=True)


def test_an_order_answered_with_504_is_one_request_at_the_broker() -> None:
    with running_twin() as twin:
        rule = twin.admin.fault(kind="status", endpoint="POST /v2/orders", status=504, processed=True)
        limiter = SharedLimiter("redis://127.0.0.1:1/0", "nobody", LIMIT)
        client = AlpacaClient(Endpoints(twin.url, twin.url, SecretStr("T"), SecretStr("t"), 5.0, 30.0), limiter)

        with pytest.raises(OutcomeUnknown):
            client.submit_market_order("tw-twin-1", "KELV", Decimal(1))

        (told,) = [each for each in twin.admin.faults() if each["id"] == rule]
        assert told["matched"] == 1
        assert twin.admin.state()["order_posts"] == 1
