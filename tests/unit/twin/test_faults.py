from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.twin.adapters.fault_file import Script, read_faults
from src.services.twin.bootstrap import TwinConfig, build_app
from src.services.twin.domain.errors import FaultInvalid
from src.services.twin.domain.fault_book import FaultBook
from src.services.twin.domain.faults import KINDS, REQUESTS, Ask, Counted, Drop, Lag, Message, Wire, parse_rules
from src.services.twin.domain.moments import parse_moment
from src.shared.prefect.config import SOURCE_ROOT

NOON = parse_moment("2025-03-03T17:00:00Z")
POST = "POST /v2/orders"


def rule(**keys: Any) -> Counted:
    (parsed,) = parse_rules([{"kind": "drop", **keys}])
    assert isinstance(parsed, Counted)
    return parsed


def ask(endpoint: str = POST, *symbols: str, client_id: str = "", at: int = NOON) -> Ask:
    return Ask(endpoint, at, frozenset(symbols), client_id)


@pytest.mark.parametrize(
    ("keys", "asked", "matches"),
    [
        ({}, ask("GET /v2/account"), True),
        ({"endpoint": POST}, ask(POST), True),
        ({"endpoint": POST}, ask("POST /v2/orders/x"), False),
        ({"endpoint": "GET /v2/orders:by_client_order_id"}, ask("GET /v2/orders:by_client_order_id"), True),
        ({"endpoint": "GET /v2/orders"}, ask("GET /v2/orders:by_client_order_id"), False),
        ({"endpoint": "GET /v2/orders/*"}, ask("GET /v2/orders/0b1c"), True),
        ({"endpoint": "GET /v2/orders/0b1c"}, ask("GET /v2/orders/0b1c"), True),
        ({"endpoint": "GET /v2/orders*"}, ask("GET /v2/orders:by_client_order_id"), True),
        ({"endpoint": "* /v2/positions*"}, ask("DELETE /v2/positions/KELV"), True),
        ({"endpoint": "post /v2/orders*"}, None, False),
        ({"symbol": "KELV"}, ask(POST, "KELV", "KYLO"), True),
        ({"symbol": "KELV"}, ask(POST, "KYLO"), False),
        ({"symbol": "KELV"}, ask("GET /v2/account"), False),
        ({"client_order_id": "exit-?"}, ask(client_id="exit-1"), True),
        ({"client_order_id": "exit-?"}, ask(client_id="exit-10"), False),
        ({"client_order_id": "*"}, ask(), True),
        ({"after": "2025-03-03T17:00:00Z"}, ask(at=NOON), True),
        ({"after": "2025-03-03T17:00:01Z"}, ask(at=NOON), False),
        ({"until": "2025-03-03T17:00:00Z"}, ask(at=NOON), False),
        ({"until": "2025-03-03T12:00:01-05:00"}, ask(at=NOON), True),
    ],
)
def test_a_rule_means_what_all_its_keys_say(keys: dict[str, Any], asked: Ask | None, matches: bool) -> None:
    if asked is None:
        with pytest.raises(FaultInvalid):
            rule(**keys)
    else:
        assert rule(**keys).matches(asked) is matches


@pytest.mark.parametrize(
    ("keys", "struck"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"nth": 3}, [3]),
        ({"first": 2}, [1, 2]),
        ({"every": 2}, [2, 4, 6]),
        ({"times": 1}, [1]),
        ({"every": 2, "times": 2}, [2, 4]),
        ({"first": 4, "every": 3}, [3]),
        ({"probability": 0}, []),
        ({"probability": 1}, [1, 2, 3, 4, 5, 6]),
        ({"probability": 0.5, "nth": 1, "times": 1, "seed": 1}, []),
        ({"probability": 0.5, "nth": 1, "times": 1, "seed": 2}, [1]),
    ],
)
def test_counts_say_which_of_the_matches_meet_the_fault(keys: dict[str, Any], struck: list[int]) -> None:
    book = FaultBook()
    book.arm([rule(**keys)], "api")

    assert [count for count in range(1, 7) if book.fired(Wire, ask())] == struck
    assert [(armed.matched, armed.fired) for armed in book.armed] == [(6, len(struck))]


@given(
    seed=st.integers(-(2**40), 2**40),
    probability=st.floats(0, 1),
    between=st.lists(st.booleans(), max_size=40),
)
@settings(max_examples=80, deadline=None)
def test_chance_depends_on_the_seed_and_the_count_of_matches_alone(
    seed: int, probability: float, between: list[bool]
) -> None:
    def struck(others: list[bool]) -> list[bool]:
        book = FaultBook()
        book.arm([rule(endpoint="GET *"), rule(endpoint=POST, seed=seed, probability=probability)], "api")
        found = []
        for other in others:
            if other:
                book.fired(Wire, ask("GET /v2/account"))
            found.append(book.fired(Wire, ask()) is not None)
        return found

    assert struck(between) == struck([False] * len(between))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_probability_is_about_as_often_as_it_says(seed: int) -> None:
    struck = sum(rule(probability=0.3, seed=seed).fires(count, 0) for count in range(1, 1001))

    assert 200 < struck < 400


def test_the_first_rule_that_fires_acts_and_all_that_match_are_counted() -> None:
    book = FaultBook()
    first, second, third = rule(nth=2), rule(endpoint=POST), rule(endpoint="GET *")
    book.arm([first, second, third], "api")

    acted = [book.fired(Wire, ask()) for _ in range(2)]

    assert acted[0] is second
    assert acted[1] is first
    assert [(armed.matched, armed.fired) for armed in book.armed] == [(2, 1), (2, 1), (0, 0)]


def test_kinds_of_another_place_are_not_asked() -> None:
    book = FaultBook()
    book.arm([rule()], "api")

    assert book.fired(Message, ask()) is None
    assert book.fired(Drop, ask()) is not None
    assert book.armed[0].matched == 1


def test_what_stands_lasts_for_its_span_of_the_twins_clock() -> None:
    book = FaultBook()
    book.arm(parse_rules([{"kind": "lag", "after": "2025-03-03T17:00:00Z"}]), "api")

    assert book.standing(Lag, NOON - 1) == []
    assert [lie.seconds for lie in book.standing(Lag, NOON)] == [5.0]


def test_numbers_of_rules_are_never_used_again() -> None:
    book = FaultBook()
    assert book.arm([rule(), rule()], "file") == [1, 2]

    assert (book.disarm(2), book.disarm(2)) == (True, False)
    assert book.arm([rule()], "api") == [3]
    book.clear()
    assert (bool(book), book.armed) == (False, [])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"kind": "drp"}, "rule 2: kind 'drp' is unknown: choose drop, "),
        ({"kind": None}, "rule 2: kind None is unknown"),
        ({"secnds": 1}, "rule 2 (drop): key 'secnds' is unknown"),
        ({"probability": 1.01}, "rule 2 (drop): probability should be less than or equal to 1"),
        ({"probability": -0.1}, "rule 2 (drop): probability should be greater than or equal to 0"),
        ({"probability": float("nan")}, "rule 2 (drop): probability should be a finite number"),
        ({"nth": 0}, "rule 2 (drop): nth should be greater than or equal to 1"),
        ({"nth": "2"}, "rule 2 (drop): nth should be a valid integer"),
        ({"every": True}, "rule 2 (drop): every should be a valid integer"),
        ({"seconds": -1}, "rule 2 (drop): seconds should be greater than or equal to 0"),
        ({"endpoint": "POST /v2/order"}, "rule 2 (drop): endpoint 'POST /v2/order' is none that this kind can meet"),
        ({"kind": "lose", "endpoint": POST}, "rule 2 (lose): endpoint 'POST /v2/orders' is none that this kind"),
        ({"kind": "no_fill", "endpoint": "GET /v2/clock"}, "rule 2 (no_fill): endpoint 'GET /v2/clock' is none"),
        ({"kind": "halt", "nth": 1}, "rule 2 (halt): key 'nth' is unknown"),
        ({"kind": "clock_skew"}, "rule 2 (clock_skew): seconds is missing"),
        ({"kind": "status", "status": 200}, "rule 2 (status): status should be greater than or equal to 400"),
        ({"kind": "status", "body": "xml"}, "rule 2 (status): body should be 'json', 'html' or 'empty'"),
        ({"kind": "partial_fill", "fraction": 0}, "rule 2 (partial_fill): fraction should be greater than 0"),
        ({"after": "2025-03-03T17:00:00"}, "rule 2 (drop): after should have timezone info"),
    ],
)
def test_a_mistake_names_the_rule_and_the_key_in_one_line(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(FaultInvalid) as caught:
        parse_rules([{"kind": "drop"}, {"kind": "drop", **keys}])

    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "said"), [({}, "a list"), ([3], "rule 1 is no table"), ([{}], "rule 1: kind is missing")]
)
def test_what_is_no_rule_at_all_is_refused(rows: Any, said: str) -> None:
    with pytest.raises(FaultInvalid, match=said):
        parse_rules(rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[fault]]\nkind = "drop"\nnth = \n', "line 3"),
        ('[[faults]]\nkind = "drop"\n', "'faults' is unknown: every rule is a [[fault]] table"),
        ('[[fault]]\nkind = "drop"\n[[fault]]\nkind = "drop"\nnth = 0\n', "rule 2 (drop): nth"),
        ("fault = 3\n", "a list of tables"),
    ],
)
def test_a_file_that_can_not_be_used_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)

    with pytest.raises(FaultInvalid) as caught:
        read_faults(path)

    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")

    assert read_faults(tmp_path / "empty.toml") == Script()
    with pytest.raises(FaultInvalid, match="No such file"):
        read_faults(tmp_path / "none.toml")


def test_the_example_file_loads_and_shows_every_place() -> None:
    rules = read_faults(SOURCE_ROOT / "deployment" / "twin-faults.example.toml").rules

    assert len(rules) > 5
    assert any(isinstance(each, Wire) for each in rules)
    assert any(isinstance(each, Message) for each in rules)


def test_every_kind_is_in_the_guide() -> None:
    guide = (SOURCE_ROOT / "docs" / "twin.md").read_text(encoding="utf-8")

    assert [kind for kind in KINDS if f"`{kind}`" not in guide] == []


def test_every_endpoint_of_the_twin_can_be_named_in_a_rule(tmp_path: Path) -> None:
    known = [each.replace("{id}", "{order_id}") for each in REQUESTS]
    app = build_app(TwinConfig(store=tmp_path, clock="2025-03-03T15:30:05Z"))
    served = [
        f"{method.upper()} {path}"
        for path, verbs in app.openapi()["paths"].items()
        for method in verbs
        if path.startswith("/v")
    ]

    assert len(served) > 20
    assert [each for each in served if each.replace("{symbol_or_id}", "{symbol}") not in known] == []
