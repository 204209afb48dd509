"""What p-values are worth once many were looked at."""

from __future__ import annotations

import numpy as np

from src.shared.domain.bars import Floats


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Adjust p-values by Benjamini and Hochberg's step-up procedure over all that are given; any shape, it is kept.

    Those at most q then hold an expected share of at most q of false discoveries, where the tests are independent
    or positively dependent. NaN policy: what is NaN was not tested; it stays NaN and does not count.
    """
    flat = p_values.ravel()
    adjusted = np.full(flat.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(flat))
    order = tested[np.argsort(flat[tested])]
    scaled = flat[order] * (tested.size / np.arange(1, tested.size + 1))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted.reshape(p_values.shape)
