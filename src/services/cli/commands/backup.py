"""`tradewinds backup` and `restore`: the whole trading database as a file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from src.services.maintenance.use_cases.backups import Backup

Folder = Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Another folder than that of the settings.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(invoke_without_command=True, help="Back the trading database up; list what there is.")
    group.callback()(backup)
    group.command(name="list")(list_backups)
    app.add_typer(group, name="backup")
    app.command()(restore)


def backup(
    context: typer.Context,
    to: Folder = None,
    no_drill: Annotated[bool, typer.Option("--no-drill", help="Do not restore it for trial; nothing goes.")] = False,
) -> None:
    """Dump the trading database, restore the dump for trial, and let old backups go."""
    if context.invoked_subcommand is not None:
        context.obj = to
        return
    from src.services.cli.desk import console, wired

    found = wired()
    out = console()
    backups = found.maintenance.backups(to, lambda text: out.print(f"{text} …", soft_wrap=True))
    made, gone = backups.back_up("trading", found.settings.maintenance.backups_kept, drill=not no_drill)
    manifest = made.manifest
    trial = "restored for trial: it holds what it should" if manifest.drill == "passed" else "not tried"
    out.print(f"{made.file}: {manifest.bytes} bytes, {manifest.facts.rows} rows, {trial}.", soft_wrap=True)
    for name in gone:
        out.print(f"{name} is no longer needed and was removed.", soft_wrap=True)


def list_backups(context: typer.Context, to: Folder = None, as_json: Json = False) -> None:
    """List the backups of a folder, newest first, with what their trial restore found."""
    from src.config.settings import load_settings
    from src.services.cli.desk import console, print_json, print_table
    from src.services.maintenance.bootstrap import list_backups as listed

    folder = to or context.obj or load_settings().backup_folder
    found = listed(folder)
    if as_json:
        print_json([{"file": each.file.name, **_facts(each)} for each in found])
        return
    print_table(console(), backups_table(found), f"There is no backup in {folder}.")


def restore(
    file: Annotated[Path, typer.Argument(help="A dump; its manifest lies beside it.")],
    into: Annotated[
        str, typer.Option(metavar="URL|NAME", help="A database's URL, or its name on the trading database's server.")
    ],
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Also in place of one that holds tables, which gets another name.")
    ] = False,
) -> None:
    """Restore a backup into a database. One that holds tables is never written over."""
    from src.config.settings import load_settings
    from src.services.cli.desk import console
    from src.services.execution.bootstrap import build_books_check, build_writer_lock
    from src.services.maintenance.bootstrap import build_restore
    from src.shared.infra.embedded.stack import running_postgres

    settings = load_settings()
    out = console()
    whole = file.expanduser().resolve()
    with running_postgres(settings):
        done = build_restore(
            settings,
            whole.parent,
            build_books_check(settings),
            build_writer_lock(settings),
            lambda text: out.print(f"{text} …", soft_wrap=True),
        ).run(whole, into, confirm=confirm)
    out.print(
        f"{done.database} holds {done.rows} rows in {done.tables} tables, as the manifest says.", soft_wrap=True
    )
    if done.kept_as:
        out.print(f"The database before is {done.kept_as}: drop it when you no longer need it.", soft_wrap=True)


def backups_table(found: Iterable[Backup]) -> Table:
    """Lay the backups out."""
    from src.services.cli.desk import table, when

    made = table("Backups", "file", "of", "made", "kB", "rows", "PostgreSQL", "schema", "trial", whole=("file",))
    for each in found:
        manifest = each.manifest
        trial = manifest.drill.replace("_", " ") + (f": {manifest.problems[0]}" if manifest.problems else "")
        made.add_row(
            each.file.name,
            manifest.what,
            when(manifest.created_at),
            str(manifest.bytes // 1024),
            str(manifest.facts.rows),
            str(manifest.facts.server_version // 10000),
            manifest.facts.schema_version,
            trial,
        )
    return made


def _facts(each: Backup) -> dict[str, object]:
    manifest = each.manifest
    return {
        "what": manifest.what,
        "created_at": manifest.created_at,
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "rows": manifest.facts.rows,
        "schema": manifest.facts.schema_version,
        "drill": manifest.drill,
        "problems": manifest.problems,
    }
