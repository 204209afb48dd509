"""The strategy engine's repository on PostgreSQL: a few statements a slot, however many pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from src.services.strategy_engine.adapters.instance_rows import instance_of, instances_that_are
from src.services.strategy_engine.domain.decision import DataBlock, Freeze, PairWish
from src.services.strategy_engine.domain.evaluation import Evaluation, UnfinishedTrade, WatchedPair
from src.services.strategy_engine.domain.instances import PAIRS, Instance
from src.services.strategy_engine.domain.reasons import DATA_FAULTS
from src.services.strategy_engine.ports import Judgement, PairFreeze, RegisteredPair
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.instances import InstanceMode
from src.shared.domain.pairs import FINISHED_TRADES, Direction, FoundBy, Pair, PairMode, PairTradeState
from src.shared.domain.signals import Signal, SignalAction, SpreadReading
from src.shared.infra.database.audit import write_note
from src.shared.infra.database.closes import TRADED_SERIES, read_closes
from src.shared.infra.database.tables import (
    gate_verdict,
    instance,
    instance_decision,
    outbox,
    pair_freeze,
    pair_registry,
    pair_signal,
    pair_spread,
    pair_trade,
)
from src.shared.infra.database.unit_of_work import outbox_row
from src.shared.infra.database.verdicts import blocking_verdicts
from src.shared.messages.base import Event

_WATCHED_MODES = [PairMode.OBSERVE.value, PairMode.ACTIVE.value, PairMode.CLOSING.value]
FINISHED = [state.value for state in sorted(FINISHED_TRADES)]

# Of a pair `r`: whether the prices are on another basis than those of the fit. Those of the window are all on one, so
# that a trade can still be closed by z.
REBASES = """
            SELECT FROM data_ingestion.series_rebase b
             WHERE b.symbol IN (r.symbol_1, r.symbol_2) AND b.timeframe = :timeframe AND b.vendor = :vendor
               AND b.adjustment = :adjustment AND b.effective_at >= r.fitted_to AND b.effective_at < :slot
"""

# Of a pair `r`: NULL where no action freezes it. A dividend keeps the basis: only entries are off, only over its day.
FREEZES = """
            SELECT bool_or(f.kind <> 'cash_dividend' AND f.effective_at < :slot) AS basis_lost
              FROM execution.pair_freeze f
             WHERE f.pair_id = r.pair_id AND f.since < :slot AND (f.until IS NULL OR f.until >= :slot)
"""

_WATCHED = text(f"""
    SELECT r.symbol_1, r.symbol_2, r.alpha, r.beta, r.half_life_bars, r.z_window_bars, r.time_stop_bars, r.mode,
           r.fitted_to, t.direction, t.state, t.slot AS trade_slot, stop.slot AS stop_slot, frozen.basis_lost,
           EXISTS ({REBASES}) AS rebased
      FROM strategy.pair_registry r
      LEFT JOIN execution.pair_trade t ON t.pair_id = r.pair_id AND t.state <> ALL(:finished) AND NOT t.reopened
      LEFT JOIN LATERAL (
            SELECT max(s.slot) AS slot FROM strategy.pair_signal s
             WHERE s.pair_id = r.pair_id AND s.action = 'stop' AND s.slot < :slot
           ) stop ON true
      LEFT JOIN LATERAL (
            {FREEZES} AND f.released_at IS NULL
           ) frozen ON true
     WHERE r.mode = ANY(:modes) OR t.pair_trade_id IS NOT NULL
     ORDER BY r.pair_id
""")  # noqa: S608 (constants)

_SYMBOLS = text("""
    SELECT DISTINCT leg.symbol
      FROM strategy.pair_registry r
      LEFT JOIN execution.pair_trade t ON t.pair_id = r.pair_id AND t.state <> ALL(:finished)
     CROSS JOIN LATERAL (VALUES (r.symbol_1), (r.symbol_2)) AS leg(symbol)
     WHERE r.mode = ANY(:modes) OR t.pair_trade_id IS NOT NULL
     UNION
    SELECT symbol_1 FROM execution.pair_trade WHERE instance_id IS NOT NULL AND state <> ALL(:finished)
""")


# A series that was put on another basis without a company's word is for a person to look at, as `other` says.
_WHAT_FREEZES = text("""
    SELECT f.symbol, f.kind, f.effective_at
      FROM execution.pair_freeze f WHERE f.pair_id = :pair_id AND f.released_at IS NULL
     UNION ALL
    SELECT b.symbol, 'other', b.effective_at
      FROM strategy.pair_registry r
      JOIN data_ingestion.series_rebase b ON b.symbol IN (r.symbol_1, r.symbol_2) AND b.effective_at >= r.fitted_to
     WHERE r.pair_id = :pair_id AND b.timeframe = :timeframe AND b.vendor = :vendor AND b.adjustment = :adjustment
     ORDER BY effective_at
""")


FAULTS = [reason.value for reason in sorted(DATA_FAULTS)]

# The slots that pair `r` was observed in since it came to be, but only those after the last fault of its data.
OBSERVED_BARS = """
    SELECT count(*)
      FROM strategy.pair_signal w
     WHERE w.pair_id = r.pair_id AND r.mode = 'observe' AND w.pair_mode = 'observe'
       AND w.action <> 'no_decision' AND w.recorded_at >= r.mode_since
       AND NOT EXISTS (
             SELECT FROM strategy.pair_signal f
              WHERE f.pair_id = w.pair_id AND f.slot > w.slot AND f.reason = ANY(:faults))
"""
_WATCHED_BARS = text(f"SELECT ({OBSERVED_BARS}) FROM strategy.pair_registry r WHERE r.pair_id = :pair_id")  # noqa: S608


class SqlStrategyRepository:
    """Implements `StrategyRepository` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def watched_pairs(self, slot: datetime) -> list[WatchedPair]:
        """List the pairs to decide about at `slot`."""
        parameters = {"finished": FINISHED, "modes": _WATCHED_MODES, "slot": slot, **TRADED_SERIES}
        return [_watched(row) for row in self._connection.execute(_WATCHED, parameters).mappings()]

    def watched_symbols(self) -> list[str]:
        """List the symbols of watched pairs, and those that instances have a trade in."""
        parameters = {"finished": FINISHED, "modes": _WATCHED_MODES}
        return sorted(self._connection.execute(_SYMBOLS, parameters).scalars())

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read closes on a grid."""
        return read_closes(self._connection, symbols, ends)

    def data_blocks(self, symbols: Sequence[str]) -> list[DataBlock]:
        """Read the verdicts in force that block."""
        found = blocking_verdicts(self._connection, symbols)
        return [DataBlock(each.series.symbol, each.rule, each.reason, each.numbers) for each in found]

    def pair_instances(self) -> list[Instance]:
        """List the instances of type pairs, and those that ask for pairs."""
        of_pairs = or_(instance.c.strategy == PAIRS, instance.c.trades == PAIRS)
        rows = self._connection.execute(instances_that_are().where(of_pairs))
        return [instance_of(row) for row in rows.mappings()]

    def pair_wishes(self, slot: datetime) -> dict[tuple[str, str], PairWish]:
        """Read what active instances asked for about pairs, from their decisions."""
        c = instance_decision.c
        query = select(c.instance_id, c.wishes).where(c.slot == slot, c.mode == InstanceMode.ACTIVE.value)
        return {
            (name, wish["pair_id"]): _pair_wish(wish)
            for name, wishes in self._connection.execute(query)
            for wish in wishes
            if wish["kind"] in ("enter_pair", "exit_pair")
        }

    def stored_signals(self, slot: datetime) -> tuple[Signal, ...]:
        """Read the signals of a slot, by pair id."""
        same = (pair_spread.c.pair_id == pair_signal.c.pair_id) & (pair_spread.c.slot == pair_signal.c.slot)
        signal, spread = pair_signal.c, pair_spread.c
        rows = self._connection.execute(
            select(
                signal.pair_id, signal.slot, signal.action, signal.reason, signal.held_bars,
                spread.price_1, spread.price_2, spread.spread, spread.mean, spread.sd, spread.z, spread.window_bars,
            )
            .outerjoin_from(pair_signal, pair_spread, same)
            .where(signal.slot == slot, signal.instance_id.is_(None))
        )  # fmt: skip
        return tuple(sorted((_signal(tuple(row)) for row in rows), key=lambda each: each.pair_id))

    def add_evaluations(self, evaluations: Sequence[Evaluation]) -> set[str]:
        """Store what is not there yet. Rows go in by pair id, so that two runs at once can't lock each other out."""
        if not evaluations:
            return set()
        by_pair = sorted(evaluations, key=lambda each: each.pair.id)
        # The signals go first: a run that comes second learns here that it has nothing to add.
        statement = insert(pair_signal).on_conflict_do_nothing().returning(pair_signal.c.pair_id)
        added = set(self._connection.execute(statement, [_signal_row(each) for each in by_pair]).scalars())
        spreads = [_spread_row(each.signal.pair_id, each.signal.slot, each.signal.reading)
                   for each in by_pair if each.pair.id in added and each.signal.reading]  # fmt: skip
        if spreads:
            self._connection.execute(insert(pair_spread).on_conflict_do_nothing(), spreads)
        return added

    def tell(self, events: Sequence[Event]) -> None:
        """Put events into the outbox."""
        if events:
            statement = insert(outbox).on_conflict_do_nothing(index_elements=[outbox.c.event_id])
            self._connection.execute(statement, [outbox_row(event) for event in events])

    def registered(self, pair_id: str) -> RegisteredPair | None:
        """Read and lock a pair's row. The lock also keeps a new trade out, whose foreign key needs the row."""
        query = select(pair_registry).where(pair_registry.c.pair_id == pair_id).with_for_update()
        row = self._connection.execute(query).mappings().first()
        if row is None:
            return None
        return registered_row(row)

    def has_unfinished_trade(self, pair_id: str) -> bool:
        """Say whether a trade of the pair is not over."""
        unfinished = pair_trade.c.state.not_in(FINISHED)
        query = select(exists().where(pair_trade.c.pair_id == pair_id, unfinished))
        return bool(self._connection.execute(query).scalar_one())

    def keep_verdict(self, judgement: Judgement) -> None:
        """Add a verdict."""
        self._connection.execute(insert(gate_verdict).values(_verdict_row(judgement)).on_conflict_do_nothing())

    def save(self, registered: RegisteredPair, source: str, *, demoted: bool = False) -> None:
        """Insert or replace a pair's row."""
        values: dict[str, Any] = {
            **asdict(registered.pair),
            "correlation": registered.correlation,
            "fitted_from": registered.fitted_from,
            "fitted_to": registered.fitted_to,
            "gate_id": registered.gate_id,
            "gate_passed": registered.gate_passed,
            "found_by": registered.found_by.value,
            "after_closing": registered.after_closing.value if registered.after_closing else None,
            "version": registered.version,
            "source": source,
            "updated_at": func.clock_timestamp(),
        }
        if demoted:
            values["demoted_at"] = func.clock_timestamp()
        statement = insert(pair_registry).values(pair_id=registered.pair.id, **values)
        same_mode = pair_registry.c.mode == registered.pair.mode.value
        since = case((same_mode, pair_registry.c.mode_since), else_=func.clock_timestamp())
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["pair_id"], set_={**values, "mode_since": since})
        )

    def watched_bars(self, pair_id: str) -> int:
        """Count the slots of a pair in observe since its last fault."""
        return self._connection.execute(_WATCHED_BARS, {"pair_id": pair_id, "faults": FAULTS}).scalar() or 0

    def freezes(self, pair_id: str) -> list[PairFreeze]:
        """List what freezes a pair."""
        rows = self._connection.execute(_WHAT_FREEZES, {"pair_id": pair_id, **TRADED_SERIES})
        return [PairFreeze(row.symbol, CorporateActionKind(row.kind), row.effective_at) for row in rows]

    def release(self, pair_id: str, fitted_to: datetime, who: str) -> int:
        """End the freezes that a fit covers."""
        f = pair_freeze.c
        statement = (
            update(pair_freeze)
            .where(f.pair_id == pair_id, f.released_at.is_(None), f.effective_at < fitted_to)
            .values(released_at=func.clock_timestamp(), released_by=who)
        )
        return self._connection.execute(statement).rowcount

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        write_note(self._connection, note)


def _pair_wish(wish: Mapping[str, Any]) -> PairWish:
    if wish["kind"] == "exit_pair":
        return PairWish.EXIT
    return PairWish.ENTER_LONG if Direction(wish["direction"]).sign > 0 else PairWish.ENTER_SHORT


def registered_row(row: Mapping[Any, Any]) -> RegisteredPair:
    """Read a row of the registry."""
    return RegisteredPair(
        pair=_pair(row),
        correlation=row["correlation"],
        fitted_from=row["fitted_from"],
        fitted_to=row["fitted_to"],
        version=row["version"],
        gate_id=row["gate_id"],
        gate_passed=row["gate_passed"],
        found_by=FoundBy(row["found_by"]),
        after_closing=PairMode(row["after_closing"]) if row["after_closing"] else None,
    )


def _verdict_row(judgement: Judgement) -> dict[str, object]:
    tried, verdict = judgement.tried, judgement.tried.verdict
    trial = verdict.trial
    return {
        "gate_id": judgement.id,
        "pair_id": tried.pair.id,
        "alpha": tried.pair.alpha,
        "beta": tried.pair.beta,
        "half_life_bars": tried.pair.half_life_bars,
        "z_window_bars": tried.pair.z_window_bars,
        "time_stop_bars": tried.pair.time_stop_bars,
        "correlation": tried.fit.correlation,
        "fitted_from": judgement.fitted_from,
        "fitted_to": judgement.fitted_to,
        "judged_to": judgement.judged_to,
        "unseen_bars": trial.bars,
        "unseen_sessions": trial.sessions,
        "objections": [reason.value for reason in tried.objections],
        "sharpe": trial.sharpe,
        "win_rate": trial.win_rate,
        "max_drawdown": trial.max_drawdown,
        "net_return": trial.net_return,
        "round_trips": trial.round_trips,
        **asdict(verdict.bounds),
        "numbers": judgement.numbers,
        "who": judgement.who,
        "why": judgement.why,
    }


def _watched(row: Mapping[Any, Any]) -> WatchedPair:
    trade = None
    if row["trade_slot"] is not None:
        trade = UnfinishedTrade(Direction(row["direction"]), PairTradeState(row["state"]), row["trade_slot"])
    return WatchedPair(_pair(row), trade, row["stop_slot"], freeze_of(row), fitted_to=row["fitted_to"])


def freeze_of(row: Mapping[Any, Any]) -> Freeze:
    """Say what a row's `basis_lost` (NULL where no action freezes the pair) and `rebased` leave of the pair."""
    if row["basis_lost"] is None:
        return Freeze.NO_ENTRY if row["rebased"] else Freeze.NONE
    return Freeze.BASIS_LOST if row["basis_lost"] else Freeze.NO_ENTRY


def _pair(row: Mapping[Any, Any]) -> Pair:
    return Pair(
        symbol_1=row["symbol_1"],
        symbol_2=row["symbol_2"],
        alpha=row["alpha"],
        beta=row["beta"],
        half_life_bars=row["half_life_bars"],
        z_window_bars=row["z_window_bars"],
        time_stop_bars=row["time_stop_bars"],
        mode=PairMode(row["mode"]),
    )


def _signal(row: tuple[Any, ...]) -> Signal:
    pair, slot, action, reason, held_bars, *numbers = row
    reading = SpreadReading(*numbers) if numbers[0] is not None else None
    return Signal(pair, slot, SignalAction(action), reason, reading, held_bars)


def _signal_row(evaluation: Evaluation) -> dict[str, object]:
    signal = evaluation.signal
    return {
        "signal_id": signal.id,
        "pair_id": signal.pair_id,
        "slot": signal.slot,
        "action": signal.action.value,
        "reason": signal.reason,
        "pair_mode": evaluation.pair.mode.value,
        "held_bars": signal.held_bars,
        "numbers": evaluation.numbers,
    }


def _spread_row(pair_id: str, slot: datetime, reading: SpreadReading) -> dict[str, object]:
    return {"pair_id": pair_id, "slot": slot, **asdict(reading)}
