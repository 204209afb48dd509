"""The libraries are slow to import and do so at first use, which may come from many threads at once."""

from __future__ import annotations

import subprocess
import sys

from src.shared.prefect.config import SOURCE_ROOT

ALL_AT_ONCE = """
import sys, threading
sys.setswitchinterval(1e-5)
from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.services.data_ingestion.adapters.yahoo.route import Route
from src.services.data_ingestion.adapters.yahoo.statements import types_of
from src.shared.infra.rate_limit import MinuteLimiter

client = YahooClient(Route("http://127.0.0.1:1/yahoo", 1, 1), MinuteLimiter(1000))
ready = threading.Barrier(8)
said = []

def ask(number):
    ready.wait()
    try:
        said.append(len(types_of("income", "annual")) if number % 2 else client.chart("KELV", 1, 2, "1d"))
    except Exception as error:
        said.append(f"{type(error).__name__}: {error}")

threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*said, sep="\\n")
"""


def test_the_first_questions_may_come_from_many_threads_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL_AT_ONCE], cwd=SOURCE_ROOT, capture_output=True, text=True, check=True, timeout=120
    )

    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert all(line.isdigit() or "ConnectionError" in line for line in lines), lines
