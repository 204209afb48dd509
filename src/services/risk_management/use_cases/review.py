"""Review a slot; tell and set the risk state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from src.services.risk_management.domain.book import PRICE_COLLAR, Book
from src.services.risk_management.domain.correlations import closes_at, correlate
from src.services.risk_management.domain.equity import CashFlow, DayStart, EquityPoint
from src.services.risk_management.domain.events import EarningsCalendar, MarketEvent
from src.services.risk_management.domain.review import (
    OpenTrade,
    SlotSignal,
    decide_entries,
    decide_exits,
    not_yet_open,
)
from src.services.risk_management.domain.state import (
    RISK,
    EquityHistory,
    Standing,
    assess,
    new_york_day,
    new_york_midnight,
)
from src.services.risk_management.domain.values import LimitsInForce, SessionRules, require_person
from src.services.risk_management.ports import BrokerFacts, RiskRepository
from src.services.risk_management.use_cases.limits import limits_in_force
from src.shared.domain.audit import AuditNote
from src.shared.domain.ids import slot_key, symbols_of
from src.shared.domain.orders import AccountReport, AssetReport
from src.shared.domain.risk import RiskDecision, RiskState
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.messages.base import Event
from src.shared.messages.risk import RiskStateChanged, TradeApproved, TradeDenied
from src.shared.ports.unit_of_work import UnitOfWork

PEAK_RESET = "risk peak reset"
"""The audit line from which a new peak of equity counts; its numbers hold the moment as `peak_from`."""

STATE_CHANGED = "risk state changed"

CASH_FLOW_SEEN = "external cash flow"

FLOWS_LOOKBACK = timedelta(days=10)
"""How long before the last known equity deposits and withdrawals are asked for: the broker may book one days late."""


@dataclass(frozen=True)
class SlotReview:
    """The decisions of a slot as they are stored, by pair id; `already_done` when nothing was left to decide."""

    slot: datetime
    decisions: tuple[RiskDecision, ...]
    already_done: bool

    @property
    def approved(self) -> tuple[RiskDecision, ...]:
        """The decisions that execution is to act on."""
        return tuple(decision for decision in self.decisions if decision.approved)


@dataclass(frozen=True)
class Moment:
    """When a review is made, as the broker's clock and the reconcile gate tell it."""

    slot: datetime
    now: datetime
    market_open: bool
    market_close: datetime | None
    reconciled: bool


@dataclass(frozen=True)
class Account:
    """The account as it stands at a review: the broker's word, its equity over time and its risk state."""

    report: AccountReport
    assets: dict[str, AssetReport]
    equity: EquityHistory
    standing: Standing
    in_force: LimitsInForce


@dataclass(frozen=True)
class RiskManagement:
    """Decides about signals. It is the only writer of risk decisions, the risk state and equity points.

    `seed` is what the settings say about limits that have no row yet; rows come first.
    """

    store: UnitOfWork[RiskRepository]
    broker: BrokerFacts
    calendar: TradingCalendar
    seed: Mapping[str, Decimal]
    session: SessionRules

    def review_slot(
        self, slot: datetime, now: datetime, market_open: bool, market_close: datetime | None, reconciled: bool
    ) -> SlotReview:
        """Decide about every entry and exit signal of the slot that has no decision yet, and store it, once.

        Exits are decided and committed before the broker is asked anything. A second run, also at the same time,
        returns the stored decisions unchanged.

        Raises:
            Transient: the broker or the database gave no usable answer; exits may be stored, run it again.
        """
        moment = Moment(slot, now, market_open, market_close, reconciled)
        decided, entries, is_done = self._review_exits(moment)
        if is_done:
            return SlotReview(slot, decided, already_done=True)
        account, flows = ask_for_money(self.store, self.broker, now)
        symbols = sorted({symbol for signal in entries for symbol in signal.symbols})
        assets = self.broker.assets(symbols, new_york_day(now)) if symbols else {}
        return self._review_entries(moment, account, flows, assets)

    def standing(self) -> Standing:
        """Read the account's risk state."""
        with self.store() as work:
            return work.repo.standing()

    def set_state(self, after: RiskState, who: str, why: str, now: datetime) -> Standing:
        """Set the risk state by a person's word: reducing stops entries, halted stops exits too, active ends both.

        Active also starts a new peak of equity from `now`; said while active, that is all it does. Setting again what
        a person has set changes nothing.

        Raises:
            InputInvalid: nobody or no reason is named.
        """
        require_person(who, why)
        with self.store() as work:
            work.repo.lock()
            standing = work.repo.standing()
            if standing.state is not after or (standing.who == RISK and after is not RiskState.ACTIVE):
                standing = _change(work.repo, standing, standing.changed(after, who, why, now), now)
            if after is RiskState.ACTIVE:
                work.repo.note(AuditNote(who, PEAK_RESET, "account", why, {"peak_from": now.isoformat()}))
            failpoint("risk_management.before_state")
            work.commit()
        failpoint("risk_management.state_set")
        return standing

    def _review_exits(self, moment: Moment) -> tuple[tuple[RiskDecision, ...], list[SlotSignal], bool]:
        with self.store() as work:
            work.repo.lock()
            decided = work.repo.decisions(moment.slot)
            pending = _pending(work.repo, moment.slot, decided)
            exits = [signal for signal in pending if signal.action.is_exit]
            if exits:
                _decide(work.repo, decide_exits(exits, moment.slot, work.repo.standing()), moment.now)
                failpoint("risk_management.before_exits")
                work.commit()
                failpoint("risk_management.exits_decided")
            entries = [signal for signal in pending if signal.action.is_entry]
            is_done = not pending and work.repo.has_equity(moment.slot)
        return tuple(decided), entries, is_done

    def _review_entries(
        self, moment: Moment, report: AccountReport, flows: Sequence[CashFlow], assets: dict[str, AssetReport]
    ) -> SlotReview:
        with self.store() as work:
            work.repo.lock()
            record_flows(work.repo, flows)
            in_force = limits_in_force(work.repo, self.seed)
            work.repo.record_equity(moment.slot, moment.now, report)
            now = EquityPoint(moment.now, report.equity)
            equity = work.repo.equity_history(now, day_start(self.calendar, moment.now, report))
            before = work.repo.standing()
            after = assess_and_store(work.repo, before, equity, in_force, moment.now)
            # Entries of this cycle are denied by the loss itself, whose code says more than that of the state.
            standing = before if before.state is RiskState.ACTIVE else after
            account = Account(report, assets, equity, standing, in_force)
            decided = work.repo.decisions(moment.slot)
            pending = _pending(work.repo, moment.slot, decided)
            if entries := [signal for signal in pending if signal.action.is_entry]:
                decided += _decide(work.repo, self._judge(work.repo, moment, entries, account, decided), moment.now)
            failpoint("risk_management.before_entries")
            work.commit()
        failpoint("risk_management.entries_decided")
        decisions = sorted(decided, key=lambda decision: decision.pair_id)
        return SlotReview(moment.slot, tuple(decisions), already_done=False)

    def _judge(
        self,
        repo: RiskRepository,
        moment: Moment,
        entries: Sequence[SlotSignal],
        account: Account,
        decided: Sequence[RiskDecision],
    ) -> list[RiskDecision]:
        sizing = account.in_force.sizing_rules()
        history = max(sizing.kelly_lookback_trades, sizing.kelly_min_trades)
        results = repo.closed_results(sorted({signal.owner for signal in entries}), history)
        limits = account.in_force.risk_limits(self.session)
        book = self._book(repo, moment, entries, account, decided)
        return decide_entries(entries, book, limits, sizing, results, account.in_force.numbers)

    def _book(
        self,
        repo: RiskRepository,
        moment: Moment,
        entries: Sequence[SlotSignal],
        account: Account,
        decided: Sequence[RiskDecision],
    ) -> Book:
        trades = repo.open_trades()
        waiting = list(not_yet_open(decided, trades))
        held = [*trades, *waiting]
        bars = int(account.in_force["correlation_bars"])
        ends = [end for _, end in self.calendar.last_spans(moment.slot, bars)]
        legs = [*(entry.symbols for entry in entries), *(trade.symbols for trade in held)]
        series = repo.closes(sorted({symbol for each in legs for symbol in each}), ends)
        prices = series.last_closes()
        last_minute, today = repo.orders_since(moment.now - timedelta(minutes=1), new_york_midnight(moment.now))
        exits = [d.pair_id for d in decided if d.approved and d.action.is_exit]
        to_be_sent = [*map(symbols_of, exits), *(trade.symbols for trade in waiting)]
        return Book(
            slot=moment.slot,
            now=moment.now,
            market_open=moment.market_open,
            market_close=moment.market_close,
            reconciled=moment.reconciled,
            standing=account.standing,
            account=account.report,
            assets=account.assets,
            holdings=tuple(trade.holding(prices) for trade in held),
            unpriced=unpriced(held, prices),
            fresh=closes_at(series, -1) if ends and ends[-1] == moment.slot else frozenset(),
            equity=account.equity,
            booked=booked_lately(repo, account.in_force, moment.now),
            events=self._events(repo, entries, account.in_force, moment.now),
            earnings=self._earnings(repo, entries, account.in_force, moment.now),
            orders_last_minute=last_minute,
            orders_today=today,
            planned_orders=sum(map(len, to_be_sent)),
            reserved=PRICE_COLLAR * sum((_gross(trade, prices) for trade in waiting), Decimal(0)),
            correlations=correlate(series),
        )

    def _events(
        self, repo: RiskRepository, entries: Sequence[SlotSignal], in_force: LimitsInForce, now: datetime
    ) -> tuple[MarketEvent, ...]:
        symbols = sorted({symbol for entry in entries for symbol in entry.symbols})
        today = new_york_day(now)
        return tuple(repo.upcoming_events(symbols, today, today + timedelta(days=int(in_force["event_days"]))))

    def _earnings(
        self, repo: RiskRepository, entries: Sequence[SlotSignal], in_force: LimitsInForce, now: datetime
    ) -> EarningsCalendar:
        symbols = sorted({symbol for entry in entries for symbol in entry.symbols})
        first, last = self.calendar.days_around(new_york_day(now), int(in_force["earnings_sessions"]))
        return EarningsCalendar(tuple(repo.earnings_reports(symbols, first)), first, last)


def ask_for_money(
    store: UnitOfWork[RiskRepository], broker: BrokerFacts, now: datetime
) -> tuple[AccountReport, list[CashFlow]]:
    """Ask the broker for the account and what came or went since the last known equity, however long ago that was.

    Raises:
        Transient: the broker or the database gave no usable answer.
    """
    with store() as work:
        last = work.repo.last_equity_at()
    since = now if last is None else min(now, last)
    return broker.account(), broker.cash_flows(since - FLOWS_LOOKBACK)


def day_start(calendar: TradingCalendar, now: datetime, report: AccountReport) -> DayStart:
    """Say where the loss of the day of `now` counts from.

    The broker's word on the last close counts in session alone: nobody says when in the evening it goes over to the
    close of that day.
    """
    last, _ = calendar.days_around(new_york_day(now), 1)
    [session] = calendar.sessions(last, last)
    is_sure = report.last_equity > 0 and calendar.session_at(now) is not None
    return DayStart(new_york_midnight(now), session.close, report.last_equity if is_sure else None)


def assess_and_store(
    repo: RiskRepository, before: Standing, equity: EquityHistory, in_force: LimitsInForce, now: datetime
) -> Standing:
    """Store and tell the state that losses call for, and return it: the same one when nothing changes."""
    most = in_force["max_daily_loss_fraction"], in_force["max_drawdown_fraction"]
    after = assess(before, equity, *most, now)
    return before if after == before else _change(repo, before, after, now, equity.numbers)


def record_flows(repo: RiskRepository, flows: Sequence[CashFlow]) -> None:
    """Store cash flows; each is noted in the audit log when it is first seen."""
    for flow in repo.add_cash_flows(flows):
        numbers: dict[str, object] = {"amount": str(flow.amount), "latest": flow.latest.isoformat()}
        repo.note(AuditNote("broker", CASH_FLOW_SEEN, flow.id, f"{flow.kind}: no result of trading", numbers))


def booked_lately(repo: RiskRepository, in_force: LimitsInForce, now: datetime) -> Decimal:
    """Sum the booked result over the New York days of the rolling loss, today included."""
    first = new_york_midnight(now)
    for _ in range(int(in_force["rolling_loss_days"]) - 1):
        first = new_york_midnight(first - timedelta(hours=1))
    return repo.booked_since(first)


def _pending(repo: RiskRepository, slot: datetime, decided: Sequence[RiskDecision]) -> list[SlotSignal]:
    done = {decision.signal_id for decision in decided}
    return [signal for signal in repo.signals(slot) if signal.id not in done]


def _decide(repo: RiskRepository, decisions: list[RiskDecision], now: datetime) -> list[RiskDecision]:
    repo.add_decisions(decisions)
    repo.tell([_said(decision, now) for decision in decisions])
    return decisions


def _said(decision: RiskDecision, now: datetime) -> Event:
    slot, pair, action = slot_key(decision.slot), decision.pair_id, decision.action.value
    if decision.approved:
        quantities = {"quantity_1": decision.quantity_1, "quantity_2": decision.quantity_2}
        return TradeApproved.of(decision.id, 1, now, slot, pair_id=pair, action=action, **quantities)
    return TradeDenied.of(
        decision.id, 1, now, slot, pair_id=pair, action=action, code=decision.code, reason=decision.reason
    )


def _change(
    repo: RiskRepository,
    before: Standing,
    after: Standing,
    now: datetime,
    numbers: dict[str, object] | None = None,
) -> Standing:
    steps: dict[str, object] = {"before": before.state.value, "after": after.state.value}
    repo.save_standing(after, now)
    repo.note(AuditNote(after.who, STATE_CHANGED, "account", after.why, {**steps, **(numbers or {})}))
    facts = {**steps, "who": after.who, "why": after.why}
    repo.tell([RiskStateChanged.of("account", after.version, now, slot_key(now), **facts)])
    return after


def unpriced(trades: Sequence[OpenTrade], prices: Mapping[str, float]) -> tuple[str, ...]:
    """Name the held symbols without a price."""
    return tuple(sorted({symbol for trade in trades for symbol in trade.symbols if symbol not in prices}))


def _gross(trade: OpenTrade, prices: dict[str, float]) -> Decimal:
    return sum((abs(dollars) for _, dollars in trade.holding(prices).legs), Decimal(0))
