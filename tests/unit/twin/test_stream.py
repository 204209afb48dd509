from __future__ import annotations

import asyncio

from src.services.twin.api.stream import Stream
from src.services.twin.domain.fault_book import FaultBook
from src.services.twin.domain.venue import Event
from tests.unit.twin.markets import market, order, venue


def test_the_stream_has_caught_up_once_what_is_queued_was_sent() -> None:
    at = venue(market(AAA=[(100, 101, 99, 100)]), at="2025-03-03T14:30:00Z")
    event = Event("new", at.submit(order("buy", "1")), at.now)

    async def scene() -> tuple[bool, bool]:
        stream = Stream(FaultBook())
        await stream.flushed()  # nobody listens
        stream._queue = asyncio.Queue()
        stream.publish([event])
        waiting = asyncio.create_task(stream.flushed())
        for _ in range(5):
            await asyncio.sleep(0)
        before = waiting.done()
        stream._queue.get_nowait()
        stream._queue.task_done()
        await waiting
        return before, waiting.done()

    assert asyncio.run(scene()) == (False, True)
