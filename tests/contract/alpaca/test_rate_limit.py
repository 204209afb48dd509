"""What every limiter promises, on a clock that the test moves: the one of a process and the one in Redis."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.shared.domain.errors import Transient
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.infra.rate_limit import MinuteLimiter, Patience
from src.shared.infra.shared_limit import SharedLimiter
from src.shared.ports.rate_limit import RateLimiter
from tests.fakes.hand_clock import HandClock

PATIENT_SECONDS = 5.0
"""What Redis may take here: a busy machine must not look like a Redis that is away."""

Make = Callable[..., RateLimiter]


@pytest.fixture(params=["of a process", "in Redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Make a limiter with a window of its own."""
    if request.param == "of a process":
        return lambda clock, per_minute, max_wait=60.0, longest_pause=5.0, reserve=True: MinuteLimiter(
            per_minute, Patience(max_wait, longest_pause), clock.read, clock.sleep, reserve=reserve
        )
    server: EmbeddedRedis = request.getfixturevalue("embedded_redis")

    def shared(
        clock: HandClock,
        per_minute: int,
        max_wait: float = 60.0,
        longest_pause: float = 5.0,
        reserve: bool = True,
    ) -> SharedLimiter:
        return SharedLimiter(
            server.url(),
            uuid.uuid4().hex,
            per_minute,
            patience=Patience(max_wait, longest_pause),
            reserve=reserve,
            redis_seconds=PATIENT_SECONDS,
            now=clock.read,
            sleep=clock.sleep,
            redis_now=clock.read,
        )

    return shared


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(pauses=st.lists(st.floats(0, 30), max_size=60), per_minute=st.integers(5, 20), urgent=st.booleans())
def test_never_more_than_the_limit_in_any_minute(
    make: Make, pauses: list[float], per_minute: int, urgent: bool
) -> None:
    clock = HandClock()
    under_test = make(clock, per_minute)
    sent = []
    for pause in pauses:
        clock.now += pause
        under_test.take(urgent=urgent)
        sent.append(clock.now)

    for moment in sent:
        assert sum(1 for other in sent if moment <= other < moment + 59.999) <= per_minute


def test_a_permit_is_back_as_soon_as_its_minute_is_over(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 5)
    for _ in range(5):
        under_test.take(urgent=True)
        clock.now += 10

    under_test.take(urgent=True)

    assert clock.slept == pytest.approx(10.0)


def test_a_fifth_is_kept_for_urgent_requests(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 10, max_wait=1.0)
    for _ in range(8):
        under_test.take()

    with pytest.raises(Transient):
        under_test.take()
    under_test.take(urgent=True)
    under_test.take(urgent=True)
    with pytest.raises(Transient, match=r"60\.0 s away"):
        under_test.take(urgent=True)

    assert clock.slept == 0


def test_without_a_reserve_the_whole_limit_is_everybodys(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 5, max_wait=1.0, reserve=False)
    for _ in range(5):
        under_test.take()

    with pytest.raises(Transient, match=r"60\.0 s away"):
        under_test.take()


def test_who_has_time_waits_for_the_end_of_a_long_pause(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 100, longest_pause=60.0)
    under_test.pause(40)

    under_test.take()

    assert clock.slept == pytest.approx(40.0)


def test_a_limit_of_one_still_lets_requests_through(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 1)
    under_test.take()
    under_test.take()

    assert clock.slept == pytest.approx(60.0)


def test_a_pause_holds_back_only_what_is_not_urgent_and_ends(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 100)
    under_test.pause(30)

    with pytest.raises(Transient, match="vendor"):
        under_test.take()
    under_test.take(urgent=True)
    clock.now += 27
    under_test.take()

    assert clock.slept == pytest.approx(3.0)


def test_a_pause_is_a_minute_at_most_whatever_the_vendor_says(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 100)
    under_test.pause(1e9)
    clock.now += 60

    under_test.take()

    assert clock.slept == 0


def test_a_shorter_pause_does_not_cut_a_longer_one_short(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 100)
    under_test.pause(40)
    under_test.pause(0)
    under_test.pause(10)
    clock.now += 20

    with pytest.raises(Transient, match="another 20 s"):
        under_test.take()


def test_threads_together_do_not_get_more_than_the_limit(make: Make) -> None:
    clock = HandClock()
    under_test = make(clock, 50, max_wait=0.0)
    granted: list[int] = []

    def run() -> None:
        for i in range(30):
            try:
                under_test.take(urgent=True)
            except Transient:
                continue
            granted.append(i)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(granted) == 50
