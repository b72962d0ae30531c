"""The protocol's numbers are the ones that it says they are."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from assay.training.deep.backbones import mlp
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import interval, make_case, measure, summarise
from assay.training.deep.recipe import Recipe
from assay.training.noise import symmetric

X, Y = load_digits(return_X_y=True)
X, Y = X[:500] / 16, Y[:500]
RECIPE = Recipe(epochs=4, lr=0.1)


def case(seed, validation=0.1):
    flip = lambda truth: symmetric(truth, 10, 0.3, exact=True, seed=seed).labels  # noqa: E731
    return make_case(X, Y, 10, flip, seed=seed, validation=validation)


def network():
    return mlp((64,), 10, hidden=(32,))


def test_rows_are_dealt_once_and_only_test_labels_are_clean():
    made = case(0)
    parts = [made.train, made.validation, made.test]
    rows = np.concatenate([part.inputs.numpy() for part in parts])
    assert len(rows) == 500
    assert len(np.unique(rows, axis=0)) == len(np.unique(X.astype(np.float32), axis=0))
    lookup = {row.tobytes(): y for row, y in zip(X.astype(np.float32), Y, strict=True)}
    truth = [np.array([lookup[row.tobytes()] for row in part.inputs.numpy()]) for part in parts]
    assert np.array_equal(truth[0], made.truth)
    assert np.array_equal(truth[2], made.test.targets.numpy())
    assert 0.25 < made.wrong.mean() < 0.35
    assert (truth[1] != made.validation.targets.numpy()).any()
    assert not np.array_equal(case(1).wrong, made.wrong)


def test_each_number_worked_out_apart():
    (found,) = measure(Objective, network, case, RECIPE, [3])
    made = case(3)
    objective = Objective()
    run = fit(objective, network, made.train, Recipe(epochs=4, lr=0.1, seed=3), validation=made.validation)
    test, truth = made.test.inputs, made.test.targets
    right = (run.logits(test).argmax(1) == truth).double().mean()
    repeated = (run.logits(made.train.inputs).argmax(1) == made.train.targets).numpy()
    assert found.last == float(right)
    assert found.memorised == pytest.approx(repeated[made.wrong].mean())
    assert found.noise == made.wrong.mean()
    assert found.suspect_auc == roc_auc_score(made.wrong, objective.suspects(made.train.targets))
    assert found.best_epoch == run.best_epoch
    assert found.best == float((run.use("best").logits(test).argmax(1) == truth).double().mean())
    assert found.oracle_best == max(entry["test_accuracy"] for entry in found.history) >= found.best
    assert json.loads(json.dumps(asdict(found)))["last"] == found.last


def test_nothing_depends_on_clean_labels():
    """Other test labels change no number but the ones measured on them."""
    (found,) = measure(Objective, network, case, RECIPE, [0])

    def spoilt(seed):
        made = case(seed)
        made.test.targets = torch.zeros_like(made.test.targets)
        return made

    (other,) = measure(Objective, network, spoilt, RECIPE, [0])
    assert (other.best_epoch, other.memorised, other.suspect_auc) == (
        found.best_epoch,
        found.memorised,
        found.suspect_auc,
    )
    assert other.last != found.last


def test_without_validation_the_best_is_the_last():
    (found,) = measure(Objective, network, lambda seed: case(seed, validation=0), RECIPE, [0])
    assert (found.best, found.best_epoch) == (found.last, 3)


def test_summary_is_a_t_interval():
    outcomes = measure(Objective, network, case, Recipe(epochs=1), [0, 1, 2])
    told = summarise(outcomes)["last"]
    clean = make_case(X, Y, 10, lambda truth: truth)
    assert set(summarise(measure(Objective, network, lambda _: clean, Recipe(epochs=1), [0]))) == {
        "last",
        "best",
        "oracle_best",
    }
    values = np.array([outcome.last for outcome in outcomes])
    half = 4.30265273 * values.std(ddof=1) / np.sqrt(3)  # t quantile with two degrees of freedom
    np.testing.assert_allclose([told["mean"], told["low"], told["high"]], values.mean() + np.array([0, -half, half]))
    assert interval([0.5]) == {"mean": 0.5, "low": 0.5, "high": 0.5}
