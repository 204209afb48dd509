"""When the listener looks: what a message, silence, a failure and something unfinished lead to."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from src.services.execution import listen
from src.services.execution.adapters.trade_stream import StreamTaken
from src.services.execution.domain.trade_updates import Unread
from src.services.execution.listen import Listener, Pauses
from src.shared.domain.errors import NotTheWriter, Refused, SchemaMismatch, Transient
from tests.polling import BOUND, eventually

HARDLY_EVER = 3600.0
OURS = '{"stream": "trade_updates", "data": {"event": "new", "order": {"client_order_id": "tw-1", "status": "new"}}}'


@dataclass
class Stream:
    """Gives what a test says; raises what it wants at the next connections."""

    refusals: list[Exception] = field(default_factory=list)
    said: queue.Queue[str] = field(default_factory=queue.Queue)

    @contextmanager
    def listening(self) -> Iterator[Stream]:
        if self.refusals:
            raise self.refusals.pop(0)
        yield self

    def next(self, timeout_seconds: float) -> str | None:
        try:
            return self.said.get(timeout=0.01)
        except queue.Empty:
            return None


@dataclass
class Books:
    """Answers looks from a script; then nothing is unfinished."""

    script: list[Exception | Sequence[str]] = field(default_factory=list)
    looks: int = 0
    kept: list[Unread] = field(default_factory=list)
    is_closed: bool = False

    def carry_on(self) -> Sequence[str]:
        self.looks += 1
        answer = self.script.pop(0) if self.script else ()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def set_aside(self, messages: Sequence[Unread]) -> None:
        self.kept += messages

    def close(self) -> None:
        self.is_closed = True


@contextmanager
def listening(stream: Stream, books: Books, **pauses: float) -> Iterator[list[str]]:
    """Run a listener until the block ends; yields the states it told. An error of its own is raised at the end."""
    stop, told, failures = threading.Event(), list[str](), list[BaseException]()
    chosen: Any = {"gather": 0.0, "quiet": HARDLY_EVER, "busy": 0.01, "taken": 0.01, "longest_retry": 0.01, **pauses}
    listener = Listener(stream, books, "tw-", Pauses(**chosen), told.append)

    def run() -> None:
        try:
            listener.run(stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(BOUND)
    assert not thread.is_alive()
    assert books.is_closed
    if failures:
        raise failures[0]


def once_heard(stream: Stream, books: Books, frame: str) -> int:
    """Say something, and return how many looks there were before it, once it was taken."""
    before = books.looks
    stream.said.put(frame)
    eventually(stream.said.empty)
    return before


def test_a_message_about_an_order_of_ours_is_what_brings_a_look() -> None:
    stream, books = Stream(), Books()
    with listening(stream, books) as told:
        eventually(lambda: "connected" in told and books.looks > 0)
        before = once_heard(stream, books, OURS)
        eventually(lambda: books.looks > before)


def test_what_is_not_through_is_looked_at_again_without_a_message() -> None:
    books = Books([["KELV/KYLO is opening"]] * 3)
    with listening(Stream([Transient("away")] * 1000), books):
        eventually(lambda: books.script == [] and books.looks >= 4)


def test_a_hint_is_heard_while_something_is_not_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "_FIRST_RETRY_SECONDS", HARDLY_EVER)
    stream, books = Stream(), Books([["KELV/KYLO is opening"]] * 1000)
    with listening(stream, books) as told:
        eventually(lambda: "connected" in told and books.looks > 0)
        before = once_heard(stream, books, OURS)
        eventually(lambda: books.looks > before)


@pytest.mark.parametrize(
    "failure",
    [NotTheWriter("busy"), Transient("no answer"), Refused("forbidden", "40310000"), ConnectionResetError("gone")],
    ids=lambda failure: type(failure).__name__,
)
def test_a_look_that_fails_is_repeated_without_a_message(failure: Exception) -> None:
    books = Books([failure, failure])
    with listening(Stream(), books):
        eventually(lambda: books.looks >= 3)


def test_what_can_not_be_read_is_kept_once_and_is_a_hint() -> None:
    stream, books = Stream(), Books()
    with listening(stream, books) as told:
        eventually(lambda: "connected" in told and books.looks > 0)
        before = once_heard(stream, books, "{")
        eventually(lambda: books.looks > before)
        once_heard(stream, books, OURS)
        eventually(lambda: books.looks > before + 1)
    assert [each.raw for each in books.kept] == ["{"]


def test_a_stream_that_is_taken_or_away_is_asked_again() -> None:
    stream, books = Stream([StreamTaken("taken"), Transient("away")]), Books()
    with listening(stream, books) as told:
        eventually(lambda: "connected" in told)
    assert told[0] == "waiting for the stream"


def test_what_a_person_has_to_mend_ends_it() -> None:
    books = Books([SchemaMismatch("older")])
    with pytest.raises(SchemaMismatch), listening(Stream(), books):
        eventually(lambda: books.is_closed)
