"""Servers that settings name by a URL: a mistake is one line, and nothing has been started."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from src.config.settings import Settings, load_settings
from src.services.cli.externals import account_at_broker, require_externals
from src.services.cli.lifecycle import Suite
from src.shared.domain.errors import EnvironmentMismatch, SchemaMismatch, SettingsInvalid, Unreachable, UserError
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.redis import EmbeddedRedis
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import running_twin

MakeSettings = Callable[..., Settings]
NOBODY = "127.0.0.1:1"


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeSettings:
    def make(**variables: str) -> Settings:
        ports = {f"{name}_PORT": str(free_port()) for name in ("REDIS", "PREFECT", "TWIN")}
        for name, value in {"ENV_FILE": "/dev/null", "HOME": str(tmp_path / "home"), **ports, **variables}.items():
            monkeypatch.setenv(f"TRADEWINDS_{name}", value)
        return load_settings()

    return make


@pytest.mark.parametrize(
    ("variable", "value", "mistake", "says"),
    [
        ("DATABASE_URL", f"postgresql://me:hush@{NOBODY}/d", Unreachable, "correct TRADEWINDS_DATABASE_URL"),
        ("DATABASE_URL", "mysql://me:hush@h/d", SettingsInvalid, "TRADEWINDS_DATABASE_URL is not usable"),
        ("REDIS_URL", f"redis://:hush@{NOBODY}/0", Unreachable, "TRADEWINDS_REDIS_URL does not answer"),
        ("REDIS_URL", "hush", Unreachable, "TRADEWINDS_REDIS_URL does not answer"),
        ("PREFECT_DATABASE_URL", f"postgresql://me:hush@{NOBODY}/p", Unreachable, "TRADEWINDS_PREFECT_DATABASE_URL"),
        ("PREFECT_API_URL", f"http://{NOBODY}/api", Unreachable, "TRADEWINDS_PREFECT_API_URL"),
    ],
)
def test_one_that_does_not_answer_is_named_by_its_setting_and_no_secret_is_shown(
    make_settings: MakeSettings, variable: str, value: str, mistake: type[UserError], says: str
) -> None:
    settings = make_settings(**{variable: value})

    with pytest.raises(mistake, match=says) as refused:
        Suite(settings, _unused_step).start()

    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not settings.home.exists()


def test_a_wrong_redis_password_is_said(make_settings: MakeSettings, embedded_redis: EmbeddedRedis) -> None:
    settings = make_settings(REDIS_URL=f"redis://:wrong-one@127.0.0.1:{embedded_redis.port}/0")

    with pytest.raises(Unreachable, match="password") as refused:
        require_externals(settings)

    assert "wrong-one" not in str(refused.value)


def test_servers_that_answer_pass(
    make_settings: MakeSettings, trading_database: TradingDatabase, embedded_redis: EmbeddedRedis
) -> None:
    url = trading_database.url(driver="libpq")

    require_externals(make_settings(DATABASE_URL=url, PREFECT_DATABASE_URL=url, REDIS_URL=embedded_redis.url()))


def test_a_database_that_a_newer_version_migrated_is_refused(
    make_settings: MakeSettings, trading_database: TradingDatabase
) -> None:
    _execute(trading_database, "UPDATE ops.alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaMismatch, match="newer than this code"):
        require_externals(make_settings(DATABASE_URL=trading_database.url(driver="libpq")))


def test_a_database_of_another_environment_is_refused_before_it_is_migrated(
    make_settings: MakeSettings, trading_database: TradingDatabase, embedded_redis: EmbeddedRedis
) -> None:
    _execute(
        trading_database, "INSERT INTO ops.environment (id, environment, recorded_at) VALUES (1, 'paper', now())"
    )
    _execute(trading_database, "DELETE FROM ops.alembic_version")  # migrating it would fail
    url = trading_database.url(driver="libpq")
    settings = make_settings(DATABASE_URL=url, PREFECT_DATABASE_URL=url, REDIS_URL=embedded_redis.url())

    with pytest.raises(EnvironmentMismatch, match="belongs to 'paper'"):
        Suite(settings, _quiet_step).start()


def test_the_account_that_the_keys_open_is_learnt_and_refused_keys_are_one_line(make_settings: MakeSettings) -> None:
    with running_twin() as twin:
        paper = {"ALPACA_BASE_URL": twin.url, "ALPACA_DATA_URL": twin.url, "ALPACA_API_KEY": "PKTEST"}

        assert account_at_broker(make_settings(**paper, ALPACA_SECRET_KEY="good"))
        with pytest.raises(EnvironmentMismatch, match=r"401.*TRADEWINDS_ALPACA_API_KEY") as refused:
            account_at_broker(make_settings(**paper, ALPACA_SECRET_KEY="BADhush"))

    assert "hush" not in str(refused.value)


def test_a_broker_that_is_away_keeps_nothing_from_starting(make_settings: MakeSettings) -> None:
    settings = make_settings(
        ALPACA_BASE_URL=f"http://{NOBODY}",
        ALPACA_API_KEY="PKTEST",
        ALPACA_SECRET_KEY="good",
    )

    assert account_at_broker(settings) is None


def _execute(database: TradingDatabase, statement: str) -> None:
    engine = create_engine(database.owner_url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _unused_step(text: str) -> AbstractContextManager[None]:
    raise AssertionError(f"this must not have begun: {text}")


def _quiet_step(_: str) -> AbstractContextManager[None]:
    return nullcontext()
