"""Simulated reviews that go on until the stop sign: how often is the rest truly as clean as the sign says?

A table of n rows; a model gives each a chance of being wrong that is right in the order but not in the number, flags
the worst, and learns a second hint while people review. Looks follow the rules of the queue: a share of them the random
audit, the others the worst by the chance of the moment as long as a look is worth something. After every few looks the
rate is computed from the rows judged so far, as `assay.review.progress` does, and the review ends as soon as what
remains is below the target.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import special

from assay.kernels.audit_draw import AuditOrder, mean_chances
from assay.kernels.review_worth import mistake_rate
from assay.review.progress import rate_of
from bench.review.rows import Bools, Floats

EVERY = 10  # looks between two looks at the sign
BATCH = 64  # random rows drawn together
RELEARN = 40  # looks between two changes of the ranking


class World(NamedTuple):
    """What is reviewed and by whom.

    Parameters
    ----------
    n, rate : rows, and the share of wrong labels.
    skill : how far apart the model's scores of wrong and right labels are, in standard deviations.
    flags : share of rows that are flagged, the worst by the model.
    mistakes : chance that a reviewer is mistaken about a row.
    """

    name: str
    n: int
    rate: float
    skill: float
    flags: float
    mistakes: float = 0.0


def worlds(n: int) -> Iterator[World]:
    """Models that are good, fair and poor, and one with people who make mistakes."""
    yield World("good model", n, 0.03, 3.5, 0.03)
    yield World("fair model", n, 0.03, 2.0, 0.05)
    yield World("poor model", n, 0.03, 0.7, 0.05)
    yield World("error rate near the target", n, 0.012, 1.5, 0.02)
    yield World("fair model, reviewers mistaken on 5 % of rows", n, 0.03, 2.0, 0.05, 0.05)


class Ended(NamedTuple):
    """How a campaign ended: looks made, and the share of labels that are wrong in truth after all repairs."""

    looks: int
    remaining: float


def campaign(world: World, share: float, target: float, seed: int) -> Ended:
    """Review one table until the sign; a row that the reviewer calls wrong gets its right label."""
    rng = np.random.default_rng([seed, 11])
    n = world.n
    wrong = rng.random(n) < world.rate
    base, over = special.logit(world.rate), 1.2  # the model is over-sure by a fifth
    prior = over * (base + evidence(rng, wrong, world.skill))
    hint = over * evidence(rng, wrong, 1.5)  # what verdicts teach
    flagged = np.zeros(n, dtype=bool)
    flagged[np.argsort(-prior)[: round(world.flags * n)]] = True
    order = AuditOrder(flagged, prior, seed)
    said = wrong != (rng.random(n) < world.mistakes)
    left, drawn = np.ones(n, dtype=bool), 0
    judged: dict[int, bool] = {}
    chance = special.expit(prior)
    means, mistakes = (
        mean_chances(flagged, chance),
        mistake_rate(0, 0),
    )  # a look at a likelier row puts more right than wrong
    worst, random = deque(np.argsort(-chance, kind="stable").tolist()), deque[int]()
    while left.any():
        while not left[worst[0]]:
            worst.popleft()
        row = worst[0]
        if drawn < share * (len(judged) + 1) or chance[row] <= mistakes:
            while random and not left[random[0]]:
                random.popleft()
            random = random or deque(order.next(left, means, BATCH).tolist())
            row = random[0]
            drawn += 1
        left[row] = False
        judged[row] = bool(said[row])
        if len(judged) % RELEARN == 0:
            chance = special.expit(prior + hint * min(len(judged) / 300, 1.0))
            worst = deque(np.argsort(-chance, kind="stable").tolist())
        if len(judged) % EVERY == 0 and rate_of(order, judged, ()).remaining_high < target:
            break
    # What was called wrong is repaired; a right label that was called wrong is spoilt.
    return Ended(len(judged), float(np.where(left, wrong, said != wrong).mean()))


def evidence(rng: np.random.Generator, wrong: Bools, skill: float) -> Floats:
    """Log-odds (n,) that a reading speaks for "wrong": normal, and `skill` standard deviations apart."""
    reading = rng.normal(size=len(wrong)) + skill * wrong
    return np.asarray(skill * reading - skill**2 / 2)
