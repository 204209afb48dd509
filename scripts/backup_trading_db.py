"""Back the trading database up as the flow weekly-database-backup does, without Prefect: for cron, or by hand."""

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.shared.prefect.scripts import run_script

CALLED_FROM = Path.cwd()


def backup_trading_db(
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Another folder than that of the settings.")] = None,
    no_drill: Annotated[bool, typer.Option("--no-drill", help="Do not restore it for trial; nothing goes.")] = False,
    keep: Annotated[int | None, typer.Option(min=1, help="Good backups to keep; else as the settings say.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and do nothing.")] = False,
) -> None:
    """Dump the trading database, restore the dump for trial, then let old backups go.

    Exit code 0: done. 1: the backup failed, or failed its trial. 2: something to mend before; nothing was written.
    """
    from src.shared.prefect.tasks.wiring import services

    found = services()
    kept = keep or found.settings.maintenance.backups_kept
    folder = CALLED_FROM / to.expanduser() if to else None
    backups = found.maintenance.backups(folder, lambda text: print(f"{text} …", flush=True))
    if dry_run:
        plan = backups.plan("trading", kept, drill=not no_drill)
        print(f"Would write a dump of {plan.database} ({plan.bytes // 1024} kB in the server) to {plan.folder}.")
        print("It would not be tried, and nothing would go." if no_drill else "It would be restored for trial.")
        for name in plan.gone:
            print(f"{name} would no longer be needed then.")
        return
    made, gone = backups.back_up("trading", kept, drill=not no_drill)
    manifest = made.manifest
    print(f"{made.file}: {manifest.bytes} bytes, {manifest.facts.rows} rows, trial restore: {manifest.drill}.")
    for name in gone:
        print(f"{name} is no longer needed and was removed.")


if __name__ == "__main__":
    run_script(backup_trading_db)
