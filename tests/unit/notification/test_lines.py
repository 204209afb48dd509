"""What people read about each event."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from src.services.notification.domain.lines import Line, line_for
from src.shared.messages.base import Event
from src.shared.messages.envelope import EVENT_TYPES
from src.shared.messages.market_data import MarketDataStored, SeriesRebased
from src.shared.messages.ops import AlertRaised
from src.shared.messages.orders import (
    LegImbalanceFound,
    OrderFilled,
    OrderRejected,
    PairClosed,
    PairOpened,
    PairOrphaned,
    PairUnwound,
)
from src.shared.messages.risk import RiskStateChanged, TradeDenied
from src.shared.messages.signals import PairModeChanged, PairRefitted, SignalRaised
from tests.fakes.events import example

CYCLE = "[2026-03-09T14:30Z]"


@pytest.mark.parametrize(
    ("event_type", "facts", "line"),
    [
        (PairOpened, {}, Line("INFO", "Opened SPY/QQQ long spread: both legs are filled")),
        (PairOpened, {"pair_id": "trend:SPY"}, Line("INFO", "Opened trend:SPY long: it is filled")),
        (
            LegImbalanceFound,
            {"pair_id": "trend:SPY", "direction": "short_spread", "reason": "by hand: enough"},
            Line("WARNING", "trend:SPY short: unwinding, because: by hand: enough"),
        ),
        (PairClosed, {"reason": "stop"}, Line("INFO", "Closed SPY/QQQ long spread: -$1,234.57, because: stop")),
        (
            PairClosed,
            {"reason": None, "realized_pnl": Decimal("88.1")},
            Line("INFO", "Closed SPY/QQQ long spread: +$88.10"),
        ),
        (
            LegImbalanceFound,
            {"reason": None},
            Line("WARNING", "The legs of SPY/QQQ long spread do not hedge each other: unwinding"),
        ),
        (
            PairUnwound,
            {"reason": None, "realized_pnl": None},
            Line("WARNING", "Unwound SPY/QQQ long spread: result not booked"),
        ),
        (
            PairOrphaned,
            {"reason": "halted"},
            Line(
                "CRITICAL",
                "A leg of SPY/QQQ long spread can't be closed: look at it now, entries are blocked, because: halted",
            ),
        ),
        (
            OrderRejected,
            {"reason": "not shortable", "quantity": Decimal("-100")},
            Line(
                "ERROR",
                "The broker refused to sell 100 SPY (tw-twin-0123456789abcdef0123-1-open-1), because: not shortable",
            ),
        ),
        (
            TradeDenied,
            {"reason": "gross would be 1.62"},
            Line("INFO", "Risk denied enter_long of SPY/QQQ (MAX_GROSS), because: gross would be 1.62"),
        ),
        (
            RiskStateChanged,
            {"before": "active", "after": "halted", "who": "drawdown", "why": "-5.2 %"},
            Line("WARNING", "Risk went from active to halted, by drawdown, because: -5.2 %"),
        ),
        (
            PairModeChanged,
            {"before": None, "after": "candidate", "why": ""},
            Line("INFO", "SPY/QQQ starts as candidate, by review-pairs"),
        ),
        (PairRefitted, {"why": ""}, Line("INFO", "SPY/QQQ stays active and was written anew by review-pairs")),
        (MarketDataStored, {}, Line("WARNING", "alpaca: 130 bars stored, 2 refused, bars are missing")),
        (
            SeriesRebased,
            {"reason": "a split"},
            Line(
                "WARNING",
                "alpaca: the prices of all 1Hour bars of SPY (split) are now 0.25 times what they were; pairs with "
                "it enter no trade until they are re-based, because: a split",
            ),
        ),
        (AlertRaised, {"severity": "critical"}, Line("CRITICAL", "Disk is nearly full: 97 % used")),
    ],
)
def test_an_event_that_matters_reads_as_one_line(event_type: type[Event], facts: dict[str, Any], line: Line) -> None:
    assert line_for(example(event_type, **facts)) == Line(line.level, f"{line.text} {CYCLE}")


@pytest.mark.parametrize("event", [example(SignalRaised), example(OrderFilled)])
def test_what_people_need_not_read_is_left_out(event: Event) -> None:
    assert line_for(event) is None


def test_a_complete_load_without_refused_bars_is_left_out() -> None:
    assert line_for(example(MarketDataStored, rejected=0, complete=True)) is None


def test_a_text_with_line_breaks_stays_one_line() -> None:
    line = line_for(example(AlertRaised, detail="first\nERROR forged\r\nline"))

    assert line is not None
    assert line.text == f"Disk is nearly full: first ERROR forged line {CYCLE}"


@pytest.mark.parametrize("event_type", EVENT_TYPES.values(), ids=lambda event_type: event_type.__name__)
def test_every_event_can_be_looked_at(event_type: type[Event]) -> None:
    line = line_for(example(event_type))

    assert line is None or (line.text.endswith(CYCLE) and "\n" not in line.text)
