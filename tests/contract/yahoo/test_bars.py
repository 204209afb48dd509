"""Past bars from the real yfinance against the twin's Yahoo."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.services.data_ingestion.adapters.yahoo.history import YahooHistory
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.domain.vendor_data import VendorBars
from src.shared.ports.market_data import Adjustment
from tests.fakes.twin_server import TwinHandle

LATER = "2025-03-20T15:30:05Z"
START, END = datetime(2025, 3, 3, 5, tzinfo=UTC), datetime(2025, 3, 12, 4, tzinfo=UTC)


def bars(
    yahoo: YahooClient, timeframe: str = "1Day", adjustment: Adjustment = "split", symbol: str = "KELV"
) -> VendorBars:
    return VendorBars.joined(symbol, list(YahooHistory(yahoo).history(symbol, START, END, timeframe, adjustment)))


def with_actions(twin: TwinHandle, now: str = LATER) -> None:
    """Let half a dollar be paid on March 5th and shares be doubled on March 10th, and go on to March 20th."""
    company = {"symbol": "KELV"}
    twin.admin.post("corporate-actions", type="cash_dividend", ex_date="2025-03-05", rate="0.5", **company)
    twin.admin.post("corporate-actions", type="forward_split", ex_date="2025-03-10", new_rate="2", **company)
    twin.admin.move_clock(now)


def test_hours_count_from_the_open_and_the_last_one_is_half_an_hour(twin: TwinHandle, yahoo: YahooClient) -> None:
    twin.admin.move_clock(LATER)

    times = [str(each)[11:16] for each in bars(yahoo, "1Hour").start[:7]]

    assert times == ["14:30", "15:30", "16:30", "17:30", "18:30", "19:30", "20:30"]


def test_a_day_is_stamped_with_its_open_and_is_what_its_hours_add_up_to(twin: TwinHandle, yahoo: YahooClient) -> None:
    twin.admin.move_clock(LATER)

    day, hours = bars(yahoo), bars(yahoo, "1Hour").take(slice(7))

    assert str(day.start[0]) == "2025-03-03T14:30:00.000000"
    assert (day.open[0], day.close[0]) == (hours.open[0], hours.close[-1])
    assert (day.high[0], day.low[0], day.volume[0]) == (hours.high.max(), hours.low.min(), hours.volume.sum())


def test_prices_are_the_market_s_own(twin: TwinHandle, yahoo: YahooClient) -> None:
    twin.admin.move_clock(LATER)
    keys = {"APCA-API-KEY-ID": "someone", "APCA-API-SECRET-KEY": "else"}
    asked = {"symbols": "KELV", "timeframe": "1Day", "start": "2025-03-03", "end": "2025-03-12"}

    alpaca = twin.admin.client.get("/v2/stocks/bars", params=asked, headers=keys).json()["bars"]["KELV"]

    assert bars(yahoo).close.tolist() == [row["c"] for row in alpaca]


@pytest.mark.parametrize("timeframe", ["1Day", "1Hour"])
def test_raw_undoes_the_split_prices_and_shares(twin: TwinHandle, yahoo: YahooClient, timeframe: str) -> None:
    with_actions(twin, "2025-03-07T22:00:00Z")
    traded = bars(yahoo, timeframe, "raw")
    twin.admin.move_clock(LATER)

    split, raw, count = bars(yahoo, timeframe), bars(yahoo, timeframe, "raw"), len(traded)

    np.testing.assert_allclose(raw.close[:count], traded.close, rtol=1e-9)
    np.testing.assert_allclose(raw.volume[:count], traded.volume, rtol=1e-9)
    np.testing.assert_allclose(raw.close[:count], 2 * split.close[:count], rtol=1e-4)
    np.testing.assert_array_equal(raw.close[count:], split.close[count:])
    assert len(raw) > count


def test_a_split_after_the_window_is_undone_as_well(twin: TwinHandle, yahoo: YahooClient) -> None:
    twin.admin.move_clock("2025-03-13T22:00:00Z")
    as_traded = bars(yahoo, "1Day", "raw").close
    twin.admin.post("corporate-actions", type="reverse_split", symbol="KELV", ex_date="2025-03-17", old_rate="4")
    twin.admin.move_clock(LATER)

    assert bars(yahoo).close[0] == pytest.approx(4 * as_traded[0], rel=1e-4)
    np.testing.assert_allclose(bars(yahoo, "1Day", "raw").close, as_traded, rtol=1e-4)


@pytest.mark.parametrize("timeframe", ["1Day", "1Hour"])
def test_all_takes_dividends_out_of_what_was_before_them(
    twin: TwinHandle, yahoo: YahooClient, timeframe: str
) -> None:
    with_actions(twin)

    ratio = bars(yahoo, timeframe, "all").close / bars(yahoo, timeframe).close
    days = np.array([str(each)[:10] for each in bars(yahoo, timeframe).start])

    assert (ratio[days < "2025-03-05"] < 1).all()
    np.testing.assert_allclose(ratio[days < "2025-03-05"], ratio[0], rtol=1e-6)
    np.testing.assert_allclose(ratio[days >= "2025-03-05"], 1.0)


def test_an_adjustment_for_dividends_alone_and_odd_timeframes_are_refused_before_anything_is_asked(
    twin: TwinHandle, yahoo: YahooClient
) -> None:
    counted = twin.admin.fault(kind="latency", seconds=0, endpoint="GET /yahoo/*")

    with pytest.raises(InputInvalid, match="choose raw, split or all"):
        bars(yahoo, adjustment="dividend")
    with pytest.raises(InputInvalid, match="1Hour or 1Day"):
        bars(yahoo, "5Min")

    (rule,) = twin.admin.faults()
    assert (rule["id"], rule["matched"]) == (counted, 0)


def test_hours_of_more_than_two_years_ago_are_refused_in_yahoo_s_words(twin: TwinHandle, yahoo: YahooClient) -> None:
    twin.admin.move_clock("2027-06-01T15:30:00Z", reset=True)

    with pytest.raises(Refused, match="within the last 730 days"):
        bars(yahoo, "1Hour")


def test_an_unknown_symbol_is_refused_and_asked_for_once(twin: TwinHandle, yahoo: YahooClient) -> None:
    twin.admin.fault(kind="latency", seconds=0, endpoint="GET /yahoo/v8/*")

    with pytest.raises(Refused, match="does not know NOPE") as refused:
        bars(yahoo, symbol="NOPE")

    assert refused.value.code == "404"
    assert twin.admin.faults()[0]["matched"] == 1


def test_a_window_without_bars_is_empty_and_no_error(twin: TwinHandle, yahoo: YahooClient) -> None:
    assert len(bars(yahoo)) == 0
    twin.admin.move_clock(LATER)
    twin.admin.fault(kind="odd_chart", form="empty")
    assert len(bars(yahoo)) == 0


@pytest.mark.parametrize("form", ["no_timestamps", "other_length"])
def test_prices_that_can_t_be_given_a_time_are_no_bars(twin: TwinHandle, yahoo: YahooClient, form: str) -> None:
    twin.admin.move_clock(LATER)
    twin.admin.fault(kind="odd_chart", form=form, times=1)

    with pytest.raises(Transient, match="times, but"):
        bars(yahoo)

    assert len(bars(yahoo)) == 7


@pytest.mark.parametrize(("form", "nulls"), [("null_rows", [2, 5]), ("dividend_nulls", [2])])
def test_null_rows_are_told_as_rows_without_numbers(
    twin: TwinHandle, yahoo: YahooClient, form: str, nulls: list[int]
) -> None:
    with_actions(twin)
    twin.admin.fault(kind="odd_chart", form=form)

    found = bars(yahoo)

    assert np.flatnonzero(np.isnan(found.close)).tolist() == nulls
    assert np.flatnonzero(np.isnan(found.volume)).tolist() == nulls


def test_a_row_for_now_that_yahoo_adds_is_left_out_where_it_was_not_asked_for(
    twin: TwinHandle, yahoo: YahooClient
) -> None:
    twin.admin.move_clock(LATER)
    whole = bars(yahoo)
    twin.admin.fault(kind="odd_chart", form="unfinished")

    assert bars(yahoo).start.tolist() == whole.start.tolist()


def test_a_symbol_with_a_dot_is_spelled_yahoo_s_way(twin: TwinHandle, yahoo: YahooClient) -> None:
    with pytest.raises(Refused, match=r"BRK\.B"):
        bars(yahoo, symbol="BRK.B")
    with pytest.raises(InputInvalid):
        bars(yahoo, symbol="../v1/test")
