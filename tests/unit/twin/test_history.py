from __future__ import annotations

from decimal import Decimal

from src.services.twin.domain.book import Book
from src.services.twin.domain.faults import LONGEST_LAG_SECONDS
from src.services.twin.domain.history import History
from src.services.twin.domain.moments import SECOND


def test_the_past_is_as_it_was_then() -> None:
    history, book = History(), Book(Decimal(1000))
    history.note(0, book.positions, 0)
    for at, qty in ((100, 2), (200, 3), (300, -5)):
        book.apply("AAA", Decimal(qty), Decimal(10))
        history.note(at, book.positions, at // 100)

    seen = [history.at(host) for host in (-5, 99, 100, 250, 300)]

    assert [moment.positions["AAA"].qty if moment.positions else 0 for moment in seen] == [0, 0, 2, 5, 0]
    assert [moment.fills for moment in seen] == [0, 0, 1, 2, 3]


def test_no_more_past_is_kept_than_a_lag_may_ask_for() -> None:
    history = History()
    for second in range(0, 3 * LONGEST_LAG_SECONDS, 10):
        history.note(second * SECOND, {}, second)
    now = second

    assert history.at((now - LONGEST_LAG_SECONDS) * SECOND).fills == now - LONGEST_LAG_SECONDS
    assert history.at(0).fills == now - LONGEST_LAG_SECONDS
