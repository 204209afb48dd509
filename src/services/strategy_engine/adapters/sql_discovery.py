"""Searches for pairs on PostgreSQL: what is read is read for all symbols at once, what is stored goes in by COPY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from src.services.strategy_engine.domain.discovery import (
    GATE,
    PASSED,
    STEPS,
    CompanyEvent,
    Findings,
    FoundPair,
    Outcome,
    StepTally,
    found_pair,
)
from src.services.strategy_engine.domain.reasons import ScanReason
from src.services.strategy_engine.domain.scan.funnel import STEP_OF_REASON, Funnel, FunnelStep
from src.services.strategy_engine.domain.universe import Excluded, Exclusion
from src.services.strategy_engine.ports import KnownPair, PairWord, Search
from src.shared.domain.bars import CloseSeries, Floats, Ints
from src.shared.domain.pairs import PairMode
from src.shared.infra.database.binary_copy import Field, array_bytes, copy_into
from src.shared.infra.database.closes import TRADED_SERIES, read_closes
from src.shared.infra.database.tables import (
    DISCOVERY_NUMBERS,
    discovery_result,
    discovery_run,
    pair_registry,
)
from src.shared.infra.database.verdicts import blocking_verdicts

_SYMBOLS_AT_ONCE = 250
# A statement is bounded in time: millions of rows go in by several.
_ROWS_AT_ONCE = 200_000
_WENT_ON = 255
_REASONS = tuple(STEP_OF_REASON)
_STEPS_OF_SCAN = (FunnelStep.SESSIONS, FunnelStep.TESTABLE, FunnelStep.CORRELATION)
_OF_THE_GATE = ("sharpe", "win_rate", "max_drawdown", "round_trips", "net_return")

_SCAN_COLUMNS = ("run_id", "position", "symbol", "correlations", "p_values", "codes")
_RESULT_COLUMNS = (
    "run_id", "symbol_1", "symbol_2", "step", "outcome", "reason", "events", "bars", *DISCOVERY_NUMBERS
)  # fmt: skip

_NEWEST = text("""
    SELECT max(bar_end) FROM data_ingestion.market_data
     WHERE timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment AND bar_end <= :before
""")

_SYMBOLS = text("""
    SELECT DISTINCT symbol FROM data_ingestion.market_data
     WHERE timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment
       AND bar_end BETWEEN :start AND :end
""")

_NOT_ACTIVE = text("""
    SELECT symbol, status, status_reason FROM data_ingestion.symbol
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND status <> 'active'
""")

_ACTIONS = text("""
    SELECT symbol, 'split' AS kind, ex_date FROM data_ingestion.stock_splits
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND ex_date > :after AND ex_date <= :until
     UNION
    SELECT symbol, kind, ex_date FROM data_ingestion.corporate_action
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND ex_date > :after AND ex_date <= :until
       AND kind <> 'cash_dividend'
     ORDER BY ex_date, symbol, kind
""")

_EX_DIVIDEND = text("""
    SELECT symbol, ex_date FROM data_ingestion.dividends
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND ex_date > :after AND ex_date <= :until
     UNION
    SELECT symbol, ex_date FROM data_ingestion.corporate_action
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND ex_date > :after AND ex_date <= :until
       AND kind = 'cash_dividend'
""")

_EARNINGS = text("""
    SELECT symbol, CASE WHEN bool_or(is_estimate) THEN 'earnings, estimated' ELSE 'earnings' END AS what, first_day
      FROM data_ingestion.earnings_dates
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND last_day > :after AND first_day <= :until
     GROUP BY symbol, first_day
""")

_REBASED = text("""
    SELECT symbol, max(effective_at) AS effective_at FROM data_ingestion.series_rebase
     WHERE symbol = ANY (CAST(:symbols AS text[])) AND effective_at > :start AND effective_at <= :end
       AND timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment
     GROUP BY symbol
""")

# Of one pair of a search: `place` is how far its second symbol stands behind its first.
_PACKED = text("""
    SELECT s.correlations[CAST(:place AS int)] AS correlation, s.p_values[CAST(:place AS int)] AS p_value,
           r.reasons[get_byte(s.codes, CAST(:place AS int) - 1) + 1] AS reason
      FROM strategy.discovery_scan s JOIN strategy.discovery_run r USING (run_id)
     WHERE s.run_id = :run AND s.position = :position
""")


class SqlDiscoveryRepository:
    """Implements `DiscoveryRepository` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def newest_bar(self, before: datetime) -> datetime | None:
        """Return the end of the newest bar."""
        found: datetime | None = self._connection.execute(_NEWEST, {"before": before, **TRADED_SERIES}).scalar()
        return found

    def symbols_with_bars(self, start: datetime, end: datetime) -> list[str]:
        """List the symbols with bars in the window."""
        return sorted(self._connection.execute(_SYMBOLS, {"start": start, "end": end, **TRADED_SERIES}).scalars())

    def objections(self, symbols: Sequence[str], start: datetime, end: datetime) -> list[Excluded]:
        """List what keeps symbols out, one thing for each."""
        asked: dict[str, Any] = {"symbols": list(symbols), "start": start, "end": end, **TRADED_SERIES}
        days = {"symbols": list(symbols), "after": start.date(), "until": end.date()}
        found: dict[str, Excluded] = {}
        for row in self._connection.execute(_REBASED, asked):
            words = f"its prices were put on another basis at {row.effective_at:%Y-%m-%d %H:%M} UTC"
            found[row.symbol] = Excluded(row.symbol, Exclusion.REBASED, words)
        for row in self._connection.execute(_ACTIONS, days):
            words = f"{row.kind.replace('_', ' ')} on {row.ex_date}"
            found[row.symbol] = Excluded(row.symbol, Exclusion.COMPANY_ACTION, words)
        for verdict in reversed(blocking_verdicts(self._connection, symbols)):
            symbol = verdict.series.symbol
            found[symbol] = Excluded(symbol, Exclusion.DATA_BLOCKED, f"{verdict.reason} ({verdict.rule})")
        for row in self._connection.execute(_NOT_ACTIVE, {"symbols": list(symbols)}):
            words = f"{row.status} {row.status_reason}".strip()
            found[row.symbol] = Excluded(row.symbol, Exclusion.NOT_ACTIVE, words)
        return sorted(found.values(), key=lambda each: each.symbol)

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read closes on a grid, some symbols at a time."""
        parts = [
            read_closes(self._connection, symbols[begin : begin + _SYMBOLS_AT_ONCE], ends).closes
            for begin in range(0, len(symbols), _SYMBOLS_AT_ONCE)
        ]
        closes = np.concatenate(parts, axis=1) if parts else np.empty((len(ends), 0))
        return CloseSeries(tuple(symbols), tuple(ends), closes)

    def events(self, symbols: Sequence[str], after: date, until: date) -> list[CompanyEvent]:
        """List what is announced."""
        asked = {"symbols": list(symbols), "after": after, "until": until}
        found = [CompanyEvent(row.symbol, "ex-dividend", row.ex_date)
                 for row in self._connection.execute(_EX_DIVIDEND, asked)]  # fmt: skip
        found += [CompanyEvent(row.symbol, row.kind.replace("_", " "), row.ex_date)
                  for row in self._connection.execute(_ACTIONS, asked)]  # fmt: skip
        found += [CompanyEvent(row.symbol, row.what, row.first_day)
                  for row in self._connection.execute(_EARNINGS, asked)]  # fmt: skip
        return sorted(found, key=lambda each: (each.day, each.symbol, each.what))

    def known_pairs(self) -> dict[frozenset[str], KnownPair]:
        """List the registered pairs."""
        r = pair_registry.c
        query = select(r.pair_id, r.symbol_1, r.symbol_2, r.mode, r.fitted_to)
        return {
            frozenset((row.symbol_1, row.symbol_2)): KnownPair(row.pair_id, PairMode(row.mode), row.fitted_to)
            for row in self._connection.execute(query)
        }

    def begin(self, search: Search) -> None:
        """Write a search down."""
        row = {
            "run_id": search.id,
            "window_start": search.window_start,
            "window_end": search.window_end,
            "symbols": list(search.symbols),
            "excluded": [asdict(each) for each in search.excluded],
            "parameters": dict(search.parameters),
            "reasons": [reason.value for reason in _REASONS],
            "state": "running",
            "who": search.who,
        }
        self._connection.execute(insert(discovery_run).values(row).on_conflict_do_nothing())

    def search(self, identity: UUID, *, lock: bool = False) -> Search | None:
        """Read a search."""
        query = select(discovery_run).where(discovery_run.c.run_id == identity)
        row = self._connection.execute(query.with_for_update() if lock else query).mappings().first()
        return None if row is None else _search(row)

    def last_search(self) -> Search | None:
        """Read the finished search with the newest window."""
        return self._newest_with([])

    def add(self, search: Search, findings: Findings) -> None:
        """Store all that was found."""
        copy_into(self._connection, "strategy.discovery_scan", _SCAN_COLUMNS, _packed(search.id, findings))
        for block in _results(search.id, findings):
            copy_into(self._connection, "strategy.discovery_result", _RESULT_COLUMNS, [block])
        tallies = {each.step: {"came": each.came, "fell": each.fell} for each in findings.tallies()}
        self._update(search.id, counts=tallies, state="stored")

    def found(self, identity: UUID) -> list[FoundPair]:
        """List the pairs that came to the gate."""
        r = discovery_result.c
        query = (
            select(discovery_result)
            .where(r.run_id == identity, r.step.in_([GATE, PASSED]))
            .order_by(r.score.desc(), r.symbol_1, r.symbol_2)
        )
        return [_found(row) for row in self._connection.execute(query).mappings()]

    def settle(self, identity: UUID, pair: FoundPair, outcome: Outcome, reason: str | None) -> None:
        """Say what became of a chosen pair."""
        r = discovery_result.c
        of_pair = (r.run_id == identity, r.symbol_1 == pair.symbol_1, r.symbol_2 == pair.symbol_2)
        chosen = r.outcome == Outcome.CHOSEN.value
        statement = update(discovery_result).where(*of_pair, chosen).values(outcome=outcome.value, reason=reason)
        self._connection.execute(statement)

    def finish(self, identity: UUID) -> None:
        """Say that a search is complete; one that is stays as it is."""
        r = discovery_run.c
        done = {"state": "complete", "finished_at": func.clock_timestamp()}
        self._connection.execute(update(discovery_run).where(r.run_id == identity, r.state == "stored").values(done))

    def word_on(self, symbol_1: str, symbol_2: str) -> PairWord | None:
        """Read what the newest search said of a pair."""
        search = self._newest_with([symbol_1, symbol_2])
        if search is None:
            return None
        r = discovery_result.c
        either = r.symbol_1.in_([symbol_1, symbol_2]) & r.symbol_2.in_([symbol_1, symbol_2])
        row = self._connection.execute(
            select(discovery_result).where(r.run_id == search.id, either)
        ).mappings().first()  # fmt: skip
        if row is None:
            return self._packed_word(search, *sorted((symbol_1, symbol_2)))
        numbers = {name: row[name] for name in DISCOVERY_NUMBERS}
        return PairWord(search, row["step"], Outcome(row["outcome"]), row["reason"], numbers)

    def _packed_word(self, search: Search, first: str, second: str) -> PairWord:
        position, other = search.symbols.index(first), search.symbols.index(second)
        asked = {"run": search.id, "position": position, "place": other - position}
        row = self._connection.execute(_PACKED, asked).one()
        step = STEP_OF_REASON[ScanReason(row.reason)].value
        numbers = {"correlation": _number(row.correlation), "p_value": _number(row.p_value)}
        return PairWord(search, step, Outcome.REJECTED, row.reason, numbers)

    def _newest_with(self, symbols: Sequence[str]) -> Search | None:
        r = discovery_run.c
        query = (
            select(discovery_run)
            .where(r.state == "complete", r.symbols.contains(list(symbols)))
            .order_by(r.window_end.desc(), r.finished_at.desc())
            .limit(1)
        )
        row = self._connection.execute(query).mappings().first()
        return None if row is None else _search(row)

    def _update(self, identity: UUID, **values: Any) -> None:
        self._connection.execute(update(discovery_run).where(discovery_run.c.run_id == identity).values(**values))


def _search(row: Mapping[Any, Any]) -> Search:
    return Search(
        id=row["run_id"],
        window_start=row["window_start"],
        window_end=row["window_end"],
        symbols=tuple(row["symbols"]),
        excluded=tuple(
            Excluded(each["symbol"], Exclusion(each["reason"]), each["words"]) for each in row["excluded"]
        ),
        parameters=row["parameters"],
        who=row["who"],
        state=row["state"],
        tallies=tuple(StepTally(step, **row["counts"][step]) for step in STEPS if step in row["counts"]),
    )


def _found(row: Mapping[Any, Any]) -> FoundPair:
    names = [name for name in FoundPair.__dataclass_fields__ if name != "outcome"]
    return FoundPair(outcome=Outcome(row["outcome"]), **{name: row[name] for name in names})


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _packed(run: UUID, findings: Findings) -> Iterator[list[Field]]:
    """Pack the whole scan, a row for each symbol but the last."""
    symbols, funnel = findings.symbols, findings.funnel
    at = funnel.scan.legs[0], funnel.scan.legs[1]
    correlations, p_values = np.full((2, len(symbols), len(symbols)), np.nan)
    correlations[at] = funnel.scan.correlation
    p_values[at] = np.where(funnel.scan.problem == 0, _better(funnel, funnel.scan.p_value), np.nan)
    codes = np.full((len(symbols), len(symbols)), _WENT_ON, dtype=np.uint8)
    codes[at] = np.where(_went_on(funnel), np.uint8(_WENT_ON), funnel.reasons)
    for position, symbol in enumerate(symbols[:-1]):
        later = slice(position + 1, None)
        yield [
            run.bytes, np.array([position], dtype=np.int32), symbol, array_bytes(correlations[position, later]),
            array_bytes(p_values[position, later]), codes[position, later].tobytes(),
        ]  # fmt: skip


def _results(run: UUID, findings: Findings) -> Iterator[list[Field]]:
    """Lay out the pairs that passed the correlation, so many at once, those of equal lengths together."""
    funnel, scan = findings.funnel, findings.funnel.scan
    rows = np.flatnonzero(_went_on(funnel))
    ways = funnel.direction[rows]
    names = np.array(findings.symbols, dtype="S10")
    legs: tuple[Any, Any] = names[scan.legs[ways, rows]], names[scan.legs[1 - ways, rows]]
    told = _Told(rows, funnel)
    for pair in findings.tried:
        told.add(pair.scanned.row, found_pair(pair, findings.bars))
    half_lives = _better(funnel, scan.half_life_bars)[rows]
    numbers: dict[str, Floats] = {
        "correlation": scan.correlation[rows],
        "t_statistic": _better(funnel, scan.statistic)[rows],
        "p_value": _better(funnel, scan.p_value)[rows],
        "lags": _better(funnel, scan.lags)[rows].astype(np.float64),
        "reverse_p_value": scan.p_value[1 - ways, rows],
        "p_adjusted": funnel.adjusted_p[rows],
        "alpha": _better(funnel, scan.alpha)[rows],
        "beta": _better(funnel, scan.beta)[rows],
        "half_life_bars": np.where(np.isfinite(half_lives), half_lives, np.nan),
        "mean_abs_z": funnel.mean_abs_z[rows],
        "score": funnel.rank[rows],
        **told.numbers,
    }
    bars = np.full(rows.size, findings.bars, dtype=np.int32)
    fields = [*legs, *told.texts(), bars, *(numbers[name] for name in DISCOVERY_NUMBERS)]
    order: Ints = np.lexsort((np.char.str_len(legs[0]), np.char.str_len(legs[1]), funnel.reasons[rows]))
    for begin in range(0, order.size, _ROWS_AT_ONCE):
        some = order[begin : begin + _ROWS_AT_ONCE]
        yield [run.bytes, *(field[some] for field in fields)]


class _Told:
    """Step, outcome, reason and events of the rows of a result, and the numbers of their trials."""

    def __init__(self, rows: Ints, funnel: Funnel) -> None:
        self._place = {row: place for place, row in enumerate(rows.tolist())}
        codes = funnel.reasons[rows].tolist()
        reasons = [_REASONS[code] if code < len(_REASONS) else None for code in codes]
        self._words: list[list[str]] = [
            [PASSED if reason is None else STEP_OF_REASON[reason].value for reason in reasons],
            [Outcome.REJECTED.value] * len(codes),
            ["" if reason is None else reason.value for reason in reasons],
            [""] * len(codes),
        ]
        self.numbers = {name: np.full(len(codes), np.nan) for name in _OF_THE_GATE}

    def add(self, row: int, pair: FoundPair) -> None:
        """Say what became of a pair that came to the gate."""
        place = self._place[row]
        step = GATE if pair.outcome is Outcome.REJECTED else PASSED
        for words, word in zip(self._words, (step, pair.outcome.value, pair.reason, pair.events), strict=True):
            words[place] = word or ""
        for name, column in self.numbers.items():
            value = getattr(pair, name)
            column[place] = np.nan if value is None else value

    def texts(self) -> list[Any]:
        """Give the words as arrays of UTF-8."""
        return [np.array([word.encode() for word in words], dtype=bytes) for words in self._words]


def _went_on(funnel: Funnel) -> Any:
    held_back = [code for code, reason in enumerate(_REASONS) if STEP_OF_REASON[reason] in _STEPS_OF_SCAN]
    return ~np.isin(funnel.reasons, held_back)


def _better(funnel: Funnel, numbers: Any) -> Any:
    return np.take_along_axis(numbers, funnel.direction[None], axis=0)[0]
