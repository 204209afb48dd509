"""Measure, print a table and write results.json afresh: `python -m benchmarks.run [--only NAME …]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from loguru import logger
from rich.console import Console
from rich.table import Table

from benchmarks import machine, readme
from benchmarks.registry import MODULES, Benchmark, load
from benchmarks.rows import Row

RESULTS = Path(__file__).with_name("results.json")
_BROKEN = 1
# of a table that nobody's terminal limits
_WIDTH = 160


@dataclass
class Report:
    """What one run measured, and which benchmarks could not measure."""

    before: dict[str, Any]
    rows: list[tuple[str, Row]] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    @property
    def missed(self) -> list[Row]:
        """The rows whose aim is not met."""
        return [row for _, row in self.rows if row.met is False]

    def as_dict(self, command: str) -> dict[str, Any]:
        """Return it for JSON; the load is given before and after, for the run itself is part of the latter."""
        return {
            "command": command,
            "machine": self.before | {"load_average_after": self.after.get("load_average")},
            "rows": [{"benchmark": benchmark, **row.as_dict()} for benchmark, row in self.rows],
            "broken": self.broken,
        }


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(MODULES)}; may be repeated.")] = None,
    results: Annotated[Path, typer.Option(help="Where the figures go.")] = RESULTS,
) -> None:
    """Measure; an aim that is missed is said, a benchmark that breaks is an error."""
    names = list(only or MODULES)
    if unknown := sorted(set(names) - set(MODULES)):
        raise typer.BadParameter(f"no such benchmark: {', '.join(unknown)}. There are {', '.join(MODULES)}.")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    report = measure(names, load, lambda name: console.print(f"measuring {name} …"))
    command = " ".join(["python -m benchmarks.run", *(f"--only {name}" for name in only or [])])
    write(report, command, results)
    if not only and results == RESULTS:
        readme.update(RESULTS.with_name("README.md"), report.as_dict(command))
    show(report, console)
    console.print(f"Written to {results}")
    if report.broken:
        raise typer.Exit(_BROKEN)


def measure(names: Sequence[str], find: Callable[[str], Benchmark], say: Callable[[str], object]) -> Report:
    """Run the benchmarks one after the other; one that breaks does not keep the others from running."""
    report = Report(machine.facts())
    for name in names:
        say(name)
        try:
            report.rows += [(name, row) for row in find(name)()]
        except Exception as error:
            report.broken[name] = f"{type(error).__name__}: {error}"
    report.after = machine.facts()
    return report


def write(report: Report, command: str, path: Path) -> None:
    """Write the figures of this run; nothing of an earlier one is kept."""
    path.write_text(json.dumps(report.as_dict(command), indent=2, ensure_ascii=False) + "\n")


def show(report: Report, console: Console) -> None:
    """Print a table, and in words what was missed or broke."""
    facts = report.before
    console.print(_table((row for _, row in report.rows), f"{facts['cores']} cores, Python {facts['python']}"))
    console.print(f"Load average before {facts['load_average']}, after {report.after.get('load_average')}.")
    for row in report.missed:
        console.print(f"[yellow]aim missed[/] {row.name}: {row.value:,.3g} {row.unit}, aimed at {row.aim:,g}")
    for name, reason in report.broken.items():
        console.print(f"[red]broke[/] {name}: {reason}")


def _table(rows: Iterable[Row], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for heading in ("value", "aim", "reference", "ratio"):
        table.add_column(heading, justify="right")
    table.add_column("met")
    table.add_column("reference is")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.value:,.4g} {row.unit}",
            "" if row.aim is None else f"≤ {row.aim:,g}",
            "" if row.reference_value is None else f"{row.reference_value:,.4g}",
            "" if row.ratio is None else f"{row.ratio:g}",
            {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[row.met],
            row.reference,
        )
        for name, value in row.details.items():
            table.add_row(f"   [dim]{name}[/]", f"[dim]{value:,.4g}[/]")
    return table


if __name__ == "__main__":
    typer.run(main)
