"""Models of durations kept as arrays against scikit-learn's, and what held-out rows tell."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from assay.evidence import learn_censored_task
from assay.evidence.learn_censored_task import CensoredOptions, Task, folds, goal
from assay.evidence.learn_duration_model import LEARNERS, answers, bounded, fit_learner
from assay.labels import Censored


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3)).astype(np.float32)
    label = np.exp(1.5 * X[:, 0] + 0.3 * rng.normal(size=n))
    end = rng.exponential(2 / (0.2 + X[:, 0]))
    return X, label, Censored.from_time_event(np.minimum(label, end), label <= end)


def test_arrays_say_what_scikit_learn_says():
    X, y, _ = rows(400)
    new, weights = rows(200, 1)[0], np.random.default_rng(0).random(400) + 0.1
    trees = GradientBoostingRegressor(min_samples_leaf=10, random_state=0).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(answers(new, fit_learner("trees", X, y, weights, False, 0)), trees.predict(new))
    late = (y > 2).astype(float)
    trees = GradientBoostingClassifier(min_samples_leaf=10, random_state=0).fit(X, late, sample_weight=weights)
    said = bounded(answers(new, fit_learner("trees", X, late, weights, True, 0)), None, True)
    np.testing.assert_allclose(said, trees.predict_proba(new)[:, 1])
    scaled = (X - X.mean(0)) / X.std(0)
    linear = LogisticRegression(max_iter=1000).fit(scaled, late, sample_weight=weights)
    said = bounded(answers(new, fit_learner("linear", X, late, weights, True, 0)), None, True)
    np.testing.assert_allclose(said, linear.predict_proba((new - X.mean(0)) / X.std(0))[:, 1], rtol=1e-4)


def test_a_constant_column_changes_nothing():
    X, y, _ = rows(200)
    wide = np.column_stack([X, np.full(200, 7.0)])
    for name in LEARNERS:
        one, other = (fit_learner(name, each, y, np.ones(200), False, 0) for each in (X, wide))
        np.testing.assert_allclose(answers(X, one), answers(wide, other), rtol=1e-6)


def test_what_is_asked_and_known():
    """Watched until 3 or longer: known to last beyond 2. Until exactly 2 without an end: not known beyond it."""
    labels = Censored.from_time_event([1.0, 2.0, 2.0, 3.0, 3.0, 1.0], np.array([1, 1, 0, 1, 0, 0]) == 1)
    known, y = goal(labels, CensoredOptions(time="t", event="e", target="survival", horizon=2.0))
    assert known.event.tolist() == [True, True, False, True, True, False]
    assert y[known.event].tolist() == [0, 0, 1, 1]
    known, y = goal(labels, CensoredOptions(time="t", event="e", horizon=2.0))
    assert known.event.tolist() == [True, True, True, True, True, False]
    assert y[known.event].tolist() == [1, 2, 2, 2, 2]


def test_folds_share_the_events():
    event = np.arange(103) % 3 == 0
    fold = folds(event, 0)
    assert np.ptp(np.bincount(fold)) <= 1
    assert np.ptp(np.bincount(fold[event])) <= 1


def test_the_law_of_a_sample_weighs_all_rows(monkeypatch):
    """Of rows in the sample as by themselves, each left out of its own curve; of others by the same law."""
    X, label, labels = rows(1500)
    task = Task.of(X, labels, CensoredOptions(time="t", event="e", horizon=3.0))
    _, whole = task.weigh(np.arange(1500))
    monkeypatch.setattr(learn_censored_task, "LAW_ROWS", 700)
    law, some = task.weigh(np.arange(1500))
    assert len(law.line.order) == 700
    assert some.floor == whole.floor
    assert ((some.weights > 0) == (whole.weights > 0)).all()
    assert abs(some.weights.mean() - 1) < 0.1
    for weights in (whole.weights, some.weights):
        assert abs((weights * task.y).mean() / np.minimum(label, 3).mean() - 1) < 0.06


@pytest.mark.claim
@pytest.mark.parametrize("target", ["mean", "survival"])
def test_held_out_error_is_that_on_labels_nobody_saw(target):
    """The weighted error of held-out rows against the error on the true labels of those very rows, over seeds."""
    ratios = []
    for seed in range(8):
        X, label, labels = rows(800, seed)
        task = Task.of(X, labels, CensoredOptions(time="t", event="e", target=target, horizon=3.0))
        trials, said, order = task.compare(lambda _done: None)
        truth = (label > 3.0) * 1.0 if target == "survival" else np.minimum(label, 3.0)
        true = np.mean((truth - said["linear"]) ** 2)
        ratios.append(trials[0].risk.value / true)
        assert trials[0].risk.low < true * 1.3
        assert order["linear"].value > 0.6
    assert abs(np.mean(ratios) - 1) < 0.1
