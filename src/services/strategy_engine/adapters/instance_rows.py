"""Rows of instances as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select

from src.services.strategy_engine.domain.instances import Instance
from src.shared.domain.instances import InstanceMode
from src.shared.infra.database.tables import instance


def instances_that_are() -> Select[Any]:
    """Select the instances that are not gone, by id."""
    return select(instance).where(instance.c.deleted_at.is_(None)).order_by(instance.c.instance_id)


def instance_of(row: Mapping[Any, Any]) -> Instance:
    """Read a row of `strategy.instance`."""
    return Instance(
        id=row["instance_id"],
        strategy=row["strategy"],
        account=row["account"],
        market=row["market"],
        config=row["config"],
        config_version=row["config_version"],
        mode=InstanceMode(row["mode"]),
        note=row["note"],
        updated_at=row["updated_at"],
        trades=row["trades"],
    )
