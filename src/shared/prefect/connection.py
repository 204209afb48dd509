"""Whether the Prefect server answers: asked before anything that would hang, or fail in many lines."""

from __future__ import annotations

import httpx

from src.config.settings import Settings
from src.shared.domain.errors import Unreachable
from src.shared.infra.prefect_api import prefect_credentials


def require_server(settings: Settings, *, timeout_seconds: float = 5.0) -> None:
    """Return once the Prefect server has answered.

    Raises:
        Unreachable: it does not answer, or wants credentials that were not given.
    """
    url = settings.prefect_api_url
    try:
        answer = httpx.get(f"{url}/admin/version", auth=prefect_credentials(), timeout=timeout_seconds)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(
            f"No Prefect server answers at {url} ({type(error).__name__}). Start one with"
            " scripts/prefect/start_prefect_server.py, or correct TRADEWINDS_PREFECT_API_URL."
        ) from None
    if answer.status_code in {401, 403}:
        raise Unreachable(f"The Prefect server at {url} refuses us: set PREFECT_API_AUTH_STRING as it wants it.")
    if answer.status_code != httpx.codes.OK:
        raise Unreachable(f"{url} answers {answer.status_code}; that is no healthy Prefect API (it ends in /api).")
