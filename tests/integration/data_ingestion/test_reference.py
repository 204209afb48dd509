"""Listings, splits and dividends of Polygon.io, from the twin into real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, text

from src.services.data_ingestion.adapters.polygon.reference import PolygonReference
from src.services.data_ingestion.adapters.polygon.wire import Endpoint, Wire
from src.services.data_ingestion.bootstrap import build_reference, build_symbols
from src.services.data_ingestion.domain.reference import Kept, ReferenceResult
from src.services.data_ingestion.use_cases.reference import ReferenceLoad
from src.services.data_ingestion.use_cases.symbols import SymbolsToLoad
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.infra.database.tables import load_run, symbol
from src.shared.infra.rate_limit import MinuteLimiter
from tests.fakes.hand_clock import HandClock
from tests.fakes.pairs import registered_pair, write_pair
from tests.fakes.twin_server import TwinHandle, running_twin

NOW = datetime(2025, 3, 4, 22, 30, tzinfo=UTC)
NAMES = ["KELV", "KYLO"]


@pytest.fixture(scope="module")
def shared_twin() -> Iterator[TwinHandle]:
    with running_twin(clock=NOW.isoformat()) as handle:
        yield handle


@pytest.fixture
def twin(shared_twin: TwinHandle) -> TwinHandle:
    shared_twin.admin.clear_faults()
    shared_twin.admin.move_clock(NOW.isoformat(), reset=True)
    announce(shared_twin, "forward_split", "KELV", "2025-03-05", old_rate=1, new_rate=3)
    announce(shared_twin, "cash_dividend", "KYLO", "2025-03-06", rate="0.37")
    return shared_twin


@pytest.fixture
def source(twin: TwinHandle) -> PolygonReference:
    clock = HandClock()
    limiter = MinuteLimiter(10_000, now=clock.read, sleep=clock.sleep)
    return PolygonReference(Wire(Endpoint(twin.url, SecretStr("any"), 2, 10), limiter, clock.sleep))


@pytest.fixture
def load(engine: Engine) -> ReferenceLoad:
    return build_reference(engine)


@pytest.fixture
def symbols(engine: Engine) -> SymbolsToLoad:
    return build_symbols(engine)


def announce(twin: TwinHandle, kind: str, name: str, day: str, **terms: Any) -> None:
    twin.admin.post("corporate-actions", type=kind, symbol=name, ex_date=day, **terms)


def select(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT {sql}"))]


def everything(engine: Engine) -> list[list[tuple[Any, ...]]]:
    tables = ("symbol", "stock_splits", "dividends", "quarantine")
    # xmin: the transaction that wrote a row last.
    return [select(engine, f"xmin::text, * FROM data_ingestion.{table} ORDER BY symbol") for table in tables]


def kept(result: ReferenceResult) -> list[Kept]:
    return [each.kept for each in result.outcomes]


def broker_says(engine: Engine, listed: str, **more: Any) -> None:
    row = {"symbol": listed, "tradable": True, "shortable": True, "easy_to_borrow": True, "updated_at": NOW} | more
    with engine.begin() as connection:
        connection.execute(insert(symbol).values(**row))


def test_all_three_come_in_and_the_same_again_changes_nothing(
    engine: Engine, load: ReferenceLoad, source: PolygonReference
) -> None:
    first = load.run(source, NAMES)
    before = everything(engine)
    again = load.run(source, NAMES)

    assert kept(first) == [Kept(new=2), Kept(new=1), Kept(new=1)]
    assert kept(again) == [Kept(unchanged=2), Kept(unchanged=1), Kept(unchanged=1)]
    assert everything(engine) == before
    assert select(
        engine, "symbol, vendor, ex_date, old_shares::int, new_shares::int FROM data_ingestion.stock_splits"
    ) == [("KELV", "polygon", date(2025, 3, 5), 1, 3)]
    assert select(
        engine, "symbol, ex_date, kind, amount::float, currency, times_a_year FROM data_ingestion.dividends"
    ) == [("KYLO", date(2025, 3, 6), "regular", 0.37, "USD", 4)]


def test_each_dataset_is_a_load_that_its_rows_know(
    engine: Engine, load: ReferenceLoad, source: PolygonReference
) -> None:
    load.run(source, NAMES)

    runs = select(engine, "dataset, state, rows_written, client FROM data_ingestion.load_run ORDER BY started_at")
    assert [run[:3] for run in runs] == [
        ("listing", "complete", 2),
        ("split", "complete", 1),
        ("dividend", "complete", 1),
    ]
    assert all(run[3].startswith("polygon-api-client ") for run in runs)
    joined = "run.dataset FROM data_ingestion.dividends d JOIN data_ingestion.load_run run USING (load_run_id)"
    assert select(engine, joined) == [("dividend",)]


def test_terms_that_were_corrected_are_written(
    engine: Engine, load: ReferenceLoad, source: PolygonReference, twin: TwinHandle
) -> None:
    load.run(source, NAMES)
    twin.admin.fault(kind="extra", endpoint="GET /v3/reference/splits", set={"results.0.split_to": 4})

    result = load.run(source, ["KELV"])

    assert kept(result)[1] == Kept(changed=1)
    assert select(engine, "new_shares::int FROM data_ingestion.stock_splits") == [(4,)]
    history = "dataset, vendor, symbol, earlier->>'ex_date', earlier->>'new_shares', reason"
    ((*told, shares, reason),) = select(engine, f"{history} FROM data_ingestion.company_history")
    assert (told, float(shares), reason) == (["splits", "polygon", "KELV", "2025-03-05"], 3.0, "restated")


def test_what_the_broker_says_of_a_symbol_stands(
    engine: Engine, load: ReferenceLoad, source: PolygonReference
) -> None:
    broker_says(engine, "KELV", name="As the broker calls it", status="inactive", status_reason="the broker")

    load.run(source, NAMES)

    rows = select(engine, "symbol, name, exchange, tradable, status FROM data_ingestion.symbol ORDER BY symbol")
    assert rows[0] == ("KELV", "As the broker calls it", "XNYS", True, "inactive")
    assert (rows[1][0], rows[1][2:]) == ("KYLO", ("XNYS", False, "active"))


def test_a_delisting_is_written_with_its_day_and_taken_back(
    engine: Engine, load: ReferenceLoad, source: PolygonReference, twin: TwinHandle
) -> None:
    load.run(source, NAMES)
    announce(twin, "delisting", "KYLO", "2025-03-05")
    twin.admin.move_clock("2025-03-06T22:30:00Z")
    gone = load.run(source, NAMES)
    what = "status, status_since, status_reason FROM data_ingestion.symbol WHERE symbol = 'KYLO'"
    delisted = select(engine, what)
    twin.admin.move_clock(NOW.isoformat(), reset=True)
    load.run(source, NAMES)

    assert kept(gone)[0] == Kept(changed=1, unchanged=1)
    assert delisted == [("delisted", datetime(2025, 3, 5, tzinfo=UTC), "polygon: delisted")]
    assert select(engine, what) == [("active", None, "")]


def test_unknown_symbols_are_named(load: ReferenceLoad, source: PolygonReference) -> None:
    assert load.run(source, [*NAMES, "NOPE"]).unknown == ("NOPE",)


def test_a_row_that_cannot_be_read_is_in_the_quarantine_once(
    engine: Engine, load: ReferenceLoad, source: PolygonReference, twin: TwinHandle
) -> None:
    twin.admin.fault(kind="extra", endpoint="GET /v3/reference/splits", set={"results.0.split_to": 0})

    results = [load.run(source, ["KELV"]) for _ in range(2)]

    assert [each.outcomes[1].rejected for each in results] == [1, 1]
    assert select(engine, "vendor, dataset, symbol, rule, reason FROM data_ingestion.quarantine") == [
        ("polygon", "split", "KELV", "unreadable", "split_to 0 is not above zero and sane")
    ]
    assert select(engine, "DISTINCT state FROM data_ingestion.load_run WHERE dataset = 'split'") == [("partial",)]


def test_one_dataset_that_breaks_off_leaves_the_others(
    engine: Engine, load: ReferenceLoad, source: PolygonReference, twin: TwinHandle
) -> None:
    twin.admin.fault(kind="html", endpoint="GET /v3/reference/splits")

    result = load.run(source, NAMES)

    assert [each.dataset for each in result.failed] == ["split"]
    assert select(engine, "dataset, state FROM data_ingestion.load_run ORDER BY started_at") == [
        ("listing", "complete"),
        ("split", "failed"),
        ("dividend", "complete"),
    ]


@pytest.mark.parametrize(
    ("fault", "error"), [({"kind": "html"}, Transient), ({"kind": "status", "status": 401}, Refused)]
)
def test_all_that_break_off_are_an_error(
    engine: Engine,
    load: ReferenceLoad,
    source: PolygonReference,
    twin: TwinHandle,
    fault: Any,
    error: type[Exception],
) -> None:
    twin.admin.fault(endpoint="GET /v3/*", **fault)

    with pytest.raises(error):
        load.run(source, NAMES)

    assert select(engine, "DISTINCT state FROM data_ingestion.load_run") == [("failed",)]


@pytest.mark.parametrize("names", [[], ["no symbol"]])
def test_no_symbols_are_one_line(load: ReferenceLoad, source: PolygonReference, names: list[str]) -> None:
    with pytest.raises(InputInvalid):
        load.run(source, names)


# Which symbols are loaded


def loaded(engine: Engine, name: str, until: datetime, **more: Any) -> None:
    row = {"load_run_id": uuid4(), "vendor": "polygon", "timeframe": "1Hour", "symbols": [name], "state": "complete"}
    row |= {"window_start": until - timedelta(days=9), "window_end": until, "started_at": until} | more
    with engine.begin() as connection:
        connection.execute(insert(load_run).values(**row))


def has_pair(engine: Engine, pair: str, mode: str) -> None:
    with engine.begin() as connection:
        write_pair(connection, registered_pair(pair, NOW) | {"mode": mode})


def test_active_are_symbols_of_pairs_in_any_mode_but_retired_and_those_loaded_before(
    engine: Engine, symbols: SymbolsToLoad
) -> None:
    has_pair(engine, "AAA/BBB", "candidate")
    has_pair(engine, "CCC/DDD", "observe")
    has_pair(engine, "EEE/FFF", "closing")
    has_pair(engine, "RRR/SSS", "retired")
    for name in ("LOADED", "GONE", "IDLE", "LISTED", "FAILED"):
        broker_says(engine, name, status={"GONE": "delisted", "IDLE": "inactive"}.get(name, "active"))
        if name != "LISTED":
            loaded(engine, name, NOW, state="failed" if name == "FAILED" else "partial")
    loaded(engine, "LISTED", NOW, timeframe="", dataset="listing")
    loaded(engine, "UNHEARDOF", NOW)

    assert symbols.active() == ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "LOADED", "UNHEARDOF"]


def test_a_delisted_leg_of_a_pair_is_not_loaded(engine: Engine, symbols: SymbolsToLoad) -> None:
    has_pair(engine, "AAA/BBB", "active")
    broker_says(engine, "BBB", status="delisted")

    assert symbols.active() == ["AAA"]


def test_a_load_goes_on_where_the_last_finished_one_ended(engine: Engine, symbols: SymbolsToLoad) -> None:
    first = NOW - timedelta(days=30)
    loaded(engine, "AAA", NOW - timedelta(days=5))
    loaded(engine, "AAA", NOW - timedelta(days=9))
    loaded(engine, "AAA", NOW, state="failed")
    loaded(engine, "AAA", NOW, vendor="alpaca")
    loaded(engine, "BBB", NOW - timedelta(days=5), state="partial")
    loaded(engine, "CCC", NOW, timeframe="1Day")

    assert symbols.starts("polygon", "1Hour", ["AAA", "BBB", "CCC"], first) == {
        first: ("CCC",),
        NOW - timedelta(days=5): ("AAA", "BBB"),
    }
