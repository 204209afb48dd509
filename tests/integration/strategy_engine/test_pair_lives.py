from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, text, update

from src.config.settings import load_settings
from src.services.strategy_engine.bootstrap import build_life
from src.services.strategy_engine.use_cases.life import PairLives, retest
from src.services.strategy_engine.use_cases.slots import StrategyEngine
from src.shared.domain.bars import CloseSeries
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import Direction, FoundBy, PairMode, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.tables import (
    audit_log,
    corporate_action,
    outbox,
    pair_freeze,
    pair_registry,
    pair_trade,
)
from tests.fakes.pairs import registered_pair, write_pair
from tests.fakes.stored_market import store_closes, store_signal, store_trade, trade_row
from tests.unit.strategy_engine.builders import make_pair
from tests.unit.strategy_engine.test_fit import reverting

NOW = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
ENDS = [end for _, end in TradingCalendar().last_spans(NOW, 1200)]
PAIR = make_pair("KO", "PEP", beta=0.8, window=16, half_life=8.0, time_stop=24)
OBSERVE, ACTIVE, CLOSING, RETIRED = PairMode.OBSERVE, PairMode.ACTIVE, PairMode.CLOSING, PairMode.RETIRED
SAID: dict[str, Any] = {"at": NOW, "who": "ann", "why": "because"}


@pytest.fixture
def lives(engine: Engine) -> PairLives:
    return build_life(load_settings(), engine)


def have(engine: Engine, mode: PairMode, **more: Any) -> None:
    """Register KO/PEP with a passing verdict, in a mode."""
    with engine.begin() as connection:
        write_pair(connection, registered_pair("KO/PEP", NOW))
        connection.execute(
            update(pair_registry).values(mode=mode.value, mode_since=text("clock_timestamp()"), **more)
        )


def watch(engine: Engine, slots: Sequence[datetime], reason: str = "BELOW_ENTRY") -> None:
    for slot in slots:
        store_signal(engine, "KO/PEP", slot, reason)


def have_closes(engine: Engine, *, cointegrated: bool) -> None:
    closes_1, closes_2 = reverting(1, bars=500)
    if not cointegrated:
        closes_1 = 50 * np.exp(np.random.default_rng(5).normal(0.001, 0.01, 500).cumsum())
    store_closes(engine, ["KO", "PEP"], ENDS[-500:], np.column_stack([closes_1, closes_2]))


def book(engine: Engine, results: Sequence[int]) -> None:
    """Store closed trades with these results in dollars, oldest first."""
    with engine.begin() as connection:
        for slot, result in zip(ENDS, results, strict=False):
            row = trade_row(PAIR, Direction.LONG_SPREAD, slot, PairTradeState.CLOSED)
            closed = {"closed_slot": slot, "close_reason": "exit", "realized_pnl": Decimal(result)}
            connection.execute(insert(pair_trade).values(**row, **closed))


def end_trades(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(pair_trade).values(state="closed", closed_slot=NOW, realized_pnl=1))


def mode(engine: Engine) -> tuple[str, str | None]:
    r = pair_registry.c
    with engine.connect() as connection:
        return tuple(connection.execute(select(r.mode, r.after_closing)).one())


def audits(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(audit_log).order_by(audit_log.c.audit_id)))


def test_a_watched_pair_is_promoted_by_a_person_who_says_why_and_it_is_told_and_audited(
    lives: PairLives, engine: Engine
) -> None:
    have(engine, OBSERVE)
    watch(engine, ENDS[-20:])

    card = lives.promote("KO/PEP", **SAID)

    assert (mode(engine), card.standing.mode) == (("active", None), ACTIVE)
    [note] = audits(engine)
    assert (note.who, note.what, note.subject, note.why) == ("ann", "pair promoted", "KO/PEP", "because")
    assert (note.numbers["before"], note.numbers["after"], note.numbers["watched_bars"]) == ("observe", "active", 20)
    with engine.connect() as connection:
        [event] = connection.execute(select(outbox))
    assert event.channel == "tradewinds.signals.PairModeChanged"
    assert (event.aggregate_version, event.payload["before"], event.payload["after"]) == (2, "observe", "active")
    with pytest.raises(InputInvalid, match="KO/PEP is not promoted: it is active already"):
        lives.promote("KO/PEP", **SAID)


def test_hours_count_that_were_watched_without_a_fault_since_the_pair_came_to_observe(
    lives: PairLives, engine: Engine
) -> None:
    have(engine, OBSERVE)
    counted = []
    for slots, reason in (
        (ENDS[-60:-40], "BELOW_ENTRY"),
        (ENDS[-40:-39], "MISSING_BARS"),
        (ENDS[-39:-20], "OBSERVED_ENTRY_Z"),
        (ENDS[-20:-18], "FROZEN"),
    ):
        watch(engine, slots, reason)
        counted.append(lives.card("KO/PEP").standing.watched_bars)

    # What freezes a pair is no fault of its data; nothing is watched then either.
    assert counted[:3] == [20, 0, 19]
    with pytest.raises(InputInvalid, match="hours were watched without a fault in its data, 20 are needed"):
        lives.promote("KO/PEP", **SAID)
    watch(engine, ENDS[-18:-10])
    lives.promote("KO/PEP", **SAID)
    lives.demote("KO/PEP", **SAID)
    assert lives.card("KO/PEP").standing.watched_bars == 0


def test_a_demoted_pair_keeps_its_trade_managed_and_is_observed_once_that_is_closed(
    lives: PairLives, strategy: StrategyEngine, engine: Engine
) -> None:
    have(engine, ACTIVE)
    store_trade(engine, PAIR, Direction.LONG_SPREAD, ENDS[-3])

    lives.demote("KO/PEP", **SAID)
    watched = [each.pair.mode for each in _watched(strategy)]
    still = lives.review(NOW)
    end_trades(engine)
    ended = lives.review(NOW)

    assert watched == [CLOSING]
    assert [(each.before, each.after) for each in (*still, *ended)] == [(CLOSING, CLOSING), (CLOSING, OBSERVE)]
    assert mode(engine) == ("observe", None)
    assert [note.what for note in audits(engine)] == ["pair demoted", "pair closed"]
    # It passed once, but that was before.
    watch(engine, ENDS[-20:])
    with pytest.raises(InputInvalid, match="demoted since the gate judged it"):
        lives.promote("KO/PEP", **SAID)


def test_a_pair_is_retired_at_once_or_after_its_trade_and_no_command_brings_it_back(
    lives: PairLives, engine: Engine
) -> None:
    have(engine, ACTIVE)
    store_trade(engine, PAIR, Direction.LONG_SPREAD, ENDS[-3])

    lives.demote("KO/PEP", **SAID)
    lives.retire("KO/PEP", **SAID)
    before = mode(engine)
    end_trades(engine)
    lives.review(NOW)

    assert (before, mode(engine)) == (("closing", "retired"), ("retired", None))
    for verb in (lives.promote, lives.demote, lives.retire):
        with pytest.raises(InputInvalid, match="KO/PEP is not"):
            verb("KO/PEP", **SAID)
    assert lives.review(NOW) == []
    told = {row.aggregate_version for row in _outbox(engine)}
    assert told == {2, 3, 4}


@pytest.mark.parametrize(("verb", "words"), [("promote", "Say why"), ("demote", "Say why"), ("retire", "Say why")])
def test_a_step_needs_a_reason_and_a_registered_pair(lives: PairLives, verb: str, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        getattr(lives, verb)("KO/PEP", at=NOW, who="ann", why=" ")
    with pytest.raises(InputInvalid, match="KO/PEP is not registered"):
        getattr(lives, verb)("KO/PEP", **SAID)


def test_the_review_demotes_a_pair_that_loses_and_says_from_which_numbers(lives: PairLives, engine: Engine) -> None:
    have(engine, ACTIVE)
    have_closes(engine, cointegrated=True)
    book(engine, [10, -30, -20, -20, -10])

    [found] = lives.review(NOW)

    assert (found.before, found.after) == (ACTIVE, OBSERVE)
    assert found.causes == ("of its last 5 trades 20% won, and they lost $14.00 each",)
    assert found.p_value is not None
    assert found.p_value < 0.05
    [note] = audits(engine)
    assert (note.who, note.numbers["reasons"]) == ("review-pairs", ["LOSING_RECORD"])
    assert lives.review(NOW)[0].has_moved is False


def test_a_record_begins_anew_with_each_promotion(lives: PairLives, engine: Engine) -> None:
    have(engine, ACTIVE)
    book(engine, [-10] * 5)
    with engine.begin() as connection:
        connection.execute(update(pair_registry).values(mode="observe", mode_since=text("clock_timestamp()")))
    watch(engine, ENDS[-20:])

    lives.promote("KO/PEP", **SAID)

    assert lives.review(NOW)[0].after is ACTIVE
    assert len(lives.card("KO/PEP").standing.booked) == 5


def test_the_review_demotes_a_pair_whose_legs_have_come_apart(lives: PairLives, engine: Engine) -> None:
    have(engine, ACTIVE)
    have_closes(engine, cointegrated=False)

    [found] = lives.review(NOW)

    assert found.after is OBSERVE
    assert found.p_value is not None
    assert found.p_value > 0.2
    assert "cointegrated no more" in found.causes[0]


def test_the_review_demotes_a_pair_after_a_companys_action_but_not_after_a_dividend(
    lives: PairLives, engine: Engine
) -> None:
    have(engine, ACTIVE)
    _freeze(engine, "cash_dividend")
    assert lives.review(NOW)[0].after is ACTIVE
    _freeze(engine, "split")

    [found] = lives.review(NOW)

    assert found.after is OBSERVE
    assert found.causes == ("KO had a split on 2026-03-10: `tradewinds pairs rebase KO/PEP` fits it anew",)


def test_pairs_are_promoted_without_asking_only_where_that_is_set(lives: PairLives, engine: Engine) -> None:
    have(engine, OBSERVE)
    watch(engine, ENDS[-20:])

    asked, unasked = lives.review(NOW), replace(lives, auto_promote=True).review(NOW)

    assert (asked[0].after, unasked[0].after) == (OBSERVE, ACTIVE)
    assert audits(engine)[0].who == "review-pairs"


def test_what_discovery_found_is_retired_when_its_legs_come_apart(lives: PairLives, engine: Engine) -> None:
    have(engine, OBSERVE, found_by=FoundBy.DISCOVERY.value)
    have_closes(engine, cointegrated=False)

    assert lives.review(NOW)[0].after is RETIRED
    assert mode(engine) == ("retired", None)


def test_a_process_that_dies_leaves_a_step_whole_or_undone(lives: PairLives, engine: Engine) -> None:
    have(engine, ACTIVE)
    for place, after in (("before_pair", "active"), ("pair_kept", "observe")):
        with armed(f"strategy_engine.{place}:exc"), pytest.raises(Crashed):
            lives.demote("KO/PEP", **SAID)
        assert mode(engine)[0] == after
        assert len(audits(engine)) == len(_outbox(engine)) == (after == "observe")


def test_a_retest_needs_enough_common_bars() -> None:
    closes = np.column_stack(reverting(1, bars=200))
    closes[:101, 0] = np.nan
    series = CloseSeries(("KO", "PEP"), tuple(ENDS[-200:]), closes)

    assert retest(series, "KO", "PEP") is None
    assert retest(CloseSeries(("KO", "PEP"), tuple(ENDS[-200:]), np.full((200, 2), 5.0)), "KO", "PEP") is None


def _watched(strategy: StrategyEngine) -> list[Any]:
    with strategy.store() as work:
        return list(work.repo.watched_pairs(ENDS[-1]))


def _outbox(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(outbox)))


def _freeze(engine: Engine, kind: str) -> None:
    action = {"corporate_action_id": kind, "symbol": "KO", "kind": kind, "vendor_type": kind, "ex_date": NOW.date()}
    rates = {"old_rate": 1, "new_rate": 1, "cash_per_share": 0, "raw": {}}
    times = {"since": NOW - timedelta(hours=1), "effective_at": NOW}
    with engine.begin() as connection:
        connection.execute(insert(corporate_action).values(**action, **rates))
        row = {"pair_id": "KO/PEP", "symbol": "KO", "kind": kind, "corporate_action_id": kind}
        connection.execute(insert(pair_freeze).values(**row, **times))
