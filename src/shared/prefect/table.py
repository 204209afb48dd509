"""prefect.yaml, the one list of deployments, read and checked before any server is asked.

The schema is Prefect's own, so that ``prefect --no-prompt deploy --all`` reads the same file; what Prefect
would accept in silence (an unknown key, a cron in a time zone nobody named) is refused here, one line for
each mistake.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from src.shared.domain.errors import InputInvalid
from src.shared.prefect.config import SOURCE_ROOT
from src.shared.prefect.work_pools import POOLS

TABLE = SOURCE_ROOT / "prefect.yaml"
MANAGED_TAG = "tradewinds"
TEMPLATE_TAG = "workflow-template"
"""On deployments that stand for a template of a workflow: the list in prefect.yaml does not know them."""

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScheduleRow(_Strict):
    """One cron of a deployment. The slug is how a pause is recognised again, so it never changes."""

    cron: str
    timezone: str
    slug: Slug
    active: bool = True
    parameters: dict[str, Any] = {}

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"'{zone}' is no time zone; write for instance America/New_York") from error
        return zone

    @field_validator("cron")
    @classmethod
    def _readable_cron(cls, cron: str) -> str:
        from prefect.client.schemas.schedules import CronSchedule

        CronSchedule(cron=cron)
        return cron


class ConcurrencyRow(_Strict):
    """How many runs of a deployment may be under way, and what becomes of one more."""

    limit: Annotated[int, Field(ge=1)]
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"
    grace_period_seconds: Annotated[int, Field(ge=60, le=86400)] | None = None


class WorkPoolRow(_Strict):
    """The pool whose worker runs a deployment."""

    name: str
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known_pool(cls, name: str) -> str:
        if name not in POOLS:
            raise ValueError(f"'{name}' is no pool of ours; write one of {', '.join(POOLS)}")
        return name


class DeploymentRow(_Strict):
    """One entry of the list: what runs, where, and when."""

    name: Slug
    entrypoint: Annotated[str, Field(pattern=r"^src/shared/prefect/flows/\w+/\w+_flow\.py:\w+$")]
    description: Annotated[str, Field(min_length=1)]
    tags: list[str]
    parameters: dict[str, Any] = {}
    work_pool: WorkPoolRow
    schedules: list[ScheduleRow] = []
    concurrency_limit: ConcurrencyRow | None = None
    triggers: list[dict[str, Any]] = []
    paused: bool = False

    @field_validator("entrypoint")
    @classmethod
    def _exists(cls, entrypoint: str) -> str:
        path, _, function = entrypoint.partition(":")
        if not (SOURCE_ROOT / path).is_file():
            raise ValueError(f"there is no file {path}")
        if function not in _functions_in(SOURCE_ROOT / path):
            raise ValueError(f"{path} defines no function {function}")
        return entrypoint

    @field_validator("tags")
    @classmethod
    def _ours(cls, tags: list[str]) -> list[str]:
        if MANAGED_TAG not in tags:
            raise ValueError(f"must hold '{MANAGED_TAG}', by which pruning knows what is ours")
        return tags

    @field_validator("schedules")
    @classmethod
    def _distinct_slugs(cls, schedules: list[ScheduleRow]) -> list[ScheduleRow]:
        if twice := _repeated(row.slug for row in schedules):
            raise ValueError(f"the slug '{twice[0]}' is used twice")
        return schedules

    def asleep(self) -> DeploymentRow:
        """Return the row with all of its schedules paused."""
        return self.model_copy(
            update={"schedules": [each.model_copy(update={"active": False}) for each in self.schedules]}
        )


class DeploymentTable(_Strict):
    """The whole of prefect.yaml."""

    name: str
    prefect_version: Annotated[str | None, Field(alias="prefect-version")] = None
    build: list[dict[str, Any]] | None = None
    push: list[dict[str, Any]] | None = None
    pull: list[dict[str, Any]] | None = None
    definitions: dict[str, Any] | None = None
    deployments: list[DeploymentRow]

    @field_validator("deployments")
    @classmethod
    def _distinct_names(cls, rows: list[DeploymentRow]) -> list[DeploymentRow]:
        if twice := _repeated(row.name for row in rows):
            raise ValueError(f"the name '{twice[0]}' is used twice")
        return rows


def read_table(path: Path = TABLE) -> DeploymentTable:
    """Read and check the list of deployments.

    Raises:
        InputInvalid: the file is missing, is not YAML, or has mistakes; one line for each.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputInvalid(f"{path} can't be read: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise InputInvalid(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    try:
        return DeploymentTable.model_validate(content)
    except ValidationError as error:
        lines = [f"{path.name}: {_where(content, each['loc'])}: {_what(each)}." for each in error.errors()]
        raise InputInvalid("\n".join(lines)) from None


def _where(content: Any, location: tuple[int | str, ...]) -> str:
    if len(location) < 2 or location[0] != "deployments":
        return ".".join(map(str, location)) or "the file"
    row = content["deployments"][location[1]]
    number = f"number {int(location[1]) + 1}"
    name = row.get("name", number) if isinstance(row, dict) else number
    return f"deployment {name}: {'.'.join(map(str, location[2:])) or 'entry'}"


def _what(error: Any) -> str:
    known = {
        "missing": "is missing",
        "extra_forbidden": "is a key that Prefect's schema does not have here",
    }
    return known.get(error["type"], str(error["msg"]).removeprefix("Value error, ").rstrip("."))


def _functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def _repeated(names: Any) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
