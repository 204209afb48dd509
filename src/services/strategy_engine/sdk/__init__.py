"""What a strategy file imports, and all of it: see docs/strategies.md."""

from src.services.strategy_engine.sdk.config import Different, PairName, PairNames, Symbol, Symbols
from src.services.strategy_engine.sdk.context import Clock, Context, Orders, Position
from src.services.strategy_engine.sdk.rules import ZConfig, ZRules, ZState
from src.services.strategy_engine.sdk.slot import Bars, PriceBar, SlotBar
from src.services.strategy_engine.sdk.strategy import Strategy
from src.services.strategy_engine.sdk.widgets import Line, LineChart, Metric, Table, Text, Widget
from src.services.strategy_engine.sdk.wishes import EnterPair, ExitPair, Target, Wish
from src.shared.domain.bars import Floats
from src.shared.domain.pairs import Direction
from src.shared.domain.signals import SignalAction
from src.shared.domain.ticks import Tick

__all__ = [
    "Bars",
    "Clock",
    "Context",
    "Different",
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
    "PriceBar",
    "SignalAction",
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
    "ZConfig",
    "ZRules",
    "ZState",
]
