"""A strategy file that does as its config says: well, or in each way in which a strategy can fail."""

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
