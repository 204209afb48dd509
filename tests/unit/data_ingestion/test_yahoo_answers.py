from __future__ import annotations

import json

import pytest

from src.services.data_ingestion.adapters.yahoo.answers import YahooSaid, content_of, explained
from src.services.data_ingestion.adapters.yahoo.route import Route
from src.shared.domain.errors import Transient


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://fc.yahoo.com", "http://127.0.0.1:4100/yahoo/"),
        (
            "https://query2.finance.yahoo.com/v8/finance/chart/KELV",
            "http://127.0.0.1:4100/yahoo/v8/finance/chart/KELV",
        ),
        ("https://query1.finance.yahoo.com/ws/a?symbol=A&type=b", "http://127.0.0.1:4100/yahoo/ws/a?symbol=A&type=b"),
        (
            "https://consent.yahoo.com/v2/collectConsent?sessionId=1",
            "http://127.0.0.1:4100/yahoo/v2/collectConsent?sessionId=1",
        ),
    ],
)
def test_a_base_url_stands_for_every_host_of_yahoo(url: str, sent: str) -> None:
    assert Route("http://127.0.0.1:4100/yahoo/", 1, 1).of(url) == sent
    assert Route(None, 1, 1).of(url) == url


def test_a_proxy_of_the_environment_is_passed_by_on_this_machine_alone() -> None:
    assert Route("http://localhost:4100/yahoo", 1, 1).is_loopback
    assert not Route("https://yahoo.example.com", 1, 1).is_loopback
    assert not Route(None, 1, 1).is_loopback


@pytest.mark.parametrize(
    "text", ["", "<html>", "[]", "null", '{"other": {}}', '{"chart": []}', '{"chart": {"result": null}}']
)
def test_what_is_no_answer_of_yahoo_s_api_is_never_an_empty_one(text: str) -> None:
    with pytest.raises(Transient):
        content_of(text, "chart")


@pytest.mark.parametrize(
    ("description", "nothing_there", "unknown"),
    [
        ("No fundamentals data found for any of the summaryTypes=price", True, False),
        ("Data doesn't exist for startDate = 1, endDate = 2", True, False),
        ("No data found, symbol may be delisted", False, True),
        ("Quote not found for symbol: NOPE", False, True),
        ("1h data not available for startTime=1 and endTime=2.", False, False),
        ("Internal Server Error", False, False),
    ],
)
def test_a_refusal_is_told_from_its_words(description: str, nothing_there: bool, unknown: bool) -> None:
    body = json.dumps({"chart": {"result": None, "error": {"code": "Not Found", "description": description}}})

    said = YahooSaid(404, *(explained(body) or ("", "")))

    assert (said.means_nothing_there, said.means_unknown_symbol) == (nothing_there, unknown)
    with pytest.raises(YahooSaid):
        content_of(body, "chart")


@pytest.mark.parametrize("text", ["<html>404</html>", "[]", "{}", '{"chart": {"error": null}}', '{"message": "no"}'])
def test_an_error_page_explains_nothing(text: str) -> None:
    assert explained(text) is None
