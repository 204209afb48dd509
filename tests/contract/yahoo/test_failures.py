"""Yahoo in trouble: an outage is never an empty answer, and nothing of it stays in the process."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.services.data_ingestion.adapters.yahoo.route import Route
from src.services.data_ingestion.adapters.yahoo.source import YahooCompanies
from src.services.data_ingestion.domain.company import CompanyDataset
from src.shared.domain.errors import Transient
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.rate_limit import MinuteLimiter, Patience
from tests.contract.yahoo.conftest import asking
from tests.fakes.twin_server import TwinHandle

TODAY = date(2025, 3, 3)
EVERYWHERE: dict[str, Any] = {"endpoint": "GET /yahoo/*"}

OUTAGES: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502, "body": "html"},
    {"kind": "status", "status": 503, "body": "empty"},
    {"kind": "html"},
    {"kind": "empty"},
    {"kind": "truncated"},
    {"kind": "drop"},
    {"kind": "reset"},
    {"kind": "hang", "seconds": 20},
    {"kind": "hang", "seconds": 20, "after_headers": True},
    {"kind": "redirect"},
    {"kind": "extra", "null_answer": True},
    {"kind": "extra", "set": {"quoteSummary": 7, "chart": [], "timeseries": "x"}},
    {"kind": "invalid_crumb"},
]


@pytest.mark.parametrize("dataset", [CompanyDataset.OFFICERS, CompanyDataset.DIVIDENDS, CompanyDataset.STATEMENTS])
@pytest.mark.parametrize("fault", OUTAGES, ids=lambda fault: "-".join(str(each) for each in fault.values()))
def test_an_outage_is_transient_and_what_comes_after_it_is_data(
    twin: TwinHandle, companies: YahooCompanies, fault: dict[str, Any], dataset: CompanyDataset
) -> None:
    path = {CompanyDataset.OFFICERS: "v10", CompanyDataset.DIVIDENDS: "v8", CompanyDataset.STATEMENTS: "ws"}[dataset]
    twin.admin.post("corporate-actions", type="cash_dividend", symbol="KELV", ex_date="2025-03-04", rate="0.5")
    twin.admin.move_clock("2025-03-20T15:30:05Z")
    twin.admin.fault(endpoint=f"GET /yahoo/{path}/*", **fault)

    for _ in range(2):
        with pytest.raises(Transient):
            companies.ask(dataset, "KELV", TODAY)

    twin.admin.clear_faults()
    assert companies.ask(dataset, "KELV", date(2025, 3, 20)).rows


def test_a_server_that_is_not_there_is_transient_and_later_there() -> None:
    from tests.fakes.twin_server import running_twin

    away = asking(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(Transient, match="can't be asked"):
        YahooCompanies(away).ask(CompanyDataset.INFORMATION, "KELV", TODAY)

    with running_twin() as there:
        assert YahooCompanies(asking(there.url)).ask(CompanyDataset.INFORMATION, "KELV", TODAY).rows


def test_trouble_with_cookie_and_crumb_alone_keeps_no_bars_away(twin: TwinHandle, yahoo: YahooClient) -> None:
    twin.admin.move_clock("2025-03-20T15:30:05Z")
    twin.admin.fault(kind="reset", endpoint="GET /yahoo/")
    twin.admin.fault(kind="reset", endpoint="GET /yahoo/consent")

    assert yahoo.chart("KELV", 1740960000, 1741564800, "1d") is not None


def test_a_crumb_that_yahoo_no_longer_knows_is_replaced(twin: TwinHandle, companies: YahooCompanies) -> None:
    assert companies.ask(CompanyDataset.OFFICERS, "KELV", TODAY).rows
    twin.admin.fault(kind="invalid_crumb", times=1)

    assert companies.ask(CompanyDataset.OFFICERS, "KYLO", TODAY).rows


def test_the_cookie_is_asked_for_once(twin: TwinHandle, companies: YahooCompanies) -> None:
    twin.admin.fault(kind="latency", seconds=0, endpoint="GET /yahoo/")
    twin.admin.fault(kind="extra", remove=["nothing"], endpoint="GET /yahoo/v1/test/getcrumb")

    for symbol in ("KELV", "KYLO", "QVEL"):
        companies.ask(CompanyDataset.OFFICERS, symbol, TODAY)

    assert [rule["matched"] for rule in twin.admin.faults()] == [1, 1]


def test_too_many_requests_holds_everything_back_and_asks_nothing_more(twin: TwinHandle) -> None:
    limiter = MinuteLimiter(1000, Patience(own_seconds=0.1, vendor_seconds=0.1))
    companies = YahooCompanies(YahooClient(Route(f"{twin.url}/yahoo", 1, 1), limiter))
    companies.ask(CompanyDataset.OFFICERS, "KELV", TODAY)
    twin.admin.fault(kind="too_many_requests")

    with pytest.raises(Transient, match="too many requests"):
        companies.ask(CompanyDataset.OFFICERS, "KELV", TODAY)
    with pytest.raises(Transient, match="nothing was sent"):
        companies.ask(CompanyDataset.OFFICERS, "KYLO", TODAY)

    assert twin.admin.faults()[0]["fired"] == 1


def test_every_request_takes_a_permit(twin: TwinHandle) -> None:
    limiter = MinuteLimiter(4, Patience(own_seconds=0.1, vendor_seconds=0.1), reserve=False)
    companies = YahooCompanies(YahooClient(Route(f"{twin.url}/yahoo", 1, 1), limiter))

    # Cookie, crumb and two questions.
    companies.ask(CompanyDataset.OFFICERS, "KELV", TODAY)
    companies.ask(CompanyDataset.OFFICERS, "KYLO", TODAY)

    with pytest.raises(Transient, match="own request limit"):
        companies.ask(CompanyDataset.OFFICERS, "QVEL", TODAY)


def test_the_twin_has_a_limit_of_its_own_in_yahoo_s_words(twin: TwinHandle) -> None:
    from tests.fakes.twin_server import running_twin

    with running_twin(requests_per_minute=2) as strict, pytest.raises(Transient, match="too many requests"):
        YahooCompanies(asking(strict.url)).ask(CompanyDataset.OFFICERS, "KELV", TODAY)
