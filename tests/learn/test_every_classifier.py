"""Every classifier of the stage keeps scikit-learn's contract, found by discovery."""

import importlib
import inspect

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.training.deep.test_estimator import STOCHASTIC

from assay.evidence.methods import methods
from assay.training.deep.estimator import NetworkClassifier
from assay.training.deep.recipe import Recipe

pytestmark = pytest.mark.claim  # minutes: `make claims` runs it; the floor's own classifier is checked by `make test`


def classifiers() -> list[NetworkClassifier]:
    """One of each class, with a training that takes no time."""
    modules = [importlib.import_module(f"assay.learn.{each.name}") for each in methods() if each.stage == "learn"]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and issubclass(value, NetworkClassifier)
    }
    return [kind(recipe=Recipe(epochs=2, lr=0.1)) for kind in sorted(found, key=lambda kind: kind.__name__)]


def expected(estimator: NetworkClassifier) -> dict[str, str]:
    """Checks that cannot hold, and why."""
    sharp = {"check_methods_subset_invariance": "logits are cosines times 30: single precision shows in the 7th digit"}
    return STOCHASTIC | (sharp if type(estimator).__name__ == "ImbalanceClassifier" else {})


@parametrize_with_checks(classifiers(), expected_failed_checks=expected)
def test_contract_of_scikit_learn(estimator, check):
    check(estimator)
