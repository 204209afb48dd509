"""The search for pairs on a real PostgreSQL: over the twin's market, whose pairs are known, and over walks that have none."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from src.services.strategy_engine.domain.discovery import Outcome
from src.services.strategy_engine.use_cases.discovery import Discovery, DiscoveryReport, Request
from src.services.twin.domain.synthetic import DESIGNS
from src.shared.infra.database.tables import discovery_result, discovery_run, pair_registry
from src.shared.ports.market_data import BarSource
from tests.fakes.desk import AFTER_HOURS, Installation

TRUE_PAIRS = {frozenset((d.symbol_1, d.symbol_2)) for d in DESIGNS if d.kind == "cointegrated"}
SYMBOLS = sorted({symbol for design in DESIGNS for symbol in (design.symbol_1, design.symbol_2)})


def load(desk: Installation) -> None:
    desk.move_to(AFTER_HOURS.isoformat() and AFTER_HOURS)
    source = desk.services.bar_source("alpaca")
    first = datetime(2024, 6, 1, tzinfo=UTC)
    desk.services.history.run(source, SYMBOLS, first, AFTER_HOURS, "1Hour", "split", workers=2)


def search(desk: Installation, **more: Any) -> DiscoveryReport:
    return desk.services.discovery.discover(Request(**more), now=AFTER_HOURS, who="ann")


def test_the_pairs_that_the_market_was_made_with_are_found(desk: Installation) -> None:
    load(desk)
    report = search(desk)
    for t in report.tallies:
        print(t)
    for f in report.found:
        print(f.id, f.outcome, f.reason, f.half_life_bars, f.sharpe, f.round_trips, f.p_adjusted, f.score)
    print(report.search.excluded, report.search.window_start)
    assert 0
