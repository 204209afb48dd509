"""By hand: what size a pair would get now, and from which numbers."""

from __future__ import annotations

from typing import Any

from src.shared.prefect.definition import flow
from src.shared.prefect.tasks.execution_tasks import read_market_clock
from src.shared.prefect.tasks.risk_management_tasks import publish_size, size_pair


@flow(name="calculate-position-size", retries=1, retry_delay_seconds=10, timeout_seconds=120)
async def calculate_position_size(pair: str) -> dict[str, Any]:
    """Size a registered pair such as SPY/QQQ as an entry would be sized; nothing is stored."""
    sized = await size_pair(pair, await read_market_clock())
    await publish_size(sized)
    size = sized.size
    return {
        "pair": sized.fit.pair_id,
        "quantity_1": str(size.quantity_1),
        "quantity_2": str(size.quantity_2),
        "outcome": str(size.code or "sized"),
        "limits_revision": sized.limits.revision,
    }
