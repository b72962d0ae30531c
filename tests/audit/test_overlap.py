"""Overlapping classes against cleanlab, plain loops, and planted confusion."""

import numpy as np
import pandas as pd
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.dataset import find_overlapping_classes, rank_classes_by_label_quality
from scipy import sparse

from assay.audit.overlap import Overlap, add_shares, hints
from assay.errors import InputError
from assay.kernels.intervals import wilson


def confused(seed, n=600, k=5, noise=0.25):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    labels = np.where(rng.random(n) < noise, rng.integers(0, k, n), truth)
    probabilities = rng.dirichlet(np.full(k, 0.3), n) + 2 * np.eye(k)[truth]
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


# By hand, and the rival


@pytest.mark.parametrize("seed", range(5))
def test_ranking_and_health_equal_cleanlab(seed):
    labels, probabilities = confused(seed)
    found = Overlap().fit(labels, probabilities)
    theirs = find_overlapping_classes(labels=labels, pred_probs=probabilities)
    theirs = theirs[theirs["Joint Probability"] > 0]
    ours = pd.DataFrame({name: found.pairs_[name] for name in ("class_a", "class_b", "rows", "mass")})
    merged = ours.merge(
        theirs, left_on=["class_a", "class_b"], right_on=["Class Index A", "Class Index B"], how="outer"
    )
    assert not merged.isna().any(axis=None)
    assert (merged["rows"] == merged["Num Overlapping Examples"]).all()
    assert merged["mass"].to_numpy() == pytest.approx(merged["Joint Probability"].to_numpy())
    assert ours["mass"].to_numpy() == pytest.approx(theirs["Joint Probability"].to_numpy())  # the same order of masses
    health = rank_classes_by_label_quality(labels=labels, pred_probs=probabilities).sort_values("Class Index")
    order = np.argsort(found.health_["class"])
    for ours_name, name in (("quality", "Label Quality Score"), ("missed_share", "Inverse Label Noise")):
        assert found.health_[ours_name][order] == pytest.approx(health[name].to_numpy())
    assert found.health_["issues"][order].tolist() == health["Label Issues"].tolist()
    assert found.health_["missed"][order].tolist() == health["Inverse Label Issues"].tolist()
    assert (np.diff(found.health_["quality"]) >= 0).all()


def test_columns_by_loop():
    joint = np.array([[60, 30, 10], [5, 70, 0], [2, 0, 20]])
    labels = np.repeat([0, 1, 2], [200, 80, 22])
    found = Overlap().fit(labels, confident_joint=joint)
    for row, (a, b) in enumerate(zip(found.pairs_["class_a"], found.pairs_["class_b"], strict=True)):
        flows = [joint[i, j] / (joint[i, i] + joint[i, j]) for i, j in ((a, b), (b, a))]
        assert found.pairs_["a_is_b"][row] == pytest.approx(flows[0])
        assert found.pairs_["b_is_a"][row] == pytest.approx(flows[1])
        assert found.pairs_["overlap"][row] == pytest.approx(sum(flows))
        lows = [float(wilson(joint[i, j], joint[i, i] + joint[i, j])[0]) for i, j in ((a, b), (b, a))]
        away = np.sqrt(sum((flow - low) ** 2 for flow, low in zip(flows, lows, strict=True)))
        assert found.pairs_["overlap_low"][row] == pytest.approx(max(sum(flows) - away, 0))
        exact = sum(np.sum(labels == i) / 302 * joint[i, j] / joint[i].sum() for i, j in ((a, b), (b, a)))
        assert found.pairs_["mass"][row] == pytest.approx(exact, abs=1 / 302)  # mass is rounded to whole rows
    assert found.overall_ == pytest.approx((200 * 0.6 + 80 * 70 / 75 + 22 * 20 / 22) / 302)
    assert found.overall_interval_[0] < found.overall_ < found.overall_interval_[1]


def test_hints():
    low = np.array([1.1, 0.6, 0.6, 0.6, 0.2])
    said = hints(low, np.array([0.6, 0.55, 0.1, 0.3, 0.1]), np.array([0.55, 0.0, 0.6, 0.3, 0.1]))
    assert said.tolist() == ["swap", "a in b", "b in a", "merge", ""]


# Limits


def test_perfect_labels_overlap_nowhere():
    labels = np.arange(300) % 3
    found = Overlap().fit(labels, np.eye(3)[labels] * 0.9 + 1 / 30)
    assert len(found.pairs_["class_a"]) == 0
    assert found.overall_ == pytest.approx(1)
    assert found.health_["quality"].tolist() == [1, 1, 1]
    assert len({len(column) for column in found.evidence().values()}) == 1


def test_a_class_that_was_never_given_has_no_quality():
    labels, probabilities = confused(1)
    labels = np.where(labels == 3, 0, labels)
    found = Overlap().fit(labels, probabilities)
    assert found.health_["class"][-1] == 3
    assert np.isnan(found.health_["quality"][-1])


def test_few_rows_give_no_hint():
    found = Overlap().fit([0, 0, 1, 1], confident_joint=[[1, 1], [1, 1]])
    assert found.pairs_["overlap"].tolist() == [1]
    assert found.pairs_["hint"].tolist() == [""]


def test_sum_of_one_share_keeps_its_interval():
    assert add_shares([(np.array(0.3), np.array(0.1), np.array(0.6))]) == pytest.approx((0.3, 0.1, 0.6))


# State and permutation


def test_sparse_joint_mask_and_row_order_change_nothing():
    labels, probabilities = confused(2)
    found = Overlap().fit(labels, probabilities)
    joint = compute_confident_joint(labels, probabilities, calibrate=False)
    again = Overlap().fit(labels, confident_joint=sparse.csr_array(joint))
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = Overlap().fit(labels[order], probabilities[order])
    masked = Overlap().fit(
        np.append(labels, 0),
        np.vstack([probabilities, probabilities[:1]]),
        mask=np.arange(len(labels) + 1) < len(labels),
    )
    for other in (again, shuffled, masked):
        for name, column in found.pairs_.items():
            assert other.pairs_[name].tolist() == column.tolist(), name
        assert other.overall_ == found.overall_


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"labels": [0, 1]}, "confident_joint"),
        ({"labels": [0, 1], "pred_probs": [[0.5, 0.5]]}, r"\(2, k\)"),
        ({"labels": [0, 1], "pred_probs": [[0.5, 0.5], [0.5, np.nan]]}, "first offending row: 1"),
        ({"labels": [0, 2], "confident_joint": [[1, 0], [0, 1]]}, "the labels reach 2"),
        ({"labels": ["a", "b"], "confident_joint": [[1, 0], [0, 1]]}, "integer codes"),
    ],
)
def test_bad_input_teaches(arguments, says):
    with pytest.raises(InputError, match=says):
        Overlap().fit(**arguments)


# Claim


@pytest.mark.claim
def test_intervals_hold_the_planted_confusion():
    """Joints drawn from known flows: the intervals of mass and overlap hold the truth."""
    truth = np.array([[0.8, 0.15, 0.05], [0.3, 0.65, 0.05], [0.02, 0.0, 0.98]])
    counts = np.array([400, 150, 60])
    labels = np.repeat([0, 1, 2], counts)
    held = []
    for seed in range(500):
        rng = np.random.default_rng(seed)
        joint = np.array([rng.multinomial(c // 2, row) for c, row in zip(counts, truth, strict=True)])
        found = Overlap().fit(labels, confident_joint=np.maximum(joint, np.eye(3, dtype=int))).pairs_
        for row, (a, b) in enumerate(zip(found["class_a"], found["class_b"], strict=True)):
            mass = (counts[a] * truth[a, b] + counts[b] * truth[b, a]) / counts.sum()
            overlap = sum(truth[i, j] / (truth[i, i] + truth[i, j]) for i, j in ((a, b), (b, a)))
            held.append(found["mass_low"][row] <= mass <= found["mass_high"][row])
            held.append(found["overlap_low"][row] <= overlap <= found["overlap_high"][row])
    assert np.mean(held) >= 0.94
