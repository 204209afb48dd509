"""`tradewinds archive`: the files that old bars went to, whether they are whole, and a month back from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from src.services.maintenance.domain.archive import ArchiveFile

_BROKEN = 1
_MONTH_HELP = "Such as 2025-03."


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Look at the archive of old bars, and put a month back.")
    group.command(name="list")(list_files)
    group.command(name="verify")(verify)
    group.command(name="restore")(restore)
    app.add_typer(group, name="archive")


def list_files(as_json: Json = False) -> None:
    """List the files of the archive by month."""
    from src.services.cli.desk import console, print_json, print_table, wired

    found = wired()
    files = found.maintenance.archive.files()
    if as_json:
        print_json([_facts(each) for each in files])
        return
    print_table(console(), files_table(files), f"Nothing is archived in {found.settings.archive_folder}.")


def verify(month: Annotated[str, typer.Option(help=f"{_MONTH_HELP} Else all.")] = "", as_json: Json = False) -> None:
    """Read the files whole and compare them with what was written down; exit code 1 if one is not whole."""
    from src.services.cli.desk import console, print_json, wired
    from src.services.maintenance.domain.archive import parse_month

    chosen = parse_month(month) if month else None
    verdicts = wired().maintenance.archive.verify(chosen)
    broken = [each for each in verdicts if each.fault]
    if as_json:
        print_json(verdicts)
    else:
        out = console()
        for each in broken:
            out.print(f"✗ {each.file}: {each.fault}", soft_wrap=True)
        out.print(f"{len(verdicts) - len(broken)} of {len(verdicts)} files are whole.")
    if broken:
        raise typer.Exit(_BROKEN)


def restore(month: Annotated[str, typer.Option(help=_MONTH_HELP)]) -> None:
    """Put a month's bars back into the database, where they stay for some days; what it has stays as it is."""
    from datetime import UTC, datetime

    from src.services.cli.desk import wired
    from src.services.maintenance.domain.archive import parse_month

    chosen = parse_month(month)
    found = wired()
    done = found.maintenance.archive.put_back(chosen, datetime.now(UTC))
    typer.echo(
        f"{done.month:%Y-%m}: {done.inserted} of {done.rows} bars put back from {done.files} files, "
        f"{done.rows - done.inserted} were there; "
        f"they stay for {found.settings.maintenance.restored_month_days} days."
    )
    if done.left_out:
        typer.echo(
            f"{done.left_out} bars were left out: their series was put on another price basis since. "
            "Load them anew with scripts/load_historical_data.py."
        )


def files_table(files: Iterable[ArchiveFile]) -> Table:
    """Lay the files out."""
    from src.services.cli.desk import table, when

    made = table("Archive", "file", "month", "bars", "kB", "archived", "put back", whole=("file",))
    for each in files:
        kilobytes = str(each.bytes // 1024)
        month = f"{each.series.month:%Y-%m}"
        made.add_row(each.file, month, str(each.rows), kilobytes, when(each.created_at), when(each.restored_at))
    return made


def _facts(each: ArchiveFile) -> dict[str, object]:
    return {
        "file": each.file,
        "month": f"{each.series.month:%Y-%m}",
        "vendor": each.series.vendor,
        "timeframe": each.series.timeframe,
        "rows": each.rows,
        "bytes": each.bytes,
        "file_sha256": each.file_sha256,
        "content_sha256": each.content_sha256,
        "created_at": each.created_at,
        "verified_at": each.verified_at,
        "restored_at": each.restored_at,
    }
