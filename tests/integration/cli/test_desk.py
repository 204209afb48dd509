"""The commands at the desk, typed, on a real PostgreSQL and a twin."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete

from src.services.execution.use_cases.cycle import Gate
from src.shared.domain.errors import Transient
from src.shared.domain.orders import OrderReport
from src.shared.domain.risk import RiskState
from src.shared.domain.signals import SignalAction
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.database.tables import pair_registry
from src.shared.prefect.tasks.wiring import services
from tests.fakes.desk import (
    AFTER_HOURS,
    FIRST,
    NEXT_OPEN,
    PAIR,
    SECOND,
    SLOT,
    Installation,
    another_process,
)

OPENED = [(SECOND, -4), (FIRST, 5)]
CLOSED = [(FIRST, -5), (SECOND, 4)]
AWAY = "http://127.0.0.1:1"
ALIEN = "tw-twin-ffffffffffffffffffff-1-open-1"


# Looking


def test_positions_tell_ours_by_trade_from_what_else_the_account_holds(desk: Installation) -> None:
    desk.open_trade()
    desk.twin.order_by_hand("QVEL", 7)

    shown, told = desk.tradewinds("positions"), _json(desk, "positions")

    assert shown.code == 0
    assert "EXTERNAL" in shown.out
    by_symbol = {each["symbol"]: each for each in told["positions"]}
    assert {symbol: (each["ours"], each["broker"], each["external"]) for symbol, each in by_symbol.items()} == {
        FIRST: ("5", "5", "0"),
        SECOND: ("-4", "-4", "0"),
        "QVEL": ("0", "7", "7"),
    }
    assert by_symbol[FIRST]["holdings"][0]["pair_id"] == PAIR
    assert by_symbol[FIRST]["unrealized_pnl"] is not None


def test_with_the_broker_away_positions_and_orders_are_the_books_alone_and_say_so(desk: Installation) -> None:
    desk.open_trade()
    _lose_the_broker(desk)

    positions, orders = desk.tradewinds("positions"), desk.tradewinds("orders", "--all")

    assert (positions.code, orders.code) == (0, 0)
    assert "our books alone" in positions.out
    assert FIRST in positions.out
    assert "our books alone" in orders.out
    assert {each["broker"] for each in _json(desk, "positions")["positions"]} == {None}


def test_orders_show_what_is_open_and_mark_what_is_not_ours(desk: Installation) -> None:
    desk.open_trade()
    desk.twin.order_by_hand("QVEL", 3, type="limit", limit_price="1")

    open_ones, all_of_them = _json(desk, "orders"), _json(desk, "orders", "--all", "--pair", PAIR)

    assert open_ones["ours"] == []
    assert [each["symbol"] for each in open_ones["external"]] == ["QVEL"]
    assert [each["intent"]["symbol"] for each in all_of_them["ours"]] == [SECOND, FIRST]
    assert all_of_them["external"] == []
    assert "EXTERNAL" in desk.tradewinds("orders").out


def test_an_order_tells_every_state_it_had(desk: Installation) -> None:
    desk.open_trade()
    name = _json(desk, "orders", "--all")["ours"][0]["intent"]["client_order_id"]

    story = _json(desk, "orders", name)

    events = [step["event"] for step in story["steps"]]
    assert events[:2] == ["OrderPlanned", "OrderSent"]
    assert events[-1] == "OrderFilled"
    assert [step["version"] for step in story["steps"]] == list(range(1, len(events) + 1))
    assert "OrderFilled" in desk.tradewinds("orders", name).out


def test_a_trade_says_why_with_its_numbers_orders_fills_and_ledger(desk: Installation) -> None:
    desk.open_trade()
    assert desk.tradewinds("close", PAIR, "--why", "enough", "--who", "ada").code == 0

    story, shown = _json(desk, "trades", PAIR, "--why"), desk.tradewinds("trades", PAIR, "--why")

    assert story["decisions"][0]["signal_numbers"] == {"z": -2.25}
    assert story["decisions"][0]["risk_numbers"] == {"gross": {"a": 1}}
    assert [each["intent"]["action"] for each in story["orders"]] == ["open", "open", "close", "close"]
    assert len(story["executions"]) >= 4
    assert (story["ledger"]["holdings/KELV"], story["ledger"]["holdings/KYLO"]) == ("0", "0")
    assert story["line"]["trade"]["realized_pnl"] == story["ledger"]["cash/USD"]
    assert [(each["who"], each["why"]) for each in story["audits"]] == [("ada", "enough")]
    for word in ("z -2.25", "gross: a 1", "APPROVED", "closed by hand by ada: enough"):
        assert word in shown.out
    UUID(story["line"]["trade"]["id"])


def test_trades_are_listed_by_pair_and_by_whether_they_are_over(desk: Installation) -> None:
    desk.open_trade()

    assert len(_json(desk, "trades", "--open")) == 1
    assert _json(desk, "trades", "--closed") == []
    assert len(_json(desk, "trades", "--pair", PAIR, "--last", "1")) == 1


def test_verify_is_1_when_another_database_trades_the_account_and_others_orders_break_nothing(
    desk: Installation,
) -> None:
    desk.open_trade()
    # Signals and decisions are written here without their events; their services tell them.
    before = {each["name"]: each["breaches"] for each in _json(desk, "verify", code=1)["invariants"]}
    assert [name for name, breaches in before.items() if breaches] == ["I6"]
    assert all(each.startswith(("signal ", "risk_", "pair ")) for each in before["I6"])

    desk.twin.order_by_hand(FIRST, 2)
    beside = {each["name"]: each["breaches"] for each in _json(desk, "verify", code=1)["invariants"]}
    desk.twin.order_by_hand("QVEL", 2, client_order_id=ALIEN)
    broken = desk.tradewinds("verify", "--since", "2025-03-03")

    assert beside == before
    assert broken.code == 1
    assert ALIEN in "".join(broken.out.split())


def test_verify_of_books_that_are_whole_is_0(desk: Installation) -> None:
    with desk.services.engine.begin() as connection:
        connection.execute(delete(pair_registry))  # it was written here without its event

    shown = desk.tradewinds("verify")

    assert shown.code == 0
    assert shown.out.count("holds") == 8


# Acting


def test_reconcile_is_0_when_both_sides_agree_and_leaves_an_audit_line(desk: Installation) -> None:
    desk.open_trade()

    said = desk.tradewinds("reconcile", "--explain", "--who", "ada", "--why", "morning")

    assert said.code == 0
    assert "Books and broker agree." in said.out
    assert desk.audits() == [("ada", "reconciled by hand", "account", "morning")]


def test_reconcile_explains_both_sides_of_what_differs_and_is_1(desk: Installation) -> None:
    desk.open_trade()
    desk.twin.order_by_hand(FIRST, 2)
    desk.twin.order_by_hand("QVEL", 3, type="limit", limit_price="1", client_order_id=ALIEN)

    told = _json(desk, "reconcile", "--explain", code=1)

    assert [ALIEN in each for each in told["differences"]] == [True]
    rows = {each["subject"]: each for each in told["compared"]}
    assert (rows[FIRST]["ours"], rows[FIRST]["theirs"], rows[FIRST]["verdict"]) == ("5", "7", "external")
    assert rows[ALIEN]["verdict"] == "differ"
    assert rows[FIRST]["advice"]
    assert rows[ALIEN]["advice"]
    assert rows[SECOND]["verdict"] == "agree"


def test_close_sells_what_the_trade_holds_and_leaves_the_rest_of_the_account(desk: Installation) -> None:
    desk.open_trade()
    desk.twin.order_by_hand(FIRST, 2)

    said = desk.tradewinds("close", PAIR, "--why", "enough", "--who", "ada")

    assert said.code == 0
    assert "open → closed" in said.out
    assert desk.states() == ["closed"]
    assert desk.held() == {FIRST: 2}
    assert desk.audits() == [("ada", "closed by hand", PAIR, "enough")]


def test_close_with_the_market_closed_waits_for_the_open_and_is_finished_by_two_runs_together(
    desk: Installation,
) -> None:
    desk.open_trade()
    desk.move_to(AFTER_HOURS)

    said = desk.tradewinds("close", PAIR, "--why", "enough")

    assert said.code == 0
    assert "market is closed" in said.out
    assert "2025-03-04 14:30" in said.out
    assert desk.states() == ["closing"]
    assert desk.orders() == OPENED

    desk.move_to(NEXT_OPEN)
    gates = _two_gates_at_once()

    assert [gate.reconciled for gate in gates] == [True, True]
    assert desk.states() == ["closed"]
    assert desk.orders() == [*OPENED, *CLOSED]
    assert desk.held() == {}


def test_closing_twice_at_once_closes_once(desk: Installation) -> None:
    desk.open_trade()
    barrier = Barrier(2)

    def close_in(wired: Any) -> bool:
        from src.services.execution.use_cases.desk import Person
        from src.shared.domain.errors import InputInvalid

        barrier.wait(timeout=30)
        try:
            wired.execution.desk.close(PAIR, Person("ada", "enough"))
        except InputInvalid:
            return False
        finally:
            wired.engine.dispose()
        return True

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(close_in, [another_process(), another_process()]))

    assert any(done)
    assert desk.orders() == [*OPENED, *CLOSED]
    assert desk.held() == {}


def test_an_entry_under_way_is_given_up_and_unwound(desk: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.approve(SignalAction.ENTER_LONG)
    desk.twin.admin.rules(FIRST, no_fill=True)
    gate = desk.services.execution.cycle.open_gate()
    real = AlpacaClient.order_by_client_id

    def silent_about_the_second(client: AlpacaClient, name: str, **options: bool) -> OrderReport | None:
        if "-1-open-" in name:
            raise Transient("no answer")
        return real(client, name, **options)

    with monkeypatch.context() as away, pytest.raises(Transient):
        away.setattr(AlpacaClient, "order_by_client_id", silent_about_the_second)
        desk.services.execution.cycle.execute_slot(gate)
    assert desk.states() == ["opening"]
    assert desk.held() == {SECOND: -4}

    said = desk.tradewinds("close", PAIR, "--why", "changed my mind")

    assert said.code == 0, said
    assert "opening → unwound" in said.out
    assert desk.held() == {}
    assert desk.services.broker.open_orders() == []


def test_shares_that_somebody_sold_are_written_off_and_the_rest_of_the_trade_is_closed(desk: Installation) -> None:
    desk.open_trade()
    desk.twin.order_by_hand(FIRST, -5)
    desk.tradewinds("close", PAIR, "--why", "enough")
    orphaned = desk.states()

    said = desk.tradewinds("write-off", PAIR, FIRST, "20.5", "--why", "sold by phone", "--who", "ada")

    assert orphaned == ["orphaned"]
    assert (said.code, said.err) == (0, "")
    assert desk.states() == ["closed"]
    assert desk.held() == {}
    assert desk.audits()[-1] == ("ada", "written off by hand", PAIR, "sold by phone")
    assert desk.trade_results() == [Decimal("5") * Decimal("20.5") + desk.cash_of_fills()]
    # Signals and decisions are written here without their events; their services tell them.
    invariants = _json(desk, "verify", code=1)["invariants"]
    assert [each["name"] for each in invariants if each["breaches"]] == ["I6"]
    assert _json(desk, "reconcile")["reconciled"] is True


def test_an_open_trade_that_lost_a_leg_to_somebody_is_closed_by_the_write_off(desk: Installation) -> None:
    desk.open_trade()
    desk.twin.order_by_hand(SECOND, 3)
    of_three = desk.tradewinds("write-off", PAIR, SECOND, "0", "--why", "gone")

    assert (of_three.code, desk.states(), desk.held()) == (0, ["closed"], {})
    assert sorted(desk.orders()[3:]) == [(FIRST, -5), (SECOND, 1)]


def test_shares_that_go_in_parts_are_written_off_in_parts_while_the_brokers_clock_stands(desk: Installation) -> None:
    desk.open_trade()
    desk.services.kill_switch.set_state(RiskState.HALTED, "ada", "news", SLOT)
    written_off = []
    for shares in (-2, -1):
        desk.twin.order_by_hand(FIRST, shares)
        said = desk.tradewinds("write-off", PAIR, FIRST, "20.5", "--why", "sold by phone")
        written_off.append((said.code, said.err))

    assert written_off == [(1, ""), (1, "")]  # nothing is closed while the account is halted
    assert [what for _, what, _, _ in desk.audits()].count("written off by hand") == 2
    invariants = _json(desk, "verify", code=1)["invariants"]
    assert [each["name"] for each in invariants if each["breaches"]] == ["I6"]


def test_what_is_not_missing_is_not_written_off(desk: Installation) -> None:
    desk.open_trade()
    desk.twin.order_by_hand(FIRST, 2)
    orders = desk.orders()

    for words, told in (
        ((PAIR, FIRST, "20"), "the broker has all that the books hold of"),
        ((PAIR, "QVEL", "20"), "is no leg of"),
        ((PAIR, "q;vel", "20"), "is not a symbol"),
        ((PAIR, FIRST, "nan"), "is no price"),
        ((PAIR, FIRST, "-1"), "is no price"),
        ((PAIR, FIRST, "cheap"), "is no price"),
        (("AAA/BBB", FIRST, "20"), "No pair is called"),
    ):
        said = desk.tradewinds("write-off", *words[:2], "--why", "x", "--", words[2])
        assert (said.code, said.err.count("\n"), told in said.err) == (2, 1, True), (words, said)
    assert (desk.orders(), desk.states(), desk.audits()) == (orders, ["open"], [])


def test_flatten_without_confirm_says_what_it_would_do_and_sends_nothing(desk: Installation) -> None:
    desk.open_trade()

    said = desk.tradewinds("flatten", "--why", "panic")

    assert said.code == 2
    assert PAIR in said.out
    assert said.err.count("\n") == 1
    assert desk.orders() == OPENED
    assert desk.audits() == []


def test_flatten_closes_ours_and_leaves_the_rest_of_the_account(desk: Installation) -> None:
    desk.open_trade()
    desk.twin.order_by_hand("QVEL", 7)

    said = desk.tradewinds("flatten", "--confirm", "--why", "panic", "--who", "ada")

    assert said.code == 0
    assert desk.states() == ["closed"]
    assert desk.held() == {"QVEL": 7}
    assert desk.audits() == [("ada", "flattened by hand", PAIR, "panic")]
    again = desk.tradewinds("flatten", "--confirm", "--why", "panic")
    assert (again.code, "no unfinished trade" in again.out) == (0, True)


def test_halt_and_resume_say_before_and_after_and_who_and_why_are_kept(desk: Installation) -> None:
    assert desk.tradewinds("halt", "--why", "news", "--who", "ada").out.startswith("active → reducing")
    assert desk.tradewinds("halt", "everything", "--why", "worse", "--who", "ada").out.startswith("reducing → halted")
    assert desk.tradewinds("resume", "--why", "over", "--who", "bob").out.startswith("halted → active")

    assert [(who, why) for who, what, _, why in desk.audits() if what == "risk state changed"] == [
        ("ada", "news"),
        ("ada", "worse"),
        ("bob", "over"),
    ]


@pytest.mark.parametrize(
    ("typed", "kept"), [("gr\udcf6sser", "gr?sser"), ("one\0two", "one?two")], ids=["not UTF-8", "a zero byte"]
)
def test_the_kill_switch_works_whatever_bytes_are_in_the_words(desk: Installation, typed: str, kept: str) -> None:
    said = desk.tradewinds("halt", "everything", "--why", typed, "--who", typed)

    assert (said.code, said.err) == (0, "")
    assert said.out == f"active → halted (by {kept}: {kept})\n"
    assert desk.audits()[-1] == (kept, "risk state changed", "account", kept)


def test_the_kill_switch_works_whatever_bytes_are_in_the_name_of_the_user(desk: Installation) -> None:
    desk.monkeypatch.setenv("LOGNAME", "j\udcf6rg")

    assert desk.tradewinds("halt", "everything", "--why", "enough").out == "active → halted (by j?rg: enough)\n"


def test_a_name_that_no_text_can_hold_is_refused_in_one_line(desk: Installation) -> None:
    for words in (("orders", "gr\udcf6sser"), ("orders", "A\0B"), ("close", "gr\udcf6sser", "--why", "x")):
        said = desk.tradewinds(*words)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "--since", "0001-01-01"),
        ("verify", "--since", "0001-01-01T00:00+14:00"),
        ("verify", "--since", "9999-12-31T23:59-12:00"),
        ("pairs", "discover", "--dry-run", "--until", "9999-12-31"),
        ("replay", "--day", "0001-01-01"),
    ],
)
def test_a_day_at_the_end_of_time_is_refused_in_one_line(desk: Installation, words: tuple[str, ...]) -> None:
    said = desk.tradewinds(*words)

    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert f"{words[-2]} '{words[-1]}' is too far away" in said.err


def test_the_kill_switch_works_with_the_broker_away(desk: Installation) -> None:
    _lose_the_broker(desk)

    assert desk.tradewinds("halt", "everything", "--why", "no word").code == 0
    said = desk.tradewinds("resume", "--why", "no word")

    assert said.code == 1
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("what", ["entries", "everything"])
def test_a_halt_does_not_wait_for_the_broker(desk: Installation, what: str) -> None:
    """One that hangs would let orders go out for as long as it is waited for."""
    desk.twin.admin.fault(kind="status", endpoint="*", status=500)

    said = desk.tradewinds("halt", what, "--why", "no word")

    assert said.out.startswith("active → ")
    assert [each["matched"] for each in desk.twin.admin.faults()] == [0]


def test_a_reason_with_brackets_is_shown_as_it_was_written(desk: Installation) -> None:
    desk.open_trade()
    said = desk.tradewinds("close", PAIR, "--why", "[/x] as [red]told[/]")

    assert said.code == 0
    for words in (["trades"], ["trades", PAIR, "--why"]):
        shown = desk.tradewinds(*words)
        assert shown.code == 0
        assert "[/x] as" in shown.out
    assert "[/x] as [red]told[/]" in desk.tradewinds("trades", PAIR, "--why").out


def test_where_there_is_nothing_one_line_says_so(desk: Installation) -> None:
    assert desk.tradewinds("positions").out == "Nothing is held.\n"
    assert desk.tradewinds("orders").out == "No order is open; --all shows all.\n"
    assert desk.tradewinds("trades").out == "There is no such trade yet.\n"


# Mistakes

MISTAKES = [
    ("an unknown pair", ["close", "AAA/BBB", "--why", "x"], "No pair is called AAA/BBB"),
    ("a pair that is none", ["close", "AAA", "--why", "x"], "neither a pair"),
    ("an unknown trade", ["close", "00000000-0000-0000-0000-000000000001", "--why", "x"], "No trade has the id"),
    ("a trade that is over", ["close", PAIR, "--why", "x"], "is closed since"),
    ("no reason", ["close", PAIR], "why"),
    ("flatten without confirm", ["flatten", "--why", "x"], "Nothing was sent"),
    ("flatten without a reason", ["flatten", "--confirm"], "why"),
    ("an unknown order", ["orders", "tw-twin-nope"], "No order of ours"),
    ("orders of an unknown pair", ["orders", "--pair", "AAA/BBB"], "No pair is called"),
    ("trades of an unknown pair", ["trades", "--pair", "AAA/BBB"], "No pair is called"),
    ("why without a trade", ["trades", "--why"], "--why needs a trade"),
    ("a halt of something else", ["halt", "sideways", "--why", "x"], "write entries"),
    ("a halt without a reason", ["halt"], "why"),
    ("a resume without a reason", ["resume"], "why"),
    ("a day that is none", ["verify", "--since", "yesterday"], "--since 'yesterday' is no time"),
]


def test_a_mistake_is_one_line_and_nothing_is_sent(desk: Installation) -> None:
    desk.open_trade()
    desk.tradewinds("close", PAIR, "--why", "done")
    orders, audits = desk.orders(), desk.audits()

    for name, words, told in MISTAKES:
        said = desk.tradewinds(*words)

        assert (said.code, said.err.count("\n"), told in said.err) == (2, 1, True), (name, said)
        assert (desk.orders(), desk.audits()) == (orders, audits), name


def test_while_everything_is_halted_nothing_is_closed(desk: Installation) -> None:
    desk.open_trade()
    desk.tradewinds("halt", "everything", "--why", "news", "--who", "ada")
    audits = desk.audits()

    for words in (["close", PAIR, "--why", "x"], ["flatten", "--confirm", "--why", "x"]):
        said = desk.tradewinds(*words)

        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "halted (ada: news)" in said.err
    assert desk.states() == ["open"]
    assert desk.orders() == OPENED
    assert desk.audits() == audits


@pytest.mark.parametrize("words", [["positions"], ["close", PAIR, "--why", "x"], ["halt", "--why", "x"]])
def test_a_live_broker_that_is_not_armed_is_one_line_and_nothing_is_asked(
    desk: Installation, words: list[str]
) -> None:
    desk.open_trade()
    for name, value in {"ENVIRONMENT": "live", "API_KEY": "AKLIVE", "SECRET_KEY": "secret", "BASE_URL": ""}.items():
        desk.monkeypatch.setenv(f"TRADEWINDS_ALPACA_{name}", value)
    _rewire(desk)

    said = desk.tradewinds(*words)

    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "not armed" in said.err


def _json(desk: Installation, *words: str, code: int = 0) -> Any:
    said = desk.tradewinds(*words, "--json")
    assert said.code == code, said
    return json.loads(said.out)


def _lose_the_broker(desk: Installation) -> None:
    desk.monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", AWAY)
    _rewire(desk)


def _rewire(desk: Installation) -> None:
    desk.services.engine.dispose()
    services.cache_clear()


def _two_gates_at_once() -> list[Gate]:
    barrier = Barrier(2)

    def open_in(wired: Any) -> Gate:
        barrier.wait(timeout=30)
        gate: Gate = wired.execution.cycle.open_gate()
        wired.engine.dispose()
        return gate

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(open_in, [another_process(), another_process()]))


def test_the_slot_of_these_tests_is_the_one_that_the_calendar_names(desk: Installation) -> None:
    assert desk.services.execution.cycle.open_gate().slot == SLOT
