from __future__ import annotations

from collections.abc import Iterator

import pytest

from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.services.data_ingestion.adapters.yahoo.route import Route
from src.services.data_ingestion.adapters.yahoo.source import YahooCompanies
from src.shared.infra.rate_limit import MinuteLimiter
from tests.fakes.twin_server import TwinHandle, running_twin

OPENING = "2025-03-03T15:30:05Z"
"""Where every test begins: the second hour of a session."""


@pytest.fixture(scope="package")
def one_twin() -> Iterator[TwinHandle]:
    with running_twin(clock=OPENING) as served:
        yield served


@pytest.fixture
def twin(one_twin: TwinHandle) -> TwinHandle:
    """The package's twin, as it was at the opening: no faults, no actions."""
    one_twin.admin.clear_faults()
    one_twin.admin.move_clock(OPENING, reset=True)
    return one_twin


def asking(url: str) -> YahooClient:
    """Make a client with short waits and more permits than a test needs."""
    return YahooClient(Route(f"{url}/yahoo", 1.0, 1.0), MinuteLimiter(1000))


@pytest.fixture
def yahoo(twin: TwinHandle) -> YahooClient:
    return asking(twin.url)


@pytest.fixture
def companies(yahoo: YahooClient) -> YahooCompanies:
    return YahooCompanies(yahoo)
