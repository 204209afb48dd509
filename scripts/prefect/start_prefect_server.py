"""Start the Prefect server in the foreground: API and UI, on PostgreSQL."""

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.config.settings import load_settings
from src.shared.prefect.config import LOOPBACK
from src.shared.prefect.scripts import run_script
from src.shared.prefect.server import serve


def start(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    port: Annotated[int | None, typer.Option(help="Port; default TRADEWINDS_PREFECT_PORT.")] = None,
) -> None:
    """Start the Prefect server in the foreground; Ctrl-C stops it."""
    serve(load_settings(), host=host, port=port)


if __name__ == "__main__":
    run_script(start)
