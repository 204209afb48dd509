from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.shared.prefect.config import SOURCE_ROOT
from src.shared.prefect.work_pools import POOLS

COMMANDS = {
    "src.services.execution.main": "listen",
    "src.services.notification.main": "serve",
    "src.services.strategy_engine.main": "serve",
}


def run(module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "TRADEWINDS"))}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=SOURCE_ROOT,
        env=clean | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", sorted(set(POOLS.values()) - COMMANDS.keys()))
def test_a_main_without_a_run_says_what_it_is_for_and_fails(module: str, tmp_path: Path) -> None:
    done = run(module, TRADEWINDS_ENV_FILE=str(tmp_path / "none"))

    assert done.returncode not in {0, 1}
    assert "start_prefect_worker.py" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("module", "command"), COMMANDS.items())
def test_a_main_that_has_commands_offers_them_without_a_run(module: str, command: str, tmp_path: Path) -> None:
    done = run(module, TRADEWINDS_ENV_FILE=str(tmp_path / "none"))

    assert done.returncode == 2
    assert command in done.stdout
    assert "Traceback" not in done.stderr


def test_a_boot_that_fails_never_leaves_with_0(tmp_path: Path) -> None:
    done = run(
        "src.services.execution.main",
        PREFECT__FLOW_RUN_ID="5b1e8c1e-0000-4000-8000-000000000000",
        PREFECT_API_URL="http://127.0.0.1:1/api",
        TRADEWINDS_ENV_FILE=str(tmp_path / "none"),
        TRADEWINDS_LOG_LEVEL="LOUD",
    )

    assert done.returncode == 78
    assert "execution could not boot: TRADEWINDS_LOG_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_no_server_knows_never_leaves_with_0(tmp_path: Path) -> None:
    done = run(
        "src.services.execution.main",
        PREFECT__FLOW_RUN_ID="no-uuid",
        PREFECT_API_URL="http://127.0.0.1:1/api",
        PREFECT_HOME=str(tmp_path),
        TRADEWINDS_ENV_FILE=str(tmp_path / "none"),
    )

    assert done.returncode == 1


def test_booting_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, src.shared.infra.flow_run;"
            "print(*{'prefect', 'pandas', 'numpy', 'sqlalchemy', 'httpx', 'typer'} & set(sys.modules))",
        ],
        cwd=SOURCE_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == []
