from __future__ import annotations

import asyncio
from dataclasses import dataclass

from src.services.notification.use_cases import check_system_health


@dataclass(frozen=True)
class FakeProbe:
    """Answers after `seconds`, or raises."""

    name: str
    seconds: float = 0.0
    error: Exception | None = None

    async def ask(self) -> str:
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error
        return "answers"


async def test_all_that_answer_is_healthy() -> None:
    report = await check_system_health([FakeProbe("a"), FakeProbe("b")], timeout_seconds=5)

    assert not report.degraded
    assert [(each.name, each.healthy, each.detail) for each in report.results] == [
        ("a", True, "answers"),
        ("b", True, "answers"),
    ]
    assert all(each.latency_ms >= 0 for each in report.results)
    assert report.checked_at.utcoffset() is not None


async def test_a_dead_one_is_a_finding_and_the_others_are_still_asked() -> None:
    dead = FakeProbe("dead", error=ConnectionError("no route\n to host"))

    report = await check_system_health([dead, FakeProbe("alive")], timeout_seconds=5)

    assert [each.name for each in report.failing] == ["dead"]
    assert report.failing[0].detail == "ConnectionError: no route to host"


async def test_one_that_hangs_is_given_up() -> None:
    report = await check_system_health([FakeProbe("hangs", seconds=3600)], timeout_seconds=0.01)

    assert report.failing[0].detail == "no answer within 0.01 s"


async def test_no_secret_of_an_address_is_shown_by_a_probe() -> None:
    from src.services.notification.adapters.health_probes import HttpProbe, PostgresProbe

    probes = [
        PostgresProbe("db", lambda: "postgresql://u:hush@h/d"),
        HttpProbe("x", "http://h", lambda: {"k": "hush"}),
    ]

    assert "hush" not in repr(probes)
