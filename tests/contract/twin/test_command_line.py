from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from src.services.twin.main import app
from src.shared.infra.embedded.ports import free_port
from src.shared.prefect.config import SOURCE_ROOT

KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}


def start(port: int, store: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "src.services.twin.main", "serve", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--store", str(store), "--clock", "2025-03-03T15:30:05Z"], stdout=subprocess.DEVNULL
    )
    return wait_for(process, port)


def wait_for(process: subprocess.Popen[bytes], port: int) -> subprocess.Popen[bytes]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return process
    process.kill()
    raise AssertionError("the twin did not answer")


def test_an_order_answered_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    port = free_port()
    body = {"symbol": "KELV", "qty": 5, "side": "buy", "type": "market", "time_in_force": "day"}
    process = start(port, tmp_path)
    try:
        answer = httpx.post(f"http://127.0.0.1:{port}/v2/orders", json=body, headers=KEYS).json()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    process = start(port, tmp_path)
    try:
        found = httpx.get(f"http://127.0.0.1:{port}/v2/orders/{answer['id']}", headers=KEYS).json()
    finally:
        process.terminate()
        process.wait()

    assert (found["status"], found["filled_qty"]) == ("filled", "5")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bars", "nothing.parquet"], "no such file"),
        (["--clock", "tomorrow"], "--clock"),
        (["--clock", "1970-01-01"], "outside the calendar"),
        (["--faults", "nothing.toml"], "can't be read (No such file or directory)"),
    ],
)
def test_a_mistake_is_one_line_and_a_failure(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["serve", "--store", str(tmp_path), "--port", str(free_port()), *arguments])

    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


_SPLIT = 'type = "forward_split"\nsymbol = "KELV"\nnew_rate = 3\n'


def test_faults_of_a_file_that_can_not_be_used_stop_the_start(tmp_path: Path) -> None:
    for text, said in (
        ('[[fault]]\nkind = "drop"\nnth = 0\n', "rule 1 (drop): nth should be greater than or equal to 1"),
        ('[[fault]]\nkind = "drop"\nsymbol = "KELW"\n', "rule 1: symbol 'KELW' is unknown"),
        ("[[fault]\n", "line 1"),
        (
            '[[corporate_action]]\ntype = "forward_split"\nsymbol = "KELV"\n',
            "corporate action 1: ex_date: Field required",
        ),
        (
            f"[[corporate_action]]\n{_SPLIT}ex_date = 2025-03-03\n",
            "corporate action 1: the session of 2025-03-03 has begun",
        ),
        (
            f"[[corporate_action]]\n{_SPLIT}ex_date = 2025-03-04\nrates = 3\n",
            "corporate action 1: rates: Extra inputs",
        ),
    ):
        (tmp_path / "faults.toml").write_text(text)
        arguments = ["serve", "--store", str(tmp_path / "store"), "--faults", str(tmp_path / "faults.toml")]
        arguments += ["--clock", "2025-03-03T15:30:05Z"]
        result = CliRunner().invoke(app, [*arguments, "--port", str(free_port())])
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert said in result.stderr


def test_the_twin_of_the_tradewinds_command_lies_as_its_file_says(tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text('[[fault]]\nkind = "status"\nendpoint = "GET /v2/account"\nstatus = 502\n')
    port = free_port()
    command = [sys.executable, "-m", "src.services.cli.main", "twin", "serve", "--faults", "faults.toml"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SOURCE_ROOT)},
    )
    wait_for(process, port)
    try:
        account = httpx.get(f"http://127.0.0.1:{port}/v2/account", headers=KEYS)
        armed = httpx.get(f"http://127.0.0.1:{port}/admin/faults").json()
    finally:
        process.terminate()
        process.wait()

    assert account.status_code == 502
    assert [(rule["source"], rule["fired"]) for rule in armed] == [("file", 1)]
    assert (tmp_path / ".twin" / "twin.sqlite").is_file()


def test_a_port_in_use_is_one_line_and_a_failure(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = CliRunner().invoke(app, ["serve", "--store", str(tmp_path), "--port", str(other.getsockname()[1])])

    assert result.exit_code == 2
    assert "choose another with --port" in result.stderr


def test_a_store_of_another_market_or_unusable_is_refused(tmp_path: Path) -> None:
    from src.services.twin.adapters.store import Store

    store = Store(tmp_path / "other")
    store.note(market="synthetic-1-99")
    store.close()
    (tmp_path / "file").write_text("not a folder")

    for folder, said in ((tmp_path / "other", "synthetic-1-99"), (tmp_path / "file", "can't be used")):
        arguments = ["serve", "--store", str(folder), "--port", str(free_port())]
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, said in result.stderr) == (2, True)


def test_the_help_loads_nothing_heavy() -> None:
    heavy = "{'pandas', 'numpy', 'fastapi', 'uvicorn'}"
    code = f"import sys; import src.services.twin.main; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)

    assert out.stdout.strip() == "[]"
