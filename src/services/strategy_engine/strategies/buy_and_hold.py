"""Buy and hold: what every other strategy has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from src.services.strategy_engine.sdk import Context, Metric, SlotBar, Strategy, Table, Widget


class BuyAndHold(Strategy):
    """Buy the symbols once, in equal parts, and never sell: a comparison for other strategies."""

    CONFIG_SCHEMA = {
        "symbols": {"type": "symbols", "max": 50, "description": "What is bought."},
        "fraction": {
            "type": "float",
            "default": 1.0,
            "min": 0.01,
            "max": 1.0,
            "step": 0.01,
            "description": "Fraction of the capital that is laid out over all symbols together.",
        },
    }
    STATE = {"bought": {}}
    TRADES = "symbols"

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Buy what has a price and is not held: also what an earlier slot asked for in vain."""
        part = context.config.fraction / len(context.symbols)
        for symbol, close in bar.closes.items():
            if not context.position.fraction(symbol):
                context.orders.target(symbol, part, reason="BUY")
                context.state["bought"][symbol] = close
        context.note(value=_value(context))

    def render(self, context: Context) -> Sequence[Widget]:
        """Show what one dollar has become, and each symbol's part in it."""
        prices, bought = context.prices, context.state["bought"]
        rows = [
            (symbol, paid, prices.get(symbol), _growth(prices.get(symbol), paid)) for symbol, paid in bought.items()
        ]
        return [
            Metric(label="One dollar is now", value=_value(context), unit="$"),
            Table(title="Holdings", columns=("symbol", "bought at", "price", "growth"), rows=rows),
        ]


def _value(context: Context) -> float | None:
    """What one dollar has become: the part that is laid out grows with its symbols, equally bought."""
    growths = [_growth(context.prices.get(symbol), paid) for symbol, paid in context.state["bought"].items()]
    known = [each for each in growths if each is not None]
    if not known or len(known) < len(growths):
        return None
    part: float = context.config.fraction / len(context.symbols)
    return 1.0 + part * sum(known)


def _growth(price: float | None, paid: float) -> float | None:
    return None if price is None else price / paid - 1.0
