"""What the twin refuses: bad files and stores (for a person), and requests (for an API client)."""

from __future__ import annotations

from typing import Any

from src.shared.domain.errors import InputInvalid


class BarFileInvalid(InputInvalid):
    """A file of bars can't be served. The twin does not start; the line names file, row and remedy."""


class StoreInvalid(InputInvalid):
    """A store folder belongs to another market or can't be used. The twin does not start."""


class FaultInvalid(InputInvalid):
    """A rule of faults can't be used. None is in force; the line names the rule's number and key."""


class ClockRefused(Exception):
    """The twin's clock was asked to go back, or somewhere without a calendar. Answered as 409."""


class ActionRefused(Exception):
    """A corporate action or a movement of cash can't happen as it was asked for. Answered as 409."""


class VenueRefusal(Exception):
    """The venue says no to a request, in Alpaca's terms. Answered as `status` with `body()`."""

    def __init__(self, code: int, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.extra = extra

    @property
    def status(self) -> int:
        """HTTP status: the first three digits of the numeric code."""
        return self.code // 100_000

    def body(self) -> dict[str, Any]:
        """Return the JSON body the real venue sends."""
        return {"code": self.code, "message": self.message, **self.extra}


class PolygonRefusal(VenueRefusal):
    """Polygon.io says no to a request, with an HTTP status and words of its own."""

    def __init__(self, status: int, word: str, message: str, request_id: str) -> None:
        super().__init__(status * 100_000, message)
        self._said = {"status": word, "request_id": request_id, "error" if word == "ERROR" else "message": message}

    def body(self) -> dict[str, Any]:
        """Return the JSON body the real vendor sends."""
        return self._said


def invalid_request(message: str) -> VenueRefusal:
    """Refuse a request that can't be read (422, 40010001 as the real venue numbers it)."""
    return _Unreadable(40010001, message)


def unprocessable(message: str) -> VenueRefusal:
    """Refuse an order that the rules of the venue forbid (422)."""
    return VenueRefusal(42210000, message)


def forbidden(message: str, **extra: Any) -> VenueRefusal:
    """Refuse for lack of buying power, quantity or permission (403)."""
    return VenueRefusal(40310000, message, **extra)


def not_found(message: str) -> VenueRefusal:
    """Refuse because the thing asked for does not exist (404)."""
    return VenueRefusal(40410000, message)


class _Unreadable(VenueRefusal):
    @property
    def status(self) -> int:
        return 422
