"""What a strategy file imports, and all of it: see docs/strategies.md."""

from src.services.strategy_engine.sdk.config import PairName, PairNames, Symbol, Symbols
from src.services.strategy_engine.sdk.context import Clock, Context, Orders, Position
from src.services.strategy_engine.sdk.slot import SlotBar, Tick
from src.services.strategy_engine.sdk.strategy import Strategy
from src.services.strategy_engine.sdk.widgets import Line, LineChart, Metric, Table, Text, Widget
from src.services.strategy_engine.sdk.wishes import EnterPair, ExitPair, Target, Wish
from src.shared.domain.bars import Floats
from src.shared.domain.pairs import Direction

__all__ = [
    "Clock",
    "Context",
    "Direction",
    "EnterPair",
    "ExitPair",
    "Floats",
    "Line",
    "LineChart",
    "Metric",
    "Orders",
    "PairName",
    "PairNames",
    "Position",
    "SlotBar",
    "Strategy",
    "Symbol",
    "Symbols",
    "Table",
    "Target",
    "Text",
    "Tick",
    "Widget",
    "Wish",
]
