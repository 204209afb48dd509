"""Yahoo as a source of what is known of companies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from src.services.data_ingestion.adapters.yahoo import companies
from src.services.data_ingestion.adapters.yahoo.charts import dividends_of, splits_of
from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.services.data_ingestion.adapters.yahoo.history import VENDOR
from src.services.data_ingestion.adapters.yahoo.statements import PERIODS, STATEMENTS, statements, types_of
from src.services.data_ingestion.domain.company import Answer, CompanyDataset

_BOOKS_SINCE = datetime(2016, 12, 31, tzinfo=UTC)
_EVENTS_SINCE = datetime(2000, 1, 1, tzinfo=UTC)


class YahooCompanies:
    """What Yahoo says of companies, dataset by dataset."""

    def __init__(self, client: YahooClient) -> None:
        self._client = client

    @property
    def vendor(self) -> str:
        """Name under which the rows are stored."""
        return VENDOR

    @property
    def client(self) -> str:
        """Library and version that brings them."""
        return self._client.library

    def ask(self, dataset: CompanyDataset, symbol: str, as_of: date) -> Answer:
        """Read one dataset of one company; see `CompanySource.ask`."""
        asked: dict[CompanyDataset, Callable[[], Answer]] = {
            CompanyDataset.INFORMATION: lambda: companies.information(
                symbol, self._client.summary(symbol, companies.INFORMATION_MODULES)
            ),
            CompanyDataset.OFFICERS: lambda: companies.officers(
                symbol, self._client.summary(symbol, companies.OFFICER_MODULES)
            ),
            CompanyDataset.STATISTICS: lambda: companies.statistics(
                symbol, self._client.summary(symbol, companies.STATISTIC_MODULES), as_of
            ),
            CompanyDataset.HOLDERS: lambda: companies.holders(
                symbol, self._client.summary(symbol, companies.HOLDER_MODULES)
            ),
            CompanyDataset.EARNINGS: lambda: companies.earnings(
                symbol, self._client.summary(symbol, companies.EARNINGS_MODULES), as_of
            ),
            CompanyDataset.STATEMENTS: lambda: self._statements(symbol, as_of),
            CompanyDataset.DIVIDENDS: lambda: dividends_of(symbol, self._events(symbol, as_of)),
            CompanyDataset.SPLITS: lambda: splits_of(symbol, self._events(symbol, as_of)),
        }
        return asked[dataset]()

    def _statements(self, symbol: str, as_of: date) -> Answer:
        start, end = _seconds(_BOOKS_SINCE), _seconds(_after(as_of))
        answers = [
            (name, period, self._client.timeseries(symbol, types_of(name, period), start, end))
            for name, _ in STATEMENTS
            for period, _ in PERIODS
        ]
        return statements(symbol, answers)

    def _events(self, symbol: str, as_of: date) -> dict[str, object] | None:
        return self._client.chart(symbol, _seconds(_EVENTS_SINCE), _seconds(_after(as_of)), "1d")


def _after(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
