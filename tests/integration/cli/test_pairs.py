"""`tradewinds pairs`, typed, on a real PostgreSQL and a twin."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from src.shared.infra.database.tables import gate_verdict, pair_registry
from tests.fakes.desk import NEXT_OPEN, PAIR, Installation
from tests.fakes.stored_market import store_signal

WHY = ("--why", "a [test]", "--who", "ada")


def modes(desk: Installation) -> dict[str, str]:
    r = pair_registry.c
    with desk.services.engine.connect() as connection:
        return {row.pair_id: row.mode for row in connection.execute(select(r.pair_id, r.mode))}


def shown(desk: Installation, pair: str = PAIR) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(desk.tradewinds("pairs", "show", pair, "--json").out)
    return found


def test_a_named_pair_is_judged_and_the_table_says_which_number_falls_short(desk: Installation) -> None:
    long = desk.tradewinds("pairs", "add", "QVEL/QORT", "YORB/YVEN", "--bars", "1200")
    short = desk.tradewinds("pairs", "add", "ZORN/ZEMA", "--bars", "60")
    watched = desk.tradewinds("pairs", "add", "JARQ/JOVA", "--mode", "observe")

    assert (long.code, short.code, watched.code) == (0, 1, 0), (long, short, watched)
    assert modes(desk) == {
        PAIR: "active", "QVEL/QORT": "active", "YORB/YVEN": "observe", "ZORN/ZEMA": "observe", "JARQ/JOVA": "observe"
    }  # fmt: skip
    with desk.services.engine.connect() as connection:
        v = gate_verdict.c
        said = {row.pair_id: row.passed for row in connection.execute(select(v.pair_id, v.passed))}
    assert said == {PAIR: True, "QVEL/QORT": True, "YORB/YVEN": False, "ZORN/ZEMA": False, "JARQ/JOVA": True}
    assert "YORB/YVEN is only watched: " in long.out
    assert "QVEL/QORT is" not in long.out
    assert "0 round trips, 10 needed" in " ".join(short.out.split())
    assert "JARQ/JOVA is only watched: as asked" in watched.out
    assert [each["reason"] for each in shown(desk, "ZORN/ZEMA")["against_promotion"]] == [
        "GATE_FAILED",
        "NOT_WATCHED",
    ]


def test_pairs_are_listed_shown_and_moved_and_their_history_tells_it(desk: Installation) -> None:
    desk.open_trade()
    listed = desk.tradewinds("pairs", "list")
    demoted = desk.tradewinds("pairs", "demote", PAIR, *WHY)
    retired = desk.tradewinds("pairs", "retire", PAIR, *WHY)
    held = shown(desk)
    desk.move_to(NEXT_OPEN)
    history = desk.tradewinds("pairs", "history", PAIR)

    assert listed.code == demoted.code == retired.code == history.code == 0, (listed, demoted, retired, history)
    row = next(line for line in listed.out.splitlines() if PAIR in line)
    for words in ("active", "passed", "2.00", "60%", "12", "under way", "enter_long"):
        assert words in row
    assert demoted.out == f"{PAIR} is closing, then observe now.\n"
    assert retired.out == f"{PAIR} is closing, then retired now.\n"
    assert (held["mode"], held["trade_under_way"], held["verdict"]["round_trips"]) == (
        "closing, then retired",
        True,
        12,
    )
    assert [line[1] for line in desk.audits() if line[2] == PAIR][-2:] == ["pair demoted", "pair retired"]
    assert "a [test]" in history.out
    assert "pair demoted" in history.out
    for number in ("beta", "0.8", "least sharpe", "max drawdown"):
        assert number in desk.tradewinds("pairs", "show", PAIR).out


def test_a_pair_goes_up_once_nothing_is_in_its_way(desk: Installation) -> None:
    calendar = desk.services.execution.cycle.calendar
    with desk.services.engine.begin() as connection:
        connection.execute(pair_registry.update().values(mode="observe"))
    early = desk.tradewinds("pairs", "promote", PAIR, *WHY)
    for _, slot in calendar.last_spans(NEXT_OPEN, 20):
        store_signal(desk.services.engine, PAIR, slot)
    done = desk.tradewinds("pairs", "promote", PAIR, *WHY)

    assert early.code == 2
    assert early.err == (
        f"error: {PAIR} is not promoted: 0 hours were watched without a fault in its data, 20 are needed.\n"
    )
    assert (done.code, done.out) == (0, f"{PAIR} is active now.\n")
    assert modes(desk) == {PAIR: "active"}


MISTAKES = [
    (["show", "SPY/QQQ"], "SPY/QQQ is not registered"),
    (["show", "SPY"], "is not a pair"),
    (["history", "SPY/QQQ"], "SPY/QQQ is not registered"),
    (["promote", "SPY/QQQ", "--why", "x"], "SPY/QQQ is not registered"),
    (["promote", PAIR, "--why", "x"], "it is active already"),
    (["promote", PAIR], "(--why)"),
    (["demote", PAIR, "--why", " "], "(--why)"),
    (["retire", "KELV/KELV", "--why", "x"], "pairs a symbol with itself"),
    (["add", "SPY/QQQ", "--mode", "closing"], "closing"),
    (["add", "SPY/QQQ", "--bars", "10"], "60"),
]


def test_a_mistake_is_one_line_and_nothing_is_written(desk: Installation) -> None:
    before = desk.audits()
    for words, said in MISTAKES:
        found = desk.tradewinds("pairs", *words)
        assert found.code == 2, (words, found)
        assert said in found.err, (words, found)
        assert found.err.count("\n") == 1
    assert desk.audits() == before
    assert modes(desk) == {PAIR: "active"}


def test_without_pairs_the_list_says_how_to_name_one(desk: Installation) -> None:
    with desk.services.engine.begin() as connection:
        connection.execute(pair_registry.delete())

    assert "tradewinds pairs add" in desk.tradewinds("pairs", "list").out
