import math

import numpy as np
import pytest
from sklearn import metrics

from assay.errors import InputError
from assay.kernels.calibration import auroc, average_precision, brier, ece, nll


def sample(n=200, k=4, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(k, 0.5), size=n)
    labels = np.array([rng.choice(k, p=row) for row in probs])
    return probs, labels, rng.integers(1, 4, n)


# By hand ------------------------------------------------------------------------------------------------------------


def test_scores_equal_a_plain_loop():
    probs, labels, weights = sample()
    log = square = 0.0
    for row, label, weight in zip(probs, labels, weights, strict=True):
        log -= weight * math.log(row[label])
        square += weight * sum((value - (column == label)) ** 2 for column, value in enumerate(row))
    assert math.isclose(nll(probs, labels, weights), log / weights.sum())
    assert math.isclose(brier(probs, labels, weights), square / weights.sum())


def test_ece_equals_a_plain_loop():
    probs, labels, weights = sample()
    gaps = 0.0
    for b in range(15):
        chosen = [i for i in range(len(labels)) if min(int(probs[i].max() * 15), 14) == b]
        gaps += abs(sum(weights[i] * (probs[i].max() - (probs[i].argmax() == labels[i])) for i in chosen))
    assert math.isclose(ece(probs, labels, weights), gaps / weights.sum())


def test_rankings_equal_pairs_and_scikit_learn():
    rng = np.random.default_rng(1)
    scores, outcomes, weights = rng.integers(0, 8, 90) / 8, rng.integers(0, 2, 90), rng.random(90)
    won = total = 0.0
    for i in np.flatnonzero(outcomes):
        for j in np.flatnonzero(outcomes == 0):
            pair = weights[i] * weights[j]
            total += pair
            won += pair * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    assert math.isclose(auroc(scores, outcomes, weights), won / total)
    assert math.isclose(auroc(scores, outcomes), metrics.roc_auc_score(outcomes, scores))
    peer = metrics.average_precision_score(outcomes, scores, sample_weight=weights)
    assert math.isclose(average_precision(scores, outcomes, weights), peer)


# Limits -------------------------------------------------------------------------------------------------------------


def test_two_columns_and_one_agree():
    p, y = np.array([0.1, 0.8, 0.5]), np.array([0, 1, 1])
    both = np.column_stack([1 - p, p])
    assert math.isclose(nll(p, y), nll(both, y))
    assert math.isclose(2 * brier(p, y), brier(both, y))
    assert math.isclose(brier(p, y), metrics.brier_score_loss(y, p))


def test_perfect_and_useless():
    y = np.array([0, 1, 1, 0])
    assert nll(y.astype(float), y) == brier(y.astype(float), y) == ece(y.astype(float), y) == 0
    assert auroc(y, y) == average_precision(y, y) == 1
    assert auroc(np.zeros(4), y) == 0.5
    assert average_precision(np.zeros(4), y) == 0.5
    assert math.isnan(auroc([0.1, 0.2], [1, 1]))
    assert math.isnan(average_precision([0.1, 0.2], [0, 0]))


# State --------------------------------------------------------------------------------------------------------------


def test_rows_may_be_permuted_and_weights_repeat_rows():
    probs, labels, weights = sample()
    order = np.random.default_rng(3).permutation(len(labels))
    for score in (nll, brier, ece):
        value = score(probs, labels, weights)
        assert math.isclose(value, score(probs[order], labels[order], weights[order]))
        assert math.isclose(value, score(np.repeat(probs, weights, axis=0), np.repeat(labels, weights)))
    event = labels == 0
    for rank in (auroc, average_precision):
        value = rank(probs[:, 0], event, weights)
        assert math.isclose(value, rank(np.repeat(probs[:, 0], weights), np.repeat(event, weights)))


@pytest.mark.parametrize(
    ("call", "row"),
    [
        (lambda: nll([[0.5, 0.5], [0.5, float("nan")]], [0, 1]), 1),
        (lambda: nll([[0.5, 0.5]], [2]), 0),
        (lambda: brier([0.5, 0.5], [0]), None),
        (lambda: auroc([0.1, 0.2], [0, 3]), 1),
        (lambda: auroc([float("nan"), 0.2], [0, 1]), 0),
        (lambda: ece([], []), None),
        (lambda: nll([0.5], [0], weights=[-1]), None),
    ],
)
def test_bad_input_names_the_row(call, row):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.row == row
