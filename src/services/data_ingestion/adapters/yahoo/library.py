"""The libraries that are slow to import: brought in at first use, by one thread while the others wait.

Their packages import each other in circles. Two threads that begin at different ends each see half of a module.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.services.data_ingestion.adapters.yahoo.session import BoundedSession

_ONE_AT_A_TIME = threading.Lock()


def yfinance() -> Any:
    """Return yfinance with its modules `cache`, `const` and `data`."""
    with _ONE_AT_A_TIME:
        import yfinance.cache
        import yfinance.const
        import yfinance.data

        return yfinance


def bounded_session() -> type[BoundedSession]:
    """Return the class of the session."""
    with _ONE_AT_A_TIME:
        from src.services.data_ingestion.adapters.yahoo.session import BoundedSession

        return BoundedSession


def frames() -> tuple[Any, Any]:
    """Return pandas, and pandera's part for its frames."""
    with _ONE_AT_A_TIME:
        import pandas
        import pandera.errors
        import pandera.pandas

        return pandas, pandera
