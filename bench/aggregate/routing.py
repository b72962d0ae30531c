"""Quality of a data set against minutes of people: which rows to show them, and which labels the other rows keep.

A row that a person looks at becomes right; all rows cost the same. So a policy is the quality of the label that each
row keeps, and an order in which rows are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Policy = tuple[Floats, Floats]
"""Quality (n,) of the labels kept, 0 to 1, and urgency (n,): the most urgent row is shown first."""
SHARES = (0.0, 0.1, 0.2, 0.3)
MOST = 0.5  # of the rows: the mean quality is taken up to here


def curve(policy: Policy) -> Floats:
    """Mean quality (n + 1,) after 0, 1, ... n rows were shown."""
    quality, urgency = policy
    gain = 1 - quality[np.argsort(-urgency, kind="stable")]
    return np.asarray((quality.sum() + np.concatenate([[0.0], np.cumsum(gain)])) / len(quality))


def measures(policy: Policy) -> Floats:
    """Quality at each of `SHARES` of the rows shown, and its mean up to half of them."""
    course = curve(policy)
    n = len(course) - 1
    return np.array([*(course[round(share * n)] for share in SHARES), course[: round(MOST * n) + 1].mean()])


def names() -> list[str]:
    """Names of the measures."""
    return [*(f"quality with {share:.0%} of the rows shown to people" for share in SHARES), "mean quality up to half"]


def compare(
    ours: Callable[[int], Policy],
    rivals: Callable[[int], Mapping[str, Policy]],
    groups: Callable[[int], npt.NDArray[np.integer]],
    seeds: int,
    resamples: int,
) -> tuple[Floats, dict[str, Floats], Floats, Floats]:
    """Mean measures of ours (5,), of each rival (5,), lead over the best rival (5,) and its 95 % interval (2, 5).

    Each seed draws which labels are known. Rows are redrawn by group within each seed, ours and rivals together; the
    best rival is the one that is best in hindsight on the mean over the seeds, for each measure.
    """
    mine, theirs, drawn_mine, drawn_theirs = [], [], [], []
    for seed in range(seeds):
        policy, others, group = ours(seed), rivals(seed), groups(seed)
        mine.append(measures(policy))
        theirs.append([measures(one) for one in others.values()])
        members = [np.flatnonzero(group == one) for one in np.unique(group)]
        rng = np.random.default_rng(seed)
        for _ in range(resamples):
            rows = np.concatenate([members[at] for at in rng.integers(0, len(members), len(members))])
            drawn_mine.append(measures((policy[0][rows], policy[1][rows])))
            drawn_theirs.append([measures((one[0][rows], one[1][rows])) for one in others.values()])
    mean_mine, mean_theirs = np.mean(mine, axis=0), np.mean(theirs, axis=0)
    best = mean_theirs.argmax(axis=0)
    at = np.arange(len(best))
    leads = np.array(drawn_mine) - np.array(drawn_theirs)[:, best, at]
    bounds = np.quantile(leads, [0.025, 0.975], axis=0)
    named = dict(zip(rivals(0), mean_theirs, strict=True))
    return mean_mine, named, mean_mine - mean_theirs[best, at], bounds
