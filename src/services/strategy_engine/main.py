"""Process entry of the strategy engine service.

`python -m src.services.strategy_engine.main` runs the flow run a worker handed over; with `serve` it runs the
instances of strategies, until it is stopped.
"""

from __future__ import annotations

from src.shared.infra.flow_run import service_main
from src.shared.infra.long_running import Work, offer


def commands() -> None:
    """Offer the commands of the service."""
    what = "Run the instances of strategies on bars and ticks as they come, until stopped."
    offer("strategy_engine", "Signals of pairs, and strategies at work.", "serve", what, _serve)


def _serve() -> Work:
    from src.services.strategy_engine.serve import serve

    return serve


if __name__ == "__main__":
    service_main("strategy_engine", commands)
