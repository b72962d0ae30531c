"""The Dirichlet mixture of answers: sequential probabilities, brute force, an objective that never falls."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy.special import gammaln

from assay.kernels.vote_dirichlet import ALIKE, Mixture, believe, distinct_rows, fit_mixture


def answers(n=300, k=3, votes=5, seed=0, alike=4.0):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, k, n)
    shares = np.stack([rng.dirichlet(alike * (0.7 * np.eye(k)[c] + 0.3 / k)) for c in z])
    return np.stack([rng.multinomial(votes, p) for p in shares]).astype(np.float64), z, shares


# By hand


def test_belief_by_one_vote_after_the_other():
    mixture = Mixture(np.array([0.7, 0.3]), np.array([[3.0, 1.0], [0.5, 2.0]]))
    counts = np.array([[3.0, 1.0], [0.0, 0.0], [0.0, 4.0]])
    truth, shares = believe(mixture, counts)
    for row, (a, b) in enumerate(counts.astype(int)):
        chance = mixture.prior.copy()
        for z in range(2):
            seen = np.zeros(2)
            for vote in [0] * a + [1] * b:  # Polya's urn
                chance[z] *= (seen[vote] + mixture.alpha[z, vote]) / (seen.sum() + mixture.alpha[z].sum())
                seen[vote] += 1
        chance /= chance.sum()
        after = (counts[row] + mixture.alpha) / (counts[row].sum() + mixture.alpha.sum(axis=1, keepdims=True))
        assert np.allclose(truth[row], chance)
        assert np.allclose(shares[row], chance @ after)


def test_fit_reaches_what_a_general_search_reaches():
    # Two classes, symmetric: one free number a pair; the general search knows nothing of EM.
    counts, _, _ = answers(n=400, k=2, votes=6, seed=3)
    found = fit_mixture(counts, max_iter=3000, tol=1e-12)

    def loss(at):
        prior = np.array([1, np.exp(at[4])]) / (1 + np.exp(at[4]))
        alpha = np.exp(at[:4]).reshape(2, 2)
        total = alpha.sum(axis=1)
        logs = np.log(prior) + np.stack(
            [
                (gammaln(counts + alpha[z]) - gammaln(alpha[z])).sum(axis=1)
                - gammaln(counts.sum(axis=1) + total[z])
                + gammaln(total[z])
                for z in range(2)
            ],
            axis=1,
        )
        anchor = 0.5 * (counts / counts.sum(axis=1, keepdims=True)).sum(axis=0) + 0.5
        return -float(np.logaddexp.reduce(logs, axis=1).sum() + anchor @ np.log(prior))

    start = np.concatenate(
        [np.log(found.mixture.alpha).ravel(), [np.log(found.mixture.prior[1] / found.mixture.prior[0])]]
    )
    assert found.objective[-1] == pytest.approx(-loss(start), rel=1e-9)
    inside = found.mixture.alpha.sum(axis=1) < ALIKE - 1e-6
    if inside.all():
        assert optimize.minimize(loss, start, method="Nelder-Mead").fun >= loss(start) - 1e-2


def test_expected_shares_are_nearer_to_the_crowd_than_vote_shares():
    counts, _, shares = answers(n=3000, votes=4)
    _, expected = believe(fit_mixture(counts).mixture, counts)
    _, oracle = believe(Mixture(np.full(3, 1 / 3), 4.0 * (0.7 * np.eye(3) + 0.1)), counts)
    error = [((guess - shares) ** 2).sum() for guess in (expected, oracle, counts / 4)]
    assert error[0] < 1.03 * error[1]
    assert error[0] < 0.9 * error[2]


# Limits


def test_bounds_hold_and_classes_keep_their_names():
    counts = np.random.default_rng(0).multinomial(30, [0.5, 0.3, 0.2], size=200).astype(np.float64)  # one bag for all
    alpha = fit_mixture(counts).mixture.alpha
    assert (alpha.sum(axis=1) <= ALIKE + 1e-9).all()
    assert (np.diag(alpha) >= alpha.max(axis=1) - 1e-12).all()


def test_no_votes_and_tasks_without_votes():
    empty = fit_mixture(np.zeros((3, 2)))
    assert np.allclose(believe(empty.mixture, np.zeros((3, 2)))[0], 0.5)
    counts, _, _ = answers(n=50)
    mixture = fit_mixture(counts).mixture
    again = fit_mixture(np.concatenate([counts, np.zeros((4, 3))])).mixture
    assert np.allclose(mixture.alpha, again.alpha)
    assert np.allclose(believe(mixture, np.zeros((1, 3)))[0], mixture.prior)


def test_a_class_nobody_names_keeps_a_chance():
    counts = np.array([[3.0, 0, 0], [2, 1, 0], [0, 3, 0]])
    truth, shares = believe(fit_mixture(counts).mixture, counts)
    assert (truth > 0).all()
    assert (shares > 0).all()


# State


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([2, 3, 5]), st.booleans())
def test_objective_never_falls_and_order_does_not_matter(seed, k, weighted):
    counts, _, _ = answers(n=60, k=k, votes=4, seed=seed)
    if weighted:
        counts = counts * np.random.default_rng(seed).uniform(0.2, 2, (60, 1))
    found = fit_mixture(counts, max_iter=40)
    assert (np.diff(found.objective) >= -1e-9).all()
    rows = np.random.default_rng(seed).permutation(60)
    again = fit_mixture(counts[rows], max_iter=40)
    assert np.allclose(believe(again.mixture, counts[rows])[0], believe(found.mixture, counts)[0][rows], atol=1e-12)


def test_distinct_rows_are_those_of_numpy():
    rows = np.random.default_rng(0).integers(0, 3, (500, 4)).astype(np.float64)
    found, inverse, often = distinct_rows(rows)
    assert np.array_equal(found[inverse], rows)
    assert np.array_equal(np.sort(often), np.sort(np.unique(rows, axis=0, return_counts=True)[1]))
