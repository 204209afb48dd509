"""Tasks of the strategy engine."""

from __future__ import annotations

import asyncio
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
    from src.services.risk_management.use_cases.review import SlotReview
    from src.services.strategy_engine.use_cases.life import Reviewed
    from src.services.strategy_engine.use_cases.slots import SlotEvaluation
    from src.shared.domain.orders import MarketClock


@repeatable("symbols-to-watch")
async def symbols_to_watch() -> list[str]:
    """List the symbols of every pair that is watched or traded, and those that instances look at besides."""
    return sorted({*services().strategy.symbols_to_watch(), *_symbols_of_instances()})


@repeatable("evaluate-slot")
async def evaluate_slot(gate: Gate) -> SlotEvaluation:
    """Decide about every pair in the slot."""
    evaluation = services().strategy.evaluate_slot(gate.slot, gate.market.now, gate.market.next_close)
    for signal in evaluation.signals:
        z = "" if signal.reading is None else f" at z {signal.reading.z:.3f}"
        logger.info("{}: {}{} ({})", signal.pair_id, signal.action.value, z, signal.reason)
    return evaluation


@repeatable("run-instances")
async def run_instances(gate: Gate, *, acting: bool) -> dict[str, int]:
    """Let instances decide about the slot, those that act or the others; say how many did, failed, or rest."""
    with services().instance_slots() as slots:
        run = slots.run_instances(gate.slot, gate.market.now, gate.market.next_close, acting=acting)
    for name, mode in run.decided.items():
        logger.info("Instance {} decided in mode {}.", name, mode)
    for fault in run.failed:
        logger.error("Instance {} ({} in a row): {}", fault.instance_id, fault.in_a_row, fault.detail)
    return run.counts


@task(name="lead-strategy-engine", cache_policy=NO_CACHE)
async def lead_strategy_engine(minutes: float) -> bool:
    """Run instances for so long, unless another engine does; say whether this one did."""
    from src.services.strategy_engine.serve import lead_for

    return await asyncio.to_thread(lead_for, services().settings, 60 * minutes)


@task(name="publish-decisions", cache_policy=NO_CACHE)
async def publish_decisions(evaluation: SlotEvaluation, review: SlotReview) -> None:
    """Leave the slot's decisions, with the numbers they were taken from, as a table on the run."""
    decided = {decision.pair_id: decision for decision in review.decisions}
    rows: list[dict[str, Any]] = []
    for signal in evaluation.signals:
        reading, decision = signal.reading, decided.get(signal.pair_id)
        rows.append(
            {
                "pair": signal.pair_id,
                "signal": signal.action.value,
                "why": signal.reason,
                "z": None if reading is None else round(reading.z, 3),
                "spread": None if reading is None else round(reading.spread, 6),
                "price 1": None if reading is None else reading.price_1,
                "price 2": None if reading is None else reading.price_2,
                "risk": decision.code if decision else "",
                "shares 1": plain(decision.quantity_1) if decision else "",
                "shares 2": plain(decision.quantity_2) if decision else "",
                "because": decision.reason if decision else "",
            }
        )
    told = {signal.pair_id for signal in evaluation.signals}
    rows += [
        {
            "pair": decision.pair_id,
            "signal": decision.action.value,
            "risk": decision.code,
            "shares 1": plain(decision.quantity_1),
            "because": decision.reason,
        }
        for decision in review.decisions
        if decision.pair_id not in told
    ]
    await leave_table("slot-decisions", rows, f"Decisions of slot {evaluation.slot:%Y-%m-%d %H:%M} UTC.")


@repeatable("review-lives")
async def review_lives(clock: MarketClock) -> list[Reviewed]:
    """Take every step in a pair's life that is due."""
    reviewed = services().lives.review(clock.now)
    for each in reviewed:
        if each.has_moved:
            logger.info("{}: {} → {} ({})", each.pair_id, each.before, each.after, "; ".join(each.causes) or "due")
    return reviewed


@task(name="publish-review", cache_policy=NO_CACHE)
async def publish_review(reviewed: list[Reviewed]) -> None:
    """Leave what became of each pair, and why, as a table on the run."""
    rows: list[dict[str, Any]] = [
        {
            "pair": each.pair_id,
            "was": each.before.value,
            "is": each.after.value,
            "why": "; ".join(each.causes),
            "p": None if each.p_value is None else round(each.p_value, 4),
            "hours watched": each.watched_bars,
        }
        for each in reviewed
    ]
    await leave_table("pair-review", rows, "Pairs as the evening's review left them.")


def _symbols_of_instances() -> list[str]:
    try:
        with services().instance_slots() as slots:
            return slots.symbols()
    except Exception as error:
        # Pairs are traded all the same; an instance without bars says so.
        logger.error("The symbols of instances are not known: {}", error)
        return []
