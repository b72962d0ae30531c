"""What everybody would answer: the mixture through votes, weights, bad options, and CIFAR-10H's other fifty people."""

import numpy as np
import pytest
from tests.aggregate.crowds import crowd, permuted

from assay.aggregate.opinions import Opinions, agreement_with
from assay.errors import InputError
from assay.kernels.calibration import cross_entropy
from assay.kernels.intervals import wilson
from assay.kernels.vote_dirichlet import believe, fit_mixture
from assay.labels import Space, Votes

# By hand


def test_belief_is_that_of_the_mixture_of_counts():
    votes, _ = crowd(weight=True)
    counts = np.zeros((votes.n_rows, 3))
    for i, label, weight in zip(votes.task, votes.label, votes.weight, strict=True):
        counts[i, label] += weight
    truth, shares = believe(fit_mixture(counts).mixture, counts)
    assert np.allclose(Opinions().fit(votes).belief_.p, truth)
    model = Opinions("next_vote").fit(votes)
    assert np.allclose(model.belief_.p, shares)
    assert np.allclose(model.truth_, truth)
    assert np.allclose(model.predict_proba(votes), shares)
    assert np.array_equal(model.predict(votes), shares.argmax(axis=1))


def test_workers_by_a_loop():
    votes, _ = crowd(n=20, w=4, per_task=3)
    model = Opinions().fit(votes)
    table = model.workers()
    for j in range(4):
        said = zip(votes.task, votes.worker, votes.label, strict=True)
        mine = [model.belief_.p[i, label] for i, who, label in said if who == j]
        assert table["agreement"][j] == pytest.approx(np.mean(mine))
        assert table["low"][j] == pytest.approx(float(wilson(sum(mine), len(mine))[0]))
        assert table["n_votes"][j] == len(mine)


# Limits


def test_three_of_three_is_surer_the_more_people_agree():
    def votes_of(tasks):
        said = [(i, j, label) for i, labels in enumerate(tasks) for j, label in enumerate(labels)]
        return Votes.from_long(*zip(*said, strict=True), Space(("n", "y")))

    alike = Opinions("next_vote").fit(votes_of(["nnn", "yyy"] * 50)).belief_.p[0, 0]
    apart = Opinions("next_vote").fit(votes_of(["nnn", "yyy"] * 10 + ["nny", "nyy"] * 40)).belief_.p[0, 0]
    assert 0.5 < apart < 0.9 < alike < 1


def test_nobody_voted():
    votes = Votes.from_long(["a", "b"], ["x", "x"], ["n", None], Space(("n", "y")))
    model = Opinions().fit(votes)
    assert np.allclose(model.belief_.p[1], model.prior_)
    none = votes.take([1])
    assert np.allclose(Opinions().fit(none).belief_.p, 0.5)
    assert np.isnan(agreement_with(none, Opinions().fit(none).belief_.p)["agreement"]).all()


# State


def test_order_of_votes_tasks_and_classes_does_not_matter():
    votes, _ = crowd()
    rng = np.random.default_rng(1)
    rows, tasks, classes = rng.permutation(votes.n_votes), rng.permutation(60), rng.permutation(3)
    one = Opinions().fit(votes)
    again = Opinions().fit(permuted(votes, rows, tasks, classes))
    assert np.allclose(again.belief_.p, one.belief_.p[tasks][:, classes], atol=1e-9)
    assert (np.diff(one.log_posterior_) >= -1e-9).all()
    assert one.converged_
    assert len(one.log_posterior_) == one.n_iter_


@pytest.mark.parametrize(("options", "words"), [({"belief": "share"}, "belief"), ({"max_iter": 0}, "max_iter")])
def test_bad_options(options, words):
    with pytest.raises(InputError, match=words):
        Opinions(**options).fit(crowd()[0])


# Claim


@pytest.mark.claim
def test_three_people_foretell_fifty_others(shared_data):
    with np.load(shared_data("cifar-10h/cifar10h.npz")) as file:
        counts = file["counts"].astype(np.int64)
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.multivariate_hypergeometric(row, 3) for row in counts])
    others = (counts - drawn) / (counts - drawn).sum(axis=1, keepdims=True)
    cell = np.repeat(np.arange(drawn.size), drawn.ravel())
    space = Space(tuple("0123456789"))
    votes = Votes(space, cell // 10, np.zeros(len(cell), int), cell % 10, np.arange(len(drawn)), np.array(["anyone"]))
    p = np.maximum(drawn / 3, 1e-6)
    shares = cross_entropy(p / p.sum(axis=1, keepdims=True), others)
    assert cross_entropy(Opinions("next_vote").fit(votes).belief_.p, others) < shares / 2
