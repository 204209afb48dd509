"""Say who holds a port before a server is started on it."""

from __future__ import annotations

import socket
from pathlib import Path
from random import SystemRandom

import psutil

from src.shared.domain.errors import PortInUse

_OF_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _HIGHEST = 10_000, 65_535


def require_free_port(port: int, setting: str, host: str = "127.0.0.1") -> None:
    """Check that a server could listen on ``host:port``.

    Raises:
        PortInUse: the message names the port, who holds it if that can be seen, and the setting to change.
    """
    if not is_free(port, host):
        raise PortInUse(f"Port {port} is in use{_held_by(port)}: set {setting} to a free port.")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether a server could listen on ``host:port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that was free a moment ago, and that no client's end of a connection is given by the system.

    Such a one could be taken before a server listens there; whoever waits for that server can even connect to itself.
    """
    first, last = (int(number) for number in _OF_CLIENTS.read_text(encoding="ascii").split())
    everything = range(_LOWEST, _HIGHEST + 1)
    ports = [port for port in everything if not first <= port <= last] or everything
    found = next((port for port in SystemRandom().sample(ports, len(ports)) if is_free(port, host)), None)
    if found is None:
        raise PortInUse(f"No port from {_LOWEST} on is free.")
    return found


def _held_by(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        if listens and connection.pid:
            return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""
