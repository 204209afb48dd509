"""Fit pairs on stored bars and show how they fitted: what the demo and `tradewinds pairs add` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_pair_id
from src.shared.domain.pairs import PairMode
from src.shared.prefect.tasks.wiring import Services


@dataclass(frozen=True)
class FittedPair:
    """A pair as it went into the registry; `objections` say why it is only watched, or why it is no pair at all.

    `sharpe` to `round_trips` are of its trial on the bars that the fit did not see.
    """

    pair_id: str
    traded: bool
    objections: str
    beta: float | None = None
    half_life_bars: float | None = None
    z_window_bars: int | None = None
    correlation: float | None = None
    sharpe: float | None = None
    win_rate: float | None = None
    max_drawdown: float | None = None
    round_trips: int | None = None


def fit_pairs(
    services: Services,
    pairs: Sequence[str],
    *,
    until: datetime,
    bars: int,
    who: str,
    why: str,
    mode: PairMode = PairMode.ACTIVE,
) -> list[FittedPair]:
    """Load `bars` hours up to `until` for every leg, judge what is stored of it, then fit and register each pair.

    Raises:
        InputInvalid: a name is no pair. A pair that does not fit is told in the result.
        Transient: the broker or the database can't be read.
    """
    symbols = sorted({symbol for pair in pairs for symbol in parse_pair_id(pair)})
    services.ingestion.refresh_symbols(symbols)
    services.ingestion.fetch_bars(symbols, until, bars)
    services.quality.validate(symbols, services.broker.clock().now)
    return [_fit(services, pair, until, bars, mode, who, why) for pair in pairs]


def fits_shown(pairs: Sequence[FittedPair], title: str) -> Group:
    """Lay the fits and their trials out for a person, with a line for each pair that is not traded and why."""
    # It fits on a narrow screen: what is wrong with a pair must not be cut off.
    table = Table(title=title, title_justify="left", collapse_padding=True)
    for name in ("pair", "β", "half\nlife", "window", "corr.", "Sharpe", "wins", "fall", "trips", "traded"):
        table.add_column(name, justify="left" if name in ("pair", "traded") else "right", no_wrap=True)
    for pair in pairs:
        table.add_row(pair.pair_id, *_numbers(pair), "yes" if pair.traded else "no")
    return Group(table, *(_why_not(pair) for pair in pairs if not pair.traded))


def _why_not(pair: FittedPair) -> Text:
    is_watched = pair.beta is not None
    return Text(f"{pair.pair_id} is {'only watched' if is_watched else 'left out'}: {pair.objections}")


def _fit(services: Services, pair: str, until: datetime, bars: int, mode: PairMode, who: str, why: str) -> FittedPair:
    first, second = parse_pair_id(pair)
    try:
        done = services.strategy.register_pair(first, second, until=until, bars=bars, mode=mode, who=who, why=why)
    except InputInvalid as error:
        return FittedPair(pair, traded=False, objections=str(error))
    trial = done.tried.verdict.trial
    return FittedPair(
        pair,
        traded=done.pair.mode is PairMode.ACTIVE,
        objections=", ".join(done.objections) or "as asked",
        beta=done.pair.beta,
        half_life_bars=done.pair.half_life_bars,
        z_window_bars=done.pair.z_window_bars,
        correlation=done.fit.correlation,
        sharpe=trial.sharpe,
        win_rate=trial.win_rate,
        max_drawdown=trial.max_drawdown,
        round_trips=trial.round_trips,
    )


def _numbers(pair: FittedPair) -> tuple[str, ...]:
    if pair.beta is None:
        return ("–",) * 8
    return (
        f"{pair.beta:.3f}",
        f"{pair.half_life_bars:.1f}",
        str(pair.z_window_bars),
        f"{pair.correlation:.3f}",
        f"{pair.sharpe:.2f}",
        f"{pair.win_rate:.0%}",
        f"{pair.max_drawdown:.1%}",
        str(pair.round_trips),
    )
