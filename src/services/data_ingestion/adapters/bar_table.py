"""The table of bars: read in columns, written by COPY, and nothing is lost that was there before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID
from zlib import crc32

from sqlalchemy import Connection, TextClause, insert, text

from src.services.data_ingestion.adapters.binary_rows import (
    COLUMNS,
    SENT,
    TABLE,
    canonical,
    copy_block,
    parse_rows,
)
from src.services.data_ingestion.domain.basis import OtherBasis, Rebase, Replaced, common_factor, replacement
from src.services.data_ingestion.domain.differences import Written, differences
from src.shared.domain.bars import BarColumns, Moments, Series, as_datetime
from src.shared.domain.ids import derived_id
from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.binary_copy import copy_into
from src.shared.infra.database.tables import series_rebase

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
        AND (:all OR bar_end = ANY (CAST(:ends AS timestamptz[])))
""")  # noqa: S608 (constants)

_REMOVE = text(f"""
    DELETE FROM data_ingestion.market_data
    WHERE symbol = :symbol AND {_OF_SERIES} AND bar_end BETWEEN :first AND :last
        AND (:all OR bar_end = ANY (CAST(:ends AS timestamptz[])))
""")  # noqa: S608 (constants)

_BEFORE = text(f"""
    SELECT bar_start, bar_end FROM data_ingestion.market_data
    WHERE symbol = :symbol AND {_OF_SERIES} AND bar_end <= :moment ORDER BY bar_end DESC LIMIT :count
""")  # noqa: S608 (constants)

_AFTER = text(f"""
    SELECT bar_start, bar_end FROM data_ingestion.market_data
    WHERE symbol = :symbol AND {_OF_SERIES} AND bar_end > :moment ORDER BY bar_end LIMIT :count
""")  # noqa: S608 (constants)

_HOLD_LOAD = text("SELECT 1 FROM data_ingestion.load_run WHERE load_run_id = :load_run_id FOR KEY SHARE")

_REBASES = text(f"""
    SELECT count(*) FROM data_ingestion.series_rebase WHERE symbol = :symbol AND {_OF_SERIES}
""")  # noqa: S608 (constants)

FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(2100, 1, 1, tzinfo=UTC)
"""Bars end between these."""


class BarTable:
    """`data_ingestion.market_data` within one transaction. Who writes holds the lock of the series."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def spans_before(self, series: Series, moment: datetime, count: int) -> list[tuple[datetime, datetime]]:
        """List start and end of the last `count` stored bars that end at or before a moment, oldest first."""
        return self._spans(_BEFORE, series, moment, count)[::-1]

    def spans_after(self, series: Series, moment: datetime, count: int) -> list[tuple[datetime, datetime]]:
        """List start and end of the first `count` stored bars that end after a moment, oldest first."""
        return self._spans(_AFTER, series, moment, count)

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

        Raises:
            OtherBasis: what came for stored bars differs from them by one factor.
        """
        wanted = {series: columns for series, columns in sorted(bars.items()) if len(columns)}
        if not wanted:
            return {}
        first = as_datetime(min(columns.end[0] for columns in wanted.values()))
        last = as_datetime(max(columns.end[-1] for columns in wanted.values()))
        add_months(self._connection, first, last)
        stored = self.stored(list(wanted), first, last)
        for series, before in stored.items():
            if (factor := common_factor(before, wanted[series])) is not None:
                raise OtherBasis.of(series, factor)
        found = {series: differences(stored.get(series), columns) for series, columns in wanted.items()}
        for series, each in found.items():
            self._supersede(series, each.changed.end, load_run_id, "restated")
        self._copy([(series, each.to_write) for series, each in found.items()], load_run_id)
        return {series: each.written(_digest(each.to_write)) for series, each in found.items()}

    def replace(self, series: Series, bars: BarColumns, load_run_id: UUID, why: str) -> Replaced | None:
        """Put a whole series that was read anew in the place of the stored one; None where it is too short for that.

        What differs goes to the history; that the basis is another one is noted for those who have used the old one.
        """
        before = self.stored([series], FIRST_MOMENT, LAST_MOMENT).get(series, bars.take(slice(0, 0)))
        found = replacement(before, bars)
        if found is None:
            return None
        if len(bars):
            add_months(self._connection, as_datetime(bars.end[0]), as_datetime(bars.end[-1]))
        reason = "restated" if found.factor is None else "rebased"
        whole = len(found.superseded) == len(before)
        self._supersede(series, found.superseded, load_run_id, reason, whole=whole)
        self._copy([(series, found.to_write)], load_run_id)
        written = Written(found.new, found.unchanged, len(found.to_write) - found.new, _digest(found.to_write))
        if found.factor is None:
            return Replaced(written, None)
        rebase = Rebase(series, found.factor, as_datetime(before.end[-1]), why, self.rebases(series) + 1)
        self._note(rebase, load_run_id)
        return Replaced(written, rebase)

    def rebases(self, series: Series) -> int:
        """Count how often a series was put on another basis."""
        asked = {"symbol": series.symbol, **_key(series)}
        return int(self._connection.execute(_REBASES, asked).scalar_one())

    def _note(self, rebase: Rebase, load_run_id: UUID) -> None:
        name = (rebase.series.symbol, *_key(rebase.series).values())
        self._connection.execute(
            insert(series_rebase).values(
                rebase_id=derived_id("series-rebase", *name, str(rebase.version)),
                symbol=rebase.series.symbol,
                **_key(rebase.series),
                factor=rebase.factor,
                reason=rebase.reason,
                effective_at=rebase.effective_at,
                load_run_id=load_run_id,
            )
        )

    def _supersede(self, series: Series, ends: Moments, by: UUID, reason: str, *, whole: bool = False) -> None:
        """Move the bars of a series that end then into the history; `whole` says that there are no others."""
        if not len(ends):
            return
        times = [as_datetime(end) for end in (ends[[0, -1]] if whole else ends)]
        # The months of the window alone are looked at.
        window = {"first": min(times), "last": max(times), "all": whole, "ends": times}
        asked = {"symbol": series.symbol, **window, **_key(series)}
        self._connection.execute(_MOVE, {**asked, "superseded_by": by, "reason": reason})
        self._connection.execute(_REMOVE, asked)

    def _spans(
        self, query: TextClause, series: Series, moment: datetime, count: int
    ) -> list[tuple[datetime, datetime]]:
        asked = {"symbol": series.symbol, "moment": moment, "count": count, **_key(series)}
        return [(start, end) for start, end in self._connection.execute(query, asked)]

    def _copy(self, batches: Sequence[tuple[Series, BarColumns]], load_run_id: UUID) -> None:
        rows = [(series, columns) for series, columns in batches if len(columns)]
        if not rows:
            return
        # What a foreign key would do for each row is done once: the load is there, and stays until we have committed.
        if self._connection.execute(_HOLD_LOAD, {"load_run_id": load_run_id}).first() is None:
            raise ValueError(f"bars of a load that is not written down: {load_run_id}")
        # Written by us and not by the column's default: a volatile default makes COPY insert row by row.
        now = self._connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        blocks = (copy_block(series, columns, load_run_id, now) for series, columns in rows)
        copy_into(self._connection, TABLE, COLUMNS, blocks)


def _key(series: Series) -> dict[str, str]:
    return {"timeframe": series.timeframe, "vendor": series.vendor, "adjustment": series.adjustment}


def _bucket(series: Series) -> int:
    return crc32("|".join((series.symbol, *_key(series).values())).encode()) % _LOCKS


def _digest(bars: BarColumns) -> bytes | None:
    return hashlib.sha256(canonical(bars)).digest() if len(bars) else None
