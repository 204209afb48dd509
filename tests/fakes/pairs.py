"""Pairs as the registry holds them, with the verdict that an active one needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, insert

from src.services.strategy_engine.domain.fit import fit_pair
from src.shared.domain.pairs import PairMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.tables import gate_verdict, pair_registry

_FIT = ("pair_id", "alpha", "beta", "half_life_bars", "z_window_bars", "time_stop_bars", "correlation")


def registered_pair(pair: str, fitted_to: datetime) -> dict[str, object]:
    """Return the row of an active pair in the registry; `write_pair` writes it."""
    first, second = pair.split("/")
    return {
        "pair_id": pair,
        "symbol_1": first,
        "symbol_2": second,
        "alpha": 0.0,
        "beta": 0.8,
        "half_life_bars": 8.0,
        "z_window_bars": 16,
        "time_stop_bars": 24,
        "correlation": 0.9,
        "fitted_from": fitted_to - timedelta(days=90),
        "fitted_to": fitted_to,
        "mode": "active",
        "source": "test",
        "updated_at": fitted_to,
    }


def passing_verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verdict about the fit of a registry's row, with numbers that pass the usual bounds."""
    return {
        "gate_id": uuid4(),
        **{name: row[name] for name in _FIT},
        "fitted_from": row["fitted_to"] - timedelta(days=90),
        "fitted_to": row["fitted_to"] - timedelta(days=30),
        "judged_to": row["fitted_to"],
        "unseen_bars": 140,
        "unseen_sessions": 20,
        "objections": [],
        "sharpe": 2.0,
        "win_rate": 0.6,
        "max_drawdown": 0.01,
        "net_return": 0.02,
        "round_trips": 12,
        "least_sharpe": 0.5,
        "least_win_rate": 0.45,
        "most_drawdown": 0.15,
        "least_round_trips": 10,
        "numbers": {},
        "who": "test",
        "why": "made up by a test",
    }


def write_pair(connection: Connection, row: Mapping[str, Any]) -> None:
    """Write a row of the registry; an active pair gets a passing verdict about its fit, as the database demands."""
    judged: dict[str, Any] = {}
    if row["mode"] == PairMode.ACTIVE.value:
        verdict = passing_verdict(row)
        connection.execute(insert(gate_verdict).values(**verdict))
        judged = {"gate_id": verdict["gate_id"], "gate_passed": True}
    connection.execute(insert(pair_registry).values(**row, **judged))


def write_fitted_pair(
    engine: Engine, pair: str, until: datetime, bars: int, mode: PairMode = PairMode.ACTIVE
) -> None:
    """Fit a pair on all of its last `bars` stored closes and write it as it is wanted, its verdict made up.

    Its row is at version 0: no event tells of it.
    """
    ends = [end for _, end in TradingCalendar().last_spans(until, bars)]
    with engine.begin() as connection:
        fit = fit_pair(*read_closes(connection, pair.split("/"), ends).closes.T)
        fitted = {**asdict(fit), "fitted_from": ends[0], "mode": mode.value, "version": 0}
        write_pair(connection, registered_pair(pair, ends[-1]) | fitted)
