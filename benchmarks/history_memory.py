"""Print the peak memory, in MiB, of a process that loads so many symbols over the window of the benchmark."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime

from benchmarks.history import FIRST, LAST, FixedClock, MemorySource, half_hours
from benchmarks.machine import peak_mebibytes
from benchmarks.scratch import trading_database
from src.services.data_ingestion.bootstrap import OLDEST, build_history
from src.services.data_ingestion.domain.grid import make_grid
from src.shared.domain.bars import HOURLY
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.vendor_data import VendorBars
from src.shared.ports.market_data import Adjustment


class FreshSource(MemorySource):
    """A vendor whose rows are made when they are asked for, as those of a real one are."""

    def history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Make the rows of a symbol and hand out its pages."""
        grid = make_grid(TradingCalendar(first=OLDEST), HOURLY, FIRST, LAST)
        made = MemorySource({symbol: half_hours(symbol, grid, 1)})
        return made.history(symbol, start, end, timeframe, adjustment)


def main(count: int) -> None:
    """Load, and print the peak."""
    symbols = [f"S{n:03d}" for n in range(count)]
    with trading_database() as database:
        build_history(database.engine, FixedClock()).run(FreshSource({}), symbols, FIRST, LAST)
    print(peak_mebibytes())


if __name__ == "__main__":
    main(int(sys.argv[1]))
