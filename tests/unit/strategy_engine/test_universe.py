"""Which symbols are searched, over which bars, and why the others are not."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from src.services.strategy_engine.domain.universe import Excluded, Exclusion, Universe, choose_universe
from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.sessions import TradingCalendar
from tests.fakes.markets import names, walks

SESSIONS = TradingCalendar().sessions(date(2025, 1, 2), date(2025, 6, 30))
ENDS = tuple(end for session in SESSIONS for _, end in session.bar_spans())
DAYS = [session.day for session in SESSIONS for _ in session.bar_spans()]


def chosen(closes: Floats, excluded: tuple[Excluded, ...] = ()) -> Universe:
    return choose_universe(CloseSeries(names(closes.shape[1]), ENDS, closes), DAYS, 60, excluded)


def market() -> Floats:
    return walks(1, 4, len(ENDS))


@pytest.mark.parametrize(
    ("spoil", "reason", "words"),
    [
        (lambda c: c[: len(c) - 300].fill(np.nan), Exclusion.FEW_SESSIONS, "bars of 43 sessions, 60 needed"),
        (lambda c: c[-8:].fill(np.nan), Exclusion.STALE, "no bar in the last session"),
        (lambda c: c[:300].fill(np.nan), Exclusion.BEGINS_LATE, "its bars begin on 2025-03-06"),
        (lambda c: c[5:-5:10].fill(np.nan), Exclusion.HOLES, "bars for 90% of the window's hours, 95% needed"),
        (lambda c: c.fill(50.0), Exclusion.NEVER_MOVES, "its price never moves"),
    ],
)
def test_a_symbol_is_left_out_with_the_reason(spoil: object, reason: Exclusion, words: str) -> None:
    closes = market()
    spoil(closes[:, 2])  # type: ignore[operator]

    found = chosen(closes)

    [out] = found.excluded
    assert (out.symbol, out.reason) == ("W0002", reason)
    assert words in out.words
    assert found.symbols == ("W0000", "W0001", "W0003")
    np.testing.assert_array_equal(found.series.closes, market()[:, [0, 1, 3]])


def test_what_is_known_of_a_symbol_keeps_it_out_however_good_its_bars_are() -> None:
    known = Excluded("W0001", Exclusion.COMPANY_ACTION, "split on 2025-03-03")

    found = chosen(market(), (known,))

    assert found.excluded == (known,)
    assert found.counted() == {Exclusion.COMPANY_ACTION: 1}


def test_the_window_begins_where_most_is_gained_of_symbols_and_bars() -> None:
    late = market()
    late[:300, 1:] = np.nan

    assert chosen(late).symbols == names(4)
    assert chosen(late).series.ends == ENDS[300:]
    assert chosen(late).excluded == ()

    late[:, 2:] = market()[:, 2:]
    assert [each.reason for each in chosen(late).excluded] == [Exclusion.BEGINS_LATE]


def test_the_first_bars_of_a_window_may_be_missing_and_the_scan_sees_no_hole() -> None:
    closes = market()
    closes[:3, 1] = np.nan
    closes[40:42, 2] = np.nan

    found = chosen(closes)

    assert found.series.ends == ENDS
    np.testing.assert_array_equal(np.isnan(found.series.closes), np.isnan(closes))
    logs = found.filled_logs()
    assert np.isfinite(logs).all()
    assert (logs[:3, 1] == np.log(closes[3, 1])).all()
    assert (logs[40:42, 2] == np.log(closes[39, 2])).all()


def test_common_sessions_are_counted_for_every_two_symbols() -> None:
    closes = market()
    closes[7:21, 1] = np.nan

    common = chosen(closes).common_sessions

    assert common[0, 0] == common[0, 2] == len(SESSIONS)
    assert common[0, 1] == common[1, 0] == common[1, 1] == len(SESSIONS) - 2


def test_without_any_symbol_there_is_an_empty_universe() -> None:
    assert chosen(np.full((len(ENDS), 2), np.nan)).symbols == ()
    assert choose_universe(CloseSeries(names(1), (), np.empty((0, 1))), [], 60).symbols == ()
