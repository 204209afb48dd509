"""Watch the portfolio between the slots: exposure, losses, what is left of each limit, what a person should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from src.services.risk_management.domain.alerts import Alert, alerts_of
from src.services.risk_management.domain.equity import EquityPoint
from src.services.risk_management.domain.metrics import EquityMetrics, measure
from src.services.risk_management.domain.sizing import Size, bet_fraction, size_pair
from src.services.risk_management.domain.state import EquityHistory, Standing, new_york_midnight
from src.services.risk_management.domain.usage import Portfolio, Usage, exposures, usages
from src.services.risk_management.domain.values import LimitsInForce
from src.services.risk_management.ports import BrokerFacts, PairFit, Reading, RiskRepository
from src.services.risk_management.use_cases.limits import limits_in_force
from src.services.risk_management.use_cases.review import (
    ask_for_money,
    assess_and_store,
    booked_lately,
    day_start,
    record_flows,
    unpriced,
)
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_pair_id, slot_key
from src.shared.domain.orders import AccountReport
from src.shared.domain.pairs import Direction
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.messages.ops import AlertRaised, Severity
from src.shared.ports.unit_of_work import UnitOfWork

PRICE_BARS = 140
"""Hourly bars that a last close is looked for in: twenty sessions."""

METRICS_LOOKBACK = timedelta(days=400)


@dataclass(frozen=True)
class Look:
    """The portfolio and what it uses of the limits in force."""

    portfolio: Portfolio
    limits: LimitsInForce
    usages: tuple[Usage, ...]
    metrics: EquityMetrics

    @property
    def breached(self) -> list[Usage]:
        """What is exceeded."""
        return [usage for usage in self.usages if usage.is_breached]

    @property
    def exposures(self) -> Sequence[tuple[str, str, Decimal]]:
        """Exposure as (scope, of what, dollars)."""
        return exposures(self.portfolio)


@dataclass(frozen=True)
class PairSize:
    """What a pair would get now for a long spread; a short spread turns both signs."""

    fit: PairFit
    size: Size
    limits: LimitsInForce


@dataclass(frozen=True)
class PortfolioWatch:
    """Reads the portfolio; `monitor` alone writes. `seed` as in `RiskManagement`."""

    store: UnitOfWork[RiskRepository]
    broker: BrokerFacts
    calendar: TradingCalendar
    seed: Mapping[str, Decimal]

    def look(self, now: datetime) -> Look:
        """Measure every limit now. Nothing is stored but cash flows and limits that had no row.

        Raises:
            Transient: the broker or the database gave no usable answer.
        """
        report, flows = ask_for_money(self.store, self.broker, now)
        with self.store() as work:
            work.repo.lock()
            limits = limits_in_force(work.repo, self.seed)
            record_flows(work.repo, flows)
            look = self._look(work.repo, report, limits, now, work.repo.standing())
            work.commit()
        return look

    def monitor(self, now: datetime) -> Look:
        """Measure, store the reading and new cash flows, and reduce the account when a loss calls for it.

        A second run at the same moment changes nothing. Raises as `look`.
        """
        report, flows = ask_for_money(self.store, self.broker, now)
        with self.store() as work:
            work.repo.lock()
            limits = limits_in_force(work.repo, self.seed)
            record_flows(work.repo, flows)
            before = work.repo.standing()
            standing = assess_and_store(work.repo, before, self._equity(work.repo, report, now), limits, now)
            look = self._look(work.repo, report, limits, now, standing)
            work.repo.add_reading(_reading(look))
            failpoint("risk_management.before_reading")
            work.commit()
        failpoint("risk_management.reading_kept")
        return look

    def raise_alerts(self, look: Look, least: Severity = "warning") -> list[Alert]:
        """Tell what a person should know, each once a New York day, and return what was told now."""
        told = []
        with self.store() as work:
            for alert in alerts_of(look.portfolio, look.usages, least):
                event = _alert_event(alert, look.portfolio)
                if work.repo.add_alert(event):
                    work.record(event)
                    told.append(alert)
            failpoint("risk_management.before_alerts")
            work.commit()
        failpoint("risk_management.alerts_raised")
        return told

    def size(self, pair: str, now: datetime) -> PairSize:
        """Say what size a pair would get now, and from which numbers; nothing is stored.

        Raises:
            InputInvalid: it is no pair, or none that is registered.
            Transient: as `look`.
        """
        parse_pair_id(pair)
        report = self.broker.account()
        with self.store() as work:
            work.repo.lock()
            limits = limits_in_force(work.repo, self.seed)
            work.commit()
            fit = work.repo.pair_fit(pair)
            if fit is None:
                raise InputInvalid(f"{pair} is not registered: see `tradewinds pairs add`.")
            rules = limits.sizing_rules()
            history = max(rules.kelly_lookback_trades, rules.kelly_min_trades)
            results = work.repo.closed_results([pair], history).get(pair, [])
            prices = self._prices(work.repo, [fit.symbol_1, fit.symbol_2], now)
        size = size_pair(
            Direction.LONG_SPREAD,
            prices.get(fit.symbol_1, float("nan")),
            prices.get(fit.symbol_2, float("nan")),
            fit.beta,
            equity=report.equity,
            fraction=bet_fraction(results, rules),
            rules=rules,
        )
        return PairSize(fit, size, limits)

    def _equity(self, repo: RiskRepository, report: AccountReport, now: datetime) -> EquityHistory:
        return repo.equity_history(EquityPoint(now, report.equity), day_start(self.calendar, now, report))

    def _look(
        self, repo: RiskRepository, report: AccountReport, limits: LimitsInForce, now: datetime, standing: Standing
    ) -> Look:
        trades = repo.open_trades()
        prices = self._prices(repo, sorted({symbol for trade in trades for symbol in trade.symbols}), now)
        last_minute, today = repo.orders_since(now - timedelta(minutes=1), new_york_midnight(now))
        portfolio = Portfolio(
            now=now,
            account=report,
            equity=self._equity(repo, report, now),
            standing=standing,
            holdings=tuple(trade.holding(prices) for trade in trades),
            unpriced=unpriced(trades, prices),
            orders_last_minute=last_minute,
            orders_today=today,
            booked=booked_lately(repo, limits, now),
        )
        points = repo.equity_points(now - METRICS_LOOKBACK, EquityPoint(now, report.equity))
        return Look(portfolio, limits, tuple(usages(portfolio, limits.values)), measure(points))

    def _prices(self, repo: RiskRepository, symbols: Sequence[str], now: datetime) -> dict[str, float]:
        slot = self.calendar.last_slot(now)
        return repo.closes(symbols, [end for _, end in self.calendar.last_spans(slot, PRICE_BARS)]).last_closes()


def _reading(look: Look) -> Reading:
    portfolio = look.portfolio
    numbers: dict[str, object] = {
        **portfolio.equity.numbers,
        "drawdown": float(portfolio.equity.drawdown),
        "daily_loss": float(portfolio.equity.daily_loss),
        "booked": str(portfolio.booked),
        "by_pair": {pair: str(dollars) for pair, dollars in portfolio.by_pair().items()},
        "by_symbol": {symbol: str(dollars) for symbol, dollars in portfolio.by_symbol().items()},
        "metrics": asdict(look.metrics),
        "limits_revision": look.limits.revision,
    }
    return Reading(portfolio.now, portfolio.account.equity, portfolio.gross, portfolio.net, numbers)


def _alert_event(alert: Alert, portfolio: Portfolio) -> AlertRaised:
    facts = {"severity": alert.severity, "title": alert.title, "detail": alert.detail}
    return AlertRaised.of(alert.id(portfolio), 1, portfolio.now, slot_key(portfolio.now), **facts)
