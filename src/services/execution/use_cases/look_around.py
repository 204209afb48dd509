"""Look around at the broker before an exit: one read of positions and of open orders for all legs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from loguru import logger

from src.services.execution.domain.clearance import Around
from src.services.execution.domain.two_leg import Situation
from src.services.execution.ports import TradeStore
from src.shared.domain.errors import Refused, Transient
from src.shared.domain.orders import OrderReport, PositionReport
from src.shared.domain.pairs import PairTrade, PairTradeState
from src.shared.ports.broker import Broker
from src.shared.ports.unit_of_work import UnitOfWork

Told = tuple[list[PositionReport], list[OrderReport]]
_NO_WORD = (Transient, Refused)


@dataclass(frozen=True)
class Lookout:
    """Reads what surrounds the exits of a trade. `pause` waits between two looks that must agree."""

    store: UnitOfWork[TradeStore]
    broker: Broker
    pause: Callable[[], None]

    def around(self, situation: Situation, sent_before: bool = False) -> Mapping[str, Around]:
        """Return what is at the broker in the symbols. Shares are missed only when a second look misses them too.

        A broker whose lists can't be had, or not read where they tell of these symbols, keeps no exit from being
        sent: then the books are believed. Not so for one that was `sent_before` and not answered.

        Raises:
            Transient: shares were missed, by the first look or in an orphaned trade before, or may be by what was
                sent before, and whether they are can't be seen: to send all might turn the account's position round.
        """
        try:
            told = self._told(situation.trade)
        except _NO_WORD as error:
            if sent_before or situation.trade.state is PairTradeState.ORPHANED:
                raise Transient(f"shares may be missing and can't be looked for: {error}") from error
            logger.warning("{}: exits are sent by the books alone: {}", situation.trade.pair_id, error)
            return {symbol: Around(ours, ours) for symbol, ours in self._ours(situation).items()}
        found = self._laid_out(situation, told)
        if any(found[symbol].missing(-held) for symbol, held in _held(situation)):
            self.pause()
            again = self._laid_out(situation, self._told_again(situation.trade))
            found = {symbol: _the_fuller(found[symbol], again[symbol]) for symbol in found}
        return found

    def _told(self, trade: PairTrade) -> Told:
        return self.broker.positions_in(trade.symbols), self.broker.open_orders()

    def _told_again(self, trade: PairTrade) -> Told:
        try:
            return self._told(trade)
        except _NO_WORD as error:
            raise Transient(f"shares are missed and can't be looked for again: {error}") from error

    def _laid_out(self, situation: Situation, told: Told) -> dict[str, Around]:
        positions, working = told
        theirs = {position.symbol: position.quantity for position in positions}
        with self.store() as work:
            # The name alone does not make an order ours: one that no intent knows can't be followed to its end.
            known = work.repo.intents_named(order.client_order_id for order in working)
        return {
            symbol: Around(
                ours,
                theirs.get(symbol, Decimal(0)),
                tuple(o for o in working if o.symbol == symbol and o.client_order_id in known),
                tuple(o for o in working if o.symbol == symbol and o.client_order_id not in known),
            )
            for symbol, ours in self._ours(situation).items()
        }

    def _ours(self, situation: Situation) -> dict[str, Decimal]:
        """Sum what our trades hold: by the books, and in this one also what is reported and not booked yet."""
        with self.store() as work:
            holdings = work.repo.holdings()
        ours = {symbol: holdings.get(symbol, Decimal(0)) for symbol in situation.trade.symbols}
        for intent in situation.intents:
            unbooked = intent.filled_quantity - situation.booked.get(str(intent.id), Decimal(0))
            ours[situation.trade.symbol(intent.leg)] += unbooked
        return ours


def _held(situation: Situation) -> Iterable[tuple[str, Decimal]]:
    trade = situation.trade
    return [(trade.symbol(leg), situation.held(leg)) for leg in trade.legs if situation.held(leg) != 0]


def _the_fuller(first: Around, second: Around) -> Around:
    """Take the newer look, with the position nearer to our books."""
    nearer = min(first.theirs, second.theirs, key=lambda theirs: abs(second.ours - theirs))
    return replace(second, theirs=nearer)
