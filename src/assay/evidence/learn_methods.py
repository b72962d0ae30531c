"""The methods that `assay learn` can train, by name.

Every method of the learn stage whose `METHOD` literal says that it makes a classifier of hard labels is found by its
name; its estimator is the first classifier of its file. `VARIANTS` names what a file holds beside. Nothing is imported
until an estimator is made, so that `assay learn --help` needs no torch.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from assay.errors import InputError
from assay.evidence.methods import methods

AUTO = "auto"
VARIANTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "cross_entropy": (
        "Cross-entropy, stopped early",
        "robust_losses",
        "RobustLossClassifier",
        {"loss": "cross_entropy"},
    ),
    "gce": ("Generalized cross-entropy", "robust_losses", "RobustLossClassifier", {"loss": "gce"}),
    "sce": ("Symmetric cross-entropy", "robust_losses", "RobustLossClassifier", {"loss": "sce"}),
    "smoothing": ("Label smoothing", "robust_losses", "RobustLossClassifier", {"loss": "smoothing"}),
    "aldr": ("Label-distributionally robust loss, a temperature for each row", "ldr", "ALDRClassifier", {}),
    "elr_plus": ("Early-learning regularization of two networks", "elr", "ELRPlusClassifier", {}),
}
"""Name to title, file, class and arguments."""
LEFT_OUT = {"robust_losses", "erase"}
"""A file whose methods are all variants; and ERASE, which labels the nodes of its own graph and keeps no network for
others."""
SIMPLEST_FIRST = (
    "cross_entropy",
    "gce",
    "prune_and_retrain",
    "ldr",
    "elr",
    "co_teaching",
)
"""What `auto` compares; of equals the first is taken. Meta rescaling costs as much as all of these, and is left out."""


@dataclass(frozen=True, slots=True)
class Trainable:
    """A name that `--method` takes: what it is called, and where its estimator is."""

    name: str
    title: str
    module: str
    estimator: str | None
    arguments: dict[str, Any]

    def make(self, **arguments: Any) -> Any:
        """The estimator, not fitted; arguments it does not have are an error of the caller."""
        module = importlib.import_module(f"assay.learn.{self.module}")
        if self.estimator is not None:
            return getattr(module, self.estimator)(**self.arguments, **arguments)
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == module.__name__ and hasattr(value, "predict_proba"):
                return value(**self.arguments, **arguments)
        raise InputError(f"{self.module} holds no classifier.")


@lru_cache(maxsize=1)
def trainables() -> dict[str, Trainable]:
    """Every method by name, those of the literals first."""
    found = {}
    for method in methods():
        of_classes = "hard" in method.accepts and "classifier" in method.gives
        if method.stage == "learn" and of_classes and method.name not in LEFT_OUT:
            found[method.name] = Trainable(method.name, method.title, method.name, None, {})
    for name, (title, module, estimator, arguments) in VARIANTS.items():
        found[name] = Trainable(name, title, module, estimator, arguments)
    return found


def choices() -> list[str]:
    """What `--method` takes."""
    return [AUTO, *trainables()]


def panel() -> list[str]:
    """What `auto` compares, the simplest first."""
    return [name for name in SIMPLEST_FIRST if name in trainables()]


def make(name: str, **arguments: Any) -> Any:
    """The estimator of that name, with arguments that all of them take: `recipe`, `validation`, `random_state`."""
    if name not in trainables():
        raise InputError(f"There is no method {name!r}: expected one of {', '.join(choices())}.")
    return trainables()[name].make(**arguments)
