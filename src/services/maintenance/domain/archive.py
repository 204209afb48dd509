"""Which bars are old enough for the archive, and how their files are named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from src.shared.domain.errors import InputInvalid, Terminal

_DAY_AND_LONGER = re.compile(r"\d*(d|w|wk|mo|y|(day|week|month|year)s?)", re.IGNORECASE)
# What a vendor and a time frame are called becomes a folder: nothing that leads elsewhere.
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_FILE = re.compile(r"(?P<vendor>[^/]+)/(?P<timeframe>[^/]+)/(?P<month>\d{4}-\d{2})\.(?P<part>\d{3,})\.parquet")


@dataclass(frozen=True)
class Retention:
    """Days of bars that stay in the database, and of months that a person put back; None: for ever."""

    intraday_days: int
    daily_days: int | None
    restored_days: int

    def days_of(self, timeframe: str) -> int | None:
        """Say how many days of bars of this time frame stay."""
        return self.daily_days if _DAY_AND_LONGER.fullmatch(timeframe) else self.intraday_days

    def first_kept_month(self, timeframe: str, newest: datetime, now: datetime) -> datetime | None:
        """Return the start of the oldest month that stays whole; None where all stay.

        Days count back from the newest bar where that is older than `now`: while no bars come in, and on a market
        that is replayed, what decisions read must not go.
        """
        days = self.days_of(timeframe)
        return None if days is None else month_start(min(newest, now) - timedelta(days=days))

    def is_put_back(self, restored_at: datetime | None, now: datetime) -> bool:
        """Say whether a month that a person put back is still to be left alone."""
        return restored_at is not None and now - restored_at < timedelta(days=self.restored_days)


@dataclass(frozen=True, order=True)
class SeriesMonth:
    """The bars of one vendor and time frame that end within one month (UTC)."""

    month: date
    vendor: str
    timeframe: str

    @property
    def start(self) -> datetime:
        """Where the month begins; a bar that ends here is in it."""
        return datetime(self.month.year, self.month.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Where the next one begins."""
        return month_start(self.start, later=1)

    @property
    def folder(self) -> str:
        """The folder of its files, below the archive's.

        Raises:
            Terminal: its vendor or time frame can't be a folder's name.
        """
        for name in (self.vendor, self.timeframe):
            if not _FOLDER_NAME.fullmatch(name):
                raise Terminal(f"Bars of {name!r} are not archived: that can't be the name of a folder.")
        return f"{self.vendor}/{self.timeframe}"

    def file(self, part: int) -> str:
        """Name the file of one part."""
        return f"{self.folder}/{self.month:%Y-%m}.{part:03}.parquet"

    def __str__(self) -> str:
        return f"{self.vendor} {self.timeframe} {self.month:%Y-%m}"


@dataclass(frozen=True)
class ArchiveFile:
    """A file of the archive as the database knows it. Digests are hexadecimal."""

    file: str
    series: SeriesMonth
    part: int
    rows: int
    bytes: int
    file_sha256: str
    content_sha256: str
    created_at: datetime
    verified_at: datetime
    restored_at: datetime | None = None


@dataclass(frozen=True)
class Moved:
    """What became of one month: rows that left the table, and the new file, if one was needed."""

    series: SeriesMonth
    rows: int
    file: ArchiveFile | None


@dataclass(frozen=True)
class Verdict:
    """What was found of one file; `fault` is empty where it is whole."""

    file: str
    rows: int
    fault: str


def month_start(moment: datetime, later: int = 0) -> datetime:
    """Return the start of the month (UTC), or of one so many months later."""
    at = moment.astimezone(UTC)
    years, month = divmod(at.month - 1 + later, 12)
    return datetime(at.year + years, month + 1, 1, tzinfo=UTC)


def parse_month(text: str) -> date:
    """Read `2025-03`.

    Raises:
        InputInvalid: it is no month.
    """
    try:
        return datetime.strptime(text.strip(), "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise InputInvalid(f"{text!r} is not a month: write it as 2025-03.") from None


def part_of(file: str) -> int | None:
    """Return the part's number that a file is named by; None where it is no name of ours."""
    found = _FILE.fullmatch(file)
    return int(found["part"]) if found else None


def next_part(files: Sequence[str]) -> int:
    """Return the number above all that are taken."""
    return max((part for file in files if (part := part_of(file)) is not None), default=0) + 1
