"""Strategy files: one does as its config says, well or in each way in which one can fail; one reads whole bars."""

TROUBLE = '''
import os
import time

from src.services.strategy_engine.sdk import Strategy


class Trouble(Strategy):
    """Does what its config says."""

    CONFIG_SCHEMA = {
        "symbol": {"type": "symbol", "default": "KO"},
        "how": {"type": "str", "default": "well"},
    }
    STATE = {"calls": 0, "ticks": 0}

    def on_bar(self, context, bar):
        context.state["calls"] += 1
        how = context.config.how
        if how == "raises":
            raise ValueError("by design")
        if how == "loops":
            while True:
                pass
        if how == "sleeps":
            time.sleep(3600)
        if how == "eats":
            eaten = []
            while True:
                eaten.append(bytearray(2**28))
        if how == "leaves":
            os._exit(3)
        context.orders.target(context.config.symbol, 0.5)
        context.note(calls=context.state["calls"], price=bar.closes.get(context.config.symbol))
        context.log("well")

    def on_tick(self, context, tick):
        if context.config.how == "trips":
            raise ValueError("over a tick")
        context.state["ticks"] += 1
'''


RANGE = '''
import numpy as np

from src.services.strategy_engine.sdk import Strategy


class Range(Strategy):
    """Notes the whole bar of each slot, and the highest of the last three."""

    CONFIG_SCHEMA = {"symbol": {"type": "symbol", "default": "KO"}}
    WARMUP_BARS = 3
    WHOLE_BARS = True

    def on_bar(self, context, bar):
        bars = context.bars(context.config.symbol, 3)
        last = bar.bars.get(context.config.symbol)
        context.note(high=np.nanmax(bars.high), open=bars.open[-1], last=None if last is None else last.volume)
'''
"""A strategy file that reads whole bars."""
