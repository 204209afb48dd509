"""What the command line does with what people type."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from src.config.settings import load_settings
from src.services.cli.commands.run_flow import check_parameters, choose, parse_parameters, refusal
from src.services.cli.diagnosis import unknown_variables
from src.services.cli.env_example import render
from src.shared.domain.errors import InputInvalid

ROOT = Path(__file__).resolve().parents[3]
DEPLOYED = ["discover-pairs/nightly", "trade-cycle/hourly", "trade-cycle/manual", "report/daily"]


def test_the_example_of_settings_is_up_to_date() -> None:
    assert (ROOT / "deployment" / "env.example").read_text() == render(), (
        "run: tradewinds doctor --env-example > deployment/env.example"
    )


def test_the_example_of_settings_can_be_loaded_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", "/dev/null")
    plain = load_settings()
    (tmp_path / ".env").write_text(render())
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", str(tmp_path / ".env"))

    assert load_settings() == plain


@pytest.mark.parametrize(
    ("pair", "parameters"),
    [
        ("n=3", {"n": 3}),
        ("symbol=AAPL", {"symbol": "AAPL"}),
        ('pairs=["A", "B"]', {"pairs": ["A", "B"]}),
        ("on=true", {"on": True}),
        ("text=a=b", {"text": "a=b"}),
        ("empty=", {"empty": ""}),
    ],
)
def test_a_parameter_is_json_or_text(pair: str, parameters: dict[str, Any]) -> None:
    assert parse_parameters([pair]) == parameters


@pytest.mark.parametrize("pair", ["n", "=3", ""])
def test_a_parameter_without_name_or_equals_sign_is_refused(pair: str) -> None:
    with pytest.raises(InputInvalid, match="name=value"):
        parse_parameters([pair])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("discover-pairs", "discover-pairs/nightly"),
        ("daily", "report/daily"),
        ("trade-cycle/manual", "trade-cycle/manual"),
    ],
)
def test_a_flow_is_found_by_flow_deployment_or_both(wanted: str, found: str) -> None:
    assert choose(wanted, DEPLOYED) == found


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("discover-pair", "Nearest: discover-pairs"),
        ("trade-cycle", "trade-cycle/hourly, trade-cycle/manual"),
        ("zzz", "There are daily, discover-pairs, hourly"),
    ],
)
def test_an_unknown_or_ambiguous_flow_gets_the_names_that_exist(wanted: str, says: str) -> None:
    with pytest.raises(InputInvalid, match=says):
        choose(wanted, DEPLOYED)


def test_an_unknown_parameter_gets_the_nearest_name() -> None:
    schema: dict[str, Any] = {"properties": {"lookback_days": {}, "symbol": {}}}

    check_parameters({"symbol": "A"}, schema)
    with pytest.raises(InputInvalid, match=r"no parameter 'lookback'. Nearest: lookback_days"):
        check_parameters({"lookback": 3}, schema)


def test_a_mistyped_variable_is_noticed_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("TRADEWINDS_STRATGY_ENTRY_Z=3\nTRADEWINDS_REDIS_PORT=7001\n")
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("TRADEWINDS_REDISPORT", "7002")

    found = {finding.name: finding.mend for finding in unknown_variables(load_settings())}

    assert found == {
        "TRADEWINDS_STRATGY_ENTRY_Z": "Did you mean TRADEWINDS_STRATEGY_ENTRY_Z?",
        "TRADEWINDS_REDISPORT": "Did you mean TRADEWINDS_REDIS_PORT?",
    }


def test_a_persons_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = _tradewinds("status", tmp_path, TRADEWINDS_REDIS_PORT="many")

    assert result.returncode == 2
    assert result.stderr.startswith("error: TRADEWINDS_REDIS_PORT")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_status_of_an_empty_folder_is_exit_code_1_and_makes_nothing(tmp_path: Path) -> None:
    result = _tradewinds("status", tmp_path)

    assert result.returncode == 1
    assert "stopped" in result.stdout
    assert not (tmp_path / "home").exists()


def test_down_where_nothing_ever_ran_is_no_error(tmp_path: Path) -> None:
    result = _tradewinds("down", tmp_path)

    assert result.returncode == 0
    assert "Nothing runs" in result.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nonsense", "error: No such command 'nonsense'. See `tradewinds --help`."),
        ("positions extra", "error: Got unexpected extra argument(s) (extra) See `tradewinds positions --help`."),
        ("pairs rebase A/B", "error: Missing option '--why'. See `tradewinds pairs rebase --help`."),
        ("trades --last 0", "--last"),
    ],
)
def test_words_that_no_command_knows_are_one_line_and_exit_code_2(words: str, says: str, tmp_path: Path) -> None:
    result = _tradewinds(words, tmp_path)

    assert (result.returncode, result.stderr.count("\n"), result.stdout) == (2, 1, "")
    assert says in result.stderr


def test_a_group_without_a_command_shows_its_help(tmp_path: Path) -> None:
    result = _tradewinds("risk", tmp_path)

    assert (result.returncode, result.stderr) == (2, "")
    assert "Usage" in result.stdout


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from src.services.cli.main import application; application()\n"
        "heavy = {'prefect', 'sqlalchemy', 'redis', 'pandas', 'httpx', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )

    assert result.stdout.strip() == "[]"


def _tradewinds(command: str, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWINDS_")}
    ours = {"TRADEWINDS_HOME": str(tmp_path / "home"), "TRADEWINDS_ENV_FILE": "/dev/null"}
    return subprocess.run(
        [sys.executable, "-m", "src.services.cli.main", *command.split()],
        env={**kept, **ours, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_value_that_does_not_fit_the_flow_is_a_persons_mistake_in_one_line() -> None:
    detail = "Error creating flow run: Validation failed for field 'symbols'.\nFailure reason: 'spy' is not valid"

    refused = refusal(_answer(409, {"detail": detail}))

    assert isinstance(refused, InputInvalid)
    assert str(refused) == "--param: Validation failed for field 'symbols'. Failure reason: 'spy' is not valid."


def test_any_other_answer_of_the_server_stays_what_it_is() -> None:
    error = _answer(500, {})

    assert refusal(error) is error


def test_doctor_cuts_no_setting_short_on_a_narrow_screen(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRADEWINDS_", "PREFECT_"))}
    own = {"TRADEWINDS_HOME": str(tmp_path), "TRADEWINDS_ENV_FILE": "/dev/null", "COLUMNS": "80"}
    ports = {f"TRADEWINDS_{name}_PORT": "1" for name in ("PREFECT", "TWIN")}
    shown = subprocess.run(
        [sys.executable, "-m", "src.services.cli.main", "doctor"],
        cwd=ROOT,
        env={**kept, **own, **ports},
        capture_output=True,
        text=True,
        check=False,
    )

    assert shown.returncode == 1, shown.stderr
    names = [line.partition("=")[0] for line in render().splitlines() if line.startswith("TRADEWINDS_")]
    assert [name for name in names if f" {name} " not in shown.stdout] == []


def _answer(status: int, body: dict[str, Any]) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://server/api")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, json=body, request=request))
