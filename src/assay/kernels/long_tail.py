"""What it costs not to fit what was seen once (Feldman, STOC 2020, arXiv 1906.05271).

The data are N subpopulations (or points), whose labels cannot be told from one another. Their frequencies are drawn
from a prior, a list p: D(x) = p_x / sum p, each p_x uniform from the list. A learner that errs on `errn(l)` of the
subpopulations that it has seen l times among n rows has, beyond what no learner can avoid, the error

    sum over l of tau_l errn(l),      tau_l = E[a^(l+1) (1-a)^(n-l)] / E[a^l (1-a)^(n-l)],     a = D(x)

tau_l is the expected frequency of a subpopulation that was seen l times: what each one that is not fitted costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp, ndtri

from assay.errors import InputError

Floats = npt.NDArray[np.float64]


def zipf(n_points: int) -> Floats:
    """The prior (N,) in which the i-th subpopulation is 1 / i as frequent as the first."""
    return 1.0 / np.arange(1, n_points + 1)


def tau(prior: npt.ArrayLike, n: int, seen: int, draws: int = 20, random_state: int = 0) -> tuple[float, float]:
    """tau_l and the share of the N subpopulations of which exactly l = `seen` rows are expected among n.

    The frequencies are drawn `draws` times from the prior (N,).

    >>> value, share = tau(np.ones(1000), n=1000, seen=1)
    >>> round(1000 * value, 6), round(share, 3)
    (1.0, 0.368)
    """
    p = np.asarray(prior, dtype=np.float64)
    if p.ndim != 1 or not len(p) or not np.isfinite(p).all() or (p < 0).any() or not p.any():
        raise InputError(f"A prior is a list of frequencies, none negative and not all zero; got shape {p.shape}.")
    if not 0 <= seen < n:
        raise InputError(f"A subpopulation was seen {seen} times among {n} rows: 0 <= seen < n is needed.")
    rng = np.random.default_rng(random_state)
    D = rng.choice(p, (draws, len(p)))
    D = (D / D.sum(axis=1, keepdims=True)).ravel()
    with np.errstate(divide="ignore"):
        rest = (n - seen) * np.log1p(-np.minimum(D, 1 - 1e-16))  # where a point is certain, 1 - a is 0
        logs = rest + (seen * np.log(D) if seen else 0.0)  # log of a^l (1-a)^(n-l), which underflows itself
        share = logsumexp(logs) - np.log(len(D)) + gammaln(n + 1) - gammaln(seen + 1) - gammaln(n - seen + 1)
        return float(np.exp(logsumexp(logs + np.log(D)) - logsumexp(logs))), float(np.exp(share))


def good_turing(sizes: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """tau_l from data alone, without a prior: `l`, `N_l` and `tau_l`, each (m,), for every size that occurs.

    `sizes` (N,) are the rows of each subpopulation that was seen. As E N_l = N C(n, l) E[a^l (1-a)^(n-l)], the ratio
    of the definition is the estimate of Good and Turing, tau_l = (l + 1) / n N_(l+1) / N_l. Raw frequencies l / n are
    too high for the tail. Single values are rough where N_(l+1) is small; the cost of all subpopulations seen l
    times, tau_l N_l = (l + 1) N_(l+1) / n, has a standard error of (l + 1) sqrt(N_(l+1)) / n.
    """
    counts = np.bincount(np.asarray(sizes, dtype=np.int64))
    seen = np.flatnonzero(counts[1:]) + 1
    after = np.append(counts, 0)[seen + 1]
    n = int(np.sum(np.asarray(sizes)))
    return seen.astype(np.float64), counts[seen].astype(np.float64), (seen + 1) / n * after / counts[seen]


def private_memorization(epsilon: float, delta: float = 0.0) -> float:
    """The most that an (epsilon, delta)-private learner can memorise any row.

    The chances p with the row and q without it obey p <= e^epsilon q + delta and 1 - q <= e^epsilon (1 - p) + delta,
    so that p - q <= (e^epsilon - 1 + 2 delta) / (e^epsilon + 1).

    >>> round(private_memorization(1.0), 3)
    0.462
    """
    return float(min((np.expm1(epsilon) + 2 * delta) / (np.exp(epsilon) + 1), 1.0))


def private_accuracy(epsilon: float, delta: float, n_classes: int, seen: npt.ArrayLike = 1) -> Floats:
    """The best chance that a private learner is right about a label in k that nothing else tells, seen l times.

    By the privacy of groups, with e = e^(l epsilon) and d = delta (e - 1) / (e^epsilon - 1): the lesser of
    e / k + d and 1 - (1 - 1 / k - d) / e.

    >>> private_accuracy(1.0, 0.0, 10, [0, 1, 3]).round(2).tolist()
    [0.1, 0.27, 0.96]
    """
    times = np.asarray(seen, dtype=np.float64)
    grown = np.expm1(np.minimum(times * epsilon, 500.0))
    leak = delta * (grown / np.expm1(epsilon) if epsilon > 0 else times)
    best = np.minimum((1 + grown) / n_classes + leak, 1 - (1 - 1 / n_classes - leak) / (1 + grown))
    return np.asarray(np.minimum(best, 1.0))


def tail_cost(
    group: npt.ArrayLike, before: npt.ArrayLike, after: npt.ArrayLike, alpha: float = 0.05
) -> dict[str, npt.NDArray[Any]]:
    """Who pays when a model is made smaller or private: the accuracy of each group, before and after.

    Parameters
    ----------
    group : (n,) what each row belongs to: a subpopulation, how often that was seen in training, tenths of memorization.
    before, after : (n,) whether the two models are right about the row.
    alpha : one minus the level of the intervals.

    Returns
    -------
    One entry per group, in order: `group`, `rows`, `before`, `after`, `drop` and its bounds `drop_low`, `drop_high`,
    for pairs (Agresti and Min, 2005: half a row more of each of the four outcomes).

    >>> cost = tail_cost(["head"] * 50 + ["tail"] * 50, [True] * 100, [True] * 50 + [False] * 50)
    >>> cost["group"].tolist(), cost["drop"].tolist()
    (['head', 'tail'], [0.0, 1.0])
    """
    was, now = np.asarray(before).astype(bool), np.asarray(after).astype(bool)
    names, at = np.unique(np.asarray(group), return_inverse=True)
    if was.shape != at.shape or now.shape != at.shape:
        raise InputError(f"Got {len(at)} groups, and right answers of shape {was.shape} and {now.shape}: one a row.")
    rows = np.bincount(at, minlength=len(names))
    lost, won = (np.bincount(at[where], minlength=len(names)) for where in (was & ~now, ~was & now))
    middle = (lost - won) / (rows + 2)
    spread = np.sqrt(np.maximum((lost + won + 1) / (rows + 2) - middle**2, 0) / (rows + 2))
    reach = float(ndtri(1 - alpha / 2)) * spread
    share = [np.bincount(at[right], minlength=len(names)) / rows for right in (was, now)]
    return {
        **{"group": names, "rows": rows, "before": share[0], "after": share[1], "drop": (lost - won) / rows},
        **{"drop_low": middle - reach, "drop_high": middle + reach},
    }
