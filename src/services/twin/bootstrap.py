"""Wires the twin: market, venue, clock, store, HTTP. Nothing happens at import."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from src.services.twin.adapters.fault_file import Script, read_faults
from src.services.twin.adapters.store import Store
from src.services.twin.api.admin import admin_routes
from src.services.twin.api.company import company_routes
from src.services.twin.api.data import data_routes
from src.services.twin.api.gate import Gate, Limits
from src.services.twin.api.market_stream import MarketStream
from src.services.twin.api.polygon import polygon_routes
from src.services.twin.api.render import Json
from src.services.twin.api.stream import Stream
from src.services.twin.api.trading import trading_routes
from src.services.twin.api.yahoo import yahoo_routes
from src.services.twin.domain.clock import WALL, ClockSetting, MarketClock
from src.services.twin.domain.errors import StoreInvalid, VenueRefusal
from src.services.twin.domain.market import Market
from src.services.twin.domain.moments import iso_utc, parse_moment
from src.services.twin.domain.sessions import Sessions
from src.services.twin.domain.venue import Terms, Venue
from src.services.twin.use_cases import Twin

PULSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class TwinConfig:
    """How a twin is set up. `clock` is `wall` or the ISO moment a new store starts at, frozen.

    A store that has a time goes on from there: `clock` counts for a new store, or when it lies later.
    """

    store: Path
    seed: int = 7
    bars: Path | None = None
    equity: Decimal = Decimal(100_000)
    clock: str = WALL
    latency_ms: float = 0.0
    requests_per_minute: int = 200
    polygon_requests_per_minute: int = 5
    partial_fill_probability: float = 0.0
    half_spread_bps: float = 1.5
    faults: Path | None = None


def build_app(config: TwinConfig, wall: Callable[[], int] | None = None) -> FastAPI:
    """Build the twin's ASGI application. `wall` tells the wall's microseconds; without it the host's clock does.

    Raises:
        BarFileInvalid: the file of bars can't be served.
        FaultInvalid: the file of faults can't be used.
        StoreInvalid: the store belongs to another market, or the clock does not fit it.
    """
    script = read_faults(config.faults) if config.faults is not None else Script()
    store = Store(config.store)
    twin = _build_twin(config, store, wall or _wall)
    twin.arm(script.rules, "file")
    twin.announce(script.announcements)
    stream = Stream(twin.faults)
    twin.listen(stream.publish)
    limits = Limits(config.requests_per_minute, config.polygon_requests_per_minute, config.latency_ms)
    app = FastAPI(
        title="Alpaca twin", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan(twin, store)
    )
    app.include_router(data_routes(twin))
    app.include_router(company_routes(twin))
    app.include_router(polygon_routes(twin))
    app.include_router(trading_routes(twin))
    app.include_router(yahoo_routes(twin))
    app.include_router(admin_routes(twin, limits))
    app.include_router(stream.routes())
    app.include_router(MarketStream(twin).routes())
    app.add_exception_handler(VenueRefusal, _refused)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_middleware(Gate, limits=limits, twin=twin, told=stream.flushed)
    return app


def _build_twin(config: TwinConfig, store: Store, wall: Callable[[], int]) -> Twin:
    market = build_market(config.seed, config.bars)
    meta = store.meta()
    _check_store(meta, market, config)
    clock = MarketClock(wall, _clock_setting(config, meta))
    if not market.sessions.covers(clock.now()):
        raise StoreInvalid(f"clock {iso_utc(clock.now())} is outside the calendar: choose another --clock")
    venue = Venue(
        market,
        seed=config.seed,
        cash=config.equity,
        now=int(meta.get("now", clock.now())),
        terms=Terms(half_spread_bps=config.half_spread_bps, partial_fill_probability=config.partial_fill_probability),
    )
    venue.restore(*store.load(), *store.load_company())
    store.note(
        market=market.source,
        equity=str(config.equity),
        mode=clock.setting.mode,
        rate=str(clock.setting.rate),
        now=str(venue.now),
    )
    return Twin(venue, clock, store)


def build_market(seed: int, bars: Path | None) -> Market:
    """Build the market of a file of bars, or the synthetic one of a seed.

    Raises:
        BarFileInvalid: the file of bars can't be served.
    """
    sessions = Sessions()
    if bars is not None:
        from src.services.twin.adapters.bar_file import market_from_file

        return market_from_file(bars, sessions)
    from src.services.twin.domain.synthetic import synthetic_market

    return synthetic_market(sessions, seed)


def _check_store(meta: dict[str, str], market: Market, config: TwinConfig) -> None:
    if meta.get("market", market.source) != market.source:
        raise StoreInvalid(
            f"store {config.store} was made with market {meta['market']}, not {market.source}: "
            "start with the same --seed and --bars, or name another --store"
        )
    if Decimal(meta.get("equity", str(config.equity))) != config.equity:
        raise StoreInvalid(
            f"store {config.store} was opened with --equity {meta['equity']}: use that or another --store"
        )


def _clock_setting(config: TwinConfig, meta: dict[str, str]) -> ClockSetting:
    stored = int(meta["now"]) if "now" in meta else None
    if config.clock == WALL:
        if stored is not None and stored > _wall():
            raise StoreInvalid(
                f"store {config.store} stands at {iso_utc(stored)}, after the wall clock: name another --store"
            )
        return ClockSetting(None)
    try:
        asked = parse_moment(config.clock)
    except ValueError as exc:
        raise StoreInvalid(
            f"--clock {config.clock!r} is neither `wall` nor a time like 2025-03-03T14:30:00Z"
        ) from exc
    if stored is not None and stored >= asked:
        return ClockSetting(stored, float(meta.get("rate", "0")) if meta.get("mode") == "running" else 0.0)
    return ClockSetting(asked)


def _lifespan(twin: Twin, store: Store) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        pulse = asyncio.create_task(_pulse(twin))
        try:
            yield
        finally:
            pulse.cancel()
            with suppress(asyncio.CancelledError):
                await pulse
            store.close()

    return lifespan


async def _pulse(twin: Twin) -> None:
    # A running clock must make things happen, and be heard on the stream, even when nobody asks.
    while True:
        twin.catch_up()
        await asyncio.sleep(PULSE_SECONDS)


async def _refused(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, VenueRefusal):
        raise exc
    return Json(exc.body(), status_code=exc.status)


async def _not_served(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    if exc.status_code == 404:
        return Json({"code": 40410000, "message": "endpoint not found."}, status_code=404)
    return Json({"code": exc.status_code * 100_000, "message": exc.detail}, status_code=exc.status_code)


def _wall() -> int:
    return time.time_ns() // 1000
