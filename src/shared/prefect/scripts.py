"""What the scripts share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import typer

from src.config.settings import Settings, load_settings
from src.shared.domain.days import parse_day
from src.shared.domain.errors import InputInvalid, TradewindsError, UserError
from src.shared.infra.logging import configure_logging
from src.shared.infra.process_start import begin_process
from src.shared.prefect.config import SOURCE_ROOT, adopt, client_environment
from src.shared.prefect.tasks.wiring import Services, services


def run_script(command: Callable[..., Any]) -> None:
    """Run `command` with the options its parameters describe.

    A person's mistake is one line and code 2, another failure of ours one line and code 1.
    """
    _enter_source_root()
    try:
        begin_process()
        typer.run(command)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    except TradewindsError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        raise SystemExit(1) from None


def wired_for(script: str) -> Services:
    """Return the services, with a log of the script's name and nothing of what only a migration wants to say."""
    found = services()
    configure_logging(found.settings, script)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return found


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show on a terminal how many of `total` are done; what is yielded counts one."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(what, total=total)
        yield lambda: bars.advance(bar)


def parse_midnight(option: str, text: str) -> datetime:
    """Read a day such as 2025-01-31 as its first moment in UTC.

    Raises:
        InputInvalid: as `parse_day`.
    """
    return datetime.combine(parse_day(option, text), time(), UTC)


def listed_symbols(named: str, file: Path | None) -> list[str]:
    """Read symbols that are listed with commas, and those of a file with one on each line; a # begins a remark.

    Raises:
        InputInvalid: the file can't be read.
    """
    words = named.split(",")
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputInvalid(f"--symbols-file {file} can't be read: {error}") from None
        words += [line.partition("#")[0] for line in lines]
    return [word.strip() for word in words if word.strip()]


def settings_for_prefect() -> Settings:
    """Read the settings and set Prefect up from them; to be called before prefect is imported."""
    settings = load_settings()
    adopt(client_environment(settings))
    return settings


def _enter_source_root() -> None:
    # The clone's .env and state folder count, wherever a script is called from; what the caller named stays.
    for name in ("TRADEWINDS_HOME", "TRADEWINDS_ENV_FILE"):
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())
    os.chdir(SOURCE_ROOT)
