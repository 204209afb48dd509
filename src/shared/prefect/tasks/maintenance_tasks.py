"""Tasks of maintenance."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from src.services.maintenance.domain.archive import Moved, Verdict
    from src.services.maintenance.domain.upkeep import CleanUp
    from src.services.maintenance.use_cases.backups import Backup
    from src.services.maintenance.use_cases.upkeep import Optimisation

_PAGE = 200
_SHOWN_TABLES = 50


@repeatable("archive-bars")
async def archive_bars() -> list[Moved]:
    """Move the bars that are older than the retention into files."""
    moved = services().maintenance.archive.move_old_bars(datetime.now(UTC))
    for each in moved:
        logger.info("{}: {} bars → {}", each.series, each.rows, each.file.file if each.file else "archived before")
    return moved


@repeatable("verify-archive")
async def verify_archive() -> list[Verdict]:
    """Read every file of the archive and say of each whether it is whole."""
    found = services().maintenance.archive.verify()
    for each in found:
        if each.fault:
            logger.error("Archive file {}: {}", each.file, each.fault)
    return found


@task(name="publish-archive", cache_policy=NO_CACHE)
async def publish_archive(moved: list[Moved], verdicts: list[Verdict]) -> None:
    """Leave what was archived, and what is wrong with the archive, as a table on the run."""
    rows: list[dict[str, Any]] = [
        {"file": each.file.file if each.file else "archived before", "bars": each.rows, "verdict": "moved"}
        for each in moved
    ]
    rows += [{"file": each.file, "bars": each.rows, "verdict": each.fault} for each in verdicts if each.fault]
    await leave_table("archive", rows, f"{sum(each.rows for each in moved)} bars moved, {len(verdicts)} files read.")


@repeatable("remove-old-logs")
async def remove_old_logs() -> CleanUp:
    """Remove the days' logs that are older than they are kept."""
    done = services().maintenance.clean_logs()
    logger.info("{} log files removed, {} bytes freed.", len(done.files), done.bytes)
    return done


@task(name="publish-clean-up", cache_policy=NO_CACHE)
async def publish_clean_up(done: CleanUp) -> None:
    """Leave the removed files as a table on the run."""
    rows = [{"file": name} for name in done.files]
    await leave_table("log-cleanup", rows, f"{len(done.files)} files, {done.bytes} bytes freed.")


@repeatable("optimise-database")
async def optimise_database() -> Optimisation:
    """Make the next months' room, analyse, vacuum what needs it."""
    done = services().maintenance.optimise()
    for each in done.tables:
        if each.refused:
            logger.warning("{} was left out: {}", each.before.name, each.refused)
    return done


@task(name="publish-tables", cache_policy=NO_CACHE)
async def publish_tables(done: Optimisation) -> None:
    """Leave sizes and dead rows of the largest tables as a table on the run."""
    rows = [
        {
            "table": each.before.name,
            "rows": each.after.live_rows,
            "dead before": each.before.dead_rows,
            "dead after": each.after.dead_rows,
            "kB": each.after.bytes // 1024,
            "vacuumed": each.vacuumed,
            "left out": each.refused,
        }
        for each in done.tables[:_SHOWN_TABLES]
    ]
    total = sum(each.after.bytes for each in done.tables)
    await leave_table(
        "database-tables",
        rows,
        f"The largest of {len(done.tables)} tables, {total // 1024} kB in all; {done.months_added} months added.",
    )


@repeatable("dump-database")
async def dump_database(what: Literal["trading", "prefect"]) -> Backup:
    """Write a dump with its manifest. Doing it again writes another one."""
    return services().maintenance.backups().dump(what)


@repeatable("restore-for-trial")
async def restore_for_trial(backup: Backup) -> Backup:
    """Restore a dump into a database made for that, compare, drop it."""
    return services().maintenance.backups().drill(backup.file)


@repeatable("retire-backups")
async def retire_backups(what: Literal["trading", "prefect"]) -> list[str]:
    """Remove backups that newer good ones have made needless."""
    wired = services()
    gone = wired.maintenance.backups().retire(what, wired.settings.maintenance.backups_kept)
    for name in gone:
        logger.info("{} is no longer needed and was removed.", name)
    return gone


@repeatable("find-database")
async def find_database(what: Literal["trading", "prefect"]) -> str:
    """Say why a database can't be backed up from here, nothing where it can."""
    return services().maintenance.out_of_reach(what)


@repeatable("export-deployments")
async def export_deployments() -> Path:
    """Keep what the Prefect server holds of deployments, pauses and schedules included, as JSON."""
    import json

    from prefect.client.orchestration import get_client

    from src.shared.infra.redaction import redactor_for

    found: list[dict[str, Any]] = []
    async with get_client() as client:
        while page := await client.read_deployments(limit=_PAGE, offset=len(found)):
            found += [each.model_dump(mode="json") for each in page]
    wired = services()
    text = json.dumps(redactor_for(wired.settings).structure(found), indent=2)
    return wired.maintenance.backups().keep_document(
        "prefect-deployments", f"{text}\n", wired.settings.maintenance.backups_kept
    )


@task(name="publish-backup", cache_policy=NO_CACHE)
async def publish_backup(backup: Backup, removed: list[str]) -> None:
    """Leave what was backed up, table by table, as a table on the run."""
    facts = asdict(backup.manifest.facts)
    rows: list[dict[str, Any]] = [{"table": name, "rows": count} for name, count in facts["tables"].items()]
    manifest = backup.manifest
    await leave_table(
        f"backup-{manifest.what}",
        rows,
        f"{backup.file}: {manifest.bytes} bytes, SHA-256 {manifest.sha256}, trial restore {manifest.drill}; "
        f"{len(removed)} older ones removed.",
    )
