"""Past bars in columns: the real SDK against answers written here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from src.services.data_ingestion.adapters.alpaca_history import AlpacaHistory
from src.shared.domain.bars import as_datetime
from src.shared.domain.errors import Transient, UnknownSymbol
from src.shared.domain.vendor_data import VendorBars
from src.shared.infra.alpaca.client import AlpacaClient
from tests.fakes.scripted_http import ScriptedServer, as_json

START = datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
HALF = timedelta(minutes=30)


def row(at: datetime, **changes: Any) -> dict[str, Any]:
    return {
        "t": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "o": 10,
        "h": 12.5,
        "l": 9,
        "c": 11,
        "v": 1000,
        "n": 5,
        "vw": 10.5,
    } | changes


def page(*rows: dict[str, Any], token: str | None = None) -> Any:
    return as_json({"bars": {"SPY": list(rows)}, "next_page_token": token})


def history(client: AlpacaClient, timeframe: str = "30Min") -> list[VendorBars]:
    source = AlpacaHistory(client)
    return list(source.history("SPY", START, START + 6 * HALF, timeframe, "all"))


def test_pages_come_as_columns_one_by_one(server: ScriptedServer, client: AlpacaClient) -> None:
    server.answers(page(row(START), row(START + HALF), token="p2"), page(row(START + 2 * HALF, c=11.5)))

    first, second = history(client)

    assert [as_datetime(start) for start in first.start] == [START, START + HALF]
    assert [column.tolist() for column in second.columns[1:]] == [[10.0], [12.5], [9.0], [11.5], [1000.0]]
    asked = server.asked[0].query
    wanted = {"symbols": "SPY", "timeframe": "30Min", "adjustment": "all", "feed": "iex", "sort": "asc"}
    assert {name: asked[name] for name in wanted} == wanted
    assert server.asked[1].query["page_token"] == "p2"


@pytest.mark.parametrize(
    "odd",
    [
        row(START, c="11.0"),
        row(START, c=None),
        row(START, c=True),
        row(START, v=10**400),
        row(START) | {"t": "2026-03-09T09:30:00-04:00"},
        row(START) | {"t": "2026-03-09T13:30:00.000000001Z"},
    ],
    ids=["text", "nothing", "flag", "huge", "offset", "nanoseconds"],
)
def test_a_row_in_another_form_is_read_as_single_bars_are(
    server: ScriptedServer, client: AlpacaClient, odd: dict[str, Any]
) -> None:
    server.answers(page(odd, row(START + HALF)))
    (bars,) = history(client)
    server.answers(page(odd, row(START + HALF)))
    single = VendorBars.of("SPY", client.bars(["SPY"], START, START + 6 * HALF)["SPY"])

    assert len(bars) == 2
    assert all(np.array_equal(mine, theirs, equal_nan=True) for mine, theirs in
               zip(bars.columns[1:], single.columns[1:], strict=True))  # fmt: skip
    assert bars.start.tolist() == single.start.tolist()


def test_rows_outside_the_window_are_left_out(server: ScriptedServer, client: AlpacaClient) -> None:
    server.answers(page(row(START - HALF), row(START), row(START + 6 * HALF)))

    assert [as_datetime(start) for bars in history(client) for start in bars.start] == [START]


def test_a_page_that_repeats_is_not_followed_for_ever(server: ScriptedServer, client: AlpacaClient) -> None:
    server.answers(page(row(START), token="same"))

    with pytest.raises(Transient, match="repeat"):
        history(client)


def test_an_answer_without_bars_is_an_error_and_not_an_early_end(
    server: ScriptedServer, client: AlpacaClient
) -> None:
    server.answers(page(row(START), token="p2"), as_json({"message": "maintenance"}))

    with pytest.raises(Transient):
        history(client)


def test_no_bars_of_a_symbol_that_alpaca_does_not_list_is_an_unknown_symbol(
    server: ScriptedServer, client: AlpacaClient
) -> None:
    missing = as_json({"code": 40410000, "message": "asset not found for SPY"}, status=404)
    server.answers(page(), missing)

    with pytest.raises(UnknownSymbol, match="alpaca does not know the symbol SPY"):
        history(client)


def test_the_client_is_named_with_its_version(client: AlpacaClient) -> None:
    assert AlpacaHistory(client).client.startswith("alpaca-py 0.")
