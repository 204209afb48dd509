"""Tasks of risk management."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.states import is_transient
from src.shared.prefect.tasks.wiring import RETRY_DELAYS, services

if TYPE_CHECKING:
    from src.services.execution.use_cases.cycle import Gate
    from src.services.risk_management.use_cases import SlotReview


@task(
    name="review-slot",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_transient,
)
async def review_slot(gate: Gate) -> SlotReview:
    """Size the slot's signals and hold them against the limits."""
    market = gate.market
    review = services().risk.review_slot(gate.slot, market.now, market.is_open, market.next_close, gate.reconciled)
    for decision in review.decisions:
        logger.info("{} {}: {}. {}", decision.pair_id, decision.action.value, decision.code, decision.reason)
    return review
