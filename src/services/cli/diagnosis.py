"""What `tradewinds doctor` looks at: each check gives one finding, with how to mend what is wrong."""

from __future__ import annotations

import difflib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import httpx
from dotenv import dotenv_values

from src.config.settings import SettingOrigin, Settings, describe, env_file
from src.services.cli.state import package_version
from src.shared.domain.errors import EnvironmentMismatch, UserError
from src.shared.infra.alpaca.keys import broker_headers
from src.shared.infra.embedded import postgres as postgres_module
from src.shared.infra.embedded import redis as redis_module
from src.shared.infra.embedded.stack import redis_url, trading_database_url
from src.shared.infra.environment import check_known, check_settings
from src.shared.infra.heartbeat import (
    CONNECTED,
    EVENT_BRIDGE,
    LISTENER,
    NO_ENGINE,
    STRATEGY_ENGINE,
    last_beat,
    last_seen,
)
from src.shared.infra.prefect_api import prefect_credentials
from src.shared.infra.redaction import redactor_for

Verdict = Literal["ok", "warning", "wrong"]

_SECONDS = 5.0
_KEYS_MEND = "Check TRADEWINDS_ALPACA_API_KEY, _SECRET_KEY, _ENVIRONMENT and _FEED against your Alpaca plan."
# Variables of ours that are no settings.
_NOT_SETTINGS = frozenset({"TRADEWINDS_ENV_FILE", "TRADEWINDS_SHARED"})


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``mend`` says what to do unless all is well."""

    name: str
    verdict: Verdict
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All that `tradewinds doctor` shows."""

    findings: tuple[Finding, ...]
    versions: Mapping[str, str]
    settings: tuple[SettingOrigin, ...]

    @property
    def is_well(self) -> bool:
        """Say whether nothing is wrong; warnings are allowed."""
        return all(finding.verdict != "wrong" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON holds it."""
        return {**asdict(self), "is_well": self.is_well}


def diagnose(settings: Settings) -> Diagnosis:
    """Look at everything. Nothing is changed, and a server that is away is a finding, not an error."""
    redact = redactor_for(settings)
    looks: tuple[tuple[str, Callable[[Settings], str], str], ...] = (
        ("environment", _environment, ""),
        ("PostgreSQL", _postgres, "Run `tradewinds up`, or correct TRADEWINDS_DATABASE_URL."),
        ("schema", _schema, "Run `tradewinds up`: it migrates the database."),
        ("Redis", _redis, "Run `tradewinds up`, or correct TRADEWINDS_REDIS_URL."),
        ("Prefect API", _prefect, "Run `tradewinds up`, or correct TRADEWINDS_PREFECT_API_URL."),
        ("broker clock", _broker_clock, _broker_mend(settings)),
        ("broker account", _broker_account, _broker_mend(settings)),
        ("market data", _market_data, _broker_mend(settings)),
    )
    findings = [_look(name, look, mend, settings) for name, look, mend in looks]
    findings.extend(unknown_variables(settings))
    if all(finding.verdict == "ok" for finding in findings if finding.name in {"PostgreSQL", "schema"}):
        findings.extend(differing_limits(settings))
    if all(finding.verdict == "ok" for finding in findings if finding.name == "Redis"):
        findings.extend((listener(settings), strategy_engine(settings), *bridge(settings)))
    hidden = tuple(Finding(f.name, f.verdict, redact(f.detail), f.mend) for f in findings)
    return Diagnosis(hidden, _versions(), tuple(describe(settings)))


def unknown_variables(settings: Settings) -> Iterator[Finding]:
    """Warn about each TRADEWINDS_* variable that is no setting, with the nearest that is."""
    known = {origin.variable for origin in describe(settings)}
    in_file = dotenv_values(env_file()) if env_file().is_file() else {}
    for name in sorted({*os.environ, *in_file}):
        variable = name.upper()
        if variable.startswith("TRADEWINDS_") and variable not in known | _NOT_SETTINGS:
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "Remove it: see deployment/env.example."
            yield Finding(name, "warning", "no such setting; it has no effect", hint)


def differing_limits(settings: Settings) -> Iterator[Finding]:
    """Warn about each setting of a limit that no longer counts, because somebody changed the limit itself."""
    from src.services.risk_management.bootstrap import build_limits
    from src.shared.domain.risk_limits import LIMIT_BOUNDS
    from src.shared.infra.database.engine import make_engine

    engine = make_engine(trading_database_url(settings), settings.database)
    try:
        differing = build_limits(settings, engine).differing()
    finally:
        engine.dispose()
    for name, (setting, row) in differing.items():
        show = LIMIT_BOUNDS[name].show
        detail = f"in force is {show(row)}, the setting TRADEWINDS_RISK_{name.upper()} says {show(setting)}."
        yield Finding(f"limit {name}", "warning", detail, f"See `tradewinds risk show --history {name}`.")


def listener(settings: Settings) -> Finding:
    """Say what the listener of trade updates does; without it fills are booked later, by the flows."""
    name, said = "trade updates", last_beat(redis_url(settings), LISTENER)
    if said is None:
        detail = "nobody listens: fills are booked by the next flow that looks."
        return Finding(name, "warning", detail, "Run `tradewinds up`; its log is logs/execution-listener.log.")
    return Finding(name, "ok" if said == CONNECTED else "warning", f"the listener is {said}")


def bridge(settings: Settings) -> Iterator[Finding]:
    """Say how the bridge from events to runs is, where there is to be one; without it schedules do the work."""
    if not settings.orchestrator.schedules_active:
        return
    name, said = "event bridge", last_beat(redis_url(settings), EVENT_BRIDGE)
    if said is None:
        detail = "nobody starts runs by events: the next scheduled ones do the work."
        yield Finding(name, "warning", detail, "Run `tradewinds up`; its log is logs/event-bridge.log.")
    else:
        yield Finding(name, "ok" if said == CONNECTED else "warning", f"the bridge is {said}")


def strategy_engine(settings: Settings) -> Finding:
    """Say what the strategy engine does: it leads, waits for one that does, or is dead since when."""
    name, url = "strategy engine", redis_url(settings)
    said, seen = last_beat(url, STRATEGY_ENGINE), last_seen(url, STRATEGY_ENGINE)
    if said is not None:
        return Finding(name, "ok" if said == CONNECTED else "warning", f"the engine is {said}")
    if seen is None:
        return Finding(name, "ok", NO_ENGINE)
    detail = f"no sign of life since {seen}: instances decide in the hourly run alone."
    return Finding(name, "warning", detail, "Run `tradewinds up`; its log is logs/strategy-engine.log.")


def _look(name: str, look: Callable[[Settings], str], mend: str, settings: Settings) -> Finding:
    try:
        return Finding(name, "ok", look(settings))
    except UserError as error:
        return Finding(name, "wrong", str(error))  # it says itself how to mend it
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return Finding(name, "wrong", f"{text[:300].rstrip('.')}.", mend)


def _environment(settings: Settings) -> str:
    check_settings(settings)
    return f"{settings.environment}, broker at {settings.broker_url}"


def _postgres(settings: Settings) -> str:
    from sqlalchemy import create_engine, text

    engine = create_engine(trading_database_url(settings), connect_args={"connect_timeout": int(_SECONDS)})
    try:
        with engine.connect() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
            role = connection.execute(text("SELECT current_user")).scalar_one()
    finally:
        engine.dispose()
    return f"version {version}, as role {role}"


def _schema(settings: Settings) -> str:
    from src.shared.infra.database import revisions

    url = trading_database_url(settings)
    revisions.check(url)
    return f"revision {revisions.current(url)}"


def _redis(settings: Settings) -> str:
    import redis

    with redis.Redis.from_url(
        redis_url(settings), socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
    ) as client:
        info: Any = client.info("server")
    return f"version {info['redis_version']}"


def _prefect(settings: Settings) -> str:
    url = f"{settings.prefect_api_url}/admin/version"
    response = httpx.get(url, auth=prefect_credentials(), timeout=_SECONDS).raise_for_status()
    return f"version {response.json()} at {settings.prefect_api_url}"


def _broker_clock(settings: Settings) -> str:
    clock = _broker(settings, f"{settings.broker_url}/v2/clock", {})
    return f"{clock['timestamp']}, market {'open' if clock['is_open'] else 'closed'}"


def _broker_account(settings: Settings) -> str:
    account = _broker(settings, f"{settings.broker_url}/v2/account", {})
    check_known(settings, trading_database_url(settings), account["id"])
    return f"{account['account_number']}, {account['status']}, equity {account['equity']}"


def _market_data(settings: Settings) -> str:
    options = {"symbols": "SPY", "feed": settings.broker.feed}
    _broker(settings, f"{settings.data_url}/v2/stocks/bars/latest", options)
    return f"feed {settings.broker.feed} at {settings.data_url}"


def _broker(settings: Settings, url: str, options: dict[str, str]) -> dict[str, Any]:
    response = httpx.get(url, params=options, headers=broker_headers(settings), timeout=_SECONDS)
    if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise EnvironmentMismatch(f"{url} refuses the keys ({response.status_code}). {_KEYS_MEND}")
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def _broker_mend(settings: Settings) -> str:
    if settings.environment == "twin":
        return "Run `tradewinds up`, which starts the twin."
    return "Check the network, the keys and TRADEWINDS_ALPACA_FEED against your Alpaca plan."


def _versions() -> dict[str, str]:
    packages = ("tradewinds", "prefect", "alpaca-py", "sqlalchemy", "pandas", "numpy")
    return {
        "python": platform.python_version(),
        **{name: package_version(name) for name in packages},
        "embedded PostgreSQL": postgres_module.server_version(),
        "embedded Redis": redis_module.server_version(),
    }
