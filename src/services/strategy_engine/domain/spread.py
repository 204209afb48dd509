"""Spreads and z-scores of all pairs in one pass.

Public functions: `read_spreads`, `read_history`, `z_at_last_row`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from src.services.strategy_engine.domain.reasons import Reason
from src.shared.domain.bars import CloseSeries, Floats, Ints
from src.shared.domain.pairs import Pair
from src.shared.domain.signals import SpreadReading

# A hundredth of a cent on a price of a million moves a log price by this much; below it there is only rounding.
LEAST_SD = 1e-10


@dataclass(frozen=True)
class SpreadStatistics:
    """Spread, rolling mean, sd and z of P pairs at the last row, each of shape (P,); NaN where not computable."""

    spread: Floats
    mean: Floats
    sd: Floats
    z: Floats


def read_spreads(series: CloseSeries, pairs: Sequence[Pair], slot: datetime) -> list[SpreadReading | Reason]:
    """Read every pair's spread at `slot`, in the order of `pairs`.

    Where a reading can't be trusted its place holds the reason: the series does not end at the slot or a leg has no
    bar there (STALE_BAR), is shorter than the pair's window (TOO_FEW_BARS), has a hole in the window (MISSING_BARS),
    a price that has no logarithm (NOT_FINITE), or the spread does not move (FLAT_SPREAD). Holes before the window
    do not matter. A symbol that the series does not know has no bars.
    """
    if not series.ends or series.ends[-1] != slot:
        return [Reason.STALE_BAR] * len(pairs)
    # One more column of NaN stands for symbols without bars.
    closes = np.column_stack([series.closes, np.full(len(series.ends), np.nan)])
    legs = _leg_columns(series.symbols, pairs)  # (2, P)
    windows = np.array([pair.z_window_bars for pair in pairs], dtype=np.intp)
    alphas = np.array([pair.alpha for pair in pairs], dtype=np.float64)
    betas = np.array([pair.beta for pair in pairs], dtype=np.float64)
    return _read_last_row(closes, legs, alphas, betas, windows)


def read_history(closes_1: Floats, closes_2: Floats, pair: Pair, first: int) -> list[SpreadReading | Reason]:
    """Read one pair's spread at every row from `first` on: what `read_spreads` says when that row is the last.

    `closes_1` and `closes_2` have shape (T,), oldest first, with NaN where there is no bar; the answer has
    T − `first` places. A window that reaches back before row 0 has holes (MISSING_BARS).
    """
    count, window = len(closes_1) - first, pair.z_window_bars
    closes = np.column_stack([closes_1, closes_2])
    padded = np.concatenate([np.full((window - 1, 2), np.nan), closes])
    windows = sliding_window_view(padded, window, axis=0)[first:]  # (N, 2, W)
    side_by_side = windows.transpose(2, 1, 0).reshape(window, 2 * count)  # a column for each leg and row
    legs = np.arange(2 * count, dtype=np.intp).reshape(2, count)
    alphas, betas = np.full(count, pair.alpha), np.full(count, pair.beta)
    return _read_last_row(side_by_side, legs, alphas, betas, np.full(count, window, dtype=np.intp))


def z_at_last_row(log_closes: Floats, legs: Ints, alphas: Floats, betas: Floats, windows: Ints) -> SpreadStatistics:
    """Compute each pair's z over its own window ending at the last row.

    Shapes: `log_closes` (T, S) with the oldest row first; `legs` (2, P) columns of the first and second leg;
    `alphas`, `betas`, `windows` (P,). Only the last max(windows) rows are looked at:

        spread[t, p] = log_closes[t, legs[0, p]] − betas[p] · log_closes[t, legs[1, p]] − alphas[p]
        z[p] = (spread[T−1, p] − mean) / sd    over the last windows[p] rows, sd with ddof = 1

    NaN policy: a NaN or infinity inside a pair's window makes that pair's numbers NaN or infinite, never another's;
    one before its window has no effect. A pair with fewer than windows[p] rows is computed from what there is:
    the caller refuses it.
    """
    recent = log_closes[-int(windows.max(initial=1)) :]  # (W, S)
    inside = _in_window(len(recent), windows)  # (W, P)
    counts = inside.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spreads = recent[:, legs[0]] - betas * recent[:, legs[1]] - alphas  # (W, P)
        mean = np.where(inside, spreads, 0.0).sum(axis=0) / counts
        deviations = np.where(inside, spreads - mean, 0.0)
        sd = np.sqrt((deviations**2).sum(axis=0) / (counts - 1))
        z = deviations[-1] / sd
    return SpreadStatistics(spreads[-1], mean, sd, z)


def _read_last_row(
    closes: Floats, legs: Ints, alphas: Floats, betas: Floats, windows: Ints
) -> list[SpreadReading | Reason]:
    statistics = z_at_last_row(_logs(closes), legs, alphas, betas, windows)
    problems = _problems(closes, legs, windows, statistics)
    return _readings(closes[-1], legs, windows, statistics, problems)


def _leg_columns(symbols: Sequence[str], pairs: Sequence[Pair]) -> Ints:
    column = {symbol: j for j, symbol in enumerate(symbols)}
    without_bars = len(symbols)
    first = [column.get(pair.symbol_1, without_bars) for pair in pairs]
    second = [column.get(pair.symbol_2, without_bars) for pair in pairs]
    return np.array([first, second], dtype=np.intp)


def _logs(closes: Floats) -> Floats:
    logs = np.full(closes.shape, np.inf)
    logs[np.isnan(closes)] = np.nan
    return np.log(closes, out=logs, where=closes > 0)


def _in_window(rows: int, windows: Ints) -> NDArray[np.bool_]:
    return np.arange(rows)[:, None] >= rows - windows


def _problems(closes: Floats, legs: Ints, windows: Ints, statistics: SpreadStatistics) -> list[Reason | None]:
    recent = np.isnan(closes[-int(windows.max(initial=1)) :])  # (W, S)
    absent = recent[:, legs[0]] | recent[:, legs[1]]  # (W, P)
    inside = _in_window(len(recent), windows)
    checks = [
        (absent[-1], Reason.STALE_BAR),
        (windows > len(closes), Reason.TOO_FEW_BARS),
        ((absent & inside).any(axis=0), Reason.MISSING_BARS),
        (~np.isfinite(statistics.mean + statistics.sd), Reason.NOT_FINITE),
        (~(statistics.sd > LEAST_SD), Reason.FLAT_SPREAD),
        (~np.isfinite(statistics.z), Reason.NOT_FINITE),
    ]
    found = np.select([at for at, _ in checks], list(range(len(checks))), default=-1)
    return [None if i < 0 else checks[i][1] for i in found.tolist()]


def _readings(
    last: Floats, legs: Ints, windows: Ints, statistics: SpreadStatistics, problems: Sequence[Reason | None]
) -> list[SpreadReading | Reason]:
    columns = zip(
        last[legs[0]].tolist(),
        last[legs[1]].tolist(),
        statistics.spread.tolist(),
        statistics.mean.tolist(),
        statistics.sd.tolist(),
        statistics.z.tolist(),
        windows.tolist(),
        strict=True,
    )
    return [problem or SpreadReading(*numbers) for problem, numbers in zip(problems, columns, strict=True)]
