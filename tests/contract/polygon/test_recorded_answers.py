"""Answers recorded from Polygon.io go through the client and are read without loss."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from src.services.data_ingestion.adapters.polygon import parsing
from src.services.data_ingestion.adapters.polygon.history import PolygonHistory
from src.services.data_ingestion.adapters.polygon.reference import PolygonReference
from src.services.data_ingestion.domain.reference import Found
from tests.contract.polygon.conftest import MakeWire
from tests.fakes.scripted_http import ScriptedServer, as_json
from tests.shared_data import shared_file

FOLDER = "data/api_fixtures/polygon"
DAYS = "v2_aggs_ticker_AAPL_range_1_day_2005-04-01_2005-04-04"
NAMES = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
# Indicators, snapshots, quotes, trades and kinds of tickers are not asked for; holidays are the exchange calendar's.
UNUSED = (
    "v1_marketstatus_upcoming",
    "v1_indicators",
    "v1_open-close",
    "v2_snapshot",
    "v3_quotes",
    "v3_trades",
    "v3_reference_tickers_types",
)


def recorded(name: str) -> Any:
    return json.loads((shared_file(FOLDER) / f"{name}.json").read_text())


def on_our_host(page: Any, server: ScriptedServer) -> Any:
    return {**page, "next_url": page["next_url"].replace("https://api.massive.com", server.url)}


def test_every_recorded_file_is_read_here_or_known_to_be_unused() -> None:
    read = ("v2_aggs", "v3_reference_tickers", "v3_reference_splits", "v3_reference_dividends", "v1_marketstatus_now")

    names = [path.name for path in shared_file(FOLDER).glob("*.json")]

    assert [name for name in names if not name.startswith((*read, *UNUSED))] == []


@pytest.mark.parametrize("name", [DAYS, "v2_aggs_ticker_AAPL_range_1_day_2005-04-02_2005-04-04"])
def test_days_are_read_to_the_last_digit(server: ScriptedServer, make_wire: MakeWire, name: str) -> None:
    answer = recorded(name)
    server.answers(as_json(answer))
    first = datetime(2005, 4, 1, 5, tzinfo=UTC)

    (page,) = PolygonHistory(make_wire(server.url)).history("AAPL", first, first + timedelta(days=4), "1Day", "split")

    assert (page.start.astype("datetime64[ms]").astype(np.int64)).tolist() == [row["t"] for row in answer["results"]]
    for column, short in NAMES.items():
        assert getattr(page, column).tolist() == [row[short] for row in answer["results"]]
    assert server.asked[0].path == "/v2/aggs/ticker/AAPL/range/1/day/2005-04-01/2005-04-05"


@pytest.mark.parametrize(
    "name", ["v2_aggs_ticker_AAPL_prev", "v2_aggs_grouped_locale_us_market_stocks_2005-04-04_adjusted=true"]
)
def test_the_other_aggregates_have_the_same_rows(name: str) -> None:
    rows = recorded(name)["results"]

    page = parsing.bars("AAPL", rows)

    for column, short in NAMES.items():
        assert getattr(page, column).tolist() == [row[short] for row in rows]


def test_tickers_are_read_over_two_pages(server: ScriptedServer, make_wire: MakeWire) -> None:
    first = recorded("v3_reference_tickers")
    second = json.loads(next(shared_file(FOLDER).glob("v3_reference_tickers_cursor=*")).read_text())
    rows = first["results"] + second["results"]
    many = [row["ticker"] for row in rows] + [f"NONE{n}" for n in range(10)]
    nothing = as_json({"results": [], "status": "OK", "count": 0})
    server.answers(as_json(on_our_host(first, server)), as_json(second), nothing)

    found = PolygonReference(make_wire(server.url)).listings(many)

    assert found.rejected == []
    assert [(e.symbol, e.name, e.exchange, e.active) for e in found.rows] == [
        (row["ticker"], row["name"], row["primary_exchange"], row["active"]) for row in rows
    ]
    assert server.asked[1].query["cursor"]
    assert server.asked[1].headers["Authorization"].startswith("Bearer ")


@pytest.mark.parametrize("name", ["v3_reference_tickers_AAPL", "v3_reference_tickers_AAPL_date=2020-10-01"])
def test_details_of_a_ticker_read_as_a_listing(name: str) -> None:
    row = recorded(name)["results"]

    found = parsing.listing(row)

    assert (found.symbol, found.name, found.exchange) == (row["ticker"], row["name"], row["primary_exchange"])


def test_splits_are_read() -> None:
    rows = recorded("v3_reference_splits")["results"]

    found: Found[Any] = Found()
    parsing.read_rows(rows, parsing.split, found)

    assert found.rejected == []
    assert [(e.symbol, e.ex_date.isoformat(), e.old_shares, e.new_shares) for e in found.rows] == [
        (row["ticker"], row["execution_date"], Decimal(str(row["split_from"])), Decimal(str(row["split_to"])))
        for row in rows
    ]


def test_dividends_are_read() -> None:
    rows = recorded("v3_reference_dividends")["results"]

    found: Found[Any] = Found()
    parsing.read_rows(rows, parsing.dividend, found)

    assert found.rejected == []
    assert [
        (e.symbol, str(e.ex_date), e.amount, str(e.declared_on), str(e.recorded_on), str(e.paid_on), e.times_a_year)
        for e in found.rows
    ] == [
        (
            row["ticker"],
            row["ex_dividend_date"],
            Decimal(str(row["cash_amount"])),
            row["declaration_date"],
            row["record_date"],
            row["pay_date"],
            row["frequency"],
        )
        for row in rows
    ]
    assert {e.kind for e in found.rows} == {"regular"}


def test_the_market_status_is_read() -> None:
    found = parsing.market_status(recorded("v1_marketstatus_now"))

    assert (found.at, found.is_open, found.word) == (
        datetime(2022, 4, 28, 20, 48, 8, tzinfo=UTC),
        False,
        "extended-hours",
    )
