"""Flows that behave in one way each, for the tests of workers. They are deployed only by tests."""

from __future__ import annotations

import asyncio

from loguru import logger
from prefect import flow

from src.shared.prefect.monitoring import flow_hooks


@flow(name="test-sleeper", **flow_hooks())
async def sleeper(seconds: float) -> None:
    """Say so, sleep, say so."""
    logger.info("asleep with {} and {{braces}}", "%s")
    await asyncio.sleep(seconds)
    logger.success("awake")
