"""Follow an expectation-maximisation map uphill, by single steps or by jumps that are taken back when they fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Climb(NamedTuple):
    """Where an ascent ended.

    `at` (m,) are the parameters of the last entries of `log_likelihood` and `objective`; `objective` never falls.
    `n_iter` counts the steps computed, those taken back too.
    """

    at: Floats
    log_likelihood: list[float]
    objective: list[float]
    converged: bool
    n_iter: int


def climb(
    step: Callable[[Floats], tuple[float, float, Floats]],
    start: Floats,
    *,
    max_iter: int,
    tol: float,
    project: Callable[[Floats], Floats] | None = None,
) -> Climb:
    """Follow EM until the objective gains less than `tol`, or for `max_iter` steps.

    Parameters
    ----------
    step : parameters (m,) to the log-likelihood there, the objective there, and the next parameters.
    start : (m,) first parameters.
    project : maps any numbers (m,) to legal parameters. When given, every third step is a jump along the path of the
        two before (SQUAREM, Varadhan and Roland 2008), taken back if the objective falls by it.
    """
    likelihoods: list[float] = []
    objectives: list[float] = []
    at, path, retreat = start, [start], None
    for used in range(1, max_iter + 1):
        likelihood, objective, after = step(path[-1])
        if retreat is not None and objective < objectives[-1]:
            path, retreat = [retreat], None
            continue
        gain = objective - objectives[-1] if objectives else np.inf
        at = path[-1]
        likelihoods.append(likelihood)
        objectives.append(objective)
        if gain < tol:
            return Climb(at, likelihoods, objectives, True, used)
        path = [*path, after] if project is not None and retreat is None else [after]
        retreat = None
        if project is not None and len(path) == 3:
            retreat = path[2]
            path = [project(_jump(*path))]
    return Climb(at, likelihoods, objectives, False, max_iter)


def _jump(a: Floats, b: Floats, c: Floats) -> Floats:
    """The point where a curve through three points of an EM path heads; c itself when the path does not bend."""
    step, bend = b - a, c - 2 * b + a
    curvature = float(np.linalg.norm(bend))
    length = max(float(np.linalg.norm(step)) / curvature, 1.0) if curvature > 0 else 1.0
    return a + 2 * length * step + length**2 * bend
