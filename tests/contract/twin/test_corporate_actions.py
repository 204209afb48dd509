"""What companies do, through alpaca-py's own clients: the vendor's announcements, the account, prices, activities."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.models.corporate_actions import CashDividend, ForwardSplit, NameChange
from alpaca.data.requests import CorporateActionsRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient

from tests.contract.twin.conftest import Send
from tests.fakes.twin_server import TwinHandle, running_twin

EX_DATE = "2025-03-04"
NEXT_MORNING = "2025-03-04T14:30:05Z"


def act(twin: TwinHandle, kind: str, symbol: str = "KELV", **terms: Any) -> Any:
    return twin.admin.post("corporate-actions", type=kind, symbol=symbol, ex_date=EX_DATE, **terms)


def activities(trading: TradingClient, kinds: str | None = None) -> list[Any]:
    answer = trading.get("/account/activities", {"activity_types": kinds} if kinds else {})
    assert isinstance(answer, list)
    return answer


def cash(twin: TwinHandle) -> Decimal:
    return Decimal(twin.admin.state()["cash"])


def closes(data: StockHistoricalDataClient, adjustment: Adjustment, symbol: str = "KELV") -> list[float]:
    window = {"start": datetime(2025, 3, 3, 18, tzinfo=UTC), "end": datetime(2025, 3, 4, 16, tzinfo=UTC)}
    request = StockBarsRequest(
        symbol_or_symbols=symbol,
        timeframe=TimeFrame.Hour,
        adjustment=adjustment,
        **window,
    )
    answer: Any = data.get_stock_bars(request)
    return [bar.close for bar in answer.data.get(symbol, [])]


def test_announcements_are_read_by_alpacas_client(twin: TwinHandle) -> None:
    act(twin, "forward_split", old_rate=1, new_rate=2)
    act(twin, "cash_dividend", "ZORN", rate="0.25")
    act(twin, "name_change", "VUNO", new_symbol="VUNX")
    client = CorporateActionsClient("key", "secret", url_override=twin.url)

    answer: Any = client.get_corporate_actions(
        CorporateActionsRequest(symbols=["KELV", "ZORN", "VUNO"], start=date(2025, 3, 1), end=date(2025, 3, 9))
    )

    (split,), (dividend,), (name,) = (answer.data[k] for k in ("forward_splits", "cash_dividends", "name_changes"))
    assert isinstance(split, ForwardSplit)
    assert (split.symbol, split.new_rate, split.old_rate, split.ex_date) == ("KELV", 2.0, 1.0, date(2025, 3, 4))
    assert isinstance(dividend, CashDividend)
    assert dividend.rate == 0.25
    assert isinstance(name, NameChange)
    assert (name.old_symbol, name.new_symbol) == ("VUNO", "VUNX")


def test_pages_of_announcements_follow_on(twin: TwinHandle) -> None:
    ids = [act(twin, "cash_dividend", rate="0.1")["id"] for _ in range(3)]
    asked: dict[str, Any] = {"start": "2025-03-01", "end": "2025-03-09", "limit": 2}
    keys = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}

    def page(**more: Any) -> Any:
        return httpx.get(f"{twin.url}/v1/corporate-actions", params={**asked, **more}, headers=keys).json()

    first = page()
    second = page(page_token=first["next_page_token"])

    rows = first["corporate_actions"]["cash_dividends"] + second["corporate_actions"]["cash_dividends"]
    assert [row["id"] for row in rows] == ids
    assert second["next_page_token"] is None


def test_an_action_is_not_told_before_its_announcement_yet_happens(
    twin: TwinHandle, trading: TradingClient, send: Send
) -> None:
    send("buy", 10)
    act(twin, "forward_split", old_rate=1, new_rate=2, announced_at="2025-03-04T16:00:00Z")
    client = CorporateActionsClient("key", "secret", url_override=twin.url, raw_data=True)
    request = CorporateActionsRequest(start=date(2025, 3, 1), end=date(2025, 3, 9))

    twin.admin.move_clock(NEXT_MORNING)
    before: Any = client.get_corporate_actions(request)
    held: Any = trading.get_open_position("KELV")
    twin.admin.move_clock("2025-03-04T16:00:00Z")
    after: Any = client.get_corporate_actions(request)

    assert not before.get("forward_splits")
    assert held.qty == "20"
    assert len(after["forward_splits"]) == 1


def test_a_forward_split_multiplies_shares_and_divides_prices(
    twin: TwinHandle, trading: TradingClient, data: StockHistoricalDataClient, send: Send
) -> None:
    send("buy", 10, "KELV")
    twin.admin.move_clock("2025-03-03T21:05:00Z")
    before = closes(data, Adjustment.RAW)
    paid: Any = trading.get_open_position("KELV")
    act(twin, "forward_split", old_rate=1, new_rate=2)

    twin.admin.move_clock("2025-03-04T17:00:05Z")

    held: Any = trading.get_open_position("KELV")
    assert held.qty == "20"
    assert float(held.avg_entry_price) == pytest.approx(float(paid.avg_entry_price) / 2)
    assert float(held.current_price) == pytest.approx(float(paid.current_price) / 2, rel=0.05)
    raw, adjusted = closes(data, Adjustment.RAW), closes(data, Adjustment.SPLIT)
    assert raw[: len(before)] == before
    assert max(adjusted) < 0.6 * before[0]
    assert [a / r for a, r in zip(adjusted, raw, strict=True)] == pytest.approx([0.5] * 3 + [1.0] * 3, rel=1e-4)
    (row,) = activities(trading, "SPLIT")
    assert (row["symbol"], row["qty"], row["net_amount"]) == ("KELV", "10", "0")


def test_a_reverse_split_pays_cash_for_the_fraction(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    send("buy", 25, "KELV")
    had = cash(twin)
    act(twin, "reverse_split", old_rate=10, new_rate=1)

    twin.admin.move_clock(NEXT_MORNING)

    held: Any = trading.get_open_position("KELV")
    (row,) = activities(trading, "CIL")
    assert held.qty == "2"
    assert row["qty"] == "-0.5"
    assert Decimal(row["net_amount"]) == (Decimal(row["per_share_amount"]) / 2).quantize(Decimal("0.01"))
    assert cash(twin) == had + Decimal(row["net_amount"])


def test_a_dividend_pays_the_long_and_charges_the_short(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    send("buy", 10, "KELV")
    send("sell", 4, "ZORN")
    had = cash(twin)
    act(twin, "cash_dividend", "KELV", rate="0.33")
    act(twin, "cash_dividend", "ZORN", rate="0.50")

    twin.admin.move_clock(NEXT_MORNING)

    paid = {row["symbol"]: row["net_amount"] for row in activities(trading, "DIV")}
    assert paid == {"KELV": "3.3", "ZORN": "-2"}
    assert cash(twin) == had + Decimal("1.3")


def test_a_new_name_carries_position_and_history_and_the_old_one_trades_no_more(
    twin: TwinHandle, trading: TradingClient, data: StockHistoricalDataClient, send: Send
) -> None:
    send("buy", 10, "KELV")
    paid: Any = trading.get_open_position("KELV")
    act(twin, "name_change", new_symbol="KLVN")

    twin.admin.move_clock("2025-03-04T17:00:05Z")

    (held,) = trading.get_all_positions()
    assert (held.symbol, held.qty, held.avg_entry_price) == ("KLVN", "10", paid.avg_entry_price)  # type: ignore[union-attr]
    with pytest.raises(APIError, match="asset KELV is not active"):
        send("sell", 10, "KELV")
    assert send("sell", 10, "KLVN").symbol == "KLVN"
    assert len(closes(data, Adjustment.RAW, "KLVN")) == 6
    assert len(closes(data, Adjustment.RAW, "KELV")) == 3


@pytest.mark.parametrize(("kind", "rate", "gain"), [("delisting", "0", "0"), ("cash_merger", "51.25", "512.50")])
def test_a_company_that_ends_takes_the_position_away(
    twin: TwinHandle, trading: TradingClient, send: Send, kind: str, rate: str, gain: str
) -> None:
    send("buy", 10, "KELV")
    had = cash(twin)
    act(twin, kind, rate=rate)

    twin.admin.move_clock(NEXT_MORNING)

    asset: Any = trading.get_asset("KELV")
    assert trading.get_all_positions() == []
    assert (asset.tradable, cash(twin) - had) == (False, Decimal(gain))


def test_what_can_not_happen_is_refused(twin: TwinHandle) -> None:
    url = f"{twin.url}/admin/corporate-actions"
    past = {"type": "forward_split", "symbol": "KELV", "ex_date": "2025-03-03"}
    unknown = {"type": "forward_split", "symbol": "NOPE", "ex_date": EX_DATE}
    taken = {"type": "name_change", "symbol": "KELV", "new_symbol": "ZORN", "ex_date": EX_DATE}

    assert [httpx.post(url, json=body).status_code for body in (past, unknown, taken)] == [409, 409, 409]
    assert httpx.post(f"{twin.url}/admin/cash", json={"amount": -200_000}).status_code == 409


def test_money_moves_in_and_out_and_is_told(twin: TwinHandle, trading: TradingClient) -> None:
    twin.admin.post("cash", amount="2500.50")
    twin.admin.post("cash", amount="-500")

    account: Any = trading.get_account()
    rows = activities(trading, "CSD,CSW")
    assert float(account.cash) == 102_000.5
    assert [(row["activity_type"], row["net_amount"]) for row in rows] == [("CSW", "-500"), ("CSD", "2500.5")]


def test_fills_and_other_activities_come_in_one_list(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    send("buy", 10, "KELV")
    twin.admin.post("cash", amount=100)

    assert [row["activity_type"] for row in activities(trading)] == ["CSD", "FILL"]
    assert [row["activity_type"] for row in activities(trading, "FILL")] == ["FILL"]


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    with running_twin(store=tmp_path) as twin:
        client = TradingClient("key", "secret", url_override=twin.url)
        client.post("/orders", _order("buy", 25))
        act(twin, "reverse_split", old_rate=10, new_rate=1)
        act(twin, "cash_dividend", rate="1.00")
        twin.admin.post("cash", amount=100)
        twin.admin.move_clock(NEXT_MORNING)
        told = twin.admin.state()
    with running_twin(store=tmp_path) as twin:
        again = twin.admin.state()
        twin.admin.reset()
        fresh = twin.admin.state()

    assert again == told | {"order_posts": 0}
    assert again["positions"][0]["qty"] == "2"
    assert (fresh["cash"], fresh["positions"]) == ("100000", [])


def _order(side: str, qty: int) -> dict[str, Any]:
    return {"symbol": "KELV", "qty": qty, "side": side, "type": "market", "time_in_force": "day"}


def test_a_split_of_a_file_happens_overnight_and_once_however_often_the_twin_starts(tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text(
        '[[corporate_action]]\ntype = "forward_split"\nsymbol = "KELV"\nex_date = 2025-03-04\nnew_rate = 3\n'
    )
    script = {"store": tmp_path / "store", "faults": tmp_path / "faults.toml"}
    with running_twin(**script) as twin:
        twin.order_by_hand("KELV", 2)
        twin.admin.move_clock("2025-03-03T20:00:00Z")
        before = twin.admin.state()["positions"]

    with running_twin(**script) as twin:
        twin.admin.move_clock("2025-03-04T15:30:00Z")
        after = twin.admin.state()["positions"]
    with running_twin(**script) as twin:
        scheduled = twin.admin.get("corporate-actions")

    assert [(each["symbol"], each["qty"]) for each in (*before, *after)] == [("KELV", "2"), ("KELV", "6")]
    assert len(scheduled) == 1
