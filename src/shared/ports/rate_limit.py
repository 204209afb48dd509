"""A share of a vendor's request limit, asked for before every request."""

from __future__ import annotations

from typing import Protocol


class RateLimiter(Protocol):
    """Hands out permits to send a request. Safe to use from several threads."""

    def take(self, *, urgent: bool = False) -> None:
        """Wait for a permit. Urgent requests (exits, cancels, look-ups of unknown orders) may use a reserve.

        Raises:
            Transient: no permit within the limiter's own bound; nothing was sent.
        """
        ...

    def pause(self, seconds: float) -> None:
        """Hold back requests that are not urgent: the vendor said that its limit is reached."""
        ...
