"""The three scores: by hand, at their limits, beside cleanlab where cleanlab is right."""

import math

import numpy as np
import pytest
from cleanlab.rank import get_label_quality_scores

from assay.errors import InputError
from assay.kernels.label_scores import SCORES, label_scores
from assay.kernels.probabilities import Rows, bits_of
from assay.kernels.self_confidence import SelfConfidence


def rows_and_labels(n: int = 300, k: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, k, n), rng.dirichlet(np.full(k, 0.4), n)


def by_hand(label: int, p: list[float], score: str) -> float:
    others = [value for j, value in enumerate(p) if j != label]
    if score == "self_confidence":
        return p[label]
    if score == "normalized_margin":
        return (p[label] - max(others) + 1) / 2
    entropy = -sum(value * math.log(value) for value in p if value > 0) / math.log(len(p))
    s = entropy / max(p[label], 1e-6)
    return math.log(1 + s) / s


@pytest.mark.parametrize("score", SCORES)
def test_a_plain_loop_gives_the_same(score: str) -> None:
    labels, probabilities = rows_and_labels()
    expected = [by_hand(y, list(p), score) for y, p in zip(labels, probabilities, strict=True)]
    np.testing.assert_allclose(label_scores(labels, probabilities, score), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("score", "adjusted"), [*((score, False) for score in SCORES), (SCORES[0], True), (SCORES[1], True)]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_cleanlab_gives_the_same_away_from_saturation(score: str, adjusted: bool, dtype: type) -> None:
    labels, probabilities = rows_and_labels()
    probabilities = probabilities.astype(dtype)
    first = SelfConfidence(5)
    first.update(Rows(0, labels, bits_of(probabilities)))
    wide = probabilities.astype(np.float64)
    expected = get_label_quality_scores(labels, wide, method=score, adjust_pred_probs=adjusted)
    ours = label_scores(labels, probabilities, score, first.thresholds() if adjusted else None)
    np.testing.assert_allclose(ours, expected, atol=1e-12 if dtype is np.float64 else 2e-7)


def test_entropy_rises_to_one_as_the_model_becomes_sure_where_cleanlab_falls_to_zero() -> None:
    tails = np.array([0.05, 1e-3, 1e-6, 1e-9, 0.0])
    probabilities = np.column_stack([1 - 2 * tails, tails, tails])
    labels = np.zeros(5, int)
    ours = label_scores(labels, probabilities, "confidence_weighted_entropy")
    assert np.all(np.diff(ours) > 0)
    assert ours[-1] == 1.0
    theirs = get_label_quality_scores(labels, probabilities, method="confidence_weighted_entropy")
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-12)
    assert theirs[-1] == 0.0  # the fault that is mended here: should this fail, the peer has mended it too


def test_sure_and_wrong_is_the_lowest_score() -> None:
    for score in SCORES:
        right, wrong = label_scores([0, 1], [[1.0, 0.0], [1.0, 0.0]], score)
        assert right == 1.0
        assert wrong < 0.01


def test_entropy_falls_as_the_given_class_loses_its_last_probability() -> None:
    own = np.array([1e-2, 1e-5, 1e-8, 1e-20, 0.0])
    ours = label_scores(np.ones(5, int), np.column_stack([1 - own, own]), "confidence_weighted_entropy")
    assert np.all(np.diff(ours) < 0)


def test_permuting_rows_permutes_scores() -> None:
    labels, probabilities = rows_and_labels()
    order = np.random.default_rng(1).permutation(len(labels))
    for score in SCORES:
        whole = label_scores(labels, probabilities, score)
        np.testing.assert_array_equal(label_scores(labels[order], probabilities[order], score), whole[order])


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="Unknown score 'margin'"):
        label_scores([0], [[0.5, 0.5]], "margin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"first offending row: 1"):
        label_scores([0, 2], [[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(InputError, match=r"got int64 labels of shape \(1,\)"):
        label_scores([0], [[0.5, 0.5], [0.5, 0.5]])
