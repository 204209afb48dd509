"""The one metadata, and the column types and checks that recur."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Column, Computed, DateTime, ForeignKey, MetaData, Numeric, String, func

SCHEMAS = ("data_ingestion", "strategy", "risk", "execution", "analytics", "ops")

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Money = Numeric(20, 6)
Quantity = Numeric(20, 9)
Moment = DateTime(timezone=True)


def symbol_column(name: str = "symbol", **options: Any) -> Column[str]:
    """Make a column that holds a symbol; `symbol_check` belongs with it."""
    return Column(name, String(10), nullable=False, **options)


def symbol_check(column: str = "symbol") -> CheckConstraint:
    """Refuse what is not a symbol even from someone who bypasses the code."""
    return CheckConstraint(f"{column} ~ '^[A-Z][A-Z0-9.]{{0,9}}$'", name=f"{column}_is_symbol")


def one_of(column: str, values: Iterable[StrEnum | str]) -> CheckConstraint:
    """Refuse what is not one of the values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def finite(*columns: str) -> CheckConstraint:
    """Refuse NaN and absurd sizes: NaN sorts above every number in PostgreSQL, so a bound keeps it out."""
    bounds = " AND ".join(f"abs({column}) < 1e12" for column in columns)
    return CheckConstraint(bounds, name="numbers_finite")


def registered_pair() -> Column[Any]:
    """Make the column that holds a pair to the registry; it is NULL where an instance trades in one symbol."""
    return Column(
        "registered_pair",
        String(59),
        Computed("CASE WHEN instance_id IS NULL THEN pair_id ELSE NULL::character varying END", persisted=True),
        ForeignKey("strategy.pair_registry.pair_id"),
    )


def recorded_at() -> Column[Any]:
    """Make the column that says when the row was written (wall time of the database)."""
    return Column("recorded_at", Moment, nullable=False, server_default=func.clock_timestamp())
