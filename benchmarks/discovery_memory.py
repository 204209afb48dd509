"""Print, as JSON, the seconds of the stages of discovery on so many symbols and bars, and the peak of the process."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.discovery import market
from benchmarks.machine import peak_mebibytes
from src.services.strategy_engine.domain.scan.engle_granger import BY_AIC, all_pairs, scan_pairs
from src.services.strategy_engine.domain.scan.funnel import sift


def main(symbols: int, bars: int) -> None:
    """Scan all pairs, sift them, and print."""
    logs, legs = market(symbols, bars), all_pairs(symbols)
    seconds = {}
    start = time.process_time()
    scan = scan_pairs(logs, legs, BY_AIC)
    seconds["scan"] = time.process_time() - start
    start = time.process_time()
    funnel = sift(scan, logs)
    seconds["sift and rank"] = time.process_time() - start
    counts = {"pairs": scan.count, "found": int(funnel.best.size)}
    print(json.dumps({**counts, "seconds": seconds, "peak_mib": peak_mebibytes()}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
