"""The script as a person starts it: a process on a database and a twin, without a Prefect server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select, update
from sqlalchemy.pool import NullPool

from src.services.data_ingestion.adapters.load_runs import close_lost_runs
from src.shared.infra.database.tables import (
    company_info,
    company_load,
    dividends,
    institutional_holders,
    load_run,
    market_data,
    stock_splits,
)
from src.shared.prefect.config import SOURCE_ROOT
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.forked import run_script

SCRIPT = SOURCE_ROOT / "scripts" / "load_yahoo_data.py"
SATURDAY = "2025-03-08T15:00:00Z"


@dataclass(frozen=True)
class Script:
    """The script with its surroundings."""

    twin: TwinHandle
    database: TradingDatabase
    environment: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_script(SCRIPT, *words, variables=self.environment, folder=Path("/"))

    def count(self, table: Any) -> int:
        engine = create_engine(self.database.app_url, poolclass=NullPool)
        with engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def holders(self) -> dict[str, int]:
        """Count the holders of each company that has any."""
        name = institutional_holders.c.symbol
        return {row[0]: row[1] for row in self._ask(select(name, func.count()).group_by(name))}

    def told(self) -> set[str]:
        """Name the companies that count as loaded."""
        return {symbol for (symbol,) in self._ask(select(company_load.c.symbol))}

    def close_lost_loads(self) -> list[str]:
        """Let two days pass, close what was lost as each night's validation does, and list the states of loads."""
        engine = create_engine(self.database.app_url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(update(load_run).values(started_at=load_run.c.started_at - timedelta(days=2)))
            close_lost_runs(connection)
        return sorted(state for (state,) in self._ask(select(load_run.c.state)))

    def _ask(self, query: Any) -> list[Any]:
        engine = create_engine(self.database.app_url, poolclass=NullPool)
        with engine.connect() as connection:
            return list(connection.execute(query))


@pytest.fixture
def script(trading_database: TradingDatabase, tmp_path: Path) -> Iterator[Script]:
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "TRADEWINDS"))}
    with running_twin(clock="2025-03-03T15:30:05Z") as twin:
        company = {"symbol": "KELV"}
        twin.admin.post("corporate-actions", type="cash_dividend", ex_date="2025-03-05", rate="0.5", **company)
        twin.admin.post("corporate-actions", type="forward_split", ex_date="2025-03-06", new_rate="2", **company)
        twin.admin.move_clock(SATURDAY)
        ours = {
            "ENV_FILE": os.devnull,
            "HOME": str(tmp_path),
            "DATABASE_URL": trading_database.url(driver="libpq"),
            "ALPACA_BASE_URL": twin.url,
            "ALPACA_DATA_URL": twin.url,
            "YAHOO_BASE_URL": f"{twin.url}/yahoo",
            "YAHOO_REQUESTS_PER_MINUTE": "10000",
        }
        yield Script(twin, trading_database, theirs | {f"TRADEWINDS_{name}": value for name, value in ours.items()})


def test_everything_of_two_symbols_comes_and_a_second_time_nothing_is_written(script: Script) -> None:
    words = "--symbols", "KELV,KYLO", "--from", "2025-03-03"

    first = script.run(*words)
    second = script.run(*words)

    assert (first.returncode, first.stderr) == (0, "")
    assert "bars (split): 70 rows written, 0 rejected, 0 missing" in first.stdout
    assert script.count(market_data) == 2 * 2 * 35
    assert (script.count(company_info), script.count(institutional_holders)) == (2, 10)
    assert (script.count(dividends), script.count(stock_splits)) == (1, 1)
    assert second.returncode == 0
    assert "bars (split): 0 rows written" in second.stdout
    assert "holders: 0 of 2 were due, 0 rows changed" in second.stdout


def test_a_symbol_that_fails_is_listed_and_the_code_is_one(script: Script) -> None:
    done = script.run("--what", "information", "--symbols", "KELV,NOPE")

    assert done.returncode == 1
    assert "information, NOPE: Yahoo does not know NOPE" in done.stderr
    assert "Traceback" not in done.stderr
    assert script.count(company_info) == 1


@pytest.mark.parametrize("place", ["company_load_begun:kill", "before_company:kill:2"])
def test_a_load_of_companies_that_was_killed_shows_nothing_half_and_the_next_one_brings_the_rest(
    script: Script, place: str
) -> None:
    words = "--what", "holders", "--symbols", "KELV,KYLO,VUNO"

    killed = replace(script, environment=script.environment | {"FAILPOINT": f"data_ingestion.{place}"}).run(*words)
    left, told = script.holders(), script.told()
    states = script.close_lost_loads()
    resumed = script.run(*words)

    assert killed.returncode == -signal.SIGKILL
    assert set(left.values()) <= {5}
    # A company counts as loaded only together with its rows: what is missing is due again.
    assert set(left) == told
    assert len(told) < 3
    assert states == ["failed"]
    assert resumed.returncode == 0, resumed.stderr
    assert f"holders: {3 - len(told)} of 3 were due" in resumed.stdout
    assert script.holders() == dict.fromkeys(("KELV", "KYLO", "VUNO"), 5)
    assert script.close_lost_loads() == ["complete", "failed"]


def test_an_outage_is_a_line_and_the_code_is_one(script: Script) -> None:
    script.twin.admin.fault(kind="status", status=503, endpoint="GET /yahoo/*")

    done = script.run("--what", "information", "--symbols", "KELV")

    assert done.returncode == 1
    assert "information, all symbols: Yahoo answered HTTP 503" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_tells_and_asks_nothing(script: Script) -> None:
    script.twin.admin.fault(kind="latency", seconds=0, endpoint="GET /yahoo/*")

    words = ("--what", "bars,information", "--symbols", "KELV", "--from", "2025-03-03", "--dry-run")
    # As a person does: a fresh interpreter, somewhere else.
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env=script.environment, cwd="/", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "bars: hourly, split and raw, 2025-03-03 to 2025-03-08 15:00Z, of KELV",
        "information: KELV",
    ]
    assert script.twin.admin.faults()[0]["matched"] == 0
    assert script.count(market_data) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--what", "gossip", "--symbols", "KELV"], "--what 'gossip' can't be loaded"),
        (["--symbols", "../KELV"], "is not a symbol"),
        (["--symbols", "KELV", "--from", "soon"], "--from 'soon' is no day"),
        (["--symbols", "KELV", "--from", "2019-01-01"], "Yahoo keeps hourly bars for two years"),
        (["--symbols", "KELV", "--from", "2025-03-07", "--to", "2025-03-03"], "is not before --to"),
        ([], "no symbol is active: name some with --symbols"),
    ],
)
def test_a_wrong_word_is_one_line_and_the_code_is_two(script: Script, words: list[str], said: str) -> None:
    done = script.run(*words)

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
