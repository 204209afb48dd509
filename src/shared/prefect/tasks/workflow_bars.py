"""The bars of a workflow, brought in as any past bars are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from src.services.strategy_engine.use_cases.workflows import BarsWanted
    from src.shared.ports.market_data import Adjustment
    from src.shared.prefect.tasks.wiring import Services


def load_bars(found: Services, wanted: BarsWanted) -> list[str]:
    """Ask the vendor for what is missing of a workflow's bars, and list the symbols that failed, each with why.

    Raises:
        InputInvalid: the vendor has no such bars, or knows none of the symbols.
        Transient: no symbol could be loaded, and a retry may help.
        Refused: no symbol could be loaded: the vendor said no.
    """
    if not wanted.asks_vendor:
        return []
    source = found.bar_source(wanted.kind.vendor)
    adjustment = cast("Adjustment", wanted.kind.adjustment)
    result = found.history.run(source, wanted.symbols, *wanted.window, wanted.kind.timeframe, adjustment)
    return [f"{each.symbol}: {each.failure}" for each in result.failed]
