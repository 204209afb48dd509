"""Where the vendor's APIs are and how they are to be talked to."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True)
class Endpoints:
    """Base URLs, keys and the longest waits in seconds."""

    trading_url: str
    data_url: str
    key: SecretStr
    secret: SecretStr
    connect_seconds: float
    read_seconds: float
