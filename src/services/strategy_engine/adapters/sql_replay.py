"""What the replay of decisions reads in PostgreSQL: decisions, and the past of what they were taken from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from src.services.strategy_engine.adapters.sql_strategy import FREEZES, REBASES, freeze_of
from src.services.strategy_engine.domain.bar_versions import BarChangeKind, BarVersion
from src.services.strategy_engine.domain.decision import DataBlock
from src.services.strategy_engine.domain.replay import PairDecision, PastInstanceDecision
from src.services.strategy_engine.domain.trade_history import TradeHistory, TradeStep
from src.services.strategy_engine.ports import PairPast
from src.shared.domain.bars import BarSeries, CloseSeries
from src.shared.domain.pairs import Direction, PairTradeState
from src.shared.domain.signals import SpreadReading
from src.shared.infra.database.closes import TRADED_SERIES, read_closes, read_whole_bars
from src.shared.infra.database.verdicts import blocking_verdicts
from src.shared.messages.orders import PAIR_TRADE_EVENTS, PairTradeEvent
from src.shared.messages.signals import SignalRaised

_STATES = {event.channel(): state for state, event in PAIR_TRADE_EVENTS.items()}
_OF_SERIES = "timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment"

_DECISIONS = text("""
    SELECT s.pair_id, s.slot, s.action, s.reason, s.pair_mode, s.held_bars, s.numbers, s.recorded_at,
           p.price_1, p.price_2, p.spread, p.mean, p.sd, p.z, p.window_bars, o.payload
      FROM strategy.pair_signal s
      LEFT JOIN strategy.pair_spread p ON p.pair_id = s.pair_id AND p.slot = s.slot
      LEFT JOIN ops.outbox o ON o.aggregate = :aggregate AND o.aggregate_id = s.signal_id::text
       AND o.aggregate_version = 1
     WHERE s.slot BETWEEN :first AND :last
     ORDER BY s.slot, s.pair_id
""")

_WITHOUT_ROW = text("""
    SELECT o.occurred_at, o.payload ->> 'pair_id', o.payload ->> 'action'
      FROM ops.outbox o
     WHERE o.aggregate = :aggregate AND o.occurred_at BETWEEN :first AND :last
       AND NOT EXISTS (
            SELECT FROM strategy.pair_signal s
             WHERE s.slot BETWEEN :first AND :last AND s.signal_id::text = o.aggregate_id)
     ORDER BY 1, 2
""")

# What an instance remembered afterwards is what its next decision under the same config began with.
_INSTANCE_DECISIONS = text("""
    SELECT d.instance_id, d.slot, i.strategy, c.config, d.strategy_digest, d.state_before, d.state_digest,
           d.bars_digest, d.given, d.wishes, d.numbers, d.log, d.recorded_at, following.state_before AS "left"
      FROM strategy.instance_decision d
      JOIN strategy.instance i ON i.instance_id = d.instance_id
      JOIN strategy.instance_config c ON c.instance_id = d.instance_id AND c.config_version = d.config_version
      LEFT JOIN LATERAL (
            SELECT n.state_before FROM strategy.instance_decision n
             WHERE n.instance_id = d.instance_id AND n.config_version = d.config_version AND n.slot > d.slot
             ORDER BY n.slot LIMIT 1
           ) following ON true
     WHERE d.slot BETWEEN :first AND :last
     ORDER BY d.slot, d.instance_id
""")

_TRADES = text("""
    SELECT t.pair_id, t.direction, t.slot, t.recorded_at, t.state, steps.channels, steps.times
      FROM execution.pair_trade t
      LEFT JOIN LATERAL (
            SELECT array_agg(o.channel ORDER BY o.aggregate_version) AS channels,
                   array_agg(o.recorded_at ORDER BY o.aggregate_version) AS times
              FROM ops.outbox o
             WHERE o.aggregate = :aggregate AND o.aggregate_id = t.pair_trade_id::text
           ) steps ON true
     WHERE t.pair_id = ANY (CAST(:pairs AS text[]))
     ORDER BY t.slot
""")

_PASTS = text(f"""
    WITH asked AS (
        SELECT a.pair_id, p.symbol_1, p.symbol_2, coalesce(a.fitted_to, p.fitted_to) AS fitted_to
          FROM unnest(CAST(:pairs AS text[]), CAST(:fitted AS timestamptz[])) AS a(pair_id, fitted_to)
          JOIN strategy.pair_registry p ON p.pair_id = a.pair_id
    )
    SELECT r.pair_id, stop.slot AS stop_slot, frozen.basis_lost,
           EXISTS ({REBASES} AND b.recorded_at <= :at) AS rebased
      FROM asked r
      LEFT JOIN LATERAL (
            SELECT max(s.slot) AS slot FROM strategy.pair_signal s
             WHERE s.pair_id = r.pair_id AND s.action = 'stop' AND s.slot < :slot AND s.recorded_at <= :at
           ) stop ON true
      LEFT JOIN LATERAL (
            {FREEZES} AND f.recorded_at <= :at AND (f.released_at IS NULL OR f.released_at > :at)
           ) frozen ON true
""")  # noqa: S608 (constants)

_VERSIONS = text(f"""
    SELECT symbol, bar_end, close, recorded_at, NULL AS superseded_at, NULL AS reason, open, high, low, volume
      FROM data_ingestion.market_data
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND bar_end BETWEEN :first AND :last AND {_OF_SERIES}
     UNION ALL
    SELECT symbol, bar_end, close, recorded_at, superseded_at, reason, open, high, low, volume
      FROM data_ingestion.market_data_history
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND bar_end BETWEEN :first AND :last AND {_OF_SERIES}
""")  # noqa: S608 (constants)

_ARCHIVED = text("""
    SELECT s.symbol, f.month
      FROM (SELECT DISTINCT month FROM ops.archive_file
             WHERE vendor = :vendor AND timeframe = :timeframe
               AND month BETWEEN date_trunc('month', :first AT TIME ZONE 'UTC') AND :last AT TIME ZONE 'UTC') f
     CROSS JOIN unnest(CAST(:symbols AS text[])) AS s(symbol)
     WHERE NOT EXISTS (
            SELECT FROM data_ingestion.market_data m
             WHERE m.symbol = s.symbol AND m.timeframe = :timeframe AND m.vendor = :vendor
               AND m.adjustment = :adjustment AND m.bar_end >= f.month AT TIME ZONE 'UTC'
               AND m.bar_end < (f.month + interval '1 month') AT TIME ZONE 'UTC')
""")


class SqlReplayStore:
    """Implements `ReplayStore` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def decisions(self, first: datetime, last: datetime) -> list[PairDecision]:
        """Read signals, their spreads and their events."""
        asked = {"first": first, "last": last, "aggregate": SignalRaised.aggregate}
        return [_decision(row) for row in self._connection.execute(_DECISIONS, asked).mappings()]

    def told_without_row(self, first: datetime, last: datetime) -> list[tuple[datetime, str, str]]:
        """Read events that no signal belongs to."""
        asked = {"first": first, "last": last, "aggregate": SignalRaised.aggregate}
        return [(slot, pair, action) for slot, pair, action in self._connection.execute(_WITHOUT_ROW, asked)]

    def instance_decisions(self, first: datetime, last: datetime) -> list[PastInstanceDecision]:
        """Read decisions of instances with their configs."""
        rows = self._connection.execute(_INSTANCE_DECISIONS, {"first": first, "last": last}).mappings()
        return [PastInstanceDecision(**row) for row in rows]

    def trade_histories(self, pair_ids: Sequence[str]) -> dict[str, list[TradeHistory]]:
        """Read trades, each with the events of its changes."""
        found: dict[str, list[TradeHistory]] = {}
        asked = {"pairs": list(pair_ids), "aggregate": PairTradeEvent.aggregate}
        for row in self._connection.execute(_TRADES, asked).mappings():
            found.setdefault(row["pair_id"], []).append(_history(row))
        return found

    def pasts(self, slot: datetime, at: datetime, fitted: Mapping[str, datetime | None]) -> dict[str, PairPast]:
        """Read last stops and freezes as they were known."""
        asked = {"pairs": list(fitted), "fitted": list(fitted.values()), "slot": slot, "at": at, **TRADED_SERIES}
        rows = self._connection.execute(_PASTS, asked).mappings()
        return {row["pair_id"]: PairPast(row["stop_slot"], freeze_of(row)) for row in rows}

    def data_blocks(self, symbols: Sequence[str], at: datetime) -> list[DataBlock]:
        """Read the verdicts that blocked."""
        found = blocking_verdicts(self._connection, symbols, at)
        return [DataBlock(each.series.symbol, each.rule, each.reason, each.numbers) for each in found]

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read closes on a grid."""
        return read_closes(self._connection, symbols, ends)

    def bars(self, symbols: Sequence[str], ends: Sequence[datetime]) -> BarSeries:
        """Read whole bars on a grid."""
        return read_whole_bars(self._connection, symbols, ends)

    def bar_versions(self, symbols: Sequence[str], first: datetime, last: datetime) -> list[BarVersion]:
        """Read the bars that are there and those that were."""
        asked = {"symbols": list(symbols), "first": first, "last": last, **TRADED_SERIES}
        return [
            BarVersion(
                row.symbol,
                row.bar_end,
                row.close,
                row.recorded_at,
                row.superseded_at,
                _kind(row.reason),
                (row.open, row.high, row.low, row.volume),
            )
            for row in self._connection.execute(_VERSIONS, asked)
        ]

    def archived_months(self, symbols: Sequence[str], first: datetime, last: datetime) -> set[tuple[str, date]]:
        """Read the record of the archive."""
        asked = {"symbols": list(symbols), "first": first, "last": last, **TRADED_SERIES}
        return {(row.symbol, row.month) for row in self._connection.execute(_ARCHIVED, asked)}


def _decision(row: Mapping[Any, Any]) -> PairDecision:
    names = ("price_1", "price_2", "spread", "mean", "sd", "z", "window_bars")
    reading = SpreadReading(**{name: row[name] for name in names}) if row["z"] is not None else None
    return PairDecision(
        pair_id=row["pair_id"],
        slot=row["slot"],
        action=row["action"],
        reason=row["reason"],
        mode=row["pair_mode"],
        held_bars=row["held_bars"],
        numbers=row["numbers"],
        reading=reading,
        recorded_at=row["recorded_at"],
        said=row["payload"],
    )


def _history(row: Mapping[Any, Any]) -> TradeHistory:
    told = zip(row["channels"] or (), row["times"] or (), strict=True)
    return TradeHistory(
        direction=Direction(row["direction"]),
        slot=row["slot"],
        began=row["recorded_at"],
        state=PairTradeState(row["state"]),
        steps=tuple(TradeStep(at, _STATES[channel]) for channel, at in told),
    )


def _kind(reason: str | None) -> BarChangeKind | None:
    return None if reason is None else BarChangeKind(reason)
