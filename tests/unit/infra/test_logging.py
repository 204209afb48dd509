"""What reaches the console, the JSON file and a run's log, and what never does."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from src.config.settings import Settings, load_settings
from src.shared.infra.logging import add_run_log_sink, configure_logging
from src.shared.infra.redaction import Redactor, redactor_for

CANARY = "c4n4ry-s3cret/value+1"
DATABASE_CANARY = "hush%2Fhush"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", "/dev/null")
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWINDS_ALPACA_API_KEY", "PKCANARYCANARYCANARY")
    monkeypatch.setenv("TRADEWINDS_ALPACA_SECRET_KEY", CANARY)
    monkeypatch.setenv("TRADEWINDS_DATABASE_URL", f"postgresql://me:{DATABASE_CANARY}@db.example/trading_system")
    return load_settings()


@pytest.fixture
def console(settings: Settings) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers = logging.getLogger().handlers[:]
    level = logging.getLogger().level
    configure_logging(settings, "probe", console=stream)
    yield stream
    logger.remove()
    logger.configure(patcher=lambda _: None)
    logging.captureWarnings(False)
    logging.basicConfig(handlers=handlers, level=level, force=True)


def test_no_secret_reaches_console_or_file_by_any_way(console: io.StringIO, tmp_path: Path) -> None:
    logger.info("message {}", CANARY)
    logger.bind(extra=CANARY, nested={"list": [CANARY], "password": "short"}).info("extra")
    logging.getLogger("some.library").warning("from the library: %s", CANARY)
    logger.info("connecting to postgresql://me:hush%2Fhush@db.example and hush/hush")
    try:
        _fail_with(CANARY)
    except ValueError:
        logger.exception("it failed")

    written = console.getvalue() + _file(tmp_path).read_text()
    for secret in (CANARY, "hush%2Fhush", "hush/hush", '"short"'):
        assert secret not in written
    assert "ValueError" in console.getvalue()
    assert "from the library: ***" in console.getvalue()
    assert written.count("***") >= 8


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("APCA-API-SECRET-KEY: abcdef123", "APCA-API-SECRET-KEY: ***"),
        ("{'APCA-API-KEY-ID': 'abcdef'}", "{'APCA-API-KEY-ID': '***'}"),
        ("password=hunter2 next", "password=*** next"),
        ("smtp_password: hunter2", "smtp_password: ***"),
        ("GET /v2/aggs?apiKey=abc&limit=5", "GET /v2/aggs?apiKey=***&limit=5"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("redis://:word@127.0.0.1:6380/0", "redis://:***@127.0.0.1:6380/0"),
        ("key PKABCDEFGHIJ12345678 rejected", "key *** rejected"),
        ("key AKABCDEFGHIJ12345678 rejected", "key *** rejected"),
        (
            "PKG bought 5 of AKAM at http://127.0.0.1:4200/api",
            "PKG bought 5 of AKAM at http://127.0.0.1:4200/api",
        ),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_the_rest_is_kept(text: str, kept: str) -> None:
    assert Redactor()(text) == kept


def test_every_secret_of_the_settings_is_known(settings: Settings) -> None:
    redact = redactor_for(settings)

    assert redact(f"<{CANARY}> <hush/hush> <hush%2Fhush>") == "<***> <***> <***>"


def test_a_line_of_the_file_is_json_with_its_parts(console: io.StringIO, tmp_path: Path) -> None:
    logger.bind(slot="2026-11-20T21:00:00Z", symbol="AAPL").warning("look")
    logging.getLogger("some.library").info("said")

    ours, theirs = _lines(tmp_path)

    assert (ours["level"], ours["service"], ours["message"]) == ("WARNING", "probe", "look")
    assert ours["extra"] == {"slot": "2026-11-20T21:00:00Z", "symbol": "AAPL"}
    assert datetime.fromisoformat(ours["time"]).utcoffset() == timedelta(0)
    assert theirs["logger"] == "some.library"


def test_a_stream_that_is_no_terminal_gets_no_colour(console: io.StringIO) -> None:
    logger.error("plain")

    assert "\x1b[" not in console.getvalue()


def test_yesterdays_lines_are_put_away_and_old_files_go(console: io.StringIO, tmp_path: Path) -> None:
    logger.info("yesterday")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    os.utime(_file(tmp_path), (yesterday.timestamp(), yesterday.timestamp()))
    ages = {days: _rotated(tmp_path, days) for days in (29, 31)}
    for path in ages.values():
        path.write_text("{}\n")

    logger.info("today")

    assert [line["message"] for line in _lines(tmp_path)] == ["today"]
    assert "yesterday" in _rotated(tmp_path, 1).read_text()
    assert ages[29].exists()
    assert not ages[31].exists()


def test_processes_that_log_at_once_over_a_turn_over_lose_and_break_no_line(
    console: io.StringIO, settings: Settings, tmp_path: Path
) -> None:
    logger.info("old")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    os.utime(_file(tmp_path), (yesterday.timestamp(), yesterday.timestamp()))
    code = (
        "from src.config.settings import load_settings\n"
        "from src.shared.infra.logging import configure_logging\n"
        "from loguru import logger; import os\n"
        "configure_logging(load_settings(), 'probe')\n"
        "for n in range(200): logger.info('{} {}', os.getpid(), 'x' * 300)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]

    assert len(_lines(tmp_path)) == 600
    assert len(_rotated(tmp_path, 1).read_text().splitlines()) == 1


def test_a_run_log_gets_mapped_levels_and_redacted_text(console: io.StringIO) -> None:
    seen: list[tuple[int, str]] = []
    handler = add_run_log_sink(lambda level, text: seen.append((level, text)), level="TRACE")

    logger.trace("t")
    logger.success("s {}", CANARY)
    try:
        _fail_with(CANARY)
    except ValueError:
        logger.exception("failed")
    logger.remove(handler)

    assert [level for level, _ in seen] == [5, 20, 40]
    assert seen[1][1] == "s ***"
    assert "ValueError: ***" in seen[2][1]
    assert CANARY not in str(seen)


def test_a_run_log_that_writes_to_standard_logging_does_not_go_round(console: io.StringIO) -> None:
    seen: list[str] = []

    def emit(level: int, text: str) -> None:
        seen.append(text)
        logging.getLogger("prefect.flow_runs").log(level, text)
        logging.getLogger("another").log(level, text)

    handler = add_run_log_sink(emit)
    logger.info("once")
    logging.getLogger("prefect.worker").warning("prefect's own")
    logger.remove(handler)

    assert seen == ["once"]
    assert console.getvalue().count("once") == 1
    assert "prefect's own" in console.getvalue()


def _fail_with(secret: str) -> None:
    raise ValueError(secret)


def _file(home: Path) -> Path:
    return home / "logs" / "tradewinds-probe.jsonl"


def _rotated(home: Path, days: int) -> Path:
    day = (datetime.now(UTC) - timedelta(days=days)).date()
    return home / "logs" / f"tradewinds-probe.{day.isoformat()}.jsonl"


def _lines(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _file(home).read_text().splitlines()]
