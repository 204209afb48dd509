"""Listings, splits, dividends and the market's status, from the twin."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from src.services.data_ingestion.adapters.polygon.reference import PolygonReference
from src.services.data_ingestion.domain.reference import Dividend, StockSplit
from src.shared.domain.errors import Transient
from tests.fakes.twin_server import TwinHandle

LISTS = "GET /v3/reference/*"


def announce(twin: TwinHandle, kind: str, symbol: str, day: str, **terms: Any) -> None:
    twin.admin.post("corporate-actions", type=kind, symbol=symbol, ex_date=day, **terms)


@pytest.fixture
def announced(twin: TwinHandle) -> TwinHandle:
    announce(twin, "forward_split", "KELV", "2025-03-05", old_rate=1, new_rate=3)
    announce(twin, "reverse_split", "KYLO", "2025-03-06", old_rate=10, new_rate=1)
    announce(twin, "cash_dividend", "KELV", "2025-03-07", rate="0.37")
    return twin


def test_listings_say_name_exchange_and_that_a_symbol_is_active(
    reference: PolygonReference, twin: TwinHandle
) -> None:
    (found,) = reference.listings(["KELV"]).rows

    assert (found.symbol, found.exchange, found.active, found.delisted_on) == ("KELV", "XNYS", True, None)
    assert found.name != "KELV"


def test_a_delisted_symbol_is_found_with_its_day_and_an_unknown_one_is_not_there(
    reference: PolygonReference, twin: TwinHandle
) -> None:
    announce(twin, "delisting", "KYLO", "2025-03-05")
    twin.admin.move_clock("2025-03-06T22:30:00Z")

    found = {each.symbol: each for each in reference.listings(["KELV", "KYLO", "NOPE"]).rows}

    assert found.keys() == {"KELV", "KYLO"}
    assert (found["KYLO"].active, found["KYLO"].delisted_on) == (False, date(2025, 3, 5))


def test_many_symbols_are_read_from_one_list(reference: PolygonReference, twin: TwinHandle) -> None:
    every = twin.admin.get("market")["symbols"]
    counted = twin.admin.fault(kind="latency", endpoint=LISTS, seconds=0)

    found = reference.listings(every)

    assert sorted(each.symbol for each in found.rows) == sorted(every)
    assert [each["fired"] for each in twin.admin.faults() if each["id"] == counted] == [1]


def test_splits_say_how_many_shares_become_how_many(reference: PolygonReference, announced: TwinHandle) -> None:
    found = reference.splits(["KELV", "KYLO"], None).rows

    assert found == [
        StockSplit("KELV", "polygon", date(2025, 3, 5), Decimal(1), Decimal(3)),
        StockSplit("KYLO", "polygon", date(2025, 3, 6), Decimal(10), Decimal(1)),
    ]


def test_only_what_is_asked_for_comes_back(reference: PolygonReference, announced: TwinHandle) -> None:
    every = announced.admin.get("market")["symbols"]

    assert [each.symbol for each in reference.splits(["KYLO"], None).rows] == ["KYLO"]
    assert [each.symbol for each in reference.splits(every, date(2025, 3, 6)).rows] == ["KYLO"]
    assert reference.splits(["KELV"], date(2025, 3, 6)).rows == []


def test_dividends_have_their_days(reference: PolygonReference, announced: TwinHandle) -> None:
    day = date(2025, 3, 7)

    assert reference.dividends(["KELV"], None).rows == [
        Dividend("KELV", "polygon", day, "regular", Decimal("0.37"), "USD", date(2025, 3, 4), day, day, 4)
    ]


SPOILT: list[tuple[dict[str, Any], str]] = [
    ({"set": {"results.0.split_to": 0}}, "split_to 0 is not above zero and sane"),
    ({"set": {"results.0.split_to": "many"}}, "split_to 'many' is no number"),
    ({"set": {"results.0.split_to": float("inf")}}, "split_to None is no number"),
    ({"set": {"results.0.execution_date": "soon"}}, "'soon' is no day"),
    ({"remove": ["results.0.execution_date"]}, "execution_date is missing"),
]


@pytest.mark.parametrize(("change", "why"), SPOILT, ids=lambda value: str(value)[:50])
def test_a_row_that_cannot_be_read_is_set_aside_and_the_rest_goes_on(
    reference: PolygonReference, announced: TwinHandle, change: dict[str, Any], why: str
) -> None:
    spoil = {"kind": "extra", "endpoint": "GET /v3/reference/splits"} | change
    if "None" in why:
        spoil = {"kind": "extra", "endpoint": "GET /v3/reference/splits", "null": ["results.0.split_to"]}
    announced.admin.fault(**spoil)
    every = announced.admin.get("market")["symbols"]

    found = reference.splits(every, date(2025, 1, 1))

    assert [each.symbol for each in found.rows] == ["KYLO"]
    assert [(each.symbol, each.reason, each.raw["ticker"]) for each in found.rejected] == [("KELV", why, "KELV")]


def test_another_dividend_of_the_same_day_and_kind_is_set_aside(
    reference: PolygonReference, announced: TwinHandle
) -> None:
    announce(announced, "cash_dividend", "KELV", "2025-03-07", rate="0.5")

    found = reference.dividends(["KELV"], None)

    assert len(found.rows) == len(found.rejected) == 1


@pytest.mark.parametrize("kind", ["no_results", "wrong_count", "error_with_200", "html"])
def test_a_list_that_is_not_whole_is_transient(reference: PolygonReference, announced: TwinHandle, kind: str) -> None:
    announced.admin.fault(kind=kind, endpoint=LISTS)

    for read in (reference.listings, lambda s: reference.splits(s, None), lambda s: reference.dividends(s, None)):
        with pytest.raises(Transient):
            read(["KELV"])


def test_the_market_status_is_by_the_vendors_clock(reference: PolygonReference, twin: TwinHandle) -> None:
    closed = reference.market_status()
    twin.admin.move_clock("2025-03-05T15:00:00Z")
    now_open = reference.market_status()

    assert (closed.at, closed.is_open, closed.word) == (
        datetime(2025, 3, 4, 22, 30, tzinfo=UTC),
        False,
        "extended-hours",
    )
    assert now_open.is_open


def test_a_market_status_that_cannot_be_read_is_transient(reference: PolygonReference, twin: TwinHandle) -> None:
    twin.admin.fault(kind="extra", endpoint="GET /v1/marketstatus/now", set={"serverTime": "noon"})

    with pytest.raises(Transient, match="market status"):
        reference.market_status()
