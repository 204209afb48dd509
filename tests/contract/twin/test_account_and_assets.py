from __future__ import annotations

from datetime import date, datetime
from typing import Any

import httpx
import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.models import AccountConfiguration, Asset, Clock, PortfolioHistory, TradeAccount
from alpaca.trading.requests import GetAssetsRequest, GetCalendarRequest

from tests.contract.twin.conftest import Send
from tests.fakes.twin_server import TwinHandle


def test_the_clock_is_the_twins_and_knows_the_next_open_and_close(trading: TradingClient) -> None:
    clock = trading.get_clock()

    assert isinstance(clock, Clock)
    assert clock.is_open
    assert clock.timestamp.isoformat() == "2025-03-03T10:30:05-05:00"
    assert clock.next_close.isoformat() == "2025-03-03T16:00:00-05:00"
    assert clock.next_open.isoformat() == "2025-03-04T09:30:00-05:00"


def test_the_calendar_has_holidays_and_half_days(trading: TradingClient) -> None:
    days = trading.get_calendar(GetCalendarRequest(start=date(2026, 11, 25), end=date(2026, 11, 30)))

    closes = {day.date.isoformat(): day.close for day in days if not isinstance(day, str)}
    assert list(closes) == ["2026-11-25", "2026-11-27", "2026-11-30"]
    assert closes["2026-11-27"] == datetime(2026, 11, 27, 13, 0)  # noqa: DTZ001 - alpaca-py makes naive times


def test_a_new_account_has_its_cash_and_twice_that_buying_power(trading: TradingClient) -> None:
    account = trading.get_account()

    assert isinstance(account, TradeAccount)
    assert (account.cash, account.equity, account.last_equity) == ("100000", "100000", "100000")
    assert account.buying_power == "200000"
    assert account.multiplier == "2"


def test_the_account_is_marked_to_the_current_price(trading: TradingClient, send: Send, twin: TwinHandle) -> None:
    send("buy", 100, "KELV")
    send("sell", 50, "ZORN")
    twin.admin.move_clock("2025-03-04T16:00:05Z")

    account: Any = trading.get_account()
    positions: list[Any] = list(trading.get_all_positions())

    value = sum(float(position.market_value) for position in positions)
    assert float(account.equity) == pytest.approx(float(account.cash) + value, abs=0.02)
    assert float(account.long_market_value) > 0 > float(account.short_market_value)
    assert account.last_equity not in (account.equity, "100000")


def test_the_configuration_can_be_changed_and_forbids_shorts(
    trading: TradingClient, send: Send, twin: TwinHandle
) -> None:
    settings = trading.get_account_configurations()
    assert isinstance(settings, AccountConfiguration)

    settings.no_shorting = True
    changed: Any = trading.set_account_configurations(settings)

    assert changed.no_shorting
    with pytest.raises(APIError, match="not allowed to short"):
        send("sell", 5)
    settings.no_shorting = False
    trading.set_account_configurations(settings)


def test_assets_carry_their_flags(trading: TradingClient, twin: TwinHandle) -> None:
    twin.admin.rules("KYLO", shortable=False)
    twin.admin.rules("QORT", tradable=False)

    assets: Any = trading.get_all_assets(GetAssetsRequest(status="active"))
    kylo: Any = trading.get_asset("KYLO")

    assert "QORT" not in {asset.symbol for asset in assets}
    assert isinstance(kylo, Asset)
    assert (kylo.shortable, kylo.easy_to_borrow, kylo.tradable) == (False, False, True)
    assert trading.get_asset(str(kylo.id)) == kylo


def test_an_unknown_asset_is_not_found(trading: TradingClient) -> None:
    with pytest.raises(APIError) as refused:
        trading.get_asset("NOPE")

    assert (refused.value.status_code, refused.value.code) == (404, 40410000)


def test_the_portfolio_history_has_one_point_per_session_closed(trading: TradingClient, twin: TwinHandle) -> None:
    twin.admin.move_clock("2025-03-05T15:30:00Z")

    history = trading.get_portfolio_history()

    assert isinstance(history, PortfolioHistory)
    assert history.equity == [100_000.0, 100_000.0]


def test_missing_keys_are_answered_with_html_and_bad_keys_with_a_bare_message(twin: TwinHandle) -> None:
    missing = httpx.get(f"{twin.url}/v2/account")
    bad = httpx.get(f"{twin.url}/v2/account", headers={"APCA-API-KEY-ID": "BAD1", "APCA-API-SECRET-KEY": "secret"})

    assert missing.status_code == bad.status_code == 401
    assert missing.headers["content-type"].startswith("text/html")
    assert bad.json() == {"message": "unauthorized."}


def test_a_path_that_is_not_there_is_answered_as_the_vendor_does(trading: TradingClient) -> None:
    with pytest.raises(APIError) as refused:
        trading.get("/nothing/here")

    assert refused.value.code == 40410000
