"""A calm market and an entry that passes every limit; tests change one thing at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np

from src.services.risk_management.domain.book import Book, Entry, Holding
from src.services.risk_management.domain.correlations import Correlations
from src.services.risk_management.domain.events import EarningsCalendar, EarningsReport
from src.services.risk_management.domain.limits import RiskLimits
from src.services.risk_management.domain.review import SlotSignal
from src.services.risk_management.domain.sizing import Size, SizingRules
from src.services.risk_management.domain.state import EquityHistory, Standing
from src.services.risk_management.domain.values import SessionRules
from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.orders import AccountReport, AssetReport
from src.shared.domain.pairs import PairMode
from src.shared.domain.risk import RiskState
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SignalAction, signal_id

SLOT = datetime(2026, 11, 18, 17, 30, tzinfo=UTC)
NOW = SLOT + timedelta(minutes=1)
CALENDAR = TradingCalendar(first="2026-01-02", last="2026-12-31")
CLOSE = datetime(2026, 11, 18, 21, 0, tzinfo=UTC)

RULES = SizingRules(
    bootstrap_fraction=Decimal("0.02"),
    kelly_min_trades=20,
    kelly_lookback_trades=100,
    kelly_max_fraction=Decimal("0.24"),
    max_leg_fraction=Decimal("0.12"),
    max_ratio_error=Decimal("0.05"),
)

LIMITS = RiskLimits(
    trading_enabled=True,
    overnight=False,
    max_slot_age=timedelta(minutes=15),
    max_open_pairs=10,
    max_gross_fraction=Decimal("1.5"),
    max_net_fraction=Decimal("0.5"),
    max_symbol_fraction=Decimal("0.25"),
    max_pair_fraction=Decimal("1.5"),
    max_correlation=0.85,
    max_orders_per_minute=60,
    max_orders_per_day=500,
    max_daily_loss_fraction=Decimal("0.03"),
    max_rolling_loss_fraction=Decimal("0.05"),
    max_drawdown_fraction=Decimal("0.05"),
    event_days=2,
    earnings_sessions=1,
)

SEED = {
    "trading_enabled": Decimal(1),
    "bootstrap_fraction": RULES.bootstrap_fraction,
    "kelly_min_trades": Decimal(RULES.kelly_min_trades),
    "kelly_lookback_trades": Decimal(RULES.kelly_lookback_trades),
    "kelly_max_fraction": RULES.kelly_max_fraction,
    "max_leg_fraction": RULES.max_leg_fraction,
    "max_ratio_error": RULES.max_ratio_error,
    "max_open_pairs": Decimal(LIMITS.max_open_pairs),
    "max_gross_fraction": LIMITS.max_gross_fraction,
    "max_net_fraction": LIMITS.max_net_fraction,
    "max_symbol_fraction": LIMITS.max_symbol_fraction,
    "max_pair_fraction": Decimal("0.25"),
    "max_correlation": Decimal("0.85"),
    "correlation_bars": Decimal(60),
    "max_orders_per_minute": Decimal(LIMITS.max_orders_per_minute),
    "max_orders_per_day": Decimal(LIMITS.max_orders_per_day),
    "max_daily_loss_fraction": LIMITS.max_daily_loss_fraction,
    "max_rolling_loss_fraction": LIMITS.max_rolling_loss_fraction,
    "rolling_loss_days": Decimal(5),
    "max_drawdown_fraction": LIMITS.max_drawdown_fraction,
    "event_days": Decimal(LIMITS.event_days),
    "earnings_sessions": Decimal(LIMITS.earnings_sessions),
}

SESSION = SessionRules(overnight=False, max_slot_age=timedelta(minutes=15))


def account(equity: str = "100000", buying_power: str = "200000", last_equity: str = "0") -> AccountReport:
    """Make a healthy account, whose broker does not tell what it was worth at the last close unless it is named."""
    money = Decimal(equity)
    return AccountReport("acc", "ACTIVE", money, Decimal(last_equity), money, Decimal(buying_power), True, False)


def asset(symbol: str) -> AssetReport:
    """Make an asset that may be traded and shorted."""
    return AssetReport(symbol, symbol, "NYSE", True, True, True)


def sized(notional_1: str = "1000", notional_2: str = "-1000") -> Size:
    """Make a size of these signed dollars, at a dollar a share."""
    first, second = Decimal(notional_1), Decimal(notional_2)
    return Size(first, second, first, second, None, "sized.", {"basis": "bootstrap"})


def entry(pair: str = "AAA/BBB", action: SignalAction = SignalAction.ENTER_LONG, z: float = -2.2) -> Entry:
    """Make an entry that passes."""
    first, second = pair.split("/")
    size = sized() if action is SignalAction.ENTER_LONG else sized("-1000", "1000")
    return Entry(signal_id(pair, SLOT), pair, first, second, action, PairMode.ACTIVE, z, True, size)


def holding(pair: str = "CCC/DDD", notional_1: str = "5000", notional_2: str = "-5000") -> Holding:
    """Make an open pair trade."""
    first, second = pair.split("/")
    return Holding(pair, first, second, Decimal(notional_1), Decimal(notional_2))


def correlations(between: dict[tuple[str, str], float] | None = None) -> Correlations:
    """Make correlations of AAA to FFF: 0 but for those given."""
    symbols = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
    matrix = np.eye(len(symbols))
    for (first, second), value in (between or {}).items():
        i, j = symbols.index(first), symbols.index(second)
        matrix[i, j] = matrix[j, i] = value
    return Correlations(symbols, matrix)


def earnings(*reports: EarningsReport) -> EarningsCalendar:
    """Make what is known of earnings on 18 November with a span of one session."""
    return EarningsCalendar(reports, *CALENDAR.days_around(date(2026, 11, 18), LIMITS.earnings_sessions))


def book(**changes: object) -> Book:
    """Make a book in which everything is well, but for the changes."""
    calm = Book(
        slot=SLOT,
        now=NOW,
        market_open=True,
        market_close=CLOSE,
        reconciled=True,
        standing=Standing(),
        account=account(),
        assets={symbol: asset(symbol) for symbol in ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")},
        holdings=(),
        unpriced=(),
        fresh=frozenset({"AAA", "BBB", "CCC", "DDD", "EEE", "FFF"}),
        equity=EquityHistory(Decimal(100_000), Decimal(100_000), Decimal(100_000)),
        booked=Decimal(0),
        events=(),
        earnings=earnings(),
        orders_last_minute=0,
        orders_today=0,
        planned_orders=0,
        reserved=Decimal(0),
        correlations=correlations(),
    )
    return replace(calm, **changes)  # type: ignore[arg-type]


def standing(state: RiskState, who: str = "ann", why: str = "test") -> Standing:
    """Make a state set an hour ago."""
    return Standing(state, who, why, 1, NOW - timedelta(hours=1))


def signal(
    pair: str = "AAA/BBB",
    action: SignalAction = SignalAction.ENTER_LONG,
    z: float = -2.2,
    mode: PairMode = PairMode.ACTIVE,
) -> SlotSignal:
    """Make a stored signal of a pair with prices 50 and 25 and beta 1."""
    first, second = pair.split("/")
    return SlotSignal(signal_id(pair, SLOT), pair, first, second, 1.0, action, mode, mode, 50.0, 25.0, z)


def unrelated_closes(symbols: tuple[str, ...], bars: int = 60) -> CloseSeries:
    """Make closes up to SLOT that move independently; a symbol always gets the same ones."""
    ends = tuple(end for _, end in CALENDAR.last_spans(SLOT, bars))
    columns = [_walk(symbol, bars) for symbol in symbols]
    return CloseSeries(symbols, ends, np.column_stack(columns) if columns else np.empty((bars, 0)))


def _walk(symbol: str, bars: int) -> Floats:
    draws = np.random.default_rng(list(symbol.encode())).normal(0, 0.01, bars)
    return np.asarray(50 * np.exp(np.cumsum(draws)))


def closed_trades(wins: int, losses: int) -> list[Decimal]:
    """Make booked results of $100 either way."""
    return [Decimal(100)] * wins + [Decimal(-100)] * losses
