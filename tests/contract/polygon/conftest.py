"""The client as it is, its wire to a twin or to a script, and a record of what it waited."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from src.services.data_ingestion.adapters.polygon.history import PolygonHistory
from src.services.data_ingestion.adapters.polygon.reference import PolygonReference
from src.services.data_ingestion.adapters.polygon.wire import Endpoint, Wire
from src.shared.infra.rate_limit import MinuteLimiter, Patience
from tests.fakes.hand_clock import HandClock
from tests.fakes.scripted_http import ScriptedServer, scripted_server
from tests.fakes.twin_server import TwinHandle, running_twin

NOW = "2025-03-04T22:30:00Z"  # a Tuesday, after the close
KEY = "polygon-canary-key-4711"

MakeWire = Callable[..., Wire]


@pytest.fixture(scope="package")
def shared_twin() -> Iterator[TwinHandle]:
    with running_twin(clock=NOW) as handle:
        yield handle


@pytest.fixture
def twin(shared_twin: TwinHandle) -> TwinHandle:
    shared_twin.admin.clear_faults()
    shared_twin.admin.move_clock(NOW, reset=True)
    shared_twin.admin.post("settings", polygon_requests_per_minute=0)
    return shared_twin


@pytest.fixture
def clock() -> HandClock:
    """The clock of the limiter, and of the waits between attempts."""
    return HandClock()


@pytest.fixture
def make_wire(clock: HandClock) -> MakeWire:
    def make(url: str, read_seconds: float = 10.0, key: str = KEY, per_minute: int = 100_000) -> Wire:
        limiter = MinuteLimiter(per_minute, Patience(3600, 60), clock.read, clock.sleep, reserve=False)
        return Wire(Endpoint(url, SecretStr(key), 2.0, read_seconds), limiter, clock.sleep)

    return make


@pytest.fixture
def wire(twin: TwinHandle, make_wire: MakeWire) -> Wire:
    return make_wire(twin.url)


@pytest.fixture
def history(wire: Wire) -> PolygonHistory:
    return PolygonHistory(wire)


@pytest.fixture
def reference(wire: Wire) -> PolygonReference:
    return PolygonReference(wire)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running
