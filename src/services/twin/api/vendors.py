"""Whose request it is: by its path, with the keys, the limit and the errors of that vendor."""

from __future__ import annotations

import math
import time
import uuid
from typing import Protocol

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from src.services.twin.api.render import Json
from src.services.twin.domain.faults import POLYGON_PATHS, YAHOO_PATH

_BAD = "BAD"
_NAMESPACE = uuid.UUID("0f6d9a5c-3f3b-4a34-9a51-0a2f6f2d7f11")
_ALPACA_LIMIT_CODE = 42910000
_MISSING_KEYS = (
    "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n<body>\r\n"
    "<center><h1>401 Authorization Required</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_TOO_MANY = "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue."


class Vendor(Protocol):
    """One of the vendors that the twin stands in for."""

    name: str

    def counted(self, path: str, headers: Headers) -> tuple[str, str]:
        """Return key and host, which are counted apart."""
        ...

    def refused(self, headers: Headers) -> Response | None:
        """Return the 401 for missing or bad keys, else None. Any other keys are good."""
        ...

    def failed(self, status: int, message: str, code: int | None = None) -> Response:
        """Return an error as the vendor writes it."""
        ...

    def limit_headers(self, limit: int, left: int, reset: int) -> dict[str, str]:
        """Return what every answer says of the limit."""
        ...


class Alpaca:
    """Keys in two headers, trading and data counted apart, errors with a numeric code."""

    name = "alpaca"

    def counted(self, path: str, headers: Headers) -> tuple[str, str]:
        """Return key and host."""
        return headers.get("apca-api-key-id", ""), "data" if "/stocks/" in path else "trading"

    def refused(self, headers: Headers) -> Response | None:
        """Return a page without keys, JSON for bad ones."""
        return refused_keys(headers.get("apca-api-key-id", ""), headers.get("apca-api-secret-key", ""))

    def failed(self, status: int, message: str, code: int | None = None) -> Response:
        """Return code and message."""
        usual = _ALPACA_LIMIT_CODE if status == 429 else status * 100_000 + 10_000
        return Json({"code": usual if code is None else code, "message": message}, status_code=status)

    def limit_headers(self, limit: int, left: int, reset: int) -> dict[str, str]:
        """Return X-Ratelimit-*, and Retry-After when the limit is reached."""
        told = {"Limit": limit, "Remaining": max(0, left), "Reset": reset}
        headers = {f"X-Ratelimit-{name}": str(value) for name, value in told.items()}
        return headers if left >= 0 else headers | {"Retry-After": str(math.ceil(reset - time.time()))}


class Polygon:
    """A bearer's key, errors with a status in words, nothing said of the limit."""

    name = "polygon"

    def counted(self, path: str, headers: Headers) -> tuple[str, str]:  # noqa: ARG002
        """Return the key and the one host."""
        return headers.get("authorization", ""), self.name

    def refused(self, headers: Headers) -> Response | None:
        """Return JSON."""
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not key or key.startswith(_BAD):
            return self.failed(401, "Unknown API Key")
        return None

    def failed(self, status: int, message: str, code: int | None = None) -> Response:  # noqa: ARG002
        """Return status and error."""
        said = _TOO_MANY if status == 429 else message
        return Json({"status": "ERROR", "request_id": request_id(said), "error": said}, status_code=status)

    def limit_headers(self, limit: int, left: int, reset: int) -> dict[str, str]:  # noqa: ARG002
        """Say nothing."""
        return {}


class Yahoo:
    """No keys, one limit for all, errors under the name of what was asked for, nothing said of the limit."""

    name = "yahoo"

    def counted(self, path: str, headers: Headers) -> tuple[str, str]:  # noqa: ARG002
        """Return no key and the one host."""
        return "", self.name

    def refused(self, headers: Headers) -> Response | None:  # noqa: ARG002
        """Let everybody in; cookie and crumb are looked at where they are needed."""
        return None

    def failed(self, status: int, message: str, code: int | None = None) -> Response:  # noqa: ARG002
        """Return a line of text when there is too much of it, else an error."""
        if status == 429:
            return PlainTextResponse("Edge: Too Many Requests", status_code=429)
        return yahoo_error("finance", status, "Internal Server Error", message)

    def limit_headers(self, limit: int, left: int, reset: int) -> dict[str, str]:  # noqa: ARG002
        """Say nothing."""
        return {}


ALPACA, POLYGON, YAHOO = Alpaca(), Polygon(), Yahoo()


def vendor_of(path: str) -> Vendor:
    """Return the vendor to whom a path belongs."""
    if path.startswith(YAHOO_PATH):
        return YAHOO
    return POLYGON if path.startswith(POLYGON_PATHS) else ALPACA


def refused_keys(key: str, secret: str) -> Response | None:
    """Return Alpaca's 401 for missing or bad keys, else None. Any other keys are good."""
    if not key or not secret:
        return HTMLResponse(_MISSING_KEYS, status_code=401)
    if key.startswith(_BAD) or secret.startswith(_BAD):
        return Json({"message": "unauthorized."}, status_code=401)
    return None


def yahoo_error(root: str, status: int, code: str, description: str) -> Response:
    """Say no in Yahoo's words, under the name that the answer would have had."""
    error = {"code": code, "description": description}
    return Json({root: {"result": None, "error": error}}, status_code=status)


def request_id(about: str) -> str:
    """Make the id that Polygon.io gives each answer: the same for the same request."""
    return uuid.uuid5(_NAMESPACE, about).hex
