from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, make_blobs
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from assay.errors import InputError
from assay.training.in_sample import FLOOR, firm_contradictions, in_sample_warning
from assay.training.out_of_fold import out_of_fold

PIXELS, DIGITS = load_digits(return_X_y=True)
MEMORISERS: dict[str, Callable[[int], Any]] = {
    "forest": lambda seed: RandomForestClassifier(30, random_state=seed),
    "neighbour": lambda seed: KNeighborsClassifier(1),
    "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
}
HELD_OUT = {**MEMORISERS, "linear": lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))}


def flipped(truth: Any, k: int, share: float, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(truth)) < share, (truth + 1) % k, truth)


# By hand


def test_by_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(4) / 3, 500)
    labels = np.where(rng.random(500) < 0.7, P.argmax(1), rng.integers(0, 4, 500))
    support = []
    for p, y in zip(P, labels, strict=True):
        rest = max(p[j] for j in range(4) if j != y)
        support.append(np.log(max(p[y], FLOOR)) - np.log(max(rest, FLOOR)))
    median = np.median([g for g in support if g >= 0])
    agreement, contradicted = firm_contradictions(labels, P)
    assert agreement == np.mean([g >= 0 for g in support])
    assert contradicted == np.mean([g <= -min(median / 2, np.log(20)) for g in support])
    assert contradicted > 0


# Limits


def test_a_flat_model_contradicts_all_or_nothing() -> None:
    labels = np.arange(400) % 2
    assert firm_contradictions(labels, np.full((400, 2), 0.5)) == (1.0, 0.0)
    assert firm_contradictions(labels, np.eye(2)[1 - labels]) == (0.0, 1.0)
    assert np.isnan(firm_contradictions(labels, np.eye(2)[labels], np.zeros(400, bool))).all()
    assert in_sample_warning(labels, np.eye(2)[labels], np.zeros(400, bool)) is None


def test_few_rows_prove_nothing_unless_the_agreement_is_perfect() -> None:
    labels = np.arange(200) % 2
    P = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    assert in_sample_warning(labels, P) is not None
    P[:4] = 0.45, 0.55
    assert in_sample_warning(np.where(np.arange(200) < 4, 0, labels), P) is None


# State


def test_rows_without_a_label_do_not_count_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(3), 600)
    labels = rng.integers(0, 3, 600)
    mask = rng.random(600) < 0.6
    assert firm_contradictions(np.where(mask, labels, 99), P, mask) == firm_contradictions(labels[mask], P[mask])
    order = rng.permutation(600)
    assert firm_contradictions(labels[order], P[order]) == pytest.approx(firm_contradictions(labels, P))


@pytest.mark.parametrize(
    ("labels", "P", "message"),
    [
        (np.zeros(3, int), np.zeros((4, 2)), r"\(4, 2\) and labels \(3,\)"),
        (np.zeros(4), np.zeros((4, 2)), "integer codes"),
        (np.array([0, 1, 2, 0]), np.zeros((4, 2)), "code 2 has no column.*row: 2"),
    ],
)
def test_bad_input(labels: Any, P: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        in_sample_warning(labels, P)


# What it is for


@pytest.mark.parametrize("name", MEMORISERS)
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_in_sample_is_noticed_and_out_of_fold_is_left_alone(name: str, share: float) -> None:
    labels = flipped(DIGITS, 10, share, 0)
    model = MEMORISERS[name](0)
    warning = in_sample_warning(labels, model.fit(PIXELS, labels).predict_proba(PIXELS))
    assert warning is not None
    assert warning.startswith("Did the model train on these labels?")
    held_out = out_of_fold(PIXELS, labels, 10, model=model, n_splits=3).pred_probs
    assert in_sample_warning(labels, held_out) is None


def test_clean_digits_held_out_are_left_alone() -> None:
    model = HELD_OUT["linear"](0)
    assert in_sample_warning(DIGITS, out_of_fold(PIXELS, DIGITS, 10, model=model).pred_probs) is None


def test_an_easy_clean_problem_is_asked_about() -> None:
    rows, labels = make_blobs(500, centers=3, cluster_std=0.5, random_state=1)
    warning = in_sample_warning(labels, out_of_fold(rows, labels, 3).pred_probs)
    assert warning is not None
    assert "Either the labels hold hardly an error" in warning
    assert "To tell:" in warning
    wrong = flipped(labels, 3, 0.05, 0)
    assert in_sample_warning(wrong, out_of_fold(rows, wrong, 3).pred_probs) is None


def test_released_held_out_probabilities_are_left_alone(shared_data: Callable[[str], Path]) -> None:
    for name in ("mnist", "cifar10"):
        with np.load(shared_data(f"label-errors/{name}_test.npz")) as released:
            assert in_sample_warning(released["original_label"].astype(int), released["pyx"]) is None


# Claim


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("data", ["digits", "breast cancer"])
def test_error_rates_of_the_warning(data: str, share: float, seed: int) -> None:
    rows, truth = (PIXELS, DIGITS) if data == "digits" else load_breast_cancer(return_X_y=True)
    k = int(truth.max()) + 1
    labels = flipped(truth, k, share, seed)
    boosting = {"boosting": lambda seed: HistGradientBoostingClassifier(max_iter=30, random_state=seed)}
    for name, make in {**HELD_OUT, **boosting}.items():
        held_out = cross_val_predict(make(seed), rows, labels, cv=3, method="predict_proba")
        assert in_sample_warning(labels, held_out) is None, (name, "held out")
        if name in MEMORISERS:  # boosting stops short of memorising: the bench counts how often it passes unnoticed
            repeated = make(seed).fit(rows, labels).predict_proba(rows)
            assert in_sample_warning(labels, repeated) is not None, (name, "in sample")
