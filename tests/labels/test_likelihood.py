"""Losses against the plain sum over every joint assignment, and their limits."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import InputError
from assay.labels import Candidates, Censored, Hard, Preferences, Proportions, Space, Votes, convert
from assay.labels import likelihood as ll
from assay.labels.preferences import TIE, A, B

SPACE = Space(("a", "b", "c"))
N, K, W = 4, 3, 2
seeds = st.integers(0, 2**32 - 1)


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def brute(p, kernel):
    """-log of the sum over all 3^4 joint truths of kernel(truth) times its probability."""
    total = 0.0
    for truth in product(range(K), repeat=N):
        total += kernel(truth) * np.prod([p[i, y] for i, y in enumerate(truth)])
    return -np.log(total)


def draw(seed):
    rng = np.random.default_rng(seed)
    log_p = log_softmax(rng.normal(size=(N, K)))
    return rng, log_p, np.exp(log_p)


@given(seeds)
@settings(max_examples=20)
def test_noisy_is_the_brute_force_sum(seed):
    rng, log_p, p = draw(seed)
    transition = rng.dirichlet(np.ones(K), size=K)
    said = rng.integers(K, size=N)
    expected = brute(p, lambda truth: np.prod([transition[y, e] for y, e in zip(truth, said, strict=True)]))
    assert ll.noisy_loss(log_p, Hard(SPACE, said), transition).sum() == pytest.approx(expected, abs=1e-6)


@given(seeds)
@settings(max_examples=20)
def test_candidates_are_the_brute_force_sum(seed):
    rng, log_p, p = draw(seed)
    possible = rng.random((N, K)) < 0.5
    possible[np.arange(N), rng.integers(K, size=N)] = True
    expected = brute(p, lambda truth: all(possible[i, y] for i, y in enumerate(truth)))
    loss = ll.candidates_loss(log_p, Candidates.from_indicator(SPACE, possible))
    assert loss.sum() == pytest.approx(expected, abs=1e-9)


@given(seeds)
@settings(max_examples=20)
def test_votes_are_the_brute_force_sum(seed):
    rng, log_p, p = draw(seed)
    confusion = rng.dirichlet(np.ones(K), size=(W, K))
    task, worker, label = rng.integers(N, size=7), rng.integers(W, size=7), rng.integers(K, size=7)
    votes = Votes(SPACE, task, worker, label, np.arange(N), np.arange(W))
    expected = brute(
        p, lambda truth: np.prod([confusion[w, truth[t], e] for t, w, e in zip(task, worker, label, strict=True)])
    )
    assert ll.votes_loss(log_p, votes, confusion).sum() == pytest.approx(expected, abs=1e-6)


@given(seeds)
@settings(max_examples=20)
def test_bags_are_the_brute_force_sum(seed):
    rng, log_p, p = draw(seed)
    bag = np.array([0, 1, 0, 0])
    bags = convert.proportions_from_hard(Hard(SPACE, rng.integers(K, size=N)), bag, missing="refuse")

    def kernel(truth):
        counts = np.bincount(bag * K + np.array(truth), minlength=2 * K).reshape(2, K)
        return np.array_equal(counts, bags.counts)

    assert ll.bag_loss(log_p, bags).sum() == pytest.approx(brute(p, kernel), abs=1e-9)


def losses_of_hard(labels):
    """Each type of label that says exactly what these hard labels say, and its loss."""
    one = convert.proportions_from_hard(labels, np.arange(labels.n_rows), missing="refuse")
    return {
        "hard": lambda log_p: ll.hard_loss(log_p, labels),
        "candidate set of one": lambda log_p: ll.candidates_loss(log_p, convert.candidates_from_hard(labels)),
        "bag of one": lambda log_p: ll.bag_loss(log_p, one),
        "mean of a bag of one": lambda log_p: ll.bag_mean_loss(log_p, one),
        "noise of zero": lambda log_p: ll.noisy_loss(log_p, labels, np.eye(K)),
        "vote of a perfect worker": lambda log_p: ll.votes_loss(
            log_p, convert.votes_from_hard(labels, worker="x"), np.eye(K)[None]
        ),
    }


@given(seeds)
@settings(max_examples=10)
def test_what_says_the_same_has_the_same_loss_and_gradient(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(N, K))
    labels = Hard(SPACE, rng.integers(K, size=N))
    analytic = np.exp(log_softmax(logits)) - np.eye(K)[labels.y]  # softmax minus one-hot
    for name, loss in losses_of_hard(labels).items():
        assert np.allclose(loss(log_softmax(logits)), ll.hard_loss(log_softmax(logits), labels), atol=1e-6), name
        numeric = np.empty((N, K))
        for i, j in product(range(N), range(K)):
            step = np.zeros((N, K))
            step[i, j] = 1e-5
            up, down = loss(log_softmax(logits + step)).sum(), loss(log_softmax(logits - step)).sum()
            numeric[i, j] = (up - down) / 2e-5
        assert np.allclose(numeric, analytic, atol=1e-6), name


def test_unlabelled_rows_cost_nothing():
    _, log_p, _ = draw(0)
    nothing = Hard(SPACE, np.zeros(N, dtype=int), np.zeros(N, dtype=bool))
    assert ll.hard_loss(log_p, nothing).tolist() == [0] * N
    assert ll.noisy_loss(log_p, nothing, np.eye(K)).tolist() == [0] * N
    assert np.allclose(ll.candidates_loss(log_p, convert.candidates_from_hard(nothing)), 0)
    silent = Votes(SPACE, [], [], [], np.arange(N), np.array(["x"]))
    assert ll.votes_loss(log_p, silent, np.eye(K)[None]).tolist() == [0] * N


def test_an_impossible_observation_costs_about_twenty_nats():
    log_p = np.log(np.array([[1 - 2e-300, 1e-300, 1e-300]]))
    loss = ll.noisy_loss(log_p, Hard(SPACE, [1]), np.eye(K))
    assert loss[0] == pytest.approx(-np.log(1e-9), rel=1e-6)


def test_a_two_class_bag_is_the_poisson_binomial():
    space, m = Space(("no", "yes")), 12
    rng = np.random.default_rng(1)
    p = rng.random(m)
    log_p = np.log(np.stack([1 - p, p], axis=1))
    exact = np.array([1.0])
    for q in p:
        exact = np.convolve(exact, [1 - q, q])
    for ones in (0, 5, m):
        bags = Proportions(space, m, np.array([0, m]), np.arange(m), np.array([[m - ones, ones]]))
        assert ll.bag_loss(log_p, bags)[0] == pytest.approx(-np.log(exact[ones]), abs=1e-9)


def test_a_bag_that_is_too_large_says_what_to_use():
    k = 10
    space = Space(tuple("abcdefghij"))
    counts = np.full((1, k), 10)
    bags = Proportions(space, 100, np.array([0, 100]), np.arange(100), counts)
    log_p = np.full((100, k), -np.log(k))
    with pytest.raises(InputError, match="bag_mean_loss") as caught:
        ll.bag_loss(log_p, bags)
    assert caught.value.row == 0
    assert ll.bag_mean_loss(log_p, bags)[0] == pytest.approx(100 * np.log(k))


def test_bounds_under_an_exponential_model():
    rate = 0.5
    bounds = Censored(Censored.exact([0]).space, [2.0, 2.0, 1.0, 0.0], [2.0, np.inf, 3.0, np.inf])
    with np.errstate(invalid="ignore"):
        loss = ll.censored_loss(bounds, np.log(rate) - rate * bounds.lo, -rate * bounds.lo, -rate * bounds.hi)
    expected = [
        -np.log(rate * np.exp(-2 * rate)),
        2 * rate,
        -np.log(np.exp(-rate) - np.exp(-3 * rate)),
        0.0,  # "some time" says nothing
    ]
    assert np.allclose(loss, expected)
    assert (ll.censored_loss(bounds, *[np.full(4, -np.inf)] * 3)[1:] > 600).sum() >= 1  # finite, however wrong


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=5))
def test_an_event_everywhere_and_equal_bounds_are_the_exact_likelihood(times):
    exact = Censored.from_time_event(times, np.ones(len(times), dtype=bool))
    log_density = -exact.lo
    for same in (exact, Censored(exact.space, exact.lo, exact.lo), Censored.exact(times)):
        assert np.allclose(ll.censored_loss(same, log_density, -same.lo, -same.hi), exact.lo)


def test_preferences_by_hand():
    preferences = Preferences(2, [0, 0, 0], [1, 1, 1], [A, B, TIE])
    a, b, tie = ll.preference_loss([2.0, 0.5], preferences)
    assert a == pytest.approx(np.log1p(np.exp(-1.5)))
    assert b == pytest.approx(np.log1p(np.exp(1.5)))
    assert tie == pytest.approx((a + b) / 2)
    assert np.isfinite(ll.preference_loss([1e6, -1e6], preferences)).all()


def test_the_fitted_scores_are_where_the_loss_is_least():
    preferences = Preferences(3, [0, 0, 1, 2], [1, 2, 2, 0], [A, A, TIE, A])
    best = convert.scores_from_preferences(preferences, ridge=0.3)

    def objective(scores):
        return ll.preference_loss(scores, preferences).sum() + 0.15 * (scores @ scores)

    for step in np.vstack([np.eye(3), -np.eye(3)]) * 1e-3:
        assert objective(best) < objective(best + step)


@pytest.mark.parametrize(
    ("call", "says", "row"),
    [
        (lambda lp: ll.hard_loss(lp[:, :2], Hard(SPACE, [0] * 4)), "shape (4, 3)", None),
        (lambda lp: ll.hard_loss(-lp, Hard(SPACE, [0] * 4)), "above 0", 0),
        (lambda lp: ll.noisy_loss(lp, Hard(SPACE, [0] * 4), np.eye(2)), "shape (3, 3)", None),
        (lambda lp: ll.noisy_loss(lp, Hard(SPACE, [0] * 4), np.diag([1, 1, 0.5])), "add up to 1", 2),
        (lambda lp: ll.preference_loss([1.0], Preferences(2, [0], [1], [A])), "2 scores", None),
    ],
)
def test_errors(call, says, row):
    with pytest.raises(InputError) as caught:
        call(draw(0)[1])
    assert says in str(caught.value)
    assert caught.value.row == row
