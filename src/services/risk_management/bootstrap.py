"""Wire risk management from the settings. Nothing connects before it is used."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from sqlalchemy import Connection, Engine

from src.config.settings import Settings
from src.services.risk_management.adapters.broker_facts import DailyBrokerFacts
from src.services.risk_management.adapters.risk_repository import SqlRiskRepository
from src.services.risk_management.domain.limits import RiskLimits
from src.services.risk_management.domain.sizing import SizingRules
from src.services.risk_management.use_cases import RiskManagement
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url
from src.shared.ports.broker import AccountSource


def build(settings: Settings, engine: Engine | None = None, broker: AccountSource | None = None) -> RiskManagement:
    """Return the wired service; `engine` and `broker` take the place of those of the settings.

    Raises:
        Unreachable: the embedded database does not run.
        UserError: settings and keys do not fit together.
    """
    if engine is None:
        engine = make_engine(trading_database_url(settings), settings.database)
    return RiskManagement(
        store=SqlUnitOfWork(engine, _repository),
        broker=DailyBrokerFacts(make_alpaca_client(settings) if broker is None else broker),
        calendar=TradingCalendar(),
        limits=risk_limits(settings),
        sizing=sizing_rules(settings),
        correlation_bars=settings.risk.correlation_bars,
    )


def risk_limits(settings: Settings) -> RiskLimits:
    """Lay the settings out as the limits' values."""
    risk, strategy = settings.risk, settings.strategy
    return RiskLimits(
        trading_enabled=risk.trading_enabled,
        overnight=strategy.overnight,
        max_slot_age=timedelta(seconds=strategy.max_slot_age_seconds),
        max_open_pairs=risk.max_open_pairs,
        max_gross_fraction=_exact(risk.max_gross_fraction),
        max_net_fraction=_exact(risk.max_net_fraction),
        max_symbol_fraction=_exact(risk.max_symbol_fraction),
        max_correlation=risk.max_correlation,
        max_orders_per_minute=risk.max_orders_per_minute,
        max_orders_per_day=risk.max_orders_per_day,
        max_daily_loss_fraction=_exact(risk.max_daily_loss_fraction),
        max_drawdown_fraction=_exact(risk.max_drawdown_fraction),
    )


def sizing_rules(settings: Settings) -> SizingRules:
    """Lay the settings out as sizing's values."""
    risk = settings.risk
    return SizingRules(
        bootstrap_fraction=_exact(risk.bootstrap_fraction),
        kelly_min_trades=risk.kelly_min_trades,
        kelly_lookback_trades=risk.kelly_lookback_trades,
        kelly_max_fraction=_exact(risk.kelly_max_fraction),
        max_leg_fraction=_exact(risk.max_leg_fraction),
        max_ratio_error=_exact(risk.max_ratio_error),
    )


def _repository(connection: Connection) -> SqlRiskRepository:
    return SqlRiskRepository(connection, read_closes)


def _exact(fraction: float) -> Decimal:
    return Decimal(str(fraction))
