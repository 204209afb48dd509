"""The search for pairs on a real PostgreSQL: what is stored, and what a second, a doubled or a killed one does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, text

from src.config.settings import load_settings
from src.services.strategy_engine.bootstrap import build_discovery
from src.services.strategy_engine.domain.discovery import Outcome, ScanPart
from src.services.strategy_engine.domain.scan.engle_granger import PairScan
from src.services.strategy_engine.domain.universe import Exclusion, NothingToSearch
from src.services.strategy_engine.use_cases.discovery import Discovery, DiscoveryReport, Request
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import OF_DISCOVERY, Crashed, armed
from src.shared.infra.database.tables import METADATA, corporate_action, dividends, pair_registry, symbol
from tests.fakes.markets import TRUE_PAIRS, TWIN_SYMBOLS, names, twin_closes, walks
from tests.fakes.pairs import registered_pair
from tests.fakes.stored_market import store_closes, store_earnings, store_split

UNTIL = datetime(2025, 3, 3, 21, tzinfo=UTC)
NOW = UNTIL + timedelta(hours=1)
ENDS = TradingCalendar().slots_between(UNTIL - timedelta(days=252), UNTIL)
TABLES = ("discovery_run", "discovery_scan", "discovery_result", "pair_registry", "gate_verdict")


@pytest.fixture
def discovery(engine: Engine) -> Discovery:
    return build_discovery(load_settings(), engine)


@pytest.fixture
def twin_market(engine: Engine) -> None:
    store_closes(engine, TWIN_SYMBOLS, ENDS, twin_closes(ENDS))


def search(discovery: Discovery, *symbols: str, **more: Any) -> DiscoveryReport:
    return discovery.discover(Request(symbols), now=NOW, who="ann", **more)


def rows(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(METADATA.tables[table])).mappings()]


def everything(engine: Engine) -> dict[str, list[str]]:
    """All that a search writes, without the times at which it was written."""
    found = {table: rows(engine, f"strategy.{table}") for table in TABLES} | {"outbox": rows(engine, "ops.outbox")}
    times = {"started_at", "finished_at", "recorded_at", "updated_at", "payload", "mode_since"}
    return {
        table: sorted(str({k: v for k, v in row.items() if k not in times}) for row in of_table)
        for table, of_table in found.items()
    }


@pytest.mark.usefixtures("twin_market")
def test_true_pairs_are_watched_and_every_pair_can_be_found_with_the_step_it_fell_at(
    discovery: Discovery, engine: Engine
) -> None:
    report = search(discovery)

    watched = {frozenset(pair.id.split("/")) for pair in report.observed}
    assert watched <= TRUE_PAIRS
    assert len(watched) >= 4
    assert {(row["pair_id"], row["mode"]) for row in rows(engine, "strategy.pair_registry")} == {
        (pair.id, "observe") for pair in report.observed
    }
    words = [discovery.why(f"{b}/{a}") for i, a in enumerate(TWIN_SYMBOLS) for b in TWIN_SYMBOLS[i + 1 :]]
    fell = Counter(word.step for word in words if word.step != "passed")
    assert fell == {each.step: each.fell for each in report.tallies if each.fell}
    assert sum(word.outcome is Outcome.OBSERVE for word in words) == len(watched)
    assert all(word.numbers["correlation"] is not None and word.numbers["p_value"] is not None for word in words)
    low = [word.numbers["correlation"] for word in words if word.reason == "LOW_CORRELATION"]
    assert low and max(each for each in low if each is not None) < 0.7


@pytest.mark.usefixtures("twin_market")
def test_a_second_search_changes_nothing_and_says_so(discovery: Discovery, engine: Engine) -> None:
    first = search(discovery)
    before = everything(engine)

    again = search(discovery)

    assert (first.already_done, again.already_done) == (False, True)
    assert (again.search, again.found) == (first.search, first.found)
    assert everything(engine) == before
    assert discovery.last() == again


@pytest.mark.usefixtures("twin_market")
def test_a_dry_run_says_the_same_and_writes_nothing(discovery: Discovery, engine: Engine) -> None:
    before = everything(engine)

    dry = search(discovery, dry_run=True)

    assert everything(engine) == before
    real = search(discovery)
    assert dry.tallies == real.tallies
    assert [pair.id for pair in dry.survivors] == [pair.id for pair in real.survivors]
    assert {pair.outcome for pair in dry.survivors} == {Outcome.CHOSEN}


@pytest.mark.usefixtures("twin_market")
def test_two_searches_at_once_store_one(discovery: Discovery, engine: Engine) -> None:
    both = Barrier(2, timeout=60)

    def scan(parts: Sequence[ScanPart]) -> Iterable[PairScan]:
        found = [part.scan() for part in parts]
        both.wait()
        return found

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: search(discovery, scan=scan), range(2))

    assert one.observed == other.observed and one.observed
    once = everything(engine)
    assert [len(once[table]) for table in ("discovery_run", "pair_registry")] == [1, len(one.observed)]
    assert len(once["outbox"]) == len(one.observed)


@pytest.mark.usefixtures("twin_market")
def test_a_search_that_dies_anywhere_is_whole_when_it_is_done_again(discovery: Discovery, engine: Engine) -> None:
    places = dict(zip(OF_DISCOVERY, ("KELV/KYLO", "QVEL/QORT", "VUNO/VEXI", "ZEMA/ZORN"), strict=True))
    for number, (place, pair) in enumerate(places.items(), start=1):
        with armed(f"{place}:exc"), pytest.raises(Crashed):
            search(discovery, *pair.split("/"))
        died = [row for row in rows(engine, "strategy.discovery_run") if row["state"] != "complete"]
        kept = [row for row in rows(engine, "strategy.discovery_result") if row["run_id"] == died[0]["run_id"]]
        assert [(row["state"], len(kept)) for row in died] in ([("running", 0)], [("stored", 1)]), place

        report = search(discovery, *pair.split("/"))

        assert [each.id for each in report.observed] == [pair], place
        assert not report.already_done
        assert search(discovery, *pair.split("/")).already_done
        for table in ("discovery_run", "discovery_scan", "discovery_result", "pair_registry"):
            assert len(rows(engine, f"strategy.{table}")) == number, (place, table)
        assert len(rows(engine, "ops.outbox")) == number
    assert {row["state"] for row in rows(engine, "strategy.discovery_run")} == {"complete"}


@pytest.mark.usefixtures("twin_market")
def test_a_pair_that_a_person_registers_while_a_search_lies_dead_is_left_alone(
    discovery: Discovery, engine: Engine
) -> None:
    with armed("strategy_engine.search_stored:exc"), pytest.raises(Crashed):
        search(discovery, "KELV", "KYLO")
    row = registered_pair("KELV/KYLO", UNTIL - timedelta(days=1)) | {"mode": "observe"}
    with engine.begin() as connection:
        connection.execute(insert(pair_registry).values(**row))

    report = search(discovery, "KELV", "KYLO")

    assert [pair.outcome for pair in report.found] == [Outcome.KNOWN]
    [kept] = rows(engine, "strategy.pair_registry")
    assert (kept["beta"], kept["version"]) == (row["beta"], 1)


def test_of_walks_none_is_active_and_what_fell_is_kept(discovery: Discovery, engine: Engine) -> None:
    # Of these the tests take three for pairs, and the gate two: luck that the stated rate allows.
    store_closes(engine, names(30), ENDS, walks(18, 30, len(ENDS)))

    report = search(discovery)

    assert {row["mode"] for row in rows(engine, "strategy.pair_registry")} <= {"observe"}
    assert len(report.observed) <= 0.05 * report.tallies[0].came
    results = rows(engine, "strategy.discovery_result")
    assert len(results) == next(each.came for each in report.tallies if each.step == "cointegration")
    assert {row["outcome"] for row in results} >= {"rejected"}


@pytest.mark.usefixtures("twin_market")
def test_a_pair_that_is_registered_stays_as_it_is(discovery: Discovery, engine: Engine) -> None:
    row = registered_pair("KYLO/KELV", UNTIL - timedelta(days=300)) | {"mode": "observe"}
    with engine.begin() as connection:
        connection.execute(insert(pair_registry).values(**row))

    report = search(discovery)

    [known] = [pair for pair in report.survivors if pair.outcome is Outcome.KNOWN]
    assert {known.symbol_1, known.symbol_2} == {"KELV", "KYLO"}
    kept = [each for each in rows(engine, "strategy.pair_registry") if "KELV" in each["pair_id"]]
    assert [(each["pair_id"], each["beta"], each["version"]) for each in kept] == [("KYLO/KELV", row["beta"], 1)]


@pytest.mark.usefixtures("twin_market")
def test_symbols_with_an_obstacle_are_left_out_and_what_is_announced_is_flagged(
    discovery: Discovery, engine: Engine
) -> None:
    store_split(engine, "QVEL", date(2025, 1, 15), "yahoo")
    with engine.begin() as connection:
        listed = {"tradable": True, "shortable": True, "easy_to_borrow": True, "updated_at": UNTIL}
        connection.execute(insert(symbol).values(symbol="ZORN", status="delisted", status_reason="gone", **listed))
        rates = {"old_rate": 1, "new_rate": 1, "cash_per_share": 0, "raw": {}, "vendor_type": "stock_merger"}
        actions = [("JARQ", "other", date(2024, 12, 2)), ("KELV", "cash_dividend", date(2024, 12, 2))]
        for name, kind, day in actions:
            row = {"corporate_action_id": f"{kind}-{name}", "symbol": name, "kind": kind, "ex_date": day}
            connection.execute(insert(corporate_action).values(**row, **rates))
        paid = {"vendor": "yahoo", "amount": 1, "load_run_id": UUID(int=1)}
        for name, day in (("KYLO", date(2025, 3, 10)), ("VUNO", date(2025, 6, 10))):
            connection.execute(insert(dividends).values(symbol=name, ex_date=day, **paid))
        block(connection, "XULA")

    store_earnings(engine, "VEXI", date(2025, 3, 12))
    store_earnings(engine, "VUNO", date(2025, 3, 16), date(2025, 3, 20))
    store_earnings(engine, "KELV", date(2025, 2, 5))

    report = search(discovery)

    assert {each.symbol: each.reason for each in report.search.excluded} == {
        "JARQ": Exclusion.COMPANY_ACTION,
        "QVEL": Exclusion.COMPANY_ACTION,
        "XULA": Exclusion.DATA_BLOCKED,
        "ZORN": Exclusion.NOT_ACTIVE,
    }
    assert report.search.symbols == tuple(sorted(set(TWIN_SYMBOLS) - {"JARQ", "QVEL", "XULA", "ZORN"}))
    events = {pair.id: pair.events for pair in report.survivors}
    assert events == {
        "KELV/KYLO": "KYLO ex-dividend 2025-03-10",
        "VUNO/VEXI": "VUNO earnings, estimated 2025-03-16; VEXI earnings 2025-03-12",
    }


def block(connection: Any, name: str) -> None:
    connection.execute(
        text("""
            INSERT INTO data_ingestion.data_quality (verdict_id, symbol, timeframe, vendor, adjustment, rule,
                   severity, passed, reason, window_start, window_end, judged_at)
            VALUES (gen_random_uuid(), :name, '1Hour', 'alpaca', 'split', 'spike', 'block', false, 'a spike',
                   :at, :at, :at)
        """),
        {"name": name, "at": UNTIL},
    )


REFUSED = [
    (Request(("KELV",)), "KELV alone makes no pair"),
    (Request(("KELV", "KELV")), "KELV alone makes no pair"),
    (Request(("KELV", "NOPE", "XXX")), "No hourly bars of NOPE, XXX are stored.*load_historical_data.py"),
    (Request(("kelv", "KYLO")), "'kelv' is not a symbol"),
    (Request(first=date(2025, 2, 1), last=date(2025, 1, 1)), "--from 2025-02-01 is not before 2025-01-01"),
    (Request(first=date(2026, 1, 1)), "--from 2026-01-01 is not before 2025-03-03"),
    (Request(last=date(2020, 1, 1)), "No hourly bars are stored up to 2020-01-02"),
    (Request(first=date(2025, 2, 1)), "Only 0 symbols can be searched, two are needed.*bars of 20 sessions"),
]


@pytest.mark.usefixtures("twin_market")
def test_what_can_not_be_searched_is_refused_in_one_line_and_nothing_is_written(
    discovery: Discovery, engine: Engine
) -> None:
    for request, words in REFUSED:
        with pytest.raises(InputInvalid, match=words) as refusal:
            discovery.discover(request, now=NOW, who="ann")
        assert "\n" not in str(refusal.value)

    assert rows(engine, "strategy.discovery_run") == []


def test_without_any_bars_there_is_nothing_to_search(discovery: Discovery) -> None:
    with pytest.raises(NothingToSearch, match="No hourly bars are stored up to 2025-03-03"):
        search(discovery)
    with pytest.raises(InputInvalid, match="No search has looked at KELV/KYLO"):
        discovery.why("KELV/KYLO")
    assert discovery.last() is None


def test_many_pairs_are_stored_and_found_again(discovery: Discovery, engine: Engine) -> None:
    closes: Floats = walks(3, 120, len(ENDS), common=0.708)
    store_closes(engine, names(120), ENDS, closes)

    report = search(discovery)

    results = rows(engine, "strategy.discovery_result")
    fell_before = sum(each.fell for each in report.tallies if each.step in ("sessions", "testable", "correlation"))
    assert len(results) + fell_before == 120 * 119 / 2
    assert len(results) > 1000 and fell_before > 1000
    one = next(row for row in results if row["reason"] == "NOT_COINTEGRATED")
    returns = [np.diff(np.log(closes[:797, int(one[leg][1:])])) for leg in ("symbol_1", "symbol_2")]
    assert one["correlation"] == pytest.approx(np.corrcoef(np.stack(returns))[0, 1])
