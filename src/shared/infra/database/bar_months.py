"""The months that `data_ingestion.market_data` is split by."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

_ADD_MONTHS = text("SELECT data_ingestion.add_months(:first, :last)")


def add_months(connection: Connection, first: datetime, last: datetime) -> int:
    """Make room for bars that end from `first` to `last`, both included; return how many months were new."""
    return int(connection.execute(_ADD_MONTHS, {"first": first, "last": last}).scalar_one())
