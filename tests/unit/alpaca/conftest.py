"""A client against a scripted server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.rate_limit import MinuteLimiter
from tests.fakes.scripted_http import ScriptedServer, scripted_server

KEY, SECRET = "PKCANARYKEY", "canary-secret"


def client_for(url: str) -> AlpacaClient:
    """Make a client that waits half a second at most for anything."""
    endpoints = Endpoints(url, url, SecretStr(KEY), SecretStr(SECRET), 0.5, 0.3)
    return AlpacaClient(endpoints, MinuteLimiter(10_000))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A scripted server."""
    with scripted_server() as running:
        yield running


@pytest.fixture
def client(server: ScriptedServer) -> AlpacaClient:
    """A client of that server."""
    return client_for(server.url)
