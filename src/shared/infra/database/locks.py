"""Advisory locks of PostgreSQL, by name."""

from __future__ import annotations

from hashlib import blake2b


def lock_key(*name: str) -> int:
    """Turn a name into the signed 64-bit key of an advisory lock, the same in every process."""
    digest = blake2b("\x1f".join(("tradewinds", *name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
