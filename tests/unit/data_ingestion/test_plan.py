"""Which windows are asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from src.services.data_ingestion.domain.plan import Ask, asks, wanted_spans

START = datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
SPANS = [(START + timedelta(hours=i), START + timedelta(hours=i + 1)) for i in range(6)]
RECENT = SPANS[4][0]


def test_an_old_gap_that_no_load_asked_for_is_wanted() -> None:
    assert wanted_spans({"SPY": [SPANS[1]]}, {}, RECENT) == {"SPY": [SPANS[1]]}


def test_an_old_gap_that_a_load_asked_for_is_not_wanted_again_but_a_recent_one_is() -> None:
    asked = {"SPY": [(SPANS[0][0], SPANS[5][1])]}

    assert wanted_spans({"SPY": [SPANS[1], SPANS[5]]}, asked, RECENT) == {"SPY": [SPANS[5]]}
    assert wanted_spans({"SPY": [SPANS[1]]}, asked, RECENT) == {}


def test_what_was_asked_for_another_symbol_or_another_time_does_not_count() -> None:
    asked = {"QQQ": [(SPANS[0][0], SPANS[5][1])], "SPY": [(SPANS[2][0], SPANS[5][1])]}

    assert wanted_spans({"SPY": [SPANS[1]]}, asked, RECENT) == {"SPY": [SPANS[1]]}


def test_symbols_with_the_same_window_share_a_request() -> None:
    wanted = {"SPY": [SPANS[5]], "QQQ": [SPANS[5]], "XLK": [SPANS[2], SPANS[5]]}
    overlap = {"SPY": SPANS[4][0], "QQQ": SPANS[4][0]}

    assert asks(wanted, overlap) == [
        Ask(("XLK",), SPANS[2][0], SPANS[5][1]),
        Ask(("SPY", "QQQ"), SPANS[4][0], SPANS[5][1]),
    ]
