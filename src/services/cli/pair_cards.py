"""How pairs are shown: in a line each, with every number, and through their history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from src.services.cli.desk import jsonable, table, when
from src.services.strategy_engine.domain.life import Obstacle
from src.services.strategy_engine.ports import AuditLine, PairCard


def pairs_table(cards: Sequence[PairCard]) -> Table:
    """Lay pairs out, a line each."""
    whole = ("pair", "mode", "gate", "Sharpe", "wins", "trips", "watched", "trade")
    made = table("Pairs", *whole, "last signal", "found by", whole=whole)
    for card in cards:
        standing, signal = card.standing, card.signal
        last = f"{when(signal.slot)} {signal.action} ({signal.reason})" if signal else ""
        made.add_row(
            standing.pair_id,
            mode_of(card),
            _passed(card),
            *_trial_numbers(card.verdict),
            str(standing.watched_bars),
            "under way" if standing.is_held else "",
            last,
            standing.found_by.value,
        )
    return made


def history_table(lines: Sequence[AuditLine], pair: str) -> Table:
    """Lay out what the audit log says of a pair."""
    made = table(f"History of {pair}", "when", "who", "what", "to", "why", whole=("when", "what", "to"))
    for line in lines:
        made.add_row(
            when(line.at), line.who, line.what, str(line.numbers.get("after", line.numbers.get("mode", ""))), line.why
        )
    return made


def print_card(out: Console, card: PairCard, against: Sequence[Obstacle]) -> None:
    """Print all that is known of a pair, and what is in the way of its promotion."""
    out.print(_values(card.standing.pair_id, _numbers(card)))
    if card.verdict is not None and card.standing.gate is not None:
        said = {name: value for name, value in card.verdict.items() if name not in ("pair_id", "numbers")}
        out.print(_values(f"What the gate said on {when(card.standing.gate.judged_at)}", said))
    for obstacle in against:
        out.print(f"In the way of a promotion: {obstacle}.", soft_wrap=True)


def mode_of(card: PairCard) -> str:
    """Name a pair's mode, and what comes after it where it is closing."""
    standing = card.standing
    if standing.after_closing is None:
        return standing.mode.value
    return f"{standing.mode.value}, then {standing.after_closing.value}"


def card_dict(card: PairCard, against: Sequence[Obstacle]) -> dict[str, object]:
    """Lay all of it out for JSON."""
    said = [{"reason": each.reason, "words": each.words} for each in against]
    numbers = {"pair": card.standing.pair_id, **_numbers(card)}
    return {**numbers, "verdict": card.verdict, "against_promotion": said}


def _values(title: str, values: Mapping[str, object]) -> Table:
    made = table(title, "what", "value", whole=("what",))
    for name, value in values.items():
        made.add_row(name.replace("_", " "), "" if value is None else str(jsonable(value)))
    return made


def _passed(card: PairCard) -> str:
    gate = card.standing.gate
    if gate is None:
        return "not judged"
    return "passed" if gate.passed else "failed"


def _trial_numbers(verdict: Mapping[str, object] | None) -> tuple[str, ...]:
    if verdict is None:
        return ("",) * 3
    return f"{verdict['sharpe']:.2f}", f"{verdict['win_rate']:.0%}", str(verdict["round_trips"])


def _numbers(card: PairCard) -> dict[str, object]:
    standing, registered = card.standing, card.registered
    pair, signal = registered.pair, card.signal
    return {
        "mode": mode_of(card),
        "found_by": standing.found_by.value,
        "source": card.source,
        "version": registered.version,
        "alpha": pair.alpha,
        "beta": pair.beta,
        "half_life_bars": pair.half_life_bars,
        "z_window_bars": pair.z_window_bars,
        "time_stop_bars": pair.time_stop_bars,
        "correlation": registered.correlation,
        "looked_at_from": registered.fitted_from,
        "looked_at_to": registered.fitted_to,
        "gate": _passed(card),
        "hours_watched": standing.watched_bars,
        "trade_under_way": standing.is_held,
        "closed_trades": len(standing.booked),
        "trades_since_mode": len(standing.record),
        "booked_dollars": sum(standing.booked, Decimal(0)),
        "demoted_at": standing.demoted_at,
        "company_action": standing.action,
        "last_signal": f"{signal.action} ({signal.reason})" if signal else None,
        "last_slot": signal.slot if signal else None,
        "last_z": signal.z if signal else None,
    }
