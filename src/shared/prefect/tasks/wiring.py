"""The services as tasks use them: wired once a process, on one connection pool and one broker client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING

from src.config.settings import Settings, load_settings
from src.shared.domain.errors import Refused, Transient

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from src.services.analytics.adapters.sql_activity import SqlActivity
    from src.services.analytics.use_cases.indicators import Indicators
    from src.services.analytics.use_cases.results import Analytics
    from src.services.data_ingestion.ports import ReferenceSource
    from src.services.data_ingestion.use_cases.companies import CompanyData
    from src.services.data_ingestion.use_cases.history import HistoryLoad
    from src.services.data_ingestion.use_cases.ingestion import DataIngestion
    from src.services.data_ingestion.use_cases.quality import DataQuality
    from src.services.data_ingestion.use_cases.reference import ReferenceLoad
    from src.services.data_ingestion.use_cases.symbols import SymbolsToLoad
    from src.services.execution.bootstrap import ExecutionService
    from src.services.execution.use_cases.look import Look
    from src.services.maintenance.bootstrap import Maintenance
    from src.services.risk_management.use_cases.limits import LimitBook
    from src.services.risk_management.use_cases.review import RiskManagement
    from src.services.risk_management.use_cases.watch import PortfolioWatch
    from src.services.strategy_engine.use_cases.discovery import Discovery
    from src.services.strategy_engine.use_cases.instance_slots import InstanceSlots
    from src.services.strategy_engine.use_cases.instances import Instances
    from src.services.strategy_engine.use_cases.life import PairLives
    from src.services.strategy_engine.use_cases.replay import Replay
    from src.services.strategy_engine.use_cases.slots import StrategyEngine
    from src.services.strategy_engine.use_cases.workflows import Workflows
    from src.shared.infra.alpaca.client import AlpacaClient
    from src.shared.ports.market_data import BarSource


@dataclass(frozen=True)
class Services:
    """Each service is built when a task first asks for it, so that a run imports only what it uses."""

    settings: Settings

    @cached_property
    def engine(self) -> Engine:
        """The process's connection pool, checked against the schema this code was written for."""
        from src.shared.infra.database.engine import make_engine
        from src.shared.infra.database.revisions import check
        from src.shared.infra.embedded.stack import trading_database_url

        url = trading_database_url(self.settings)
        check(url)
        return make_engine(url, self.settings.database)

    @cached_property
    def unasked_broker(self) -> AlpacaClient:
        """The client of the broker, not asked anything yet; keys, URL and database belong together."""
        from src.shared.infra.alpaca.factory import make_unasked_client

        return make_unasked_client(self.settings, self.engine)

    @cached_property
    def broker(self) -> AlpacaClient:
        """The process's client of the broker, after a look that keys, URL, account and database belong together."""
        from src.shared.infra.alpaca.factory import check_account

        return check_account(self.unasked_broker, self.settings, self.engine)

    def market_time(self) -> datetime:
        """Return the broker's time; that of this machine while the broker is away.

        Raises:
            UserError: keys, URL and database do not belong together.
        """
        try:
            return self.broker.clock().now.astimezone(UTC)
        except (Transient, Refused):
            return datetime.now(UTC)

    @cached_property
    def ingestion(self) -> DataIngestion:
        """Bars in."""
        from src.services.data_ingestion.bootstrap import build

        return build(self.settings, self.engine, self.broker)

    @cached_property
    def quality(self) -> DataQuality:
        """Verdicts on stored bars; needs no broker."""
        from src.services.data_ingestion.bootstrap import build_quality

        return build_quality(self.settings, self.engine)

    @cached_property
    def history(self) -> HistoryLoad:
        """Past bars in, of any vendor."""
        from src.services.data_ingestion.bootstrap import build_history

        return build_history(self.engine, self.broker)

    @cached_property
    def companies(self) -> CompanyData:
        """What is known of companies, in."""
        from src.services.data_ingestion.bootstrap import build_companies

        return build_companies(self.settings, self.engine, lambda: self.broker)

    @cached_property
    def reference(self) -> ReferenceLoad:
        """Listings, splits and dividends in."""
        from src.services.data_ingestion.bootstrap import build_reference

        return build_reference(self.engine)

    @cached_property
    def symbols(self) -> SymbolsToLoad:
        """Which symbols to load."""
        from src.services.data_ingestion.bootstrap import build_symbols

        return build_symbols(self.engine)

    def reference_source(self) -> ReferenceSource:
        """Polygon.io's listings, splits and dividends.

        Raises:
            SettingsInvalid: there is no key.
        """
        from src.services.data_ingestion.bootstrap import polygon_reference

        return polygon_reference(self.settings)

    def bar_source(self, vendor: str) -> BarSource:
        """A vendor of past bars by its name.

        Raises:
            InputInvalid: there is none of that name.
        """
        from src.services.data_ingestion.bootstrap import source

        return source(vendor, self.settings, lambda: self.broker)

    @cached_property
    def strategy(self) -> StrategyEngine:
        """Signals."""
        from src.services.strategy_engine.bootstrap import build

        return build(self.settings, self.engine)

    @cached_property
    def discovery(self) -> Discovery:
        """The search for pairs."""
        from src.services.strategy_engine.bootstrap import build_discovery

        return build_discovery(self.settings, self.engine)

    @cached_property
    def lives(self) -> PairLives:
        """Pairs from mode to mode; needs no broker."""
        from src.services.strategy_engine.bootstrap import build_life

        return build_life(self.settings, self.engine)

    @cached_property
    def workflows(self) -> Workflows:
        """Workflows from templates; their files can be checked without a database."""
        from src.services.strategy_engine.bootstrap import build_workflows

        return build_workflows(self.settings, lambda: self.engine)

    @cached_property
    def replay(self) -> Replay:
        """Past decisions taken again; needs no broker. Who asks for it closes it."""
        from src.services.strategy_engine.bootstrap import build_replay

        return build_replay(self.settings, self.engine)

    @cached_property
    def instances(self) -> Instances:
        """The desk of instances."""
        from src.services.strategy_engine.bootstrap import build_instances

        return build_instances(self.settings, self.engine)

    @contextmanager
    def instance_slots(self) -> Iterator[InstanceSlots]:
        """Slots of instances, on processes that end with it."""
        from src.services.strategy_engine.bootstrap import build_cells, build_slots

        with build_cells(self.settings) as cells:
            yield build_slots(self.settings, self.engine, cells)

    @cached_property
    def risk(self) -> RiskManagement:
        """Size and limits."""
        from src.services.risk_management.bootstrap import build

        return build(self.settings, self.engine, self.broker)

    @cached_property
    def kill_switch(self) -> RiskManagement:
        """The risk state, to be set also while the broker is away."""
        from src.services.risk_management.bootstrap import build

        return build(self.settings, self.engine, self.unasked_broker)

    @cached_property
    def look(self) -> Look:
        """Positions, orders and trades by the books, also while the broker is away."""
        from src.services.execution.bootstrap import build_look

        return build_look(self.settings, self.engine)

    @cached_property
    def limits(self) -> LimitBook:
        """The limits in force."""
        from src.services.risk_management.bootstrap import build_limits

        return build_limits(self.settings, self.engine)

    @cached_property
    def watch(self) -> PortfolioWatch:
        """What the portfolio uses of the limits."""
        from src.services.risk_management.bootstrap import build_watch

        return build_watch(self.settings, self.engine, self.broker)

    @cached_property
    def execution(self) -> ExecutionService:
        """Orders and books."""
        from src.services.execution.bootstrap import build

        return build(self.settings, self.engine, self.broker)

    @cached_property
    def analytics(self) -> Analytics:
        """Results."""
        from src.services.analytics.bootstrap import build

        return build(self.settings, self.engine)

    @cached_property
    def indicators(self) -> Indicators:
        """Technical indicators."""
        from src.services.analytics.bootstrap import build_indicators

        return build_indicators(self.settings, self.engine)

    @cached_property
    def maintenance(self) -> Maintenance:
        """Archive, backups, upkeep."""
        from src.services.execution.bootstrap import build_books_check
        from src.services.maintenance.bootstrap import build

        return build(self.settings, self.engine, build_books_check(self.settings))

    @cached_property
    def activity(self) -> SqlActivity:
        """What the system did, counted."""
        from src.services.analytics.adapters.sql_activity import SqlActivity

        return SqlActivity(self.engine)


@cache
def services() -> Services:
    """Return this process's services."""
    return Services(load_settings())
