"""One protocol for training on labels of which some are known to be wrong, so that methods can be compared.

For each seed: draw the noise, train, and report the accuracy on clean test labels of the last epoch and of the epoch
that the noisy validation labels chose; the share of wrong labels that the network came to repeat; and how well the
method's own suspicion finds them. Nothing is selected on clean labels. The best epoch by clean test labels is told too,
as what no user can have (an oracle).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.metrics import roc_auc_score

from assay.errors import InputError
from assay.training.deep import nn, torch
from assay.training.deep.batches import Data, pick
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import Predict, judged
from assay.training.deep.stream import Augment
from assay.training.deep.targets import codes
from assay.training.folds import assign_folds

METRICS = ("last", "best", "oracle_best", "memorised", "suspect_auc")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Data whose truth is known.

    Parameters
    ----------
    train, validation : rows with labels as given, wrong ones among them; validation may be None.
    truth : (n,) true codes of the training rows.
    test : rows with true labels.
    """

    train: Data
    validation: Data | None
    truth: npt.NDArray[np.int64]
    test: Data

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Which labels of the training rows are wrong (n,)."""
        return np.asarray(codes(self.train.targets).numpy() != self.truth)


def make_case(
    inputs: Any,
    truth: npt.NDArray[np.integer[Any]],
    n_classes: int,
    flip: Callable[[npt.NDArray[np.int64]], npt.ArrayLike],
    *,
    test: float = 0.3,
    validation: float = 0.1,
    seed: int = 0,
) -> Case:
    """Deal rows with known labels into training, validation and test, and make labels of the first two wrong.

    Parameters
    ----------
    inputs : (n, ...) array, tensor or mapping, as `Data` takes them.
    truth : (n,) true codes.
    flip : gives labels (m,) for the true codes (m,) of training and validation rows, such as
        `lambda y: symmetric(y, 10, 0.4, seed=seed).labels`.
    test, validation : shares of the rows, and of the rest; stratified. No validation with 0.
    """
    everything = Data(inputs, truth, n_classes)
    codes_ = np.asarray(truth, dtype=np.int64)
    fold = assign_folds(codes_, max(2, round(1 / test)), random_state=seed)
    rest = np.flatnonzero(fold > 0)
    labels = np.asarray(flip(codes_[rest]))
    held = np.zeros(len(rest), dtype=bool)
    if validation:
        held = assign_folds(labels, round(1 / validation), random_state=seed) == 0
    given = everything.targets.clone()
    given[torch.from_numpy(rest)] = torch.from_numpy(labels.astype(np.int64))
    noisy = Data(everything.inputs, given, n_classes)
    return Case(
        noisy.take(rest[~held]),
        noisy.take(rest[held]) if held.any() else None,
        codes_[rest[~held]],
        everything.take(np.flatnonzero(fold == 0)),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one training went; `asdict` of it is JSON-able.

    Parameters
    ----------
    seed, noise : the seed, and the share of training labels that are wrong.
    last : accuracy on clean test labels after the last epoch.
    best : of the epoch that the noisy validation labels chose (the last one without validation).
    oracle_best : of the epoch that the test labels would choose. An oracle: no user can have it.
    memorised : share of the wrong labels that the network repeats after the last epoch; nan without any.
    suspect_auc : area under the ROC curve of the method's suspicion, for finding wrong labels; nan without any.
    best_epoch : that of `best`.
    history : one entry an epoch, with `test_accuracy` and `memorised` beside what `Run.history` holds.
    """

    seed: int
    noise: float
    last: float
    best: float
    oracle_best: float
    memorised: float
    suspect_auc: float
    best_epoch: int
    history: list[dict[str, float]]


def measure(
    objective: Callable[[], Objective],
    model: Callable[[], nn.Module],
    case: Callable[[int], Case],
    recipe: Recipe,
    seeds: Iterable[int] = range(5),
    *,
    augment: Augment | None = None,
    sampling: Callable[[Data], npt.NDArray[np.float64]] | None = None,
    on_run: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Train once a seed.

    Parameters
    ----------
    objective, model : make the objective and the network.
    case : the data of a seed: `case(seed)`, so that each seed has noise of its own.
    recipe : hyper-parameters; its seed is replaced.
    augment : as `fit` takes it.
    sampling : gives the chances of the training rows, as `fit` takes them.
    on_run : called after each training.
    """
    outcomes = []
    for seed in seeds:
        outcomes.append(_measure_one(objective(), model, case(seed), replace(recipe, seed=seed), augment, sampling))
        if on_run is not None:
            on_run(outcomes[-1])
    return outcomes


def _measure_one(
    objective: Objective, model: Any, case: Case, recipe: Recipe, augment: Augment | None, sampling: Any
) -> Outcome:
    wrong = np.flatnonzero(case.wrong)
    wrong_inputs = pick(case.train.inputs, torch.from_numpy(wrong))
    repeated = codes(case.train.targets).numpy()[wrong]

    def watch(_: int, said: Predict) -> dict[str, float]:
        again = float((said(wrong_inputs).argmax(1).numpy() == repeated).mean()) if len(wrong) else float("nan")
        return {"test_accuracy": judged(said, case.test)["accuracy"], "memorised": again}

    run = fit(
        objective,
        model,
        case.train,
        recipe,
        validation=case.validation,
        augment=augment,
        sampling=None if sampling is None else sampling(case.train),
        on_epoch=watch,
    )
    history = run.history
    best_epoch = len(history) - 1 if run.best_epoch is None else run.best_epoch
    accuracies = [entry["test_accuracy"] for entry in history]
    suspect = objective.suspects(case.train.targets.to(objective.past.device)).cpu().numpy()
    judgeable = ~np.isnan(suspect)
    both = len(np.unique(case.wrong[judgeable])) == 2
    return Outcome(
        seed=recipe.seed,
        noise=float(case.wrong.mean()),
        last=accuracies[-1],
        best=accuracies[best_epoch],
        oracle_best=max(accuracies),
        memorised=history[-1]["memorised"],
        suspect_auc=float(roc_auc_score(case.wrong[judgeable], suspect[judgeable])) if both else float("nan"),
        best_epoch=best_epoch,
        history=history,
    )


def summarise(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Mean of each metric and its 95 % t interval over the seeds: `{"last": {"mean", "low", "high"}, ...}`.

    Metrics that need wrong labels are left out where there are none.
    """
    if not outcomes:
        raise InputError("There are no outcomes to summarise.")
    values = {name: [asdict(outcome)[name] for outcome in outcomes] for name in METRICS}
    return {name: interval(found) for name, found in values.items() if np.isfinite(found).all()}


def interval(values: list[float]) -> dict[str, float]:
    """Mean of values and its 95 % t interval; of one value, the value itself."""
    mean = float(np.mean(values))
    half = 0.0
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - half, "high": mean + half}
