"""Look around at the broker before an exit: one read of positions and of open orders for both legs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from loguru import logger

from src.services.execution.domain.clearance import Around
from src.services.execution.domain.two_leg import LEGS, Situation
from src.services.execution.ports import TradeStore
from src.shared.domain.errors import Refused, Transient
from src.shared.domain.ids import client_order_prefix
from src.shared.ports.broker import Broker
from src.shared.ports.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class Lookout:
    """Reads what surrounds the exits of a trade. `pause` waits between two looks that must agree."""

    store: UnitOfWork[TradeStore]
    broker: Broker
    environment: str
    pause: Callable[[], None]

    def around(self, situation: Situation) -> Mapping[str, Around]:
        """Return what is at the broker in both symbols. Shares are missed only when a second look misses them too.

        A broker whose lists can't be had keeps no exit from being sent: then the books are believed.
        """
        found = self._look(situation)
        if any(found[symbol].missing(-held) for symbol, held in _held(situation)):
            self.pause()
            again = self._look(situation)
            found = {symbol: _the_fuller(found[symbol], again[symbol]) for symbol in found}
        return found

    def _look(self, situation: Situation) -> dict[str, Around]:
        symbols = (situation.trade.symbol_1, situation.trade.symbol_2)
        with self.store() as work:
            holdings = work.repo.holdings()
        ours = {symbol: holdings.get(symbol, Decimal(0)) for symbol in symbols}
        try:
            theirs = {p.symbol: p.quantity for p in self.broker.positions()}
            working = self.broker.open_orders()
        except (Transient, Refused) as error:
            logger.warning("{}: exits are sent by the books alone: {}", situation.trade.pair_id, error)
            return {symbol: Around(ours[symbol], ours[symbol]) for symbol in symbols}
        prefix = client_order_prefix(self.environment)
        return {
            symbol: Around(
                ours[symbol],
                theirs.get(symbol, Decimal(0)),
                tuple(o for o in working if o.symbol == symbol and o.client_order_id.startswith(prefix)),
                tuple(o for o in working if o.symbol == symbol and not o.client_order_id.startswith(prefix)),
            )
            for symbol in symbols
        }


def _held(situation: Situation) -> Iterable[tuple[str, Decimal]]:
    return [(situation.trade.symbol(leg), situation.held(leg)) for leg in LEGS if situation.held(leg) != 0]


def _the_fuller(first: Around, second: Around) -> Around:
    """Take the newer look, with the position nearer to our books."""
    nearer = min(first.theirs, second.theirs, key=lambda theirs: abs(second.ours - theirs))
    return replace(second, theirs=nearer)
