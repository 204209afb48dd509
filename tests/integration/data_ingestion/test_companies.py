"""Company data on a real PostgreSQL: stored once, kept when it changes, asked for when it is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, Table, create_engine, func, select, text
from sqlalchemy.pool import NullPool

from src.services.data_ingestion.adapters.company_repository import TABLES, SqlCompanyRepository
from src.services.data_ingestion.domain.company import (
    Answer,
    CompanyDataset,
    CompanyInfo,
    CompanyLoad,
    CompanyRow,
    DividendPaid,
    EarningsDay,
    Holder,
    KeyStatistics,
    Officer,
    SplitDone,
    StatementItem,
    Unread,
)
from src.services.data_ingestion.use_cases.companies import GIVE_UP_AFTER, CompanyData
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.tables import (
    company_history,
    company_load,
    company_officers,
    data_quarantine,
    earnings_dates,
    financial_statements,
    load_run,
)
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.conftest import TradingDatabase

NOW = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
DAY = date(2024, 12, 31)

ROWS: Mapping[CompanyDataset, tuple[CompanyRow, ...]] = {
    CompanyDataset.INFORMATION: (CompanyInfo(name="Kelvin Grid", employees=7),),
    CompanyDataset.OFFICERS: (Officer("Ada"), Officer("Bruno", age=50, total_pay=9e6)),
    CompanyDataset.STATISTICS: (KeyStatistics(NOW.date(), market_cap=3.5e12, beta=0.7),),
    CompanyDataset.STATEMENTS: (StatementItem("income", "annual", DAY, "NetIncome", 5.5e9, "USD"),),
    CompanyDataset.HOLDERS: (Holder("Northgate", DAY, shares=100.0, held=0.081),),
    CompanyDataset.DIVIDENDS: (DividendPaid(DAY, Decimal("0.25")),),
    CompanyDataset.SPLITS: (SplitDone(DAY, Decimal(1), Decimal(2)),),
    CompanyDataset.EARNINGS: (
        EarningsDay(DAY, DAY),
        EarningsDay(date(2025, 4, 1), date(2025, 4, 5), is_estimate=True),
    ),
}


@dataclass
class Source:
    """A vendor that says what a test tells it to, and counts what it is asked."""

    says: Callable[[str], Answer]
    asked: list[str] = field(default_factory=list)
    vendor: str = "yahoo"
    client: str = "by hand 1.0"

    def ask(self, dataset: CompanyDataset, symbol: str, as_of: date) -> Answer:
        self.asked.append(symbol)
        return self.says(symbol)


@dataclass
class Desk:
    """Loads on a database of their own, at a time that the test moves."""

    engine: Engine
    source: Source
    now: datetime = NOW

    def load(self, dataset: CompanyDataset, *symbols: str, **more: Any) -> CompanyLoad:
        return self.data().load(dataset, symbols or ("KELV",), **more)

    def data(self) -> CompanyData:
        return CompanyData(
            work=SqlUnitOfWork(self.engine, SqlCompanyRepository),
            source=self.source,
            now=lambda: self.now,
            due_days=dict.fromkeys(CompanyDataset, 7.0),
            workers=2,
        )

    def say(self, *rows: CompanyRow, unread: tuple[Unread, ...] = ()) -> None:
        self.source.says = lambda _: Answer(rows, unread, "" if rows else "there is none")

    def rows(self, table: Table) -> list[Mapping[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(select(table)).mappings()]

    def count(self, table: Table) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


@pytest.fixture
def at(trading_database: TradingDatabase) -> Desk:
    engine = create_engine(trading_database.app_url, poolclass=NullPool)
    return Desk(engine, Source(lambda _: Answer()))


@pytest.mark.parametrize("dataset", CompanyDataset)
def test_what_is_said_is_stored_with_the_load_that_brought_it(at: Desk, dataset: CompanyDataset) -> None:
    at.say(*ROWS[dataset])

    load = at.load(dataset)

    (outcome,) = load.outcomes
    assert (outcome.outcome, outcome.stored.new) == ("stored", len(ROWS[dataset]))
    stored, (run,) = at.rows(TABLES[dataset]), at.rows(load_run)
    assert [row["symbol"] for row in stored] == ["KELV"] * len(ROWS[dataset])
    assert {row["load_run_id"] for row in stored} == {run["load_run_id"]}
    assert (run["state"], run["dataset"], run["client"], run["rows_written"]) == (
        "complete",
        dataset.value,
        "by hand 1.0",
        len(ROWS[dataset]),
    )


@pytest.mark.parametrize("dataset", CompanyDataset)
def test_said_again_it_writes_nothing(at: Desk, dataset: CompanyDataset) -> None:
    at.say(*ROWS[dataset])
    at.load(dataset)
    before = at.rows(TABLES[dataset])

    (outcome,) = at.load(dataset, force=True).outcomes

    assert (outcome.outcome, outcome.stored.unchanged) == ("unchanged", len(ROWS[dataset]))
    assert at.rows(TABLES[dataset]) == before
    assert at.count(company_history) == 0
    with at.engine.connect() as connection:
        dead = connection.execute(
            text("SELECT pg_stat_force_next_flush(), n_dead_tup FROM pg_stat_user_tables WHERE relname = :name"),
            {"name": TABLES[dataset].name},
        ).one()
    assert dead.n_dead_tup == 0


def test_a_restatement_keeps_the_earlier_value(at: Desk) -> None:
    first = StatementItem("income", "annual", DAY, "NetIncome", 5.5e9, "USD")
    other = StatementItem("income", "annual", DAY, "TotalRevenue", 9e9, "USD")
    at.say(first, other)
    at.load(CompanyDataset.STATEMENTS)
    (run,) = at.rows(load_run)
    at.say(StatementItem("income", "annual", DAY, "NetIncome", 5.4e9, "USD"), other)

    (outcome,) = at.load(CompanyDataset.STATEMENTS, force=True).outcomes

    assert (outcome.stored.restated, outcome.stored.unchanged) == (1, 1)
    (kept,) = at.rows(company_history)
    assert kept["earlier"] == {
        "statement": "income",
        "period": "annual",
        "period_end": "2024-12-31",
        "item": "NetIncome",
        "value": 5.5e9,
        "currency": "USD",
    }
    assert (kept["reason"], kept["load_run_id"]) == ("restated", run["load_run_id"])
    values = {row["item"]: (row["value"], row["load_run_id"]) for row in at.rows(financial_statements)}
    assert values == {"NetIncome": (5.4e9, kept["superseded_by"]), "TotalRevenue": (9e9, run["load_run_id"])}


def test_an_officer_who_left_goes_into_the_history(at: Desk) -> None:
    at.say(*ROWS[CompanyDataset.OFFICERS])
    at.load(CompanyDataset.OFFICERS)
    at.say(Officer("Ada"))

    (outcome,) = at.load(CompanyDataset.OFFICERS, force=True).outcomes

    assert outcome.stored.withdrawn == 1
    assert [row["name"] for row in at.rows(company_officers)] == ["Ada"]
    (kept,) = at.rows(company_history)
    assert (kept["reason"], kept["earlier"]["name"], kept["earlier"]["total_pay"]) == ("withdrawn", "Bruno", 9e6)


def test_an_empty_answer_and_one_that_was_read_in_part_take_nothing_away(at: Desk) -> None:
    at.say(*ROWS[CompanyDataset.OFFICERS])
    at.load(CompanyDataset.OFFICERS)

    at.say()
    (empty,) = at.load(CompanyDataset.OFFICERS, force=True).outcomes
    at.say(Officer("Ada"), unread=(Unread("KELV", CompanyDataset.OFFICERS, "name", "an officer has no name", {}),))
    at.load(CompanyDataset.OFFICERS, force=True)

    assert (empty.outcome, empty.reason) == ("empty", "there is none")
    assert at.count(company_officers) == 2


def test_a_day_of_earnings_that_moves_replaces_the_one_to_come_and_what_was_told_stays_readable(at: Desk) -> None:
    past, guess = EarningsDay(DAY, DAY), EarningsDay(date(2025, 4, 1), date(2025, 4, 5), is_estimate=True)
    fixed = EarningsDay(date(2025, 4, 8), date(2025, 4, 8))
    today = NOW.date()
    at.source.says = lambda _: Answer((past, guess), all_after=today)
    at.load(CompanyDataset.EARNINGS)
    at.source.says = lambda _: Answer((fixed,), all_after=today)

    (outcome,) = at.load(CompanyDataset.EARNINGS, force=True).outcomes

    assert (outcome.stored.new, outcome.stored.withdrawn) == (1, 1)
    days = [(row["first_day"], row["last_day"], row["is_estimate"]) for row in at.rows(earnings_dates)]
    assert days == [(DAY, DAY, False), (fixed.first_day, fixed.last_day, False)]
    told = at.data().earnings(["KELV"], today)
    assert [(each.day, each.withdrawn_at is None) for each in told] == [(guess, False), (fixed, True)]
    assert at.data().earnings([], date(2025, 4, 9)) == at.data().earnings(["KYLO"], DAY) == []


def test_a_report_of_today_or_before_is_never_taken_back(at: Desk) -> None:
    today, coming = NOW.date(), EarningsDay(date(2025, 6, 3), date(2025, 6, 3))
    at.source.says = lambda _: Answer((EarningsDay(today, today),), all_after=today - timedelta(days=1))
    at.load(CompanyDataset.EARNINGS)
    at.source.says = lambda _: Answer((coming,), all_after=today)

    at.load(CompanyDataset.EARNINGS, force=True)

    assert [row["first_day"] for row in at.rows(earnings_dates)] == [today, coming.first_day]


def test_older_reports_of_holders_stay(at: Desk) -> None:
    at.say(Holder("Northgate", DAY, shares=100.0))
    at.load(CompanyDataset.HOLDERS)
    at.say(Holder("Northgate", date(2025, 3, 31), shares=90.0))
    at.load(CompanyDataset.HOLDERS, force=True)

    assert [row["shares"] for row in at.rows(TABLES[CompanyDataset.HOLDERS])] == [100.0, 90.0]
    assert at.count(company_history) == 0


def test_another_vendor_s_dividends_are_its_own(at: Desk) -> None:
    at.say(*ROWS[CompanyDataset.DIVIDENDS])
    at.load(CompanyDataset.DIVIDENDS)
    at.source.vendor = "polygon"
    at.say(DividendPaid(DAY, Decimal("0.5")))
    at.load(CompanyDataset.DIVIDENDS)

    found = {row["vendor"]: row["amount"] for row in at.rows(TABLES[CompanyDataset.DIVIDENDS])}
    assert found == {"yahoo": Decimal("0.25"), "polygon": Decimal("0.5")}


def test_what_can_t_be_read_is_set_aside_once(at: Desk) -> None:
    row = Unread("KELV", CompanyDataset.OFFICERS, "figure", "age: 'old' is no number", {"age": "old"})
    at.say(Officer("Ada"), unread=(row, row))

    for _ in range(2):
        at.load(CompanyDataset.OFFICERS, force=True)

    (kept,) = at.rows(data_quarantine)
    assert (kept["vendor"], kept["dataset"], kept["symbol"], kept["rule"]) == ("yahoo", "officers", "KELV", "figure")
    assert (kept["reason"], kept["raw"]) == (row.reason, {"age": "old"})
    assert at.rows(load_run)[0]["rows_rejected"] == 2


def test_only_what_is_due_is_asked_for(at: Desk) -> None:
    at.say(*ROWS[CompanyDataset.INFORMATION])
    at.load(CompanyDataset.INFORMATION, "KELV")

    at.now = NOW + timedelta(days=6)
    early = at.load(CompanyDataset.INFORMATION, "KELV", "KYLO")
    at.now = NOW + timedelta(days=7)
    later = at.load(CompanyDataset.INFORMATION, "KELV", "KYLO")

    assert at.source.asked == ["KELV", "KYLO", "KELV"]
    assert [(each.symbol, each.outcome) for each in early.outcomes] == [("KELV", "not due"), ("KYLO", "stored")]
    assert [(each.symbol, each.outcome) for each in later.outcomes] == [("KELV", "unchanged"), ("KYLO", "not due")]


def test_where_nothing_is_due_no_load_is_written_down(at: Desk) -> None:
    at.say(*ROWS[CompanyDataset.INFORMATION])
    at.load(CompanyDataset.INFORMATION)

    assert at.load(CompanyDataset.INFORMATION).asked == ()
    assert at.count(load_run) == 1


def test_a_symbol_that_fails_leaves_the_others_alone_and_stays_due(at: Desk) -> None:
    def says(symbol: str) -> Answer:
        if symbol == "NOPE":
            raise Refused("Yahoo does not know NOPE", "404")
        if symbol == "KYLO":
            raise Transient("Yahoo answered HTTP 500")
        return Answer(ROWS[CompanyDataset.INFORMATION])

    at.source.says = says

    load = at.load(CompanyDataset.INFORMATION, "KELV", "KYLO", "NOPE")

    assert [(each.symbol, each.reason) for each in load.failed] == [
        ("KYLO", "Yahoo answered HTTP 500"),
        ("NOPE", "Yahoo does not know NOPE"),
    ]
    assert sorted(at.source.asked) == ["KELV", "KYLO", "KYLO", "NOPE"]
    (run,) = at.rows(load_run)
    assert (run["state"], len(run["problems"])) == ("partial", 2)
    assert [row["symbol"] for row in at.rows(company_load)] == ["KELV"]


def test_if_nothing_comes_it_is_an_error_and_the_load_failed(at: Desk) -> None:
    def away(symbol: str) -> Answer:
        raise Transient("Yahoo answered HTTP 500")

    at.source.says = away

    with pytest.raises(Transient, match="500"):
        at.load(CompanyDataset.INFORMATION, "KELV", "KYLO")

    assert [row["state"] for row in at.rows(load_run)] == ["failed"]


def test_a_vendor_that_is_away_is_not_asked_for_everybody(at: Desk) -> None:
    def away(symbol: str) -> Answer:
        raise Transient("Yahoo can't be asked")

    at.source.says = away
    symbols = [f"S{number}" for number in range(200)]

    with pytest.raises(Transient):
        at.load(CompanyDataset.INFORMATION, *symbols)

    assert len(at.source.asked) <= 2 * (GIVE_UP_AFTER + 2)


def test_a_wrong_symbol_is_an_error_before_anything_is_asked(at: Desk) -> None:
    with pytest.raises(InputInvalid):
        at.load(CompanyDataset.INFORMATION, "KELV", "../KYLO")
    with pytest.raises(InputInvalid):
        CompanyData(SqlUnitOfWork(at.engine, SqlCompanyRepository), at.source, lambda: NOW, {}).load(
            CompanyDataset.INFORMATION, []
        )

    assert (at.source.asked, at.count(load_run)) == ([], 0)


@pytest.mark.parametrize("place", ["data_ingestion.company_load_begun", "data_ingestion.before_company"])
def test_a_load_that_dies_leaves_whole_companies_and_the_next_one_brings_the_rest(at: Desk, place: str) -> None:
    at.say(*ROWS[CompanyDataset.OFFICERS])
    with armed(f"{place}:exc"), pytest.raises(Crashed):
        at.load(CompanyDataset.OFFICERS, "KELV", "KYLO")

    at.load(CompanyDataset.OFFICERS, "KELV", "KYLO")

    assert sorted(row["symbol"] for row in at.rows(company_officers)) == ["KELV", "KELV", "KYLO", "KYLO"]
    assert sorted(row["state"] for row in at.rows(load_run)) == ["complete", "running"]


def test_two_loads_of_one_company_at_once_store_it_once(at: Desk) -> None:
    from concurrent.futures import ThreadPoolExecutor

    at.say(*ROWS[CompanyDataset.STATEMENTS])
    with ThreadPoolExecutor(4) as pool:
        loads = list(pool.map(lambda _: at.load(CompanyDataset.STATEMENTS, force=True), range(4)))

    assert sum(load.rows_changed for load in loads) == 1
    assert at.count(financial_statements) == 1
