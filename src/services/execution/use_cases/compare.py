"""Compare our side with the broker's: read both, twice where they differ, and name what is found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from src.services.execution.domain.reconciliation import (
    Finding,
    Kind,
    Ours,
    Theirs,
    external_shares,
    reconcile,
)
from src.services.execution.ports import TradeStore, TradingBroker, UnreadRow, WallClock
from src.services.execution.use_cases.alerts import raise_alert
from src.services.execution.use_cases.drive import LOOKS_APART_SECONDS, SLOT_MARGIN
from src.shared.domain.errors import Refused, Transient
from src.shared.domain.ids import client_order_prefix
from src.shared.domain.orders import MarketClock, OrderReport, PositionReport
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork

NO_WORD = (Transient, Refused)
_BARS_LOOKED_BACK = 14
_ROWS_THAT_COUNT = frozenset({"position", "order", "fill", "corporate action"})
_NAMED = re.compile(r'"client_order_id": "([^"]*)"')


@dataclass(frozen=True)
class Comparison:
    """Looks at books, account and clock. The host's clock is judged where `host_drift` says how far it may be off."""

    store: UnitOfWork[TradeStore]
    broker: TradingBroker
    clock: WallClock
    calendar: TradingCalendar
    environment: str
    clock_step_back: timedelta
    host_drift: timedelta | None

    def findings(
        self, slot: datetime, market: MarketClock, recent: Sequence[OrderReport] | None = None, heard_all: bool = True
    ) -> frozenset[Finding]:
        """Return what stops entries, all of them or those in a symbol.

        `recent` are the broker's orders since `recently(slot)` where they were read just now: the first look takes
        them as they are. The second one, at what differs, reads everything. Unless this pass `heard_all` of them, the
        next one looks back as far as this one did.
        """
        differences = self._compare_twice(slot, recent)
        self._quarantine(differences, slot, market.now)
        account = self._of_account()
        unread = self._take_unread(slot, market.now)
        heard_all = heard_all and not any(self._may_be_our_order(row) for row in unread)
        return differences | self._of_clock(market, heard_all) | account | _of_unread(unread)

    def recently(self, slot: datetime) -> datetime:
        """Return a session before the slot, or before the last gate that heard of all orders if that is longer ago.

        A day order's last word is not later than that. After days without a gate it is one longer list, once.
        """
        with self.store() as work:
            seen = work.repo.market_seen()
        since = slot if seen is None else min(slot, self.calendar.last_slot(seen))
        return self.calendar.last_spans(since, _BARS_LOOKED_BACK)[0][0]

    def unread(self, slot: datetime, at: datetime) -> frozenset[Finding]:
        """Keep the rows that could not be read, and find those without which nobody can say that the books agree."""
        return _of_unread(self._take_unread(slot, at))

    def _take_unread(self, slot: datetime, at: datetime) -> list[UnreadRow]:
        rows = list(self.broker.take_quarantined())
        if rows:
            self.keep(rows, slot, at)
        return rows

    def _may_be_our_order(self, row: UnreadRow) -> bool:
        """Say whether a row may be news of an order of ours: somebody else's has a name that is not like ours."""
        told = _NAMED.search(row.raw)
        return row.kind == "order" and (told is None or told[1].startswith(client_order_prefix(self.environment)))

    def keep(self, rows: Iterable[UnreadRow], slot: datetime, at: datetime) -> None:
        """Keep what the broker said and nobody could read, and tell people once of each."""
        with self.store() as work:
            for row in rows:
                if work.repo.quarantine(row.kind, row.reason, row.raw, slot, at):
                    detail = f"{row.kind}: {row.reason} in {row.raw[:200]}"
                    raise_alert(work, "error", "an answer of the broker can't be read", detail, detail, slot, at)
            failpoint("execution.before_quarantine")
            work.commit()
        failpoint("execution.quarantined")

    def _quarantine(self, findings: frozenset[Finding], slot: datetime, at: datetime) -> None:
        missing = [finding for finding in findings if finding.kind is Kind.MISSING_EXECUTIONS]
        if not missing:
            return
        with self.store() as work:
            for finding in missing:
                work.repo.quarantine("executions", finding.meaning, f"{finding.subject}: {finding.detail}", slot, at)
            work.commit()

    def _compare_twice(self, slot: datetime, recent: Sequence[OrderReport] | None) -> frozenset[Finding]:
        """One look may catch the broker's lists out of step with each other; a finding is what two looks agree on.

        Where one of the looks had no answer, that is what was found: what the other one saw is not declared.
        """
        first = self._compare(slot, recent)
        if not first:
            return first
        self.clock.sleep(LOOKS_APART_SECONDS)
        second = self._compare(slot)
        if not second or _is_blind(second):
            return second
        if _is_blind(first):
            return first
        # The numbers may have moved on between the looks: that does not make it two things seen once each.
        seen = {finding.subject for finding in first}
        return frozenset(finding for finding in second if finding.subject in seen)

    def _compare(self, slot: datetime, recent: Sequence[OrderReport] | None = None) -> frozenset[Finding]:
        try:
            positions, working = self.broker.positions(), self.broker.open_orders()
            if recent is None:
                recent = self.broker.orders_since(self.recently(slot))
            with self.store() as work:
                held, since, misbooked = work.repo.holdings(), work.repo.holding_since(), work.repo.misbooked()
                intents = work.repo.intents_named(order.client_order_id for order in [*working, *recent])
            external = self._external(held, since, positions, [*working, *recent])
        except NO_WORD as error:
            return frozenset({Finding(Kind.UNREAD, "broker", f"could not be compared with our books: {error}")})
        intents |= {intent.client_order_id: intent for intent, _ in misbooked}
        booked = {intent.client_order_id: shares for intent, shares in misbooked}
        ours = Ours(held, intents, client_order_prefix(self.environment), booked)
        return reconcile(ours, Theirs(tuple(positions), tuple(recent), tuple(working), external))

    def _external(
        self,
        held: dict[str, Decimal],
        since: dict[str, datetime],
        positions: Iterable[PositionReport],
        orders: Iterable[OrderReport],
    ) -> dict[str, Decimal]:
        """Sum what executions of others moved in the symbols that differ; without a difference nothing is read."""
        told = {position.symbol: position.quantity for position in positions}
        differing = {
            symbol: since[symbol] - SLOT_MARGIN
            for symbol, quantity in held.items()
            if symbol in since and told.get(symbol, Decimal(0)) != quantity
        }
        if not differing:
            return {}
        fills = self.broker.fills_since(min(differing.values()))
        with self.store() as work:
            known = work.repo.known_broker_orders(fill.broker_order_id for fill in fills)
        prefix = client_order_prefix(self.environment)
        named = {order.broker_order_id for order in orders if order.client_order_id.startswith(prefix)}
        return external_shares(fills, known | named, differing)

    def _of_account(self) -> frozenset[Finding]:
        try:
            account = self.broker.account()
        except NO_WORD as error:
            return frozenset({Finding(Kind.ACCOUNT, "account", f"could not be read: {error}")})
        if account.trading_blocked or account.status != "ACTIVE":
            blocked = "blocked" if account.trading_blocked else "not blocked"
            return frozenset({Finding(Kind.ACCOUNT, "account", f"its status is {account.status}, trading {blocked}")})
        return frozenset()

    def _of_clock(self, market: MarketClock, heard_all: bool) -> frozenset[Finding]:
        host = self.clock.now()
        if self.host_drift is not None and abs(host - market.now) > self.host_drift:
            return frozenset(
                {Finding(Kind.CLOCK, "clock", f"the host says {host:%c}, the broker {market.now:%c} UTC")}
            )
        with self.store() as work:
            before = work.repo.market_seen()
            if heard_all:
                work.repo.note_market_time(market.now)
            failpoint("execution.before_market_time")
            work.commit()
        failpoint("execution.market_time_kept")
        if before is not None and before - market.now > self.clock_step_back:
            went = f"the broker's clock went back from {before:%c} to {market.now:%c} UTC"
            return frozenset({Finding(Kind.CLOCK, "clock", went)})
        return frozenset()


def _is_blind(findings: frozenset[Finding]) -> bool:
    return any(finding.kind is Kind.UNREAD for finding in findings)


def _of_unread(rows: Iterable[UnreadRow]) -> frozenset[Finding]:
    counting = (row for row in rows if row.kind in _ROWS_THAT_COUNT)
    return frozenset(Finding(Kind.UNREAD, row.kind, f"{row.reason} in {row.raw[:200]}") for row in counting)
