"""The desk of instances on a real database: made, changed, switched, ended, and what is refused."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from src.config.settings import load_settings
from src.services.strategy_engine.adapters.sql_instances import SqlInstanceRepository
from src.services.strategy_engine.adapters.strategy_files import StrategyFiles
from src.services.strategy_engine.domain.instances import Instance
from src.services.strategy_engine.use_cases.instances import Instances
from src.shared.domain.errors import InputInvalid
from src.shared.domain.instances import DEFAULT_PAIRS, InstanceMode
from src.shared.domain.pairs import Direction
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.conftest import TradingDatabase
from tests.fakes.stored_market import store_pairs, store_trade
from tests.fakes.strategy_runner import InlineRunner
from tests.fakes.trouble import TROUBLE
from tests.unit.strategy_engine.builders import make_pair

NOW = datetime(2026, 3, 10, 15, 31, tzinfo=UTC)
PERSON: dict[str, Any] = {"who": "ada", "why": "to see", "now": NOW}


@pytest.fixture
def desk_of_instances(engine: Engine, tmp_path: Path) -> Instances:
    (tmp_path / "trouble.py").write_text(TROUBLE)
    files = StrategyFiles(tmp_path, lambda: nullcontext(InlineRunner(tmp_path)))
    return Instances(SqlUnitOfWork(engine, SqlInstanceRepository), files)


@pytest.fixture
def calm(desk_of_instances: Instances) -> Instance:
    return desk_of_instances.create("calm", "pairs", {"pairs": ["KO/PEP"], "entry_z": 2.2}, **PERSON)


def only(desk: Instances, name: str) -> Instance:
    return next(each.instance for each in desk.list() if each.id == name)


def audits(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT what, subject FROM ops.audit_log ORDER BY audit_id"))
        return [(row.what, row.subject) for row in found]


def test_a_new_installation_has_the_instance_that_trades_every_pair(desk_of_instances: Instances) -> None:
    (found,) = desk_of_instances.list()

    assert (found.id, found.instance.strategy, found.instance.mode) == (DEFAULT_PAIRS, "pairs", InstanceMode.ACTIVE)
    assert found.instance.config == {"pairs": "all"}


def test_an_instance_begins_off_with_the_config_it_was_given(
    desk_of_instances: Instances, calm: Instance, engine: Engine
) -> None:
    assert (calm.mode, calm.config_version, calm.note) == (InstanceMode.OFF, 1, "")
    assert only(desk_of_instances, "calm").config == {"pairs": ["KO/PEP"], "entry_z": 2.2}
    assert audits(engine) == [("instance created", "calm")]


def test_an_instance_of_pairs_goes_from_every_mode_to_every_other(
    desk_of_instances: Instances, calm: Instance, engine: Engine
) -> None:
    for before, after in product(InstanceMode, InstanceMode):
        desk_of_instances.mode(calm.id, before, **PERSON)
        lines = len(audits(engine))

        desk_of_instances.mode(calm.id, after, **PERSON)

        changed = only(desk_of_instances, calm.id)
        assert (changed.mode, changed.config_version) == (after, 1)
        assert len(audits(engine)) - lines == (before is not after)


def test_what_asks_for_symbols_can_be_observed_and_not_active(desk_of_instances: Instances) -> None:
    made = desk_of_instances.create("mine", "trouble", {}, **PERSON)
    desk_of_instances.mode(made.id, InstanceMode.OBSERVE, **PERSON)

    with pytest.raises(InputInvalid, match=r"mine can be observed: only pairs are traded.* trouble trades symbols"):
        desk_of_instances.mode(made.id, InstanceMode.ACTIVE, **PERSON)

    assert only(desk_of_instances, "mine").mode is InstanceMode.OBSERVE


POISON: list[tuple[dict[str, Any], str]] = [
    ({"entry_z": float("nan")}, r"entry_z"),
    ({"entry_z": float("inf")}, r"entry_z"),
    ({"entry_z": 0}, r"entry_z = 0.*0\.1"),
    ({"stop_z": 1e9}, r"stop_z.*20"),
    ({"entry_z": 3.5}, r"rise in this order"),
    ({"pairs": ["KO/KO"]}, r"pairs.*itself"),
    ({"pairs": []}, r"pairs"),
    ({"entry_z": "2"}, r"entry_z"),
    ({"leverage": 1e9}, r"leverage is no field"),
]


def test_a_poisoned_config_is_refused_by_field_and_the_last_good_one_stays(
    desk_of_instances: Instances, calm: Instance, engine: Engine
) -> None:
    for config, said in POISON:
        with pytest.raises(InputInvalid, match=said):
            desk_of_instances.set(calm.id, config, **PERSON)
        with pytest.raises(InputInvalid, match=said):
            desk_of_instances.create("poisoned", "pairs", config, **PERSON)

    assert only(desk_of_instances, calm.id) == calm
    assert audits(engine) == [("instance created", "calm")]


def test_a_changed_config_has_a_version_and_the_former_ones_are_kept(
    desk_of_instances: Instances, calm: Instance, engine: Engine
) -> None:
    _, after = desk_of_instances.set(calm.id, {"entry_z": None, "exit_z": 0.4}, note=" calmer  one ", **PERSON)
    same = desk_of_instances.set(calm.id, {"exit_z": 0.4}, **PERSON)

    assert (after.config_version, after.config, after.note) == (2, {"pairs": ["KO/PEP"], "exit_z": 0.4}, "calmer one")
    assert same == (after, after)
    with engine.connect() as connection:
        kept = connection.execute(
            text("SELECT config FROM strategy.instance_config WHERE instance_id = 'calm' ORDER BY config_version")
        )
        assert [row.config for row in kept] == [calm.config, after.config]


def test_an_instance_ends_only_when_it_is_off_and_holds_nothing(
    desk_of_instances: Instances, calm: Instance, engine: Engine
) -> None:
    pair = make_pair("KO", "PEP")
    store_pairs(engine, [pair])
    store_trade(engine, pair, Direction.LONG_SPREAD, NOW)
    desk_of_instances.mode(calm.id, InstanceMode.ACTIVE, **PERSON)
    desk_of_instances.mode(DEFAULT_PAIRS, InstanceMode.OFF, **PERSON)

    with pytest.raises(InputInvalid, match="is in mode active"):
        desk_of_instances.delete(calm.id, who="ada", why="done")
    desk_of_instances.mode(calm.id, InstanceMode.OFF, **PERSON)
    with pytest.raises(InputInvalid, match="calm holds KO/PEP"):
        desk_of_instances.delete(calm.id, who="ada", why="done")
    with engine.begin() as connection:
        connection.execute(text("UPDATE execution.pair_trade SET state = 'closed'"))
    desk_of_instances.delete(calm.id, who="ada", why="done")

    assert [each.id for each in desk_of_instances.list()] == [DEFAULT_PAIRS]
    with pytest.raises(InputInvalid, match="calm is taken"):
        desk_of_instances.create("calm", "pairs", {}, **PERSON)


def test_an_instance_of_nothing_nowhere_is_not_made(desk_of_instances: Instances) -> None:
    with pytest.raises(InputInvalid, match=r"no strategy 'unheard'; there are .*pairs, .*trouble"):
        desk_of_instances.create("a", "unheard", {}, **PERSON)
    with pytest.raises(InputInvalid, match="There is no strategy"):
        desk_of_instances.create("a", "../pairs", {}, **PERSON)
    with pytest.raises(InputInvalid, match="names no instance"):
        desk_of_instances.create("No Name", "pairs", {}, **PERSON)
    with pytest.raises(InputInvalid, match="no account 'hers'"):
        desk_of_instances.create("a", "pairs", {}, account="hers", **PERSON)
    with pytest.raises(InputInvalid, match="no market 'XLON'"):
        desk_of_instances.create("a", "pairs", {}, market="XLON", **PERSON)


REFUSED = [
    *(
        (f"UPDATE strategy.instance SET {column} = 'other' WHERE instance_id = 'calm'", "never change")  # noqa: S608
        for column in ("instance_id", "strategy", "account", "market")
    ),
    ("DELETE FROM strategy.instance", "kept for its decisions"),
    ("TRUNCATE strategy.instance CASCADE", "append-only|kept for its decisions"),
    ("UPDATE strategy.instance SET config = '{\"pairs\": []}' WHERE instance_id = 'calm'", "version of its own"),
    ("UPDATE strategy.instance SET config_version = 7", "version of its own"),
    ("UPDATE strategy.instance SET config = '[]', config_version = 2 WHERE instance_id = 'calm'", "is_object"),
    ("UPDATE strategy.instance SET mode = 'live'", "mode_known"),
    ("UPDATE strategy.instance SET deleted_at = now() WHERE instance_id = 'default-pairs'", "gone_is_off"),
]


def test_what_an_instance_is_never_changes_not_even_by_sql_of_the_owner(
    calm: Instance, trading_database: TradingDatabase
) -> None:
    owner = make_engine(trading_database.owner_url, load_settings().database)
    try:
        for statement, said in REFUSED:
            with owner.connect() as connection, pytest.raises(DBAPIError, match=said):
                connection.execute(text(statement))
    finally:
        owner.dispose()
