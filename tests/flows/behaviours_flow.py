"""Flows that behave in one way each, for the tests of workers. They are deployed only by tests."""

from __future__ import annotations

import asyncio

from loguru import logger

from src.shared.prefect.definition import flow


@flow(name="test-sleeper")
async def sleeper(seconds: float) -> None:
    """Say so, sleep, say so."""
    logger.info("asleep with {} and {{braces}}", "%s")
    await asyncio.sleep(seconds)
    logger.success("awake")
