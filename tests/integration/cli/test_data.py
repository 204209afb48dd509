"""`tradewinds data` and what `pairs` say of bars that are not sound, typed, on a real PostgreSQL and a twin."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import insert, text

from src.shared.domain.bars import HOURLY, BarColumns, Series, as_moments
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.tables import data_quarantine
from src.shared.prefect.tasks.wiring import services
from tests.fakes.desk import FIRST, PAIR, SECOND, SLOT, Installation
from tests.fakes.stored_market import store_earnings, store_series
from tests.unit.data_ingestion.series import walk

TRADED = Series(FIRST, HOURLY, "alpaca", "split")
BARS = 300
HOLE = slice(100, 140)
DAYS = ("--from", "2025-01-01", "--to", "2025-03-03")


def bars() -> BarColumns:
    spans = TradingCalendar().last_spans(SLOT, BARS)
    moments = as_moments([start for start, _ in spans]), as_moments([end for _, end in spans])
    return BarColumns(FIRST, *moments, *walk(BARS, seed=5))


def store(desk: Installation, *, hole: bool, vendor: str = "alpaca") -> None:
    kept = np.ones(BARS, dtype=bool)
    kept[HOLE] = not hole
    store_series(desk.services.engine, replace(TRADED, vendor=vendor), bars().take(kept))


def words(table: str) -> str:
    """Read a table without its lines."""
    return " ".join(table.replace("│", " ").split())


def listed(desk: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(desk.tradewinds("data", "status", "--json").out)
    return found


def test_what_is_stored_is_shown_and_a_block_is_exit_code_1(desk: Installation) -> None:
    nothing = desk.tradewinds("data", "status")
    store(desk, hole=True)
    before = desk.tradewinds("data", "status")
    judged = desk.tradewinds("data", "validate")
    after = desk.tradewinds("data", "status", "--symbols", f"{FIRST}, {SECOND}")

    assert (nothing.code, nothing.out) == (0, "No such bars are stored.\n")
    assert (before.code, judged.code, after.code) == (0, 1, 1)
    assert "not judged yet" in before.out
    for shown in (judged.out, after.out):
        assert "block hole a hole of 40 bars, 2025-01-17 18:30Z to 2025-01-28 16:30Z" in words(shown)
    assert "260 of" in after.out
    (status,) = listed(desk)
    assert (status["bars"], status["missing"], status["longest_hole_bars"], status["blocks"]) == (260, 40, 40, True)
    assert [fault["rule"] for fault in status["faults"]] == ["completeness", "hole"]
    assert desk.tradewinds("data", "status", "--vendor", "yahoo").code == 0


def test_a_series_is_repaired_and_sound_again_and_shown_to_be_so(desk: Installation) -> None:
    store(desk, hole=True)
    store(desk, hole=False, vendor="polygon")
    command = ("data", "repair", "--symbols", FIRST, *DAYS)
    refused = desk.tradewinds(*command, "--vendor-2", "yahoo")
    tried = desk.tradewinds(*command, "--dry-run", "--vendor-2", "polygon")
    assert listed(desk)[0]["missing"] == 40

    done = desk.tradewinds(*command, "--who", "ada")

    assert (refused.code, tried.code, done.code) == (1, 0, 0)
    assert "no 1Hour bars by yahoo" in words(refused.out)
    assert ("Would be filled" in tried.out, "Repaired" in done.out) == (True, True)
    traded = listed(desk)[0]
    assert (traded["missing"], traded["repaired"], traded["blocks"]) == (0, 40, False)
    assert [(who, what) for who, what, _, _ in desk.audits()] == [("ada", "bars repaired")]


def test_rejected_rows_are_shown_with_their_reasons(desk: Installation) -> None:
    row = {
        "quarantine_id": uuid4(), "load_run_id": uuid4(), "vendor": "polygon", "dataset": "bars", "symbol": FIRST,
        "timeframe": HOURLY, "bar_end": SLOT, "rule": "spike", "reason": "a [red] spike", "raw": {"close": 1e6},
    }  # fmt: skip
    nothing = desk.tradewinds("data", "quarantine")
    with desk.services.engine.begin() as connection:
        connection.execute(insert(data_quarantine).values(**row))

    shown, of_another = (desk.tradewinds("data", "quarantine", *more) for more in ((), ("--vendor", "yahoo")))

    assert (nothing.out, of_another.out) == ("No row was rejected.\n",) * 2
    assert "a [red] spike" in shown.out
    assert json.loads(desk.tradewinds("data", "quarantine", "--json").out)[0]["raw"] == {"close": 1e6}


def test_quotes_are_those_of_the_broker_and_one_that_is_not_there_is_named(desk: Installation) -> None:
    shown = desk.tradewinds("data", "quotes", "--symbols", f"{SECOND},{FIRST}")
    (first, second) = json.loads(desk.tradewinds("data", "quotes", "--symbols", f"{FIRST},{SECOND}", "--json").out)
    lacking = desk.tradewinds("data", "quotes", "--symbols", f"{FIRST},ZZZZ")

    assert (shown.code, lacking.code, lacking.err) == (0, 1, "No quote of ZZZZ.\n")
    assert [first["symbol"], second["symbol"]] == sorted([FIRST, SECOND])
    assert 0 < float(first["bid"]) < float(first["ask"])
    assert all(each["bid"] in shown.out and each["ask"] in shown.out for each in (first, second))


def test_days_of_earnings_are_shown_as_they_were_told(desk: Installation) -> None:
    nothing = desk.tradewinds("data", "earnings")
    store_earnings(desk.services.engine, FIRST, SLOT.date() + timedelta(days=3))
    store_earnings(desk.services.engine, SECOND, SLOT.date() - timedelta(days=15))
    shown = desk.tradewinds("data", "earnings")
    (told,) = json.loads(desk.tradewinds("data", "earnings", "--symbols", FIRST, "--json").out)

    assert (nothing.code, nothing.out) == (0, "No day of earnings is known.\n")
    assert (FIRST in shown.out, SECOND in shown.out) == (True, False)
    assert told["day"] == {"first_day": "2025-03-06", "last_day": "2025-03-06", "is_estimate": False}
    assert told["withdrawn_at"] is None


MISTAKES = [
    (["quotes", "--symbols", "KO;PEP"], "is not a symbol"),
    (["quotes", "--symbols", ","], "at least one symbol"),
    (["status", "--symbols", "../orders"], "is not a symbol"),
    (["validate", "--symbols", "KO;PEP"], "is not a symbol"),
    (["quarantine", "--symbols", "a'; DROP"], "is not a symbol"),
    (["quarantine", "--last", "0"], "--last"),
    (["earnings", "--symbols", "KO;PEP"], "is not a symbol"),
    (["repair", "--symbols", "", *DAYS], "at least one symbol"),
    (["repair", "--symbols", FIRST, "--from", "yesterday", "--to", "2025-03-03"], "--from 'yesterday' is no day"),
    (["repair", "--symbols", FIRST, "--from", "2025-03-03", "--to", "2025-03-01"], "before it begins"),
    (["repair", "--symbols", FIRST, "--from", "2025-03-03", "--to", "2031-03-01"], "has not come yet"),
    (["repair", "--symbols", FIRST, *DAYS, "--vendor-2", "alpaca"], "name another vendor"),
    (["repair", "--symbols", "ZZZZ", *DAYS], "nothing to repair"),
    (["repair", "--symbols", FIRST], "--from"),
]


def test_a_mistake_is_one_line_and_code_2(desk: Installation) -> None:
    for words, told in MISTAKES:
        said = desk.tradewinds("data", *words)
        assert (said.code, said.err.count("\n"), told in said.err) == (2, 1, True), (words, said)


def test_the_status_is_told_while_the_broker_is_away(desk: Installation) -> None:
    store(desk, hole=False)
    desk.monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", "http://127.0.0.1:1")
    desk.services.engine.dispose()
    services.cache_clear()

    assert desk.tradewinds("data", "status", "--json").code == 0


@pytest.mark.parametrize("judged", [True, False], ids=["known", "found by pairs add itself"])
def test_a_pair_is_not_fitted_on_bars_that_block(desk: Installation, judged: bool) -> None:
    desk.services.ingestion.fetch_bars([FIRST, SECOND], SLOT, BARS)
    ruin = text(
        "DELETE FROM data_ingestion.market_data WHERE symbol = :symbol AND bar_end < :until AND bar_end > :since"
    )
    span = {"symbol": FIRST, "since": SLOT - timedelta(days=30), "until": SLOT - timedelta(days=20)}
    with desk.services.engine.begin() as connection:
        connection.execute(ruin, span)
    if judged:
        desk.services.quality.validate([], SLOT)

    said = desk.tradewinds("pairs", "add", PAIR, "--bars", str(BARS))

    assert said.code == 1
    assert f"The bars of {FIRST} can't be fitted on: a hole of" in words(said.out)
