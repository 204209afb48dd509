"""Keeps the table of figures in README.md the one of the last full run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: written by `make bench` -->", "<!-- end of figures -->"
_HEAD = "| what | value | aim | met | reference | ratio | reference is |\n|---|---:|---:|---|---:|---:|---|"
_MET = {None: "", True: "yes", False: "**no**"}


def update(path: Path, results: Mapping[str, Any]) -> None:
    """Put the figures of `results` between the two marks of the file at `path`; the rest stays."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{figures(results)}\n{END}{after}")


def figures(results: Mapping[str, Any]) -> str:
    """Lay the rows out as a table, with what they were measured on and by."""
    machine = results["machine"]
    measured_on = (
        f"`{results['command']}` on {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, {machine['date']}; load average {_loads(machine['load_average'])} before and "
        f"{_loads(machine['load_average_after'])} after the run."
    )
    rows = "\n".join(_line(row) for row in results["rows"])
    parts = "\n".join(_parts(row) for row in results["rows"] if row["details"])
    return f"{measured_on}\n\n{_HEAD}\n{rows}\n\nWhere they come from:\n\n{parts}"


def _line(row: Mapping[str, Any]) -> str:
    cells = (
        row["name"],
        f"{_number(row['value'])} {row['unit']}".strip(),
        "" if row["aim"] is None else f"≤ {_number(row['aim'])}",
        _MET[row["met"]],
        _number(row["reference_value"]),
        _number(row["ratio"]),
        row["reference"],
    )
    return f"| {' | '.join(cells)} |"


def _parts(row: Mapping[str, Any]) -> str:
    details = "; ".join(f"{name} {_number(value)}" for name, value in row["details"].items())
    return f"- {row['name']} ({row['unit'] or 'counts'}): {details}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def _loads(loads: list[float]) -> str:
    return " / ".join(f"{load:g}" for load in loads)
