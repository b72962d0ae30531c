"""One loop that trains any objective on any network: seeded, resumable, on one device or on several.

    run = fit(ELR(), lambda: mlp((64,), 10), Data(X, y, 10), Recipe(epochs=60), validation=Data(X_val, y_val, 10))
    run.use("best").logits(X_test)

The same script under `torchrun` or `accelerate launch` trains in several processes; `batch_size` then counts the rows
of all of them, and the result is that of one process up to rounding (dropout and batch normalisation see only their own
part). With `checkpoint=path`, calling `fit` again after a kill goes on from there, on the CPU to the very bits; calling
it after the end returns the finished run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from assay.errors import InputError, require
from assay.training.deep import nn, torch
from assay.training.deep.batches import WEIGHTS, Data, seeds_of
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import Predict, Run
from assay.training.deep.stream import Augment, Stream
from assay.training.deep.training import Training

OnEpoch = Callable[[int, Predict], "dict[str, float] | None"]


def fit(
    objective: Objective,
    model: nn.Module | Callable[[], nn.Module],
    data: Data,
    recipe: Recipe | None = None,
    *,
    validation: Data | None = None,
    augment: Augment | None = None,
    sampling: npt.NDArray[np.float64] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_steps: int | None = None,
    on_epoch: OnEpoch | None = None,
    on_step: Callable[[int, int], None] | None = None,
    device: str | None = None,
) -> Run:
    """Train.

    Parameters
    ----------
    objective : what is minimised; its state is made anew, or taken from the checkpoint.
    model : a network, trained in place, or a function that makes one, called after seeding (twice for objectives of
        two networks, which need a function).
    data : the rows; labels may be noisy, soft or partly missing.
    recipe : hyper-parameters; None for the defaults.
    validation : rows held out, whose labels may be as noisy. After each epoch their accuracy is taken; the best epoch
        is kept for `Run.use("best")`, and `recipe.patience` stops the training.
    augment : a random change of inputs, such as `CropFlip`.
    sampling : (n,) chances by which rows are drawn with replacement, such as `balanced_sampling`; None visits each row
        once an epoch.
    checkpoint : a file to go on from, where it exists, and to write after each epoch.
    checkpoint_steps : write it after so many steps too.
    on_epoch : called as `on_epoch(epoch, predict)`, where `predict(inputs)` gives logits; what it returns goes into
        the history.
    on_step : called as `on_step(done, all)` after each step.
    device : "cpu", "cuda", ...; None takes what Accelerate finds.

    Returns
    -------
    Run, with the weights of the last epoch in use.

    Raises
    ------
    InputError for a checkpoint of another run, and for a loss that is no longer finite.
    """
    recipe = recipe or Recipe()
    place = torch.device(device) if device else require("accelerate", "deep", "Training").PartialState().device
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    stream = Stream(
        data,
        recipe,
        n_views=objective.n_views,
        needs_unlabelled=objective.needs_unlabelled,
        augment=augment,
        sampling=sampling,
        device=place,
        process=torch.distributed.get_rank() if distributed else 0,
    )
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        network = _networks(model, objective.n_models, recipe.seed).to(place)
        objective.begin(data.n_rows, data.n_classes, data, network)
        training = Training(objective.to(place), network, stream, validation)
        path = None if checkpoint is None else Path(checkpoint)
        if path is not None and path.exists():
            training.load(path)
        while not training.finished:
            training.step()
            if on_step is not None:
                on_step(training.done, training.n_steps)
            ended = training.done % stream.per_epoch == 0
            if ended:
                training.end_epoch(on_epoch)
            if path is not None and (ended or (checkpoint_steps and training.done % checkpoint_steps == 0)):
                training.save(path)
    return training.run()


def _networks(model: nn.Module | Callable[[], nn.Module], n: int, seed: int) -> nn.Module:
    """The network, or a list of n, each from weights of its own."""
    if isinstance(model, nn.Module):
        if n > 1:
            raise InputError(f"The objective trains {n} networks: give a function that makes one, not a network.")
        return model
    made = []
    for weights_seed in seeds_of(n, seed, WEIGHTS):
        torch.manual_seed(weights_seed)
        made.append(model())
    return made[0] if n == 1 else nn.ModuleList(made)
