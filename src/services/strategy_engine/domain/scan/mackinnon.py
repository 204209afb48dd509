"""P-values of the Engle–Granger test of two series, with a constant in the line between them.

The response surfaces are those of J. G. MacKinnon, "Approximate Asymptotic Distribution Functions for Unit-Root and
Cointegration Tests", Journal of Business & Economic Statistics 12 (1994), for two integrated series and a constant,
with the coefficients that `statsmodels.tsa.adfvalues` has of them.
"""

from __future__ import annotations

import numpy as np

from src.shared.domain.bars import Floats

# Beyond these the p-value is 0 or 1; between them one polynomial serves the left tail, another the rest.
LEAST_STATISTIC, MOST_STATISTIC = -18.86, 0.92
_LEFT_TAIL_ENDS = -2.62
_LEFT_TAIL = (2.92, 1.5012, 3.9796e-2)
_REST = (2.1945, 6.4695e-1, -2.9198e-1, -4.2377e-2)


def cointegration_p_values(statistics: Floats) -> Floats:
    """Turn t statistics of the residuals' unit-root test into p-values, in any shape.

    NaN policy: a statistic that is no number has p = 1, for it speaks for nothing.
    """
    from scipy.special import ndtr

    known = np.where(np.isnan(statistics), np.inf, statistics)
    bounded = np.clip(known, LEAST_STATISTIC, MOST_STATISTIC)
    left = np.polynomial.polynomial.polyval(bounded, _LEFT_TAIL)
    rest = np.polynomial.polynomial.polyval(bounded, _REST)
    values: Floats = ndtr(np.where(bounded <= _LEFT_TAIL_ENDS, left, rest))
    values = np.where(known > MOST_STATISTIC, 1.0, values)
    return np.where(known < LEAST_STATISTIC, 0.0, values)
