"""The script that loads past bars, as a process, against the twin: what it says, how it ends, killed in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from src.shared.prefect.config import SOURCE_ROOT
from tests.fakes.desk import Installation
from tests.forked import run_script

SCRIPT = SOURCE_ROOT / "scripts" / "load_historical_data.py"
WINDOW = ("--from", "2024-11-01", "--to", "2025-02-28")


FINISHED = """
    SELECT symbols[1], window_start, window_end FROM data_ingestion.load_run WHERE state IN ('complete', 'partial')
"""


def load(*words: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    return run_script(SCRIPT, *words, variables={**os.environ, "FAILPOINT": failpoint}, folder=SOURCE_ROOT)


def rows(desk: Installation, sql: str) -> list[tuple[Any, ...]]:
    with desk.services.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def bars(desk: Installation) -> list[tuple[Any, ...]]:
    return rows(
        desk,
        "SELECT symbol, timeframe, vendor, adjustment, bar_start, bar_end, open, high, low, close, volume"
        " FROM data_ingestion.market_data ORDER BY symbol, timeframe, adjustment, bar_end",
    )


def test_it_brings_what_is_missing_and_says_how_much(desk: Installation) -> None:
    first = load("--vendor", "alpaca", "--symbols", "KELV,KYLO", *WINDOW)
    second = load("--vendor", "alpaca", "--symbols", "KELV,KYLO", *WINDOW)
    again = load("--vendor", "alpaca", "--symbols", "KELV,KYLO", *WINDOW, "--no-resume")

    count = len(bars(desk))
    assert (first.returncode, second.returncode, again.returncode) == (0, 0, 0), first.stderr
    assert count > 0
    assert f"{count} new" in first.stdout
    assert "0 new" in second.stdout
    assert f"0 new, 0 restated, {count} unchanged" in again.stdout
    assert {row[:4] for row in bars(desk)} == {(symbol, "1Hour", "alpaca", "split") for symbol in ("KELV", "KYLO")}


def test_what_a_run_would_ask_for_is_said_and_nothing_is_written(desk: Installation) -> None:
    words = ("--vendor", "alpaca", "--symbols", "KELV", *WINDOW, "--timeframe", "1Day", "--dry-run")
    # As a person does: a fresh interpreter, somewhere else.
    said = subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd="/", capture_output=True, text=True, check=False, timeout=120
    )

    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("KELV: 2024-11-01 13:30 to 2025-02-28 21:00Z")
    assert rows(desk, "SELECT 1 FROM data_ingestion.load_run") == []


def test_symbols_come_from_a_file_and_days_in_any_adjustment(desk: Installation, tmp_path: Path) -> None:
    listed = tmp_path / "symbols.txt"
    listed.write_text("KELV  # the first\n\n# none\nKYLO\n")
    words = ("--symbols-file", str(listed), "--timeframe", "1Day", "--adjustment", "raw")

    said = load("--vendor", "alpaca", *words, *WINDOW)

    assert said.returncode == 0, said.stderr
    assert {row[:4] for row in bars(desk)} == {(symbol, "1Day", "alpaca", "raw") for symbol in ("KELV", "KYLO")}


def test_some_that_fail_are_listed_and_it_ends_with_one(desk: Installation) -> None:
    said = load("--vendor", "alpaca", "--symbols", "KELV,NOSUCH", *WINDOW)

    assert said.returncode == 1
    assert "NOSUCH: UnknownSymbol: alpaca does not know the symbol NOSUCH" in said.stderr
    assert {row[0] for row in bars(desk)} == {"KELV"}


WRONG = {
    "at least one symbol": ("--vendor", "alpaca", "--symbols", "", *WINDOW),
    "does not know NOSUCH": ("--vendor", "alpaca", "--symbols", "NOSUCH", *WINDOW),
    "no length": ("--vendor", "alpaca", "--symbols", "KELV", "--from", "2025-02-28", "--to", "2024-11-01"),
    "--from 'yesterday' is no day": ("--vendor", "alpaca", "--symbols", "KELV", "--from", "yesterday"),
    "--to '9999-12-31' is too far away": (
        *("--vendor", "alpaca", "--symbols", "KELV"),
        *("--from", "2025-02-28", "--to", "9999-12-31"),
    ),
    "can't be read": ("--vendor", "alpaca", "--symbols-file", "/no/such/file", *WINDOW),
    "someone": ("--vendor", "someone", "--symbols", "KELV", *WINDOW),
}


def test_a_wrong_word_is_one_line_and_code_two(desk: Installation) -> None:
    for told, words in WRONG.items():
        said = load(*words)

        assert (said.returncode, len(said.stderr.strip().splitlines())) == (2, 1), said.stderr
        assert told in said.stderr
    assert bars(desk) == []


@pytest.mark.parametrize(
    "place",
    [
        "data_ingestion.history_begun:kill:2",
        "data_ingestion.before_history:kill:2",
        "data_ingestion.history_stored:kill:1",
    ],
)
def test_a_load_that_was_killed_goes_on_where_it_was_and_ends_with_the_same_rows(
    desk: Installation, place: str
) -> None:
    words = ("--vendor", "alpaca", "--symbols", "KELV,KYLO,VUNO", "--workers", "1", *WINDOW)
    killed = load(*words, failpoint=place)
    left, finished = len(bars(desk)), set(rows(desk, FINISHED))

    resumed = load(*words)
    after = bars(desk)

    assert killed.returncode == -signal.SIGKILL
    assert resumed.returncode == 0, resumed.stderr
    assert 0 < left < len(after)
    # What was finished was not asked for again: each window has one load that came to an end.
    ended = rows(desk, FINISHED)
    assert finished < set(ended)
    assert len(ended) == len(set(ended))
    with desk.services.engine.begin() as connection:
        connection.execute(text("DELETE FROM data_ingestion.market_data"))
        connection.execute(text("DELETE FROM data_ingestion.load_run"))
    assert load(*words).returncode == 0
    assert bars(desk) == after


@pytest.mark.parametrize("place", ["data_ingestion.before_rebase:kill", "data_ingestion.rebased:kill"])
def test_a_kill_while_a_series_is_put_on_another_basis_leaves_one_basis(desk: Installation, place: str) -> None:
    earlier = ("--vendor", "alpaca", "--symbols", "KELV", "--from", "2024-11-01", "--to", "2025-02-27")
    assert load(*earlier).returncode == 0
    before = {row[5]: row[9] for row in bars(desk)}
    desk.twin.admin.post(
        "corporate-actions", type="forward_split", symbol="KELV", ex_date="2025-03-04", old_rate=1, new_rate=2
    )
    desk.move_to(datetime(2025, 3, 4, 16, 30, tzinfo=UTC))
    words = ("--vendor", "alpaca", "--symbols", "KELV", *WINDOW)

    killed = load(*words, failpoint=place)
    between = {round(before[row[5]] / row[9], 2) for row in bars(desk) if row[5] in before}
    resumed = load(*words)
    after = {round(before[row[5]] / row[9], 2) for row in bars(desk) if row[5] in before}

    assert killed.returncode == -signal.SIGKILL
    assert resumed.returncode == 0, resumed.stderr
    assert between == ({1.0} if "before" in place else {2.0})
    assert after == {2.0}
    assert rows(desk, "SELECT symbol FROM data_ingestion.series_rebase") == [("KELV",)]
