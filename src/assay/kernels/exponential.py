"""An exponential that loops can be vectorised over."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from assay.kernels.probabilities import value

_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def exp_below_zero(x: Any) -> Any:
    """e^x for x <= 0, to the last bit or two: a series without branches, of which loops are vectorised."""
    x = max(x, -700.0)
    n = np.floor(x * _LOG2_E + 0.5)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    s = 1.0 / 6227020800.0
    s = s * r + 1.0 / 479001600.0
    s = s * r + 1.0 / 39916800.0
    s = s * r + 1.0 / 3628800.0
    s = s * r + 1.0 / 362880.0
    s = s * r + 1.0 / 40320.0
    s = s * r + 1.0 / 5040.0
    s = s * r + 1.0 / 720.0
    s = s * r + 1.0 / 120.0
    s = s * r + 1.0 / 24.0
    s = s * r + 1.0 / 6.0
    s = s * r + 0.5
    s = s * r + 1.0
    s = s * r + 1.0
    return s * value((np.int64(n) + 1023) << 52)  # 2^n
