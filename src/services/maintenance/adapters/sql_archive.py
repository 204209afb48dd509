"""`BarArchive` on PostgreSQL: whatever columns the table of bars has, by COPY in both directions."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Integer,
    Text,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.types import TypeEngine, Uuid

from src.services.maintenance.domain.archive import ArchiveFile, SeriesMonth
from src.shared.domain.errors import InputInvalid, Transient
from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.tables import archive_file, load_run, market_data

_M = market_data.c
_F = archive_file.c
_KEY = [column.name for column in market_data.primary_key]
_NAMES = ", ".join(column.name for column in market_data.columns)
_PART = "archive_part"
# Of each bar the version in the newest part: what came later is what the table held when it was archived.
_NEWEST = (
    f"SELECT DISTINCT ON ({', '.join(_KEY)}) {_NAMES} FROM archived"  # noqa: S608 (names of columns)
    f" ORDER BY {', '.join(_KEY)}, {_PART} DESC"
)
# Prices from before a series was put on another basis would stand beside those of the new one.
_LEAVE_OLD_BASES_OUT = text("""
    DELETE FROM archived a USING data_ingestion.series_rebase r
    WHERE r.symbol = a.symbol AND r.timeframe = a.timeframe AND r.vendor = a.vendor AND r.adjustment = a.adjustment
        AND r.recorded_at > a.recorded_at
""")
_ROWS_AT_ONCE = 50_000
_LOCK_WAIT = "20s"
_LOCK_NOT_AVAILABLE = "55P03"


class SqlBarArchive:
    """Implements `BarArchive` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._staged = False

    def newest(self) -> Mapping[tuple[str, str], datetime]:
        """Read the newest bar of each series."""
        self._take_time()
        query = select(_M.vendor, _M.timeframe, func.max(_M.bar_end)).group_by(_M.vendor, _M.timeframe)
        return {(vendor, timeframe): newest for vendor, timeframe, newest in self._connection.execute(query)}

    def months(self, vendor: str, timeframe: str, before: datetime) -> list[SeriesMonth]:
        """Read the months that hold old bars."""
        month = func.date_trunc("month", func.timezone("UTC", _M.bar_end)).label("month")
        query = select(month).where(_M.vendor == vendor, _M.timeframe == timeframe, _M.bar_end < before)
        rows = self._connection.execute(query.distinct().order_by(month)).scalars()
        return [SeriesMonth(found.date(), vendor, timeframe) for found in rows]

    def lock(self, series: SeriesMonth) -> None:
        """Lock the month's own table, which few write to; wait a moment for those who do."""
        self._take_time()
        self._connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'"))
        table = f"data_ingestion.market_data_y{series.month:%Y}m{series.month:%m}"
        try:
            self._connection.execute(text(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise Transient(f"{series}: somebody is writing these bars") from error
            raise

    def files(self, series: SeriesMonth | None = None, month: date | None = None) -> list[ArchiveFile]:
        """Read the record."""
        query = select(archive_file).order_by(_F.month, _F.vendor, _F.timeframe, _F.part)
        if series is not None:
            query = query.where(
                _F.month == series.month, _F.vendor == series.vendor, _F.timeframe == series.timeframe
            )
        if month is not None:
            query = query.where(_F.month == month)
        return [_file(row) for row in self._connection.execute(query).mappings()]

    def stage(self, rows: pa.Table, part: int) -> None:
        """Copy rows into a table that goes with the transaction. A column that the file lacks stays empty."""
        if not self._staged:
            self._connection.execute(
                text(
                    "CREATE TEMPORARY TABLE archived ON COMMIT DROP AS"  # noqa: S608 (names of columns)
                    f" SELECT {_NAMES}, 0 AS {_PART} FROM data_ingestion.market_data LIMIT 0"
                )
            )
            self._staged = True
        names = [name for name in rows.column_names if name in market_data.columns]
        numbered = rows.select(names).append_column(_PART, pa.repeat(part, rows.num_rows))
        command = f"COPY archived ({', '.join(names)}, {_PART}) FROM STDIN (FORMAT csv)"
        with self._copy(command) as copy:
            for batch in numbered.to_batches(max_chunksize=_ROWS_AT_ONCE):
                packed = io.BytesIO()
                pa_csv.write_csv(batch, packed, pa_csv.WriteOptions(include_header=False))
                copy.write(packed.getbuffer())

    def unarchived(self, series: SeriesMonth) -> pa.Table:
        """Read what is not staged already; PostgreSQL compares whole rows, absent values included."""
        which = _condition(series)
        query = f"SELECT {_NAMES} FROM data_ingestion.market_data WHERE {which}"  # noqa: S608 (literals below)
        if self._staged:
            query = f"{query} EXCEPT ({_NEWEST})"
        shown = ", ".join(_as_read(column) for column in market_data.columns)
        order = ", ".join(_ordered(market_data.columns[name]) for name in _KEY)
        command = f"COPY (SELECT {shown} FROM ({query}) AS b ORDER BY {order}) TO STDOUT (FORMAT csv)"  # noqa: S608
        with self._copy(command) as copy:
            packed = b"".join(copy)
        return _parsed(packed)

    def remove(self, series: SeriesMonth) -> int:
        """Delete the series' bars of the month."""
        return self._connection.execute(delete(market_data).where(*_where(series))).rowcount

    def add(self, file: ArchiveFile) -> None:
        """Record a file."""
        self._connection.execute(insert(archive_file).values(**_row(file)))

    def count(self, series: SeriesMonth) -> int:
        """Count the series' bars of the month."""
        query = select(func.count()).select_from(market_data).where(*_where(series))
        return int(self._connection.execute(query).scalar_one())

    def put_back(self, month: date) -> tuple[int, int, int]:
        """Insert what is staged and missing."""
        self._take_time()
        series = SeriesMonth(month, "", "")
        add_months(self._connection, series.start, series.start)
        self._refuse_unknown_loads()
        left_out = self._connection.execute(_LEAVE_OLD_BASES_OUT).rowcount
        keys = self._connection.execute(text(f"SELECT count(*) FROM ({_NEWEST}) AS n")).scalar_one()  # noqa: S608
        inserted = self._connection.execute(
            text(f"INSERT INTO data_ingestion.market_data ({_NAMES}) {_NEWEST} ON CONFLICT DO NOTHING")
        ).rowcount
        return int(keys), inserted, left_out

    def note_restored(self, files: Iterable[ArchiveFile], at: datetime) -> None:
        """Write the time down."""
        names = [each.file for each in files]
        self._connection.execute(update(archive_file).where(_F.file.in_(names)).values(restored_at=at))

    def _refuse_unknown_loads(self) -> None:
        query = text(
            "SELECT count(*) FROM archived a WHERE NOT EXISTS"
            " (SELECT FROM data_ingestion.load_run r WHERE r.load_run_id = a.load_run_id)"
        )
        if missing := self._connection.execute(query).scalar_one():
            raise InputInvalid(
                f"{missing} of these bars were brought by loads that are not in this database ({load_run.fullname}): "
                "read the files with any Parquet reader instead."
            )

    def _take_time(self) -> None:
        self._connection.execute(text("SET LOCAL statement_timeout = 0"))

    @contextmanager
    def _copy(self, command: str) -> Iterator[psycopg.Copy]:
        raw = self._connection.connection.driver_connection
        if not isinstance(raw, psycopg.Connection):
            raise TypeError("bars are read and written by psycopg's COPY; the engine has another driver")
        try:
            with raw.cursor() as cursor, cursor.copy(command.encode()) as copy:
                yield copy
        except psycopg.Error as error:
            raise DBAPIError.instance(
                "COPY", None, error, psycopg.Error, connection_invalidated=raw.closed
            ) from error


def _where(series: SeriesMonth) -> tuple[Any, ...]:
    return (
        _M.vendor == series.vendor,
        _M.timeframe == series.timeframe,
        _M.bar_end >= series.start,
        _M.bar_end < series.end,
    )


def _condition(series: SeriesMonth) -> str:
    """Write the condition as text: COPY takes no parameters."""
    values = {"vendor": series.vendor, "timeframe": series.timeframe}
    parts = [f"{name} = {_quoted(value)}" for name, value in values.items()]
    return " AND ".join([*parts, f"bar_end >= '{series.start.isoformat()}'", f"bar_end < '{series.end.isoformat()}'"])


def _quoted(value: str) -> str:
    rendered = literal(value).compile(compile_kwargs={"literal_binds": True})
    return str(rendered)


def _as_read(column: Column[Any]) -> str:
    if isinstance(column.type, DateTime):
        return f"(extract(epoch FROM {column.name}) * 1000000)::bigint"
    return column.name


def _ordered(column: Column[Any]) -> str:
    # the same order whatever the database's language
    return f'{column.name} COLLATE "C"' if isinstance(column.type, Text) or _is_text(column.type) else column.name


def _is_text(kind: TypeEngine[Any]) -> bool:
    return kind.python_type is str


def _arrow_type(kind: TypeEngine[Any]) -> pa.DataType:
    if isinstance(kind, DateTime):
        return pa.timestamp("us", tz="UTC")
    for sort, arrow in ((Boolean, pa.bool_()), (Integer, pa.int64()), (Uuid, pa.string())):
        if isinstance(kind, sort):
            return arrow
    # Decimal numbers and documents keep their text.
    return pa.float64() if isinstance(kind, Float) else pa.string()


def _parsed(packed: bytes) -> pa.Table:
    schema = pa.schema([(column.name, _arrow_type(column.type)) for column in market_data.columns])
    if not packed:
        return schema.empty_table()
    as_read = {field.name: pa.int64() if pa.types.is_timestamp(field.type) else field.type for field in schema}
    read = pa_csv.read_csv(
        io.BytesIO(packed),
        read_options=pa_csv.ReadOptions(column_names=schema.names, use_threads=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=as_read,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    return read.cast(schema).combine_chunks()


def _file(row: Mapping[Any, Any]) -> ArchiveFile:
    values = dict(row)
    series = SeriesMonth(values.pop("month"), values.pop("vendor"), values.pop("timeframe"))
    return ArchiveFile(series=series, **values)


def _row(file: ArchiveFile) -> dict[str, object]:
    values = asdict(file)
    return {**values.pop("series"), **values}
