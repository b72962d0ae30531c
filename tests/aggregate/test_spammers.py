"""Spammers: scores and common errors by loops, guessers, constant answers, copies, honest crowds, order."""

import itertools

import numpy as np
import pytest
from scipy import stats
from tests.aggregate.crowds import crowd, permuted

from assay.aggregate.spammers import Spammers, blind_p, informed
from assay.errors import InputError
from assay.kernels.vote_copies import answer_counts, repeated_errors
from assay.kernels.vote_table import vote_table
from assay.labels import Soft, Space, Votes

SPACE = Space(("a", "b", "c"))


def motley(seed=0, w=30, n=300, votes_each=120, guesser=False, constant=False, copies=0, hard=False):
    """Honest workers of accuracy 0.55 to 0.9; 0 may guess, 1 may say one class, 2 and `copies` more share a sheet."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n)
    skill = rng.uniform(0.55, 0.9, size=w)
    lure = (truth + rng.integers(1, 3, size=n)) % 3  # on hard tasks all who err fall for one class
    hardness = rng.uniform(0.5, 1.0, size=n) if hard else np.ones(n)
    right = rng.random((w, n)) < skill[:, None] * hardness
    errors = np.where(rng.random((w, n)) < 0.7, lure, rng.integers(3, size=(w, n))) if hard else None
    wrong = (truth + rng.integers(1, 3, size=(w, n))) % 3 if errors is None else errors
    said = np.where(right, truth, wrong)
    if guesser:
        said[0] = rng.integers(3, size=n)
    if constant:
        said[1] = 1
    for j in range(3, 3 + copies):
        said[j] = np.where(rng.random(n) < 0.9, said[2], said[j])
    task = np.concatenate([rng.permutation(n)[:votes_each] for _ in range(w)])
    worker = np.repeat(np.arange(w), votes_each)
    votes = Votes(SPACE, task, worker, said[worker, task], np.arange(n), np.arange(w))
    return votes, Soft(SPACE, np.eye(3)[truth])


def soft(votes, truth):
    return Soft(votes.space, 0.8 * np.eye(votes.space.n_classes)[truth] + 0.2 / votes.space.n_classes)


# By hand


def test_counts_and_common_errors_equal_loops():
    votes, truth = crowd(n=30, w=6, k=3, per_task=3, weight=True)
    p = soft(votes, truth).p
    columns = votes.task, votes.worker, votes.label
    table = vote_table(*columns, 30, 6, 3, votes.weight)
    counts = np.zeros((6, 3, 3))
    for i, j, y, weight in zip(*columns, votes.weight, strict=True):
        counts[j, :, y] += weight * p[i]
    assert np.allclose(answer_counts(table, p), counts)
    tables = (counts + 1) / (counts + 1).sum(axis=2, keepdims=True)
    common, observed, forth = np.zeros((3, 6, 6))
    for x, y in itertools.permutations(range(votes.n_votes), 2):
        (i, a, mine), (other, b, theirs) = ((c[x] for c in columns), (c[y] for c in columns))
        if i == other and a != b:
            common[a, b] += 1
            observed[a, b] += (1 - p[i, mine]) * (mine == theirs)
            forth[a, b] += (1 - p[i, mine]) * (p[i] @ tables[b, :, mine])
    found = repeated_errors(table, p, tables)
    at = np.nonzero(np.triu(common))
    assert np.array_equal(np.stack(at), np.stack([found.first, found.second]))
    assert np.allclose(found.common, common[at])
    assert np.allclose(found.observed, observed[at])
    assert np.allclose(found.forth, forth[at])
    assert np.allclose(found.back, forth.T[at])


def test_score_of_known_tables():
    counts = 1e9 * np.array([np.eye(2), np.full((2, 2), 0.5), [[0.0, 1.0], [0.0, 1.0]], [[0.8, 0.2], [0.2, 0.8]]])
    assert np.allclose(informed(counts), [1, 0, 0, 0.36])  # (a + b - 1)^2 with two classes
    assert np.isnan(informed(np.array([[[9.0, 1.0], [0.0, 0.0]]]))[0])


def test_blind_equals_scipy():
    counts = np.random.default_rng(0).integers(1, 30, size=(5, 3, 3)).astype(float)
    expected = [stats.chi2_contingency(table, correction=False).pvalue for table in counts]
    assert np.allclose(blind_p(counts), expected)
    assert blind_p(np.array([[[5.0, 0.0], [5.0, 0.0]]])).tolist() == [1]


def test_guessers_score_nothing_on_average():
    rng = np.random.default_rng(0)
    said = rng.multinomial(10, [0.5, 0.3, 0.2], size=(4000, 3)).astype(float)
    rows = said / 10
    apart = ((rows - rows.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2)) / 2
    noise = (1 - (rows**2).sum(axis=2)).sum(axis=1) / 9 * (1 - 1 / 3) / 2
    assert abs((apart - noise).mean()) < 0.003
    assert np.allclose(informed(said), np.clip(apart - noise, 0, 1))


# Limits


def test_guesser_constant_and_copies_are_found():
    votes, belief = motley(guesser=True, constant=True, copies=2)
    model = Spammers().fit(votes, belief)
    rows = model.workers()
    assert rows["spammer"][:2].all()
    assert not rows["spammer"][2:].any()
    assert rows["constant"][1] == 1
    assert rows["copies"][2:5].tolist() == [2, 2, 2]
    assert not model.copier_[5:].any()
    surest = model.copies()
    assert {*surest["worker"][:3].tolist(), *surest["other"][:3].tolist()} == {2, 3, 4}
    assert model.evidence()["copier"].sum() == 3 * 120


def test_no_votes_and_tasks_without_a_belief():
    empty = Votes(SPACE, [], [], [], [0], ["x"])
    model = Spammers().fit(empty, Soft(SPACE, np.full((1, 3), 1 / 3)))
    assert not model.spammer_.any()
    assert not model.copier_.any()
    votes, belief = motley(copies=1)
    mask = np.arange(votes.n_rows) < 200
    masked = Spammers().fit(votes, Soft(SPACE, np.where(mask[:, None], belief.p, np.nan), mask))
    less = Spammers().fit(votes.take(np.flatnonzero(mask)), belief.take(np.flatnonzero(mask)))
    assert np.array_equal(masked.workers()["informed"], less.workers()["informed"])
    assert np.isnan(masked.evidence()["right"]).any()


def test_bad_input_teaches():
    votes, belief = motley()
    for model, words in ((Spammers(level=0), "level"), (Spammers(min_common=0), "min_common")):
        with pytest.raises(InputError, match=words):
            model.fit(votes, belief)
    with pytest.raises(InputError, match="rows for"):
        Spammers().fit(votes, belief.take([0]))


# State and permutation


def test_order_does_not_matter():
    votes, truth = crowd(n=100, w=8, weight=True)
    rng = np.random.default_rng(3)
    tasks = rng.permutation(100)
    belief = soft(votes, truth)
    here = Spammers(min_common=1).fit(votes, belief)
    there = Spammers(min_common=1).fit(permuted(votes, rng.permutation(votes.n_votes), tasks), belief.take(tasks))
    assert np.allclose(here.workers()["informed"], there.workers()["informed"], atol=1e-12)
    assert np.allclose(here.copies()["p"], there.copies()["p"], atol=1e-12)


@pytest.mark.claim
def test_claim_honest_crowds_and_power():
    for hard in (False, True):
        honest = [Spammers().fit(*motley(seed, hard=hard)) for seed in range(100)]
        assert np.mean([model.copier_.any() for model in honest]) <= 0.05
        assert hard or np.mean([model.spammer_ for model in honest]) <= 0.01  # on hard tasks some are near a guess
    found = [Spammers().fit(*motley(seed, guesser=True, constant=True, copies=2)) for seed in range(30)]
    assert np.mean([model.spammer_[:2].mean() for model in found]) > 0.85
    assert np.mean([model.copier_[2:5].mean() for model in found]) > 0.9
