"""Whole stacks: beside each other, half started, and found from the settings alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import sqlalchemy

from src.config.settings import Settings, load_settings
from src.shared.domain.errors import PortInUse, SettingsInvalid, Unreachable
from src.shared.infra.embedded.files import FolderLocked, StateFolderUnusable
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.stack import (
    EmbeddedStack,
    postgres,
    prefect_database_url,
    redis_url,
    stack_lock,
    trading_database_url,
)
from tests.folders import server_folder

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSettings]:
    made: list[Settings] = []
    with server_folder("tradewinds-stack-") as root:

        def make(name: str = "home", **variables: str) -> Settings:
            wanted = {"HOME": str(root / name), "REDIS_PORT": str(free_port()), **variables}
            monkeypatch.setenv("TRADEWINDS_ENV_FILE", "/dev/null")
            for key, value in wanted.items():
                monkeypatch.setenv(f"TRADEWINDS_{key}", value)
            made.append(load_settings())
            return made[-1]

        yield make
        for settings in made:
            if settings.home.is_dir():
                EmbeddedStack(settings).stop()


def test_two_stacks_in_two_folders_do_not_see_each_other(make_settings: MakeSettings) -> None:
    first, second = make_settings("first"), make_settings("second")

    EmbeddedStack(first).start()
    EmbeddedStack(second).start()

    _remember(first, "one")
    _remember(second, "two")
    EmbeddedStack(first).stop()
    assert not postgres(first).is_running()
    assert _remembered(second) == ("two", b"two")


def test_a_later_part_that_fails_takes_down_what_was_started(make_settings: MakeSettings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        settings = make_settings(REDIS_PORT=str(other.getsockname()[1]))

        with pytest.raises(PortInUse):
            EmbeddedStack(settings).start()

    assert not postgres(settings).is_running()


def test_a_later_part_that_fails_leaves_running_what_ran_before(make_settings: MakeSettings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        settings = make_settings(REDIS_PORT=str(other.getsockname()[1]))
        postgres(settings).start()

        with pytest.raises(PortInUse):
            EmbeddedStack(settings).start()

    assert postgres(settings).is_running()


def test_urls_of_a_stack_that_is_not_up_say_what_to_do(make_settings: MakeSettings) -> None:
    settings = make_settings()

    for url in (trading_database_url, prefect_database_url, redis_url):
        with pytest.raises(Unreachable, match="run `tradewinds up`"):
            url(settings)


def test_external_servers_are_used_as_configured_and_nothing_is_started(make_settings: MakeSettings) -> None:
    settings = make_settings(
        DATABASE_URL="postgresql://me:p%40ss@db.example:5433/trading_system",
        PREFECT_DATABASE_URL="postgresql://them:word@db.example/prefect",
        REDIS_URL="redis://cache.example:6379/3",
    )

    EmbeddedStack(settings).start()

    assert trading_database_url(settings) == "postgresql+psycopg://me:p%40ss@db.example:5433/trading_system"
    assert prefect_database_url(settings) == "postgresql+asyncpg://them:word@db.example/prefect"
    assert redis_url(settings) == "redis://cache.example:6379/3"
    assert not settings.home.exists()


@pytest.mark.parametrize("url", ["not a url with secret", "mysql://me:secret@db/x"])
def test_a_wrong_database_url_is_named_without_its_password(make_settings: MakeSettings, url: str) -> None:
    settings = make_settings(DATABASE_URL=url)

    with pytest.raises(SettingsInvalid, match="TRADEWINDS_DATABASE_URL") as caught:
        trading_database_url(settings)

    assert "secret" not in str(caught.value)


def test_a_second_holder_of_the_folder_gets_one_line(make_settings: MakeSettings) -> None:
    settings = make_settings()

    with stack_lock(settings), pytest.raises(FolderLocked, match="tradewinds status"), stack_lock(settings):
        raise AssertionError("the lock was given twice")

    with stack_lock(settings):
        assert settings.home.is_dir()


def test_a_home_that_is_a_file_gives_one_line(make_settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = make_settings(HOME=str(tmp_path / "file"))

    with pytest.raises(StateFolderUnusable, match="TRADEWINDS_HOME"):
        EmbeddedStack(settings).start()


def _remember(settings: Settings, word: str) -> None:
    engine = sqlalchemy.create_engine(trading_database_url(settings, "owner"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE words AS SELECT :word AS word"), {"word": word})
    engine.dispose()
    with redis.Redis.from_url(redis_url(settings)) as client:
        client.set("word", word)


def _remembered(settings: Settings) -> tuple[object, object]:
    engine = sqlalchemy.create_engine(trading_database_url(settings, "owner"))
    with engine.connect() as connection:
        word = connection.execute(sqlalchemy.text("SELECT word FROM words")).scalar_one()
    engine.dispose()
    with redis.Redis.from_url(redis_url(settings)) as client:
        return word, client.get("word")
