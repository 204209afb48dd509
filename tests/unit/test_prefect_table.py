from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from src.shared.domain.errors import InputInvalid
from src.shared.prefect.table import read_table

FOLDER = "src/shared/prefect/flows/notification"
GOOD: dict[str, Any] = {
    "name": "health",
    "entrypoint": f"{FOLDER}/monitor_system_health_flow.py:monitor_system_health",
    "description": "Looks.",
    "tags": ["tradewinds"],
    "work_pool": {"name": "notification-pool"},
    "schedules": [{"slug": "hourly", "cron": "0 * * * *", "timezone": "UTC"}],
}


def written(folder: Path, *rows: Any, **top: Any) -> Path:
    path = folder / "prefect.yaml"
    path.write_text(yaml.safe_dump({"name": "tradewinds", "deployments": list(rows)} | top))
    return path


def schedule(**changes: Any) -> dict[str, Any]:
    return {"schedules": [{**GOOD["schedules"][0], **changes}]}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


def test_the_projects_own_list_is_good() -> None:
    assert "monitor-system-health" in {row.name for row in read_table().deployments}


def test_a_good_row_is_read(tmp_path: Path) -> None:
    [row] = read_table(written(tmp_path, GOOD)).deployments

    assert row.schedules[0].timezone == "UTC"
    assert not row.paused


BAD_ROWS = [
    ("an unknown key", GOOD | {"shedules": []}, "deployment health: shedules: is a key"),
    ("an unknown key further in", GOOD | schedule(zone="UTC"), "schedules.0.zone: is a key"),
    ("no name", without("name"), "deployment number 1: name: is missing"),
    ("no entrypoint", without("entrypoint"), "deployment health: entrypoint: is missing"),
    ("no description", without("description"), "description: is missing"),
    ("no tag of ours", GOOD | {"tags": ["trading"]}, "must hold 'tradewinds'"),
    ("a file that is not there", GOOD | {"entrypoint": f"{FOLDER}/no_flow.py:a"}, "there is no file"),
    (
        "a function that is not there",
        GOOD | {"entrypoint": f"{FOLDER}/monitor_system_health_flow.py:monitor"},
        "defines no function monitor",
    ),
    ("an entrypoint elsewhere", GOOD | {"entrypoint": "src/config/settings.py:load_settings"}, "entrypoint:"),
    ("a pool nobody serves", GOOD | {"work_pool": {"name": "default"}}, "'default' is no pool of ours"),
    (
        "a cron without a time zone",
        GOOD | {"schedules": [{"slug": "hourly", "cron": "0 * * * *"}]},
        "deployment health: schedules.0.timezone: is missing",
    ),
    ("an unknown time zone", GOOD | schedule(timezone="Mars/Olympus"), "'Mars/Olympus' is no time zone"),
    ("a cron that says nothing", GOOD | schedule(cron="every hour"), "schedules.0.cron"),
    ("a schedule without a slug", GOOD | {"schedules": [{"cron": "0 * * * *", "timezone": "UTC"}]}, "slug"),
    ("a slug used twice", GOOD | {"schedules": GOOD["schedules"] * 2}, "the slug 'hourly' is used twice"),
    ("no run at once", GOOD | {"concurrency_limit": {"limit": 0}}, "concurrency_limit.limit"),
    (
        "a collision strategy that is none",
        GOOD | {"concurrency_limit": {"limit": 1, "collision_strategy": "DROP"}},
        "concurrency_limit.collision_strategy",
    ),
    ("a row that is a word", "health", "deployment number 1"),
]


@pytest.mark.parametrize(("row", "said"), [case[1:] for case in BAD_ROWS], ids=[case[0] for case in BAD_ROWS])
def test_a_bad_row_is_one_line_that_names_it(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_table(written(tmp_path, row))

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_mistake_has_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_table(written(tmp_path, GOOD | schedule(timezone="Mars/Olympus", cron="nonsense")))

    assert len(str(caught.value).splitlines()) == 2


def test_a_name_used_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="the name 'health' is used twice"):
        read_table(written(tmp_path, GOOD, GOOD))


def test_a_block_that_prefect_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"prefect\.yaml: prefect: is a key"):
        read_table(written(tmp_path, GOOD, prefect={"api": {"url": "x"}}))


@pytest.mark.parametrize("text", ["", "[]", "name: x"])
def test_a_file_without_a_list_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(text)

    with pytest.raises(InputInvalid):
        read_table(path)


def test_a_file_that_is_not_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text("deployments: [")

    with pytest.raises(InputInvalid, match="is not YAML") as caught:
        read_table(path)

    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="can't be read"):
        read_table(tmp_path / "prefect.yaml")
