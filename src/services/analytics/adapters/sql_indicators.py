"""The repository of technical indicators on PostgreSQL: bars come in as arrays, rows go out in one COPY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import insert

from src.services.analytics.domain.indicators import COLUMNS, IndicatorRows, IndicatorSet, LatestIndicators
from src.services.analytics.domain.staleness import StandingRows
from src.shared.domain.bars import BarKind, StoredBars, as_datetime
from src.shared.infra.database.binary_copy import Field, copy_into
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.moments import from_server
from src.shared.infra.database.packed_rows import BAR_END, Packed, read_bars, read_packed
from src.shared.infra.database.tables import indicator_set

_TABLE = "analytics.technical_indicators"
_STANDING = (
    BAR_END,
    Packed.moment("bar_recorded_at"),
    Packed("is_current", "CAST(set_id = :set_id AS integer)", "int4send"),
    Packed("obv", "coalesce(obv, 'NaN')"),
)
_WRITTEN = ("symbol", "timeframe", "vendor", "adjustment", "set_id", "bar_end", "bar_recorded_at", *COLUMNS)
_SERIES = "symbol, timeframe, vendor, adjustment"

# From one series to the next along the primary key, instead of through every bar.
_STORED_SERIES = text(f"""
    WITH RECURSIVE series AS (
        (SELECT {_SERIES} FROM data_ingestion.market_data ORDER BY {_SERIES} LIMIT 1)
        UNION ALL
        SELECT following.* FROM series AS s CROSS JOIN LATERAL (
            SELECT {_SERIES} FROM data_ingestion.market_data
            WHERE ({_SERIES}) > (s.symbol, s.timeframe, s.vendor, s.adjustment)
            ORDER BY {_SERIES} LIMIT 1
        ) AS following
    )
    SELECT timeframe, vendor, adjustment, symbol FROM series
""")  # noqa: S608

_KIND = "timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment"

# One look at the end of each index.
_SAME_END = text(f"""
    SELECT named.symbol FROM unnest(CAST(:symbols AS text[])) AS named(symbol)
    CROSS JOIN LATERAL (
        SELECT bar_end FROM data_ingestion.market_data AS bar
        WHERE bar.symbol = named.symbol AND {_KIND} ORDER BY bar_end DESC LIMIT 1
    ) AS newest
    CROSS JOIN LATERAL (
        SELECT bar_end, set_id FROM {_TABLE} AS made
        WHERE made.symbol = named.symbol AND {_KIND} ORDER BY bar_end DESC LIMIT 1
    ) AS last
    WHERE last.bar_end = newest.bar_end AND last.set_id = :set_id
""")  # noqa: S608

# The server compares: as many rows as bars, and the same digest of the pairs (end, recorded). Rows from before the
# first bar are those of what the archive took.
_UP_TO_DATE = text(f"""
    SELECT bars.symbol, bars.number FROM (
        SELECT symbol, count(*) AS number, min(bar_end) AS first,
               bit_xor(hash_record_extended(ROW(bar_end, recorded_at), 0)) AS digest
        FROM data_ingestion.market_data WHERE symbol = ANY (CAST(:symbols AS text[])) AND {_KIND} GROUP BY symbol
    ) AS bars
    CROSS JOIN LATERAL (
        SELECT count(*) AS number, bool_and(set_id = :set_id) AS is_current,
               bit_xor(hash_record_extended(ROW(bar_end, bar_recorded_at), 0)) AS digest
        FROM {_TABLE} AS made WHERE made.symbol = bars.symbol AND {_KIND} AND made.bar_end >= bars.first
    ) AS made
    WHERE made.is_current AND made.number = bars.number AND made.digest = bars.digest
""")  # noqa: S608

_LOCK = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")

_REMOVE = text(f"""
    DELETE FROM {_TABLE} AS t
    USING unnest(CAST(:symbols AS text[]), CAST(:begins AS timestamptz[])) AS gone(name, begin)
    WHERE t.symbol = gone.name AND t.timeframe = :timeframe AND t.vendor = :vendor AND t.adjustment = :adjustment
        AND t.bar_end >= gone.begin
""")  # noqa: S608

_LATEST = text(
    "SELECT * FROM analytics.latest_indicators WHERE symbol = :symbol ORDER BY timeframe, vendor, adjustment"
)


class SqlIndicatorRepository:
    """Implements `IndicatorRepository` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def stored_series(self) -> dict[BarKind, list[str]]:
        """List the symbols of each kind of which bars are stored, in order."""
        found: dict[BarKind, list[str]] = {}
        for timeframe, vendor, adjustment, symbol in self._connection.execute(_STORED_SERIES):
            found.setdefault(BarKind(timeframe, vendor, adjustment), []).append(symbol)
        return found

    def hold(self, kind: BarKind, symbols: Sequence[str]) -> None:
        """Keep others from writing these series until the transaction ends; waits for whoever does so now."""
        keys = sorted(lock_key("indicators", *_series(kind).values(), symbol) for symbol in symbols)
        self._connection.execute(_LOCK, {"keys": keys})

    def up_to_date(self, kind: BarKind, symbols: Sequence[str], set_id: str) -> dict[str, int]:
        """Name the symbols whose rows are those of their bars, each with the number of these."""
        asked: dict[str, object] = {**_series(kind), "symbols": list(symbols), "set_id": set_id}
        likely = list(self._connection.execute(_SAME_END, asked).scalars())
        if not likely:
            return {}
        return {row.symbol: row.number for row in self._connection.execute(_UP_TO_DATE, asked | {"symbols": likely})}

    def bars(self, kind: BarKind, symbols: Sequence[str]) -> dict[str, StoredBars]:
        """Read the whole series; a symbol without bars is absent."""
        return read_bars(self._connection, kind, symbols)

    def standing(self, kind: BarKind, symbols: Sequence[str], set_id: str) -> dict[str, StandingRows]:
        """Read what each row was made from; a symbol without rows is absent."""
        rows = read_packed(self._connection, _TABLE, kind, symbols, _STANDING, set_id=set_id)
        return {symbol: _standing(np.sort(packed, order="bar_end")) for symbol, packed in rows}

    def remove(self, kind: BarKind, begins: Mapping[str, np.datetime64]) -> None:
        """Remove the rows of each symbol from a time on."""
        if begins:
            moments = [as_datetime(begin) for begin in begins.values()]
            self._connection.execute(_REMOVE, {**_series(kind), "symbols": list(begins), "begins": moments})

    def add(self, kind: BarKind, indicators: IndicatorSet, rows: Sequence[IndicatorRows]) -> None:
        """Write rows, and what their indicators are, in one COPY."""
        described = {
            "set_id": indicators.set_id,
            "timeframe": kind.timeframe,
            "indicators": indicators.described(),
        }
        self._connection.execute(insert(indicator_set).values(described).on_conflict_do_nothing())
        copy_into(self._connection, _TABLE, _WRITTEN, _blocks(kind, indicators.set_id, rows))

    def latest(self, symbol: str) -> list[LatestIndicators]:
        """Read the newest row of every series of a symbol."""
        return [_latest(row) for row in self._connection.execute(_LATEST, {"symbol": symbol}).mappings()]


def _series(kind: BarKind) -> dict[str, str]:
    return {"timeframe": kind.timeframe, "vendor": kind.vendor, "adjustment": kind.adjustment}


def _standing(rows: NDArray[Any]) -> StandingRows:
    return StandingRows(
        end=from_server(rows["bar_end"]),
        made_from=from_server(rows["bar_recorded_at"]),
        is_current=rows["is_current"].astype(bool),
        obv=rows["obv"].astype(np.float64),
    )


def _blocks(kind: BarKind, set_id: str, rows: Sequence[IndicatorRows]) -> Iterator[list[Field]]:
    for each in rows:
        shared = [each.symbol, kind.timeframe, kind.vendor, kind.adjustment, set_id]
        yield [*shared, each.end, each.made_from, *(each.values[name] for name in COLUMNS)]


def _latest(row: Mapping[Any, Any]) -> LatestIndicators:
    kind = BarKind(row["timeframe"], row["vendor"], row["adjustment"])
    return LatestIndicators(row["symbol"], kind, row["bar_end"], {name: row[name] for name in COLUMNS})
