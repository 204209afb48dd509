from __future__ import annotations

import socket
from pathlib import Path

import pytest

from src.shared.domain.errors import PortInUse
from src.shared.infra.embedded import ports
from src.shared.infra.embedded.ports import free_port, is_free


def test_a_free_port_is_none_that_the_system_gives_to_clients() -> None:
    first, last = (int(word) for word in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())

    found = [free_port() for _ in range(50)]

    assert all(is_free(port) for port in found)
    assert not any(first <= port <= last for port in found)


def test_a_port_that_somebody_listens_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(ports, "_LOWEST", port)
        monkeypatch.setattr(ports, "_HIGHEST", port)
        with pytest.raises(PortInUse):
            free_port()

    assert free_port() == port


def test_where_clients_are_given_all_ports_one_of_them_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_OF_CLIENTS", everything)

    assert is_free(free_port())
