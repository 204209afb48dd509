"""The local Redis: started, stopped, killed, and what it says when its port is taken."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from src.shared.domain.errors import PortInUse, Unreachable
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.redis import EmbeddedRedis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    embedded = EmbeddedRedis(tmp_path / "redis", free_port())
    yield embedded
    embedded.stop()


def test_what_was_written_is_there_after_a_restart(server: EmbeddedRedis) -> None:
    server.start()
    with redis.Redis.from_url(server.url()) as client:
        client.set("kept", "7")
    server.stop()
    assert not server.is_running()

    server.start()

    with redis.Redis.from_url(server.url()) as client:
        assert client.get("kept") == b"7"


def test_it_starts_again_after_kill_9(server: EmbeddedRedis) -> None:
    server.start()
    first = server.pid()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(first)], timeout=10)

    server.start()

    assert server.pid() not in (None, first)


def test_it_wants_its_password_and_listens_on_loopback_only(server: EmbeddedRedis) -> None:
    server.start()

    with (
        redis.Redis(port=server.port) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    listening = psutil.Process(server.pid()).net_connections(kind="inet")
    assert {connection.laddr[0] for connection in listening} == {"127.0.0.1"}


def test_its_password_is_readable_by_its_owner_only(server: EmbeddedRedis, tmp_path: Path) -> None:
    server.start()

    for name in ("password", "redis.conf"):
        assert (tmp_path / "redis" / name).stat().st_mode & 0o077 == 0


def test_a_port_in_use_names_port_holder_and_setting(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(PortInUse) as caught:
            EmbeddedRedis(tmp_path / "redis", port).start()

    text = str(caught.value)
    assert f"Port {port}" in text
    assert f"(process {os.getpid()})" in text
    assert "TRADEWINDS_REDIS_PORT" in text
    assert "\n" not in text


def test_a_url_before_the_first_start_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="run `tradewinds up`"):
        EmbeddedRedis(tmp_path / "redis", 1).url()
