"""How each dependency is asked whether it is well. Nothing connects before `ask`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from src.shared.domain.errors import Unreachable
from src.shared.infra.heartbeat import heartbeat_key, last_seen_key

_HTTP_SECONDS = 10.0


@dataclass(frozen=True)
class PostgresProbe:
    """`select 1` over a connection of its own; `url` gives the address as libpq reads it, when asked."""

    name: str
    url: Callable[[], str]

    async def ask(self) -> str:
        """Connect, select, close."""
        import psycopg

        async with await psycopg.AsyncConnection.connect(self.url()) as connection:
            await connection.execute("select 1")
        return "answers"


@dataclass(frozen=True)
class RedisProbe:
    """One PING over a connection of its own."""

    name: str
    url: Callable[[], str]

    async def ask(self) -> str:
        """Connect, ping, close."""
        from redis.asyncio import Redis

        async with Redis.from_url(self.url()) as redis:
            await redis.ping()
        return "answers"


@dataclass(frozen=True)
class HeartbeatProbe:
    """The last sign of life of a process that can't be asked; `url` gives the address of Redis, when asked.

    `without` says what it means that there was none for a week, where the suite can do without the process.
    """

    name: str
    process: str
    url: Callable[[], str]
    without: str = ""

    async def ask(self) -> str:
        """Read what it said last.

        Raises:
            Unreachable: it has said nothing for a while; the message says since when, where that is known.
        """
        from redis.asyncio import Redis

        async with Redis.from_url(self.url(), decode_responses=True) as redis:
            key = heartbeat_key(self.process)
            said, seen = await redis.get(key), await redis.get(last_seen_key(key))
        if said is None and seen is None and self.without:
            return self.without
        if said is None:
            since = f" since {seen!s}" if seen else ""
            raise Unreachable(f"no sign of life{since}: see its log, or start it with `tradewinds up`")
        return str(said)


@dataclass(frozen=True)
class HttpProbe:
    """One GET that must succeed; `headers` are made when asked, for that may fail."""

    name: str
    url: str
    headers: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)

    async def ask(self) -> str:
        """Get the address; anything but 2xx is raised."""
        async with httpx.AsyncClient(timeout=_HTTP_SECONDS) as client:
            answer = await client.get(self.url, headers=dict(self.headers()))
        answer.raise_for_status()
        return f"answers {answer.status_code}"
