"""Loguru set up the same way in every process: a console for people, JSON lines for machines, no secrets.

Several processes may log under one service name: each line is one append to a file opened for that line, and
the daily turn-over happens under a lock, so no process writes into a file that another has put away.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from loguru import logger

from src.config.settings import Settings
from src.shared.infra.embedded.files import make_folder
from src.shared.infra.redaction import Redactor, redactor_for

if TYPE_CHECKING:
    from loguru import Message, Record

RunLog = Callable[[int, str], None]

_CONSOLE = "<dim>{time:HH:mm:ss}</dim> <level>{level: <8}</level> {message}"
_RUN_LEVELS = {"TRACE": 5, "SUCCESS": 20}
# What Prefect writes for a run has been through us or belongs to Prefect: it must not come back as our line.
_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect._internal", "prefect.logging")
_CHATTY = ("httpx", "httpcore", "urllib3", "asyncio", "websockets", "alembic.runtime.plugins")
_inside_run_log = threading.local()


def configure_logging(settings: Settings, service: str, *, console: TextIO | None = None) -> Redactor:
    """Send every log line of this process to the console and to ``<home>/logs/tradewinds-<service>.jsonl``.

    Replaces what was configured before. Lines of the standard library's ``logging`` are taken in too.

    Returns:
        The redactor in use, for texts that leave by other ways (mails, error pages).

    Raises:
        StateFolderUnusable: the log folder can't be written.
    """
    redact = redactor_for(settings)
    folder = make_folder(settings.home / "logs")
    stream = console or sys.stderr
    level = settings.logging.level
    logger.remove()
    logger.configure(patcher=_patcher(redact))
    logger.add(_console_sink(stream), level=level, format=_console_line, colorize=stream.isatty(), diagnose=False)
    file = _DailyFile(folder, f"tradewinds-{service}", settings.logging.retention_days)
    logger.add(_json_sink(file, service, redact), level=level, format=_no_text, diagnose=False, backtrace=False)
    _intercept_standard_logging(level)
    return redact


def add_run_log_sink(emit: RunLog, level: str = "INFO") -> int:
    """Send each line also to ``emit(level number, redacted text)`` in the thread and context that logged it.

    Levels that the standard library lacks are mapped: TRACE to 5, SUCCESS to 20. Lines of Prefect's own
    loggers are left out, and what ``emit`` logs itself does not come back.

    Returns:
        The handler's id, for ``loguru.logger.remove``.
    """

    def sink(message: Message) -> None:
        record = message.record
        _inside_run_log.active = True
        try:
            emit(_RUN_LEVELS.get(record["level"].name, record["level"].no), _text(record))
        finally:
            _inside_run_log.active = False

    # enqueue would move the call to a thread that knows no run
    return logger.add(sink, level=level, format=_no_text, enqueue=False, diagnose=False, filter=_not_from_prefect)


def _patcher(redact: Redactor) -> Callable[[Record], None]:
    def patch(record: Record) -> None:
        record["message"] = redact(record["message"])
        record["extra"] = cast("dict[Any, Any]", redact.structure(record["extra"]))
        cast("dict[str, Any]", record)["exception_text"] = redact(_exception_text(record))

    return patch


def _exception_text(record: Record) -> str:
    exception = record["exception"]
    if exception is None or exception.value is None:
        return ""
    return "".join(traceback.format_exception(exception.type, exception.value, exception.traceback))


def _text(record: Record) -> str:
    exception = str(cast("dict[str, Any]", record)["exception_text"]).rstrip()
    return f"{record['message']}\n{exception}" if exception else record["message"]


def _console_line(record: Record) -> str:
    # naming no {exception}: Loguru would render it again, with its secrets
    return f"{_CONSOLE}\n{{exception_text}}" if cast("dict[str, Any]", record)["exception_text"] else f"{_CONSOLE}\n"


def _console_sink(stream: TextIO) -> Callable[[Message], None]:
    def sink(message: Message) -> None:
        stream.write(str(message))
        stream.flush()

    return sink


def _json_sink(file: _DailyFile, service: str, redact: Redactor) -> Callable[[Message], None]:
    def sink(message: Message) -> None:
        record = message.record
        line = {
            "time": record["time"].astimezone(UTC).isoformat(),
            "level": record["level"].name,
            "service": service,
            "logger": record["name"],
            "function": record["function"],
            "line": record["line"],
            "process": record["process"].id,
            "message": record["message"],
            "extra": redact.structure(record["extra"]),
            "exception": cast("dict[str, Any]", record)["exception_text"] or None,
        }
        file.append(json.dumps(line, ensure_ascii=False, allow_nan=True), record["time"].astimezone(UTC).date())

    return sink


class _DailyFile:
    def __init__(self, folder: Path, stem: str, retention_days: int) -> None:
        self._folder = folder
        self._stem = stem
        self._path = folder / f"{stem}.jsonl"
        self._retention = timedelta(days=retention_days)

    def append(self, line: str, today: date) -> None:
        if self._day_of_file(today) < today:
            self._turn_over(today)
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{line}\n".encode(errors="replace"))
        finally:
            os.close(handle)

    def _day_of_file(self, today: date) -> date:
        try:
            return datetime.fromtimestamp(self._path.stat().st_mtime, UTC).date()
        except FileNotFoundError:
            return today

    def _turn_over(self, today: date) -> None:
        with (self._folder / f".{self._stem}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (day := self._day_of_file(today)) < today:
                self._path.rename(self._folder / f"{self._stem}.{day.isoformat()}.jsonl")
            for old in self._folder.glob(f"{self._stem}.????-??-??.jsonl"):
                if date.fromisoformat(old.name.removeprefix(f"{self._stem}.")[:10]) < today - self._retention:
                    old.unlink(missing_ok=True)


class _InterceptHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_RUN_LOGGERS) or getattr(_inside_run_log, "active", False):
            return
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        origin = {"name": record.name, "function": record.funcName, "line": record.lineno}
        logger.opt(exception=record.exc_info).patch(lambda ours: cast("dict[str, Any]", ours).update(origin)).log(
            level, record.getMessage()
        )


def _intercept_standard_logging(level: str) -> None:
    logging.basicConfig(handlers=[_InterceptHandler()], level=logger.level(level).no, force=True)
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _no_text(_: Record) -> str:
    return ""


def _not_from_prefect(record: Record) -> bool:
    return not (record["name"] or "").startswith("prefect")
