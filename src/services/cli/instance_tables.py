"""Instances, their stories and what they draw, as a terminal shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from src.services.cli.desk import shares, table, when
from src.shared.domain.instances import InstanceMode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from src.services.strategy_engine.domain.instances import Fault, Standing
    from src.services.strategy_engine.domain.symbol_trades import SymbolTrade
    from src.services.strategy_engine.ports import StoredDecision

_BARS = "▁▂▃▄▅▆▇█"
_MOST_COLUMNS = 72


def instances_table(standings: Iterable[Standing], now: datetime) -> Table:
    """Lay out instances with how they stand."""
    made = table("Instances", "instance", "strategy", "mode", "last slot", "how it is", "note", whole=("instance",))
    for each in standings:
        slot = each.state.slot if each.state else None
        made.add_row(
            each.id,
            each.instance.strategy,
            each.instance.mode.value,
            when(slot),
            health(each, now),
            each.instance.note,
        )
    return made


def health(standing: Standing, now: datetime) -> str:
    """Say in words how an instance is."""
    fault = standing.open_fault
    if standing.instance.mode is InstanceMode.OFF:
        return "off"
    if fault is None:
        return "well"
    rest = f", rests until {when(fault.back_off_until)}" if standing.rests(now) else ", is tried again"
    return f"{fault.kind.value}, {fault.in_a_row} in a row{rest}"


def config_table(config: Mapping[str, Any]) -> Table:
    """Lay out a config."""
    made = table("Config", "field", "value")
    for name, value in sorted(config.items()):
        made.add_row(name, json.dumps(value, ensure_ascii=False))
    return made


def decisions_table(decisions: Iterable[StoredDecision]) -> Table:
    """Lay out decisions: what was asked for; in observe, what would have been."""
    made = table("Decisions", "slot", "mode", "asked for", "numbers", "log")
    for each in decisions:
        wishes = "; ".join(map(wish_words, each.wishes)) or "nothing"
        asked = f"would have: {wishes}" if each.mode is InstanceMode.OBSERVE and each.wishes else wishes
        numbers = ", ".join(f"{name} {_number(value)}" for name, value in list(each.numbers.items())[:6])
        made.add_row(when(each.slot), each.mode.value, asked, numbers, "; ".join(each.log[:3]))
    return made


def trades_table(trades: Iterable[SymbolTrade]) -> Table:
    """Lay out what an instance holds in symbols."""
    made = table("Trades that are not over", "symbol", "side", "state", "opened", "shares", "paid")
    for each in trades:
        side, paid = each.direction.words(in_pair=False), _number(each.entry_price)
        made.add_row(each.symbol, side, each.state.value, when(each.slot), shares(each.shares), paid)
    return made


def faults_table(faults: Iterable[Fault]) -> Table:
    """Lay out faults."""
    made = table("Faults", "when", "kind", "in a row", "rests until", "what")
    for each in faults:
        made.add_row(
            when(each.occurred_at), each.kind.value, str(each.in_a_row), when(each.back_off_until), each.detail
        )
    return made


def wish_words(wish: Mapping[str, Any]) -> str:
    """Say in words what was asked for."""
    why = f" ({wish['reason']})" if wish.get("reason") else ""
    if wish["kind"] == "target":
        return f"hold {wish['fraction']:.1%} in {wish['symbol']}{why}"
    if wish["kind"] == "exit_pair":
        return f"exit {wish['pair_id']}{why}"
    return f"enter {wish['pair_id']} {str(wish['direction']).replace('_', ' ')}{why}"


def print_widgets(out: Console, widgets: Sequence[Mapping[str, Any]]) -> None:
    """Draw what a strategy shows."""
    for widget in widgets:
        _PRINTERS[widget["kind"]](out, widget)


def sparkline(values: Sequence[float | None], most: int = _MOST_COLUMNS) -> str:
    """Draw numbers as a row of bars, the last `most` of them; a gap where there is none."""
    shown = list(values)[-most:]
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    steps = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[round((value - low) / span * steps) if span else steps // 2]
        for value in shown
    )


def _print_metric(out: Console, widget: Mapping[str, Any]) -> None:
    out.print(f"{widget['label']}: {_number(widget['value'])} {widget['unit']}".rstrip(), soft_wrap=True)


def _print_text(out: Console, widget: Mapping[str, Any]) -> None:
    if widget["title"]:
        out.print(widget["title"], style="bold", soft_wrap=True)
    out.print(widget["text"], soft_wrap=True)


def _print_table(out: Console, widget: Mapping[str, Any]) -> None:
    made = table(widget["title"], *widget["columns"])
    for row in widget["rows"]:
        made.add_row(*(_number(cell) for cell in row))
    out.print(made)


def _print_chart(out: Console, widget: Mapping[str, Any]) -> None:
    unit = f" ({widget['unit']})" if widget["unit"] else ""
    made = table(f"{widget['title']}{unit}", "line", "first … last", "least", "most", "last", whole=("first … last",))
    for line in widget["lines"]:
        known = [value for value in line["values"] if value is not None]
        ends = [_number(value) for value in (min(known), max(known), known[-1])] if known else ["", "", ""]
        made.add_row(line["name"], sparkline(line["values"]), *ends)
    out.print(made)


_PRINTERS = {"metric": _print_metric, "text": _print_text, "table": _print_table, "line_chart": _print_chart}


def _number(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
