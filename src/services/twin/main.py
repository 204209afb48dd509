"""Start the twin: `python -m src.services.twin.main serve --port 4100 --store FOLDER`."""

from __future__ import annotations

import socket
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from src.shared.domain.errors import PortInUse, UserError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from src.services.twin.bootstrap import TwinConfig

HOST = "127.0.0.1"
app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def twin() -> None:
    """Stand in for the vendors on this machine: REST, websocket, a market and a clock to steer."""


@app.command()
def serve(
    store: Annotated[Path, typer.Option(help="Folder that keeps orders, fills and cash.")] = Path(".twin"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 4100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic market and of every chance.")] = 7,
    bars: Annotated[
        Path | None, typer.Option(help="Parquet or csv file of bars instead of the synthetic market.")
    ] = None,
    equity: Annotated[float, typer.Option(min=1, help="Opening cash in dollars.")] = 100_000.0,
    clock: Annotated[str, typer.Option(help="`wall`, or a time like 2025-03-03T14:30:00Z to stand at.")] = "wall",
    latency_ms: Annotated[float, typer.Option(min=0, help="Delay of every vendor answer.")] = 0.0,
    requests_per_minute: Annotated[int, typer.Option(min=0, help="Limit per key and host; 0 lifts it.")] = 200,
    polygon_requests_per_minute: Annotated[
        int, typer.Option(min=0, help="Polygon.io's limit per key; 0 lifts it.")
    ] = 5,
    partial_fill_probability: Annotated[
        float, typer.Option(min=0, max=1, help="Chance of a fill in two parts.")
    ] = 0.0,
    half_spread_bps: Annotated[float, typer.Option(min=0, max=500, help="Half of the spread.")] = 1.5,
    faults: Annotated[Path | None, typer.Option(help="TOML file of faults, in force from the start.")] = None,
) -> None:
    """Serve until stopped."""
    from src.services.twin.bootstrap import TwinConfig

    config = TwinConfig(
        store=store,
        seed=seed,
        bars=bars,
        equity=Decimal(str(equity)),
        clock=clock,
        latency_ms=latency_ms,
        requests_per_minute=requests_per_minute,
        polygon_requests_per_minute=polygon_requests_per_minute,
        partial_fill_probability=partial_fill_probability,
        half_spread_bps=half_spread_bps,
        faults=faults,
    )
    try:
        _serve(config, port)
    except UserError as exc:
        typer.echo(f"twin: {exc}", err=True)
        raise typer.Exit(2) from exc


def _serve(config: TwinConfig, port: int) -> None:
    import uvicorn

    from src.services.twin.bootstrap import build_app

    with listen(port) as listener:
        application = build_app(config)
        typer.echo(f"twin: serving on http://{HOST}:{port}")
        uvicorn.Server(server_config(application)).run([listener])


def server_config(application: FastAPI) -> uvicorn.Config:
    """Return how uvicorn serves the twin: quietly, and with the websocket code that alpaca-py talks to."""
    import uvicorn

    from src.services.twin.api.connection import KnownConnection

    return uvicorn.Config(
        application,
        http=KnownConnection,
        log_level="warning",
        access_log=False,
        date_header=False,  # the twin dates its answers with its own clock
        ws="websockets-sansio",
        timeout_graceful_shutdown=2,
    )


def listen(port: int) -> socket.socket:
    """Bind a port of 127.0.0.1 (0: any free one).

    Raises:
        PortInUse: somebody else has it.
    """
    # asyncio turns Nagle's delay off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as exc:
        listener.close()
        raise PortInUse(f"port {port} on {HOST} can't be used ({exc.strerror}): choose another with --port") from exc
    return listener


if __name__ == "__main__":
    app()
