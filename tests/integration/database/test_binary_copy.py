"""Arrays that go into a table by binary COPY and come back as packed rows: what is read is what was written."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from src.shared.domain.bars import DAILY, BarKind
from src.shared.infra.database.binary_copy import array_bytes, copy_into
from src.shared.infra.database.packed_rows import read_bars
from tests.fakes.bar_series import made_up, part
from tests.fakes.stored_market import store_bars

TABLE = "pg_temp.copied"
COLUMNS = ("name", "id", "at", "one", "two", "three")
ANY_FLOAT = st.one_of(st.just(np.nan), st.floats(allow_nan=False))
NUMBERS = st.integers(1, 40).flatmap(lambda count: arrays.arrays(np.float64, (count, 3), elements=ANY_FLOAT))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(blocks=st.lists(st.tuples(st.text("äβ€ab", min_size=1, max_size=6), st.uuids(), NUMBERS), max_size=3))
def test_whatever_is_written_is_read_and_nan_is_null(
    as_owner: Engine, blocks: list[tuple[str, UUID, np.ndarray[Any, Any]]]
) -> None:
    written, expected = [], []
    for name, identity, numbers in blocks:
        at = np.datetime64("1999-12-31T23:59:59.999999", "us") + np.arange(len(numbers)) * np.timedelta64(1, "us")
        written.append([name, identity.bytes, at, *numbers.T.copy()])
        expected += [
            (name, identity, at[i].item(), *(None if np.isnan(x) else x for x in row))
            for i, row in enumerate(numbers.tolist())
        ]

    with as_owner.connect() as connection:
        types = "name text, id uuid, at timestamptz, one float8, two float8, three float8"
        connection.execute(text(f"CREATE TEMPORARY TABLE copied ({types}) ON COMMIT DROP"))
        copy_into(connection, TABLE, COLUMNS, written)
        found = connection.execute(text("SELECT * FROM copied ORDER BY ctid")).all()

    assert [(name, identity, at.replace(tzinfo=None), *rest) for name, identity, at, *rest in found] == expected


def test_texts_whole_numbers_and_arrays_go_in_and_the_empty_text_is_null(as_owner: Engine) -> None:
    names = np.array(["KO", "PEP", "", "Ä", "KO"]).astype(object)
    block: list[Any] = [
        np.array([name.encode() for name in names], dtype="S4"),
        np.arange(5, dtype=np.int32) - 2,
        array_bytes(np.array([0.5, np.nan])),
        array_bytes(np.array([])),
    ]

    with as_owner.connect() as connection:
        types = "name text, number int, few float8[], nothing float8[]"
        connection.execute(text(f"CREATE TEMPORARY TABLE copied ({types}) ON COMMIT DROP"))
        copy_into(connection, TABLE, ("name", "number", "few", "nothing"), [block])
        found = connection.execute(text("SELECT * FROM copied ORDER BY ctid")).all()

    assert [(row.name, row.number) for row in found] == [("KO", -2), ("PEP", -1), (None, 0), ("Ä", 1), ("KO", 2)]
    assert all(row.few[0] == 0.5 and np.isnan(row.few[1]) and row.nothing == [] for row in found)


def test_what_the_table_refuses_is_an_error_of_the_statement(as_owner: Engine) -> None:
    with as_owner.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE copied (one float8 CHECK (one > 0)) ON COMMIT DROP"))
        with pytest.raises(IntegrityError, match="violates check constraint"):
            copy_into(connection, TABLE, ["one"], [[np.array([1.0, -1.0])]])


def test_stored_bars_are_read_whole_in_order_and_of_their_kind_alone(engine: Engine) -> None:
    kind, other = BarKind(DAILY, "polygon", "split"), BarKind(DAILY, "polygon", "raw")
    bars = made_up(70)
    store_bars(engine, kind, {"KO": part(bars, slice(35, None))})
    store_bars(engine, kind, {"KO": part(bars, slice(35)), "PEP": part(bars, slice(1))})
    store_bars(engine, other, {"KO": made_up(3, 9)})

    with engine.connect() as connection:
        found = read_bars(connection, kind, ["KO", "PEP", "NOPE"])

    assert sorted(found) == ["KO", "PEP"]
    for name, column in vars(bars).items():
        np.testing.assert_array_equal(getattr(found["KO"], name), column, err_msg=name)
    assert len(found["PEP"]) == 1
