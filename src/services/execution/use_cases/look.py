"""What a person may ask: positions, orders, trades. Reads only; the books are told also while the broker is away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from src.services.execution.domain.desk import (
    OrderLine,
    OrderStory,
    SymbolPosition,
    TradeLine,
    TradeStory,
    is_external,
    lay_out,
)
from src.services.execution.ports import DeskStore
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import client_order_prefix, slot_key, symbols_of
from src.shared.domain.orders import OrderReport
from src.shared.domain.pairs import FINISHED_TRADES, PairTrade
from src.shared.ports.broker import AccountSource, Broker
from src.shared.ports.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class Orders:
    """Ours, and what is open at the broker besides; None while the broker is away."""

    ours: tuple[OrderLine, ...]
    external: tuple[OrderReport, ...] | None


@dataclass(frozen=True)
class Look:
    """Answers questions from the books, and from the broker where one is given."""

    store: UnitOfWork[DeskStore]
    environment: str

    def positions(self, broker: AccountSource | None) -> tuple[SymbolPosition, ...]:
        """Lay out what is held, by symbol: ours by trade, and the account's with a broker.

        Raises:
            Transient: the broker or the database can't be read.
        """
        reports = None if broker is None else broker.positions()
        with self.store() as work:
            holdings = work.repo.holdings_by_trade()
            symbols = {holding.symbol for holding in holdings} | {report.symbol for report in reports or ()}
            closes = work.repo.last_closes(sorted(symbols))
        return lay_out(holdings, reports, closes)

    def orders(self, broker: Broker | None, pair: str | None = None, last: int | None = None) -> Orders:
        """List our unfinished orders, or with `last` the newest whatever their state, and others' open ones.

        Raises:
            InputInvalid: neither a pair nor an instance's symbol is called so.
            Transient: the broker or the database can't be read.
        """
        self._check_name(pair)
        working = None if broker is None else broker.open_orders()
        with self.store() as work:
            ours = work.repo.orders(pair, last)
            known = work.repo.intents_named(order.client_order_id for order in working or ())
        prefix = client_order_prefix(self.environment)
        legs = None if pair is None else symbols_of(pair)
        others = [o for o in working or () if is_external(o, known, prefix) and (legs is None or o.symbol in legs)]
        return Orders(tuple(ours), None if working is None else tuple(others))

    def order(self, name: str) -> OrderStory:
        """Tell an order's whole life.

        Raises:
            InputInvalid: no order of ours has this id.
        """
        with self.store() as work:
            story = work.repo.order_story(name)
        if story is None:
            raise InputInvalid(f"No order of ours is called {name!r}: `tradewinds orders --all` lists them.")
        return story

    def trades(
        self, pair: str | None = None, is_open: bool | None = None, last: int = 20, slot: datetime | None = None
    ) -> tuple[TradeLine, ...]:
        """List the newest trades, oldest first.

        Raises:
            InputInvalid: neither a pair nor an instance's symbol is called so.
        """
        self._check_name(pair)
        with self.store() as work:
            return tuple(work.repo.trades(pair, is_open, last, slot))

    def trade(self, name: str) -> TradeStory:
        """Tell everything about a trade, named by its id or, for the newest one, by its pair or instance and symbol.

        Raises:
            InputInvalid: there is no such trade.
        """
        with self.store() as work:
            return work.repo.trade_story(find_trade(work.repo, name))

    def first_slot(self) -> datetime | None:
        """Return the slot of the oldest order; None before the first."""
        with self.store() as work:
            return work.repo.first_slot()

    def _check_name(self, name: str | None) -> None:
        if name is not None:
            with self.store() as work:
                check_name(work.repo, name)


def find_trade(repo: DeskStore, name: str) -> PairTrade:
    """Find a trade by its id, or of a pair or of an instance in a symbol: the unfinished one, else its newest.

    Of two that are not over, the one that was never reopened comes first.

    Raises:
        InputInvalid: there is no such trade.
    """
    if not {"/", ":"} & {*name}:
        trade = repo.trade(_trade_id(name))
        if trade is None:
            raise InputInvalid(f"No trade has the id {name}: `tradewinds trades` lists them.")
        return trade
    check_name(repo, name)
    trade = repo.open_trade(name) or repo.reopened_trade(name) or repo.last_trade(name)
    if trade is None:
        raise InputInvalid(f"{name} has never been traded.")
    return trade


def find_unfinished(repo: DeskStore, name: str) -> PairTrade:
    """Find a trade that is not over, by its id or by what it is a trade of.

    Raises:
        InputInvalid: there is none; the message says what there is.
    """
    trade = find_trade(repo, name)
    if trade.state in FINISHED_TRADES:
        ended = f" since {slot_key(trade.closed_slot)}" if trade.closed_slot else ""
        raise InputInvalid(
            f"{trade.pair_id} has nothing to close: its trade of {slot_key(trade.slot)} is {trade.state}{ended}."
        )
    return trade


def check_name(repo: DeskStore, name: str) -> None:
    """Let a pair pass that the registry holds, and the name of an instance that is there with any symbol.

    Raises:
        InputInvalid: there is none of that name, or it is no name of either.
    """
    symbols_of(name)
    if ":" not in name:
        _check_pair(repo, name)
    elif not repo.has_instance(name.partition(":")[0]):
        raise InputInvalid(f"No instance is called {name.partition(':')[0]}: see `tradewinds instance list`.")


def _check_pair(repo: DeskStore, pair: str) -> None:
    known = repo.pair_ids()
    if pair not in known:
        listed = f"known are {', '.join(known[:10])}{' …' if len(known) > 10 else ''}" if known else "there are none"
        raise InputInvalid(f"No pair is called {pair}: {listed}.")


def _trade_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InputInvalid(
            f"{text!r} is neither a pair such as SPY/QQQ, nor an instance with its symbol such as trend:SPY, "
            "nor the id of a trade."
        ) from None
