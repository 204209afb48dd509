"""The table of bars: read in columns, written by COPY, and nothing is lost that was there before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID
from zlib import crc32

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from src.services.data_ingestion.adapters.binary_rows import (
    COLUMNS,
    COPY_BEGIN,
    COPY_END,
    SENT,
    canonical,
    copy_rows,
    parse_rows,
)
from src.services.data_ingestion.domain.differences import Written, differences
from src.shared.domain.bars import BarColumns, Moments, Series, as_datetime
from src.shared.infra.database.bar_months import add_months

_LOCKS = 256
_LOCK_SPACE = 1_907_001

_OF_SERIES = "timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment"

_LOCK = text("SELECT pg_advisory_xact_lock(:space, n) FROM unnest(CAST(:buckets AS int[])) AS n ORDER BY n")

_STORED = text(f"""
    SELECT symbol, string_agg({SENT}, '' ORDER BY bar_end) AS bars
    FROM data_ingestion.market_data
    WHERE symbol = ANY (CAST(:symbols AS text[])) AND bar_end BETWEEN :first AND :last AND {_OF_SERIES}
    GROUP BY symbol
""")  # noqa: S608 (constants)

_MOVE = text(f"""
    INSERT INTO data_ingestion.market_data_history (
        symbol, timeframe, bar_end, vendor, adjustment, bar_start, open, high, low, close, volume, load_run_id,
        recorded_at, superseded_by, reason
    )
    SELECT symbol, timeframe, bar_end, vendor, adjustment, bar_start, open, high, low, close, volume, load_run_id,
        recorded_at, :superseded_by, :reason
    FROM data_ingestion.market_data
    WHERE symbol = :symbol AND {_OF_SERIES} AND bar_end BETWEEN :first AND :last
        AND (CAST(:ends AS timestamptz[]) IS NULL OR bar_end = ANY (CAST(:ends AS timestamptz[])))
""")  # noqa: S608 (constants)

_REMOVE = text(f"""
    DELETE FROM data_ingestion.market_data
    WHERE symbol = :symbol AND {_OF_SERIES} AND bar_end BETWEEN :first AND :last
        AND (CAST(:ends AS timestamptz[]) IS NULL OR bar_end = ANY (CAST(:ends AS timestamptz[])))
""")  # noqa: S608 (constants)

_ALWAYS = {"first": datetime(1970, 1, 1, tzinfo=UTC), "last": datetime(2100, 1, 1, tzinfo=UTC)}


class BarTable:
    """`data_ingestion.market_data` within one transaction. Who writes holds the lock of the series."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self, series: Iterable[Series]) -> None:
        """Wait until nobody else writes these series, and keep others out until the transaction ends."""
        # A fixed number of locks: a thousand symbols at once must not fill the server's table of locks. They are
        # taken in their order, so that two loads of many symbols can't wait for each other.
        buckets = sorted({_bucket(each) for each in series})
        self._connection.execute(_LOCK, {"space": _LOCK_SPACE, "buckets": buckets})

    def stored(self, series: Sequence[Series], first: datetime, last: datetime) -> dict[Series, BarColumns]:
        """Read the bars that end from `first` to `last`, oldest first; the series differ by their symbols alone."""
        if not series:
            return {}
        by_symbol = {each.symbol: each for each in series}
        asked = {"symbols": list(by_symbol), "first": first, "last": last, **_key(series[0])}
        rows = self._connection.execute(_STORED, asked)
        return {by_symbol[symbol]: parse_rows(symbol, packed) for symbol, packed in rows}

    def put(self, bars: Mapping[Series, BarColumns], load_run_id: UUID) -> dict[Series, Written]:
        """Write what is new or has changed; a bar that has changed goes to the history.

        The bars of each series are oldest first. All series are of one timeframe, vendor and adjustment.
        """
        wanted = {series: columns for series, columns in sorted(bars.items()) if len(columns)}
        if not wanted:
            return {}
        first = as_datetime(min(columns.end[0] for columns in wanted.values()))
        last = as_datetime(max(columns.end[-1] for columns in wanted.values()))
        add_months(self._connection, first, last)
        stored = self.stored(list(wanted), first, last)
        found = {series: differences(stored.get(series), columns) for series, columns in wanted.items()}
        for series, each in found.items():
            self.supersede(series, each.changed.end, load_run_id, "restated")
        self._copy([(series, each.to_write) for series, each in found.items()], load_run_id)
        return {series: each.written(_digest(each.to_write)) for series, each in found.items()}

    def supersede(self, series: Series, ends: Moments, by: UUID, reason: str) -> None:
        """Move the bars of a series that end then into the history."""
        if not len(ends):
            return
        times = [as_datetime(end) for end in ends]
        self._move(series, {"ends": times, "first": min(times), "last": max(times)}, by, reason)

    def supersede_all(self, series: Series, by: UUID, reason: str) -> None:
        """Move a whole series into the history."""
        self._move(series, {"ends": None, **_ALWAYS}, by, reason)

    def _move(self, series: Series, which: Mapping[str, object], by: UUID, reason: str) -> None:
        asked = {"symbol": series.symbol, **which, **_key(series)}
        self._connection.execute(_MOVE, {**asked, "superseded_by": by, "reason": reason})
        self._connection.execute(_REMOVE, asked)

    def _copy(self, batches: Sequence[tuple[Series, BarColumns]], load_run_id: UUID) -> None:
        rows = [(series, columns) for series, columns in batches if len(columns)]
        if not rows:
            return
        # Written by us and not by the column's default: a volatile default makes COPY insert row by row.
        now = self._connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        raw = self._connection.connection.driver_connection
        if not isinstance(raw, psycopg.Connection):
            raise TypeError("bars are written by psycopg's COPY; the engine has another driver")
        statement = f"COPY data_ingestion.market_data ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
        try:
            with raw.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                copy.write(COPY_BEGIN)
                for series, columns in rows:
                    copy.write(copy_rows(series, columns, load_run_id, now))
                copy.write(COPY_END)
        except psycopg.Error as error:
            raise DBAPIError.instance(
                "COPY", None, error, psycopg.Error, connection_invalidated=raw.closed
            ) from error


def _key(series: Series) -> dict[str, str]:
    return {"timeframe": series.timeframe, "vendor": series.vendor, "adjustment": series.adjustment}


def _bucket(series: Series) -> int:
    return crc32("|".join((series.symbol, *_key(series).values())).encode()) % _LOCKS


def _digest(bars: BarColumns) -> bytes | None:
    return hashlib.sha256(canonical(bars)).digest() if len(bars) else None
