"""Pairs as the registry holds them."""

from __future__ import annotations

from datetime import datetime, timedelta


def registered_pair(pair: str, fitted_to: datetime) -> dict[str, object]:
    """Return the row of an active pair in the registry."""
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
