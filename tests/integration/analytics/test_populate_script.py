"""scripts/populate_technical_indicators.py as a person runs it: a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from src.services.analytics.domain.indicators import COLUMNS
from src.shared.domain.bars import DAILY, BarKind
from src.shared.infra.database.tables import technical_indicators
from src.shared.prefect.config import SOURCE_ROOT
from tests.conftest import TradingDatabase
from tests.fakes.bar_series import made_up
from tests.fakes.stored_market import store_bars
from tests.forked import run_script

SCRIPT = SOURCE_ROOT / "scripts" / "populate_technical_indicators.py"
KIND = BarKind(DAILY, "polygon", "split")
SERIES = {name: made_up(40, seed) for seed, name in enumerate(("KO", "PEP", "V", "XOM"))}

Environment = dict[str, str]


@pytest.fixture
def environment(trading_database: TradingDatabase, tmp_path: Path) -> Environment:
    return {
        **os.environ,
        "TRADEWINDS_HOME": str(tmp_path / "home"),
        "TRADEWINDS_DATABASE_URL": trading_database.app_url,
        "TRADEWINDS_INDICATORS_BATCH_SYMBOLS": "1",
    }


def populate(environment: Environment, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run_script(SCRIPT, *words, variables={**environment, **more}, folder=Path("/"))


def rows(engine: Engine) -> list[tuple[object, ...]]:
    t = technical_indicators.c
    query = select(t.symbol, t.bar_end, t.bar_recorded_at, *(t[name] for name in COLUMNS))
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(t.symbol, t.bar_end))]


def count(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(technical_indicators)).scalar_one())


def test_it_fills_shows_how_far_it_is_and_resumes_with_nothing_to_do(
    environment: Environment, engine: Engine
) -> None:
    store_bars(engine, KIND, SERIES)

    # As a person does: a fresh interpreter, somewhere else.
    dry = subprocess.run(
        [sys.executable, str(SCRIPT), "--dry-run"],
        env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (dry.returncode, dry.stdout) == (0, "160 rows to be written, 0 of 4 series were up to date.\n")
    assert count(engine) == 0

    done = populate(environment)
    assert (done.returncode, done.stdout) == (0, "160 rows written, 0 of 4 series were up to date.\n")
    assert count(engine) == 160

    again = populate(environment, "--resume", "--symbols", "KO,V", "--timeframe", "1Day")
    assert (again.returncode, again.stdout) == (0, "0 rows written, 2 of 2 series were up to date.\n")

    anew = populate(environment, "--symbols", "KO", "--from", str(SERIES["KO"].end[30])[:10])
    assert (anew.returncode, anew.stdout) == (0, "10 rows written, 0 of 1 series were up to date.\n")


def test_killed_in_the_middle_it_goes_on_where_it_was_and_ends_with_the_same_rows(
    environment: Environment, engine: Engine
) -> None:
    store_bars(engine, KIND, SERIES)
    populate(environment)
    undisturbed = rows(engine)
    with engine.begin() as connection:
        connection.execute(technical_indicators.delete())

    killed = populate(environment, FAILPOINT="analytics.before_indicators:kill:3")
    assert killed.returncode == -signal.SIGKILL
    assert count(engine) == 80

    resumed = populate(environment, "--resume")
    assert (resumed.returncode, resumed.stdout) == (0, "80 rows written, 2 of 4 series were up to date.\n")
    assert rows(engine) == undisturbed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--symbols", "NOPE"], "no bars (1Day, 1Hour) are stored of NOPE: load them first."),
        (["--symbols", "KO,'; DROP"], '"\'; DROP" is not a symbol'),
        (["--timeframe", "1Week"], "timeframe '1Week' has no indicators; name one of 1Day, 1Hour."),
        (
            ["--from", "2025-03-04", "--to", "2025-03-03"],
            "2025-03-04 is later than 2025-03-03: name the earlier day first.",
        ),
        (["--from", "yesterday"], "--from 'yesterday' is no day: write it like 2025-01-31."),
        (["--nonsense"], "No such option"),
    ],
)
def test_a_mistake_is_said_in_words_and_ends_with_two(
    environment: Environment, engine: Engine, words: list[str], said: str
) -> None:
    store_bars(engine, KIND, {"KO": SERIES["KO"]})

    ended = populate(environment, *words)

    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert count(engine) == 0


def test_a_setting_out_of_bounds_is_a_mistake_too(environment: Environment) -> None:
    ended = populate(environment, TRADEWINDS_INDICATORS_SMA_SHORT_BARS="60")

    assert ended.returncode == 2
    assert "TRADEWINDS_INDICATORS_SMA_SHORT_BARS" in ended.stderr and "must rise" in ended.stderr


def test_a_database_that_does_not_answer_is_one_line(environment: Environment) -> None:
    ended = populate(environment, TRADEWINDS_DATABASE_URL="postgresql://me@127.0.0.1:1/trading_system")

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and "does not answer" in ended.stderr


def test_what_fails_is_named_the_rest_is_done_and_the_end_is_one(
    environment: Environment, engine: Engine, trading_database: TradingDatabase
) -> None:
    store_bars(engine, KIND, SERIES)
    with engine.connect() as other:
        # Somebody else writes a series of PEP for longer than a statement may wait.
        other.execute(technical_indicators.insert().values(**standing_row("PEP")))
        ended = populate(environment, TRADEWINDS_DATABASE_STATEMENT_TIMEOUT_SECONDS="1")
        other.rollback()

    assert ended.returncode == 1
    assert "1Day of polygon, split, PEP: PostgreSQL: canceling statement due to statement timeout" in ended.stderr
    assert "1 series failed: run it again with --resume." in ended.stderr
    assert count(engine) == 120
    assert populate(environment, "--resume").returncode == 0
    assert count(engine) == 160


def standing_row(symbol: str) -> dict[str, object]:
    bars = SERIES[symbol]
    return {
        "symbol": symbol,
        "timeframe": KIND.timeframe,
        "vendor": KIND.vendor,
        "adjustment": KIND.adjustment,
        "bar_end": str(bars.end[0]) + "Z",
        "set_id": "x",
        "bar_recorded_at": str(bars.recorded_at[0]) + "Z",
    }
