"""The limiter, on a clock that the test moves."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.shared.domain.errors import Transient
from src.shared.infra.alpaca.rate_limit import MinuteLimiter


class HandClock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0

    def read(self) -> float:
        """Tell the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept += seconds
        self.now += seconds


def limiter(clock: HandClock, per_minute: int, max_wait: float = 60.0) -> MinuteLimiter:
    return MinuteLimiter(per_minute, max_wait, clock.read, clock.sleep)


@given(pauses=st.lists(st.floats(0, 30), max_size=60), per_minute=st.integers(5, 20), urgent=st.booleans())
def test_never_more_than_the_limit_in_any_minute(pauses: list[float], per_minute: int, urgent: bool) -> None:
    clock = HandClock()
    under_test = limiter(clock, per_minute)
    sent = []
    for pause in pauses:
        clock.now += pause
        under_test.take(urgent=urgent)
        sent.append(clock.now)

    for moment in sent:
        assert sum(1 for other in sent if moment <= other < moment + 59.999) <= per_minute


def test_a_fifth_is_kept_for_urgent_requests() -> None:
    clock = HandClock()
    under_test = limiter(clock, 10, max_wait=1.0)
    for _ in range(8):
        under_test.take()

    with pytest.raises(Transient):
        under_test.take()
    under_test.take(urgent=True)
    under_test.take(urgent=True)
    with pytest.raises(Transient):
        under_test.take(urgent=True)

    assert clock.slept == 0


def test_a_limit_of_one_still_lets_requests_through() -> None:
    clock = HandClock()
    under_test = limiter(clock, 1)
    under_test.take()
    under_test.take()

    assert clock.slept == pytest.approx(60.0)


def test_a_pause_holds_back_only_what_is_not_urgent_and_ends() -> None:
    clock = HandClock()
    under_test = limiter(clock, 100)
    under_test.pause(30)

    with pytest.raises(Transient):
        under_test.take()
    under_test.take(urgent=True)
    clock.now += 27
    under_test.take()

    assert clock.slept == pytest.approx(3.0)


def test_a_pause_is_a_minute_at_most_whatever_the_vendor_says() -> None:
    clock = HandClock()
    under_test = limiter(clock, 100)
    under_test.pause(1e9)
    clock.now += 60

    under_test.take()

    assert clock.slept == 0


def test_threads_together_do_not_get_more_than_the_limit() -> None:
    clock = HandClock()
    under_test = limiter(clock, 50, max_wait=0.0)
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
