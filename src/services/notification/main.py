"""Process entry of the notification service.

`python -m src.services.notification.main` runs the flow run a worker handed over; with `serve` it relays the
outbox and tells people what happens, until it is stopped.
"""

from __future__ import annotations

from src.shared.infra.flow_run import service_main
from src.shared.infra.long_running import Work, offer


def commands() -> None:
    """Offer the commands of the service."""
    what = "Relay the outbox and log what happens, until stopped."
    offer("notification", "Relay events and tell people what happens.", "serve", what, _serve)


def _serve() -> Work:
    from src.services.notification.serve import serve

    return serve


if __name__ == "__main__":
    service_main("notification", commands)
