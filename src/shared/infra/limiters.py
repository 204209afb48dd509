"""Make the limiter that all processes share which ask one vendor with one key."""

from __future__ import annotations

import hashlib

from src.config.settings import Settings
from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.stack import redis_address
from src.shared.infra.rate_limit import SHORT_PATIENCE, MinuteLimiter, Patience
from src.shared.ports.rate_limit import RateLimiter


def make_limiter(
    settings: Settings,
    url: str,
    key: str,
    per_minute: int,
    patience: Patience = SHORT_PATIENCE,
    *,
    reserve: bool = True,
) -> RateLimiter:
    """Make the limiter of a vendor's `url` and `key`; nothing connects until it is used.

    Raises:
        SettingsInvalid: the URL of Redis is none.
    """
    try:
        redis_url = redis_address(settings)
    except Unreachable:
        # No Redis was ever started here: there is nobody to share with.
        return MinuteLimiter(per_minute, patience, reserve=reserve)
    from src.shared.infra.shared_limit import SharedLimiter

    # Redis need not know the key; the account behind it is known only by asking the vendor.
    account = hashlib.sha256(f"{url} {key}".encode()).hexdigest()[:16]
    return SharedLimiter(redis_url, account, per_minute, patience=patience, reserve=reserve)
