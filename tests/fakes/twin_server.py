"""A real twin on a free port in a thread, for every suite that wants a broker.

    with running_twin(clock="2025-03-03T15:30:05Z") as twin:
        TradingClient("key", "secret", url_override=twin.url)
        twin.admin.move_clock("2025-03-03T16:30:05Z")

Keywords are those of `TwinConfig`; without `store` it lives in a temporary folder. The rate limit is lifted unless
asked for.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi.dependencies import models

from src.services.twin.bootstrap import TwinConfig, build_app
from src.services.twin.main import HOST, listen, server_config

START_SECONDS = 30
_KEYS = {"APCA-API-KEY-ID": "somebody", "APCA-API-SECRET-KEY": "else"}
NO_LIMITS = {"requests_per_minute": 0, "polygon_requests_per_minute": 0}


@dataclass(frozen=True)
class TwinAdmin:
    """The admin API, one method per verb; answers are parsed JSON."""

    client: httpx.Client

    def get(self, what: str) -> Any:
        """GET /admin/<what>."""
        return _json(self.client.get(f"/admin/{what}"))

    def post(self, what: str, **body: Any) -> Any:
        """POST /admin/<what> with a JSON body."""
        return _json(self.client.post(f"/admin/{what}", json=body))

    def move_clock(self, now: str, *, rate: float = 0.0, reset: bool = False) -> Any:
        """Set the market's time."""
        return self.post("clock", now=now, rate=rate, reset=reset)

    def rules(self, symbol: str, **changes: Any) -> Any:
        """Change the rules of one symbol."""
        return self.post("rules", symbol=symbol, **changes)

    def fault(self, **rule: Any) -> int:
        """Put one rule of faults in force and return its number."""
        number: int = self.post("faults", **rule)["ids"][0]
        return number

    def faults(self) -> Any:
        """Return the rules in force, each with how often it matched and fired."""
        return self.get("faults")

    def clear_faults(self) -> None:
        """Take every rule out of force, those of a file too."""
        _json(self.client.delete("/admin/faults"))

    def state(self) -> Any:
        """Return counts, orders, fills, positions and cash."""
        return self.get("state")

    def reset(self) -> Any:
        """Forget orders, fills, positions and cash."""
        return self.post("reset")


@dataclass(frozen=True)
class TwinHandle:
    """Where a running twin is: `url` for REST, `stream_url` for the websocket."""

    url: str
    admin: TwinAdmin

    @property
    def stream_url(self) -> str:
        """Address of the trade_updates websocket."""
        return self.url.replace("http://", "ws://") + "/stream"

    def order_by_hand(self, symbol: str, quantity: int, **more: str) -> None:
        """Place somebody's order for `quantity` signed shares, at the market for the day unless `more` differs."""
        side = "buy" if quantity > 0 else "sell"
        body = {"symbol": symbol, "qty": str(abs(quantity)), "side": side, "type": "market", "time_in_force": "day"}
        self.admin.client.post("/v2/orders", json=body | more, headers=_KEYS).raise_for_status()


@contextmanager
def running_twin(**config: Any) -> Iterator[TwinHandle]:
    """Serve a twin until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"store": Path(folder), "clock": "2025-03-03T15:30:05Z", **NO_LIMITS, **config}
        server = uvicorn.Server(server_config(build_app(TwinConfig(**settings))))
        with listen(0) as listener:
            thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
            thread.start()
            _wait_until_started(server, thread)
            url = f"http://{HOST}:{listener.getsockname()[1]}"
            try:
                with httpx.Client(base_url=url, timeout=30) as client:
                    yield TwinHandle(url, TwinAdmin(client))
            finally:
                server.should_exit = True
                thread.join(START_SECONDS)
                _let_go_of_routes()


def _let_go_of_routes() -> None:
    """Empty the caches in which FastAPI keeps the functions of routes, and with them the twin and its market."""
    for each in vars(models).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the twin did not start")
        time.sleep(0.01)


def _json(response: httpx.Response) -> Any:
    response.raise_for_status()
    return response.json()
