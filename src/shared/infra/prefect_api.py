"""What is known of the Prefect API below Prefect's own layer, where prefect is not imported."""

from __future__ import annotations

import os


def prefect_credentials() -> tuple[str, str] | None:
    """User and password for the Prefect API, where PREFECT_API_AUTH_STRING sets them."""
    user, colon, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return (user, password) if colon else None
