"""What a demo replays: which bars, which pairs, from when, how many slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from src.services.cli.options import FIT_BARS
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_pair_id
from src.shared.domain.sessions import Session, TradingCalendar

Runner = Literal["worker", "inline"]

# The synthetic market of the default seed trades briskly from here on.
SYNTHETIC_START = date(2025, 10, 20)
DEFAULT_SESSIONS = 2
MIN_FIT_BARS = 60


@dataclass(frozen=True)
class Request:
    """What a person asked for; empty fields are chosen by the demo."""

    data: Path | None
    pairs: tuple[str, ...]
    start: date | None
    slots: int | None
    runner: Runner
    keep: bool = False


@dataclass(frozen=True)
class Market:
    """What the twin offers: by symbol, start of first and end of last bar (UTC); the pairs it was made with."""

    spans: Mapping[str, tuple[datetime, datetime]]
    pairs: tuple[str, ...]

    def common_span(self, pairs: Sequence[str]) -> tuple[datetime, datetime]:
        """Return the span in which every leg of the pairs has bars."""
        legs = [self.spans[symbol] for pair in pairs for symbol in parse_pair_id(pair)]
        return max(first for first, _ in legs), min(last for _, last in legs)


@dataclass(frozen=True)
class Plan:
    """The replay: pairs are fitted and judged on `fit_bars` hours up to `fit_until`, then `slots` are traded."""

    pairs: tuple[str, ...]
    fit_until: datetime
    fit_bars: int
    slots: tuple[datetime, ...]


def parse_pairs(text: str) -> tuple[str, ...]:
    """Read `SPY/QQQ,QQQ/XLK`.

    Raises:
        InputInvalid: a part is not a pair, or is named twice.
    """
    pairs = tuple(part.strip() for part in text.split(",") if part.strip())
    for pair in pairs:
        parse_pair_id(pair)
    if len(set(pairs)) != len(pairs):
        raise InputInvalid(f"PAIRS names a pair twice: {text}")
    return pairs


def make_plan(request: Request, market: Market, calendar: TradingCalendar) -> Plan:
    """Choose pairs, the part to fit on, and the slots to trade.

    Raises:
        InputInvalid: a symbol the data does not hold, too little data, or a start outside of it.
    """
    pairs = request.pairs or market.pairs
    _check_symbols(pairs, market)
    first, last = market.common_span(pairs)
    spans = calendar.spans_between(first, last)
    first_day = _start_day(request, [start for start, _ in spans])
    sessions = [s for s in calendar.sessions(first_day, last.date()) if s.open >= first and s.close <= last]
    if not sessions:
        raise InputInvalid(f"the data holds no whole session from {first_day} on. Choose an earlier START.")
    before = [end for _, end in spans if end <= sessions[0].open]
    if len(before) < MIN_FIT_BARS:
        raise InputInvalid(
            f"{len(before)} hourly bars lie before {first_day}; at least {MIN_FIT_BARS} are needed to estimate "
            "the pairs. Choose a later START or give more data."
        )
    slots = _tradable_slots(sessions, request.slots or _slots_in(sessions[:DEFAULT_SESSIONS]))
    fit_bars = len(before) if request.data else min(len(before), FIT_BARS)
    return Plan(pairs, before[-1], fit_bars, slots)


def read_market(seed: int, data: Path | None) -> Market:
    """Read what the twin will offer: the bars of a file, or the synthetic market of a seed.

    Raises:
        InputInvalid: the file can't be used; the message names the line or column.
    """
    from src.services.twin.bootstrap import build_market
    from src.services.twin.domain.moments import to_datetime

    market = build_market(seed, data)
    spans = {symbol: market.symbol_span(symbol) for symbol in market.symbols}
    return Market(
        {symbol: (to_datetime(first), to_datetime(last)) for symbol, (first, last) in spans.items()},
        tuple(f"{pair['symbol_1']}/{pair['symbol_2']}" for pair in market.truth),
    )


def _check_symbols(pairs: Sequence[str], market: Market) -> None:
    if not pairs:
        raise InputInvalid("name the pairs to trade, such as PAIRS=SPY/QQQ,QQQ/XLK.")
    known = market.spans.keys()
    for pair in pairs:
        for symbol in parse_pair_id(pair):
            if symbol not in known:
                raise InputInvalid(f"{pair}: the data holds no {symbol}. It holds {', '.join(sorted(known))}.")


def _start_day(request: Request, starts: list[datetime]) -> date:
    if request.start is not None:
        return request.start
    if request.data is None:
        return SYNTHETIC_START
    if not starts:
        raise InputInvalid("the pairs' symbols have no hour in common in this data. Choose other pairs.")
    return starts[len(starts) // 2].date()


def _slots_in(sessions: Sequence[Session]) -> int:
    return sum(1 for session in sessions for _, end in session.bar_spans() if end < session.close)


def _tradable_slots(sessions: Sequence[Session], count: int) -> tuple[datetime, ...]:
    """The first `count` slots at which the market is open: every end of a bar but the session's last."""
    slots: list[datetime] = []
    for session in sessions:
        slots += [end for _, end in session.bar_spans() if end < session.close]
        if len(slots) >= count:
            break
    return tuple(slots[:count])
