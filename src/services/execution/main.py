"""Process entry of the execution service.

`python -m src.services.execution.main` runs the flow run a worker handed over; with `listen` it hears the broker's
trade updates and takes fills in as they come, until it is stopped.
"""

from __future__ import annotations

from src.shared.infra.flow_run import service_main
from src.shared.infra.long_running import Work, offer


def commands() -> None:
    """Offer the commands of the service."""
    what = "Take fills in as soon as the broker hints at them, until stopped."
    offer("execution", "Orders, fills and books.", "listen", what, _listen)


def _listen() -> Work:
    from src.services.execution.listen import listen

    return listen


if __name__ == "__main__":
    service_main("execution", commands)
