"""How numbers of shares are written for people."""

from __future__ import annotations

from decimal import Decimal


def plain(quantity: Decimal) -> str:
    """Write a quantity without exponent, trailing zeros or a sign on zero: ``40``, ``-2.5``, ``0``."""
    return f"{quantity.normalize():f}" if quantity else "0"
