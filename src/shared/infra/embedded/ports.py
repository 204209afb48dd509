"""Say who holds a port before a server is started on it."""

from __future__ import annotations

import socket

import psutil

from src.shared.domain.errors import PortInUse


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
    """Return a port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


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
