"""Priors from known positives: against a loop over heights, where classes separate, and what does not matter."""

import math

import numpy as np
import pytest
from scipy.special import expit

from assay.kernels.positive_priors import DELTA, best_bin, shifts


def drawn(n: int, prior: float, rate: float, seed: int, gap: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of rows, of which a share has the tag and a part of that share is known."""
    rng = np.random.default_rng(seed)
    there = rng.random(n) < prior
    return rng.normal(size=n) + gap * there, there & (rng.random(n) < rate)


@pytest.mark.parametrize("ticks", [None, 2])
def test_it_is_the_loop_over_heights(ticks):
    scores, known = drawn(300, 0.3, 0.4, 0)
    scores = scores if ticks is None else np.round(scores * ticks) / ticks
    room = math.sqrt(math.log(4 / DELTA) / 600) + math.sqrt(math.log(4 / DELTA) / (2 * known.sum()))
    best = min(
        ((np.mean(scores >= t) + 1.01 * room) / np.mean(scores[known] >= t), -t)
        for t in np.unique(scores)
        if (scores[known] >= t).any()
    )
    at = -best[1]
    found = best_bin(scores, known)
    assert found[1] == pytest.approx(min(1, best[0]))
    assert found[0] == pytest.approx(np.mean(scores >= at) / np.mean(scores[known] >= at))


def test_it_finds_the_prior_where_the_tag_separates():
    found = np.array([best_bin(*drawn(5000, 0.2, 0.3, seed, gap=6.0)) for seed in range(20)])
    assert abs(found[:, 0].mean() - 0.2) < 0.01
    assert (found[:, 1] > 0.19).all()


def test_only_the_order_of_scores_and_not_that_of_rows_matters():
    scores, known = drawn(500, 0.3, 0.4, 1)
    order = np.random.default_rng(0).permutation(500)
    assert best_bin(scores, known) == best_bin(np.exp(scores), known) == best_bin(scores[order], known[order])


def test_where_all_rows_are_known_all_have_the_tag():
    assert best_bin(np.zeros(10), np.ones(10)) == (1.0, 1.0)


def test_shifts_bring_the_mean_to_the_prior():
    rng = np.random.default_rng(0)
    logits = rng.normal([0, 50, -500], [1, 20, 300], size=(400, 3))
    for priors in ([0.2, 0.5, 0.9], [1e-3, 1e-3, 1 - 1e-3]):
        found = shifts(logits, priors)
        np.testing.assert_allclose(expit(logits + found).mean(0), priors, rtol=1e-6)
