"""Tasks of risk management."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.domain.quantities import plain
from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from src.services.execution.use_cases.cycle import Gate
    from src.services.risk_management.domain.alerts import Alert
    from src.services.risk_management.use_cases.review import SlotReview
    from src.services.risk_management.use_cases.watch import Look, PairSize
    from src.shared.domain.orders import MarketClock
    from src.shared.messages.ops import Severity

_LEVELS = {"info": "INFO", "warning": "WARNING", "error": "ERROR", "critical": "CRITICAL"}


@repeatable("review-slot")
async def review_slot(gate: Gate) -> SlotReview:
    """Size the slot's signals and hold them against the limits."""
    market = gate.market
    review = services().risk.review_slot(gate.slot, market.now, market.is_open, market.next_close, gate.reconciled)
    for decision in review.decisions:
        logger.info("{} {}: {}. {}", decision.pair_id, decision.action.value, decision.code, decision.reason)
    return review


@repeatable("look-at-portfolio")
async def look_at_portfolio(clock: MarketClock) -> Look:
    """Measure what is used of every limit; no state changes."""
    return services().watch.look(clock.now)


@repeatable("monitor-portfolio")
async def monitor_portfolio(clock: MarketClock) -> Look:
    """Measure, keep the reading, and reduce the account when a loss calls for it."""
    look = services().watch.monitor(clock.now)
    equity = look.portfolio.equity
    logger.info(
        "Equity {:.2f}, drawdown {:.2%}, lost today {:.2%}, gross {:.2f}, net {:.2f}; the account is {}.",
        equity.now,
        equity.drawdown,
        equity.daily_loss,
        look.portfolio.gross,
        look.portfolio.net,
        look.portfolio.standing.state.value,
    )
    return look


@repeatable("raise-alerts")
async def raise_alerts(look: Look, least: Severity = "warning") -> list[Alert]:
    """Tell what a person should know and has not been told today."""
    alerts = services().watch.raise_alerts(look, least)
    for alert in alerts:
        logger.log(_LEVELS[alert.severity], "{}: {}", alert.title, alert.detail)
    return alerts


@repeatable("size-pair")
async def size_pair(pair: str, clock: MarketClock) -> PairSize:
    """Say what size a pair would get now; nothing is stored."""
    return services().watch.size(pair, clock.now)


@task(name="publish-usage", cache_policy=NO_CACHE)
async def publish_usage(look: Look) -> None:
    """Leave every limit's standing as a table on the run."""
    rows: list[dict[str, Any]] = [
        {
            "limit": usage.name,
            "of": usage.subject,
            "used": plain(Decimal(f"{usage.used:.4f}")),
            "allowed": plain(usage.limit),
            "standing": usage.standing,
        }
        for usage in look.usages
    ]
    at = f"{look.portfolio.now:%Y-%m-%d %H:%M} UTC"
    await leave_table("risk-limits", rows, f"What is used of the limits in force, {at}.")


@task(name="publish-exposure", cache_policy=NO_CACHE)
async def publish_exposure(look: Look) -> None:
    """Leave exposure by account, pair and symbol as a table on the run."""
    rows = [{"scope": scope, "of": of, "dollars": f"{dollars:.2f}"} for scope, of, dollars in look.exposures]
    metrics = look.metrics
    measured = f"Too few days of equity ({metrics.days}) for volatility and value at risk."
    if metrics.volatility is not None and metrics.value_at_risk is not None:
        measured = (
            f"Volatility {metrics.volatility:.1%} a year, value at risk {metrics.value_at_risk:.2%} a day (95 %)."
        )
    await leave_table("portfolio-exposure", rows, measured)


@task(name="publish-size", cache_policy=NO_CACHE)
async def publish_size(sized: PairSize) -> None:
    """Leave a size and the numbers it came from as a table on the run."""
    size = sized.size
    head: dict[str, object] = {
        f"shares of {sized.fit.symbol_1}": size.quantity_1,
        f"shares of {sized.fit.symbol_2}": size.quantity_2,
        "outcome": size.code or "sized",
        "reason": size.reason,
    }
    rows = [{"number": name, "value": str(value)} for name, value in {**head, **size.numbers}.items()]
    await leave_table("position-size", rows, f"{sized.fit.pair_id}, long spread; a short one turns both signs.")
