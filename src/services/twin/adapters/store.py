"""The twin's memory in one SQLite file: orders, fills, closing equities, corporate actions and the clock's time."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from src.services.twin.domain.company import ActionTerms, ActionType, Activity, CorporateAction
from src.services.twin.domain.errors import StoreInvalid
from src.services.twin.domain.orders import Fill, Order, Status
from src.services.twin.domain.venue import Changes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, client_order_id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fills (
    seq INTEGER PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders (id), body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS closes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, day TEXT NOT NULL, equity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS actions (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS activities (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
"""
_ORDER_DECIMALS = ("qty", "limit_price", "stop_price", "reserve_price", "filled_qty", "filled_value")
_FILL_DECIMALS = ("qty", "price", "cum_qty", "leaves_qty", "position_qty")
_TERMS_DECIMALS = ("old_rate", "new_rate", "rate")
_ACTIVITY_DECIMALS = ("net_amount", "qty", "cost", "per_share")


class Store:
    """Keeps what the venue changed. What `save` returned from outlives a kill of the process."""

    def __init__(self, folder: Path) -> None:
        path = folder / "twin.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as exc:
            raise StoreInvalid(f"store {path} can't be used ({exc}): name another folder with --store") from exc

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def meta(self) -> dict[str, str]:
        """Return what was noted."""
        return dict(self._db.execute("SELECT name, value FROM meta"))

    def note(self, **values: str) -> None:
        """Remember named texts."""
        with self._transaction():
            self._note(values)

    def save(self, changes: Changes, now: int) -> None:
        """Write the changes of one step, and the market's time, in one transaction."""
        orders = [(o.id, o.seq, o.client_order_id, _dump(o)) for o in changes.orders.values()]
        fills = [(f.seq, f.order_id, _dump(f)) for f in changes.fills]
        closes = [(day, str(equity)) for day, equity in changes.closes]
        with self._transaction():
            self._db.executemany(
                "INSERT INTO orders VALUES (?,?,?,?) ON CONFLICT (id) DO UPDATE SET body=excluded.body",
                orders,
            )
            self._db.executemany("INSERT INTO fills VALUES (?,?,?)", fills)
            self._db.executemany("INSERT INTO closes (day, equity) VALUES (?,?)", closes)
            self._db.executemany(
                "INSERT INTO actions VALUES (?,?) ON CONFLICT (seq) DO UPDATE SET body=excluded.body",
                [(action.seq, _dump(action)) for action in changes.actions.values()],
            )
            self._db.executemany(
                "INSERT INTO activities VALUES (?,?)", [(each.seq, _dump(each)) for each in changes.activities]
            )
            self._note({"now": str(now)})

    def load(self) -> tuple[list[Order], list[Fill], list[tuple[str, Decimal]]]:
        """Return all orders, fills and closing equities, oldest first."""
        orders = [_order(body) for (body,) in self._db.execute("SELECT body FROM orders ORDER BY seq")]
        fills = [_fill(body) for (body,) in self._db.execute("SELECT body FROM fills ORDER BY seq")]
        closes = [(d, Decimal(e)) for d, e in self._db.execute("SELECT day, equity FROM closes ORDER BY seq")]
        return orders, fills, closes

    def load_company(self) -> tuple[list[CorporateAction], list[Activity]]:
        """Return all corporate actions and activities without a trade, oldest first."""
        actions = [_action(body) for (body,) in self._db.execute("SELECT body FROM actions ORDER BY seq")]
        activities = self._db.execute("SELECT body FROM activities ORDER BY seq")
        return actions, [Activity(**_read(body, _ACTIVITY_DECIMALS)) for (body,) in activities]

    def clear(self) -> None:
        """Forget orders, fills, closes and corporate actions; notes stay."""
        with self._transaction():
            for table in ("fills", "orders", "closes", "actions", "activities"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are written above

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def _note(self, values: dict[str, str]) -> None:
        self._db.executemany(
            "INSERT INTO meta VALUES (?,?) ON CONFLICT (name) DO UPDATE SET value=excluded.value",
            values.items(),
        )


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")


def _dump(row: Order | Fill | CorporateAction | Activity) -> str:
    return orjson.dumps(asdict(row), default=str).decode()


def _read(body: str, decimals: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = orjson.loads(body)
    return values | {name: Decimal(values[name]) for name in decimals if values[name] is not None}


def _order(body: str) -> Order:
    values = _read(body, _ORDER_DECIMALS)
    return Order(**values | {"status": Status(values["status"])})


def _action(body: str) -> CorporateAction:
    values: dict[str, Any] = orjson.loads(body)
    told = values["terms"] | {name: Decimal(values["terms"][name]) for name in _TERMS_DECIMALS}
    told |= {"type": ActionType(told["type"]), "ex_date": date.fromisoformat(told["ex_date"])}
    return CorporateAction(**values | {"terms": ActionTerms(**told)})


def _fill(body: str) -> Fill:
    return Fill(**_read(body, _FILL_DECIMALS))
