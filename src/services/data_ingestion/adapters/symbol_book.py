"""Which symbols are of interest, by the tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from src.shared.domain.bars import DAILY, HOURLY
from src.shared.domain.pairs import FINISHED_TRADES, PairMode

_MODES = [mode.value for mode in PairMode if mode is not PairMode.RETIRED]
_FINISHED = [state.value for state in sorted(FINISHED_TRADES)]

# Loads of reference data say nothing of interest in bars.
_INTEREST = {"modes": _MODES, "finished": _FINISHED, "timeframes": [HOURLY, DAILY]}

_ACTIVE = text("""
    SELECT wanted.symbol
      FROM (
            SELECT leg.symbol
              FROM strategy.pair_registry r
              LEFT JOIN execution.pair_trade t ON t.pair_id = r.pair_id AND t.state <> ALL(:finished)
             CROSS JOIN LATERAL (VALUES (r.symbol_1), (r.symbol_2)) AS leg(symbol)
             WHERE r.mode = ANY(:modes) OR t.pair_trade_id IS NOT NULL
             UNION
            SELECT unnest(run.symbols)
              FROM data_ingestion.load_run run
             WHERE run.state IN ('complete', 'partial') AND run.timeframe = ANY(:timeframes)
           ) AS wanted
      LEFT JOIN data_ingestion.symbol listed ON listed.symbol = wanted.symbol
     WHERE coalesce(listed.status, 'active') = 'active'
     ORDER BY wanted.symbol
""")

_LOADED_UNTIL = text("""
    SELECT s.symbol, max(run.window_end) AS until
      FROM unnest(CAST(:symbols AS text[])) AS s (symbol)
      JOIN data_ingestion.load_run AS run ON s.symbol = ANY (run.symbols)
     WHERE run.vendor = :vendor AND run.timeframe = :timeframe AND run.state IN ('complete', 'partial')
     GROUP BY s.symbol
""")


class SqlSymbolBook:
    """`SymbolBook` on an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def active(self) -> list[str]:
        """List the symbols to load bars of."""
        return list(self._connection.execute(_ACTIVE, _INTEREST).scalars())

    def loaded_until(self, vendor: str, timeframe: str, symbols: Sequence[str]) -> dict[str, datetime]:
        """Say per symbol how far finished loads go."""
        asked = {"vendor": vendor, "timeframe": timeframe, "symbols": list(symbols)}
        return {row.symbol: row.until for row in self._connection.execute(_LOADED_UNTIL, asked)}
