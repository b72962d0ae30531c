"""Trainings on digits that the tests of resuming and of several processes run, in processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from assay.training.deep.augment import CropFlip
from assay.training.deep.backbones import mlp, small_cnn
from assay.training.deep.batches import Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.targets import cross_entropy

RICH = Recipe(
    epochs=3, batch_size=50, optimizer="adam", lr=0.003, schedule="cosine", warmup=1, mixup=0.4, average=0.9,
    average_from=1, clip=1.0, seed=3,
)  # fmt: skip
PLAIN = Recipe(epochs=2, batch_size=50, lr=0.05, mixup=0.4, average=0.9, clip=1.0, seed=3)


class Remembering(Objective):
    """Keeps a belief about each row, and has a temperature of its own that it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.zeros(()))

    def begin(self, n_rows, n_classes, data=None, model=None):
        super().begin(n_rows, n_classes, data, model)
        self.keep("belief", torch.zeros(n_rows, n_classes))
        self.keep("epochs", torch.zeros((), dtype=torch.int64))

    def loss(self, logits, targets, rows):
        belief = 0.7 * self.read("belief", rows) + 0.3 * logits.detach().softmax(1)
        self.write("belief", rows, belief)
        logits = logits * self.temperature.exp()
        return cross_entropy(logits, targets) + torch.log1p(-(belief * logits.softmax(1)).sum(1) * 0.99)

    def end_epoch(self, epoch, model, validation):
        self.epochs += 1


class Pair(Remembering):
    """Two networks, each on its own view, the second with noise that all processes share."""

    n_models = 2
    n_views = 2

    def forward(self, batch, model):
        first = self.loss(model[0](batch.views[0]), batch.targets, batch.rows)
        second = cross_entropy(model[1](batch.views[1]), batch.targets)
        return batch.mean(first) + batch.mean(second) * torch.rand((), generator=batch.generator)


def digits() -> tuple[Data, Data]:
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(y)) < 0.3, rng.integers(0, 10, len(y)), y)
    images = torch.from_numpy(X / 16).float().view(-1, 1, 8, 8)
    return Data(images[:500], y[:500], 10, weights=rng.random(500) + 0.5), Data(images[500:700], y[500:700], 10)


def train(kind: str, checkpoint: Path | None = None, kill_at: int = 0) -> dict[str, Any]:
    """Train, and tell all that came of it; "plain" holds nothing that depends on the number of processes."""
    make = {
        "plain": lambda: mlp((1, 8, 8), 10, hidden=(32,), norm=False),
        "one network": lambda: mlp((1, 8, 8), 10, hidden=(32,), dropout=0.3),
        "two networks": lambda: small_cnn((1, 8, 8), 10, width=4),
    }[kind]
    objective = Pair() if kind == "two networks" else Remembering()
    data, held = digits()

    def step(done: int, _: int) -> None:
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    run = fit(
        objective, make, data, PLAIN if kind == "plain" else RICH, validation=held, on_step=step, device="cpu",
        augment=CropFlip(pad=1, flip=False), checkpoint=checkpoint, checkpoint_steps=4,
    )  # fmt: skip
    told = {"history": run.history, "best": run.best_epoch, "states": run.states}
    return {"model": run.model.state_dict(), "objective": objective.state_dict(), **told}


def train_and_die(kind: str, checkpoint: Path, kill_at: int) -> int:
    """The exit code of a process that kills itself after a step."""
    return _process("die", kind, checkpoint, kill_at).wait(timeout=300)


def train_apart(kind: str, checkpoint: Path) -> dict[str, Any]:
    """What a process tells that trains from where the checkpoint is, or from the start."""
    assert _process("tell", kind, checkpoint, 0).wait(timeout=300) == 0
    return torch.load(checkpoint.with_suffix(".told"), weights_only=True)


def train_in_two(kind: str, folder: Path) -> list[dict[str, Any]]:
    """What each of two processes tells."""
    for process in [_process("part", kind, folder, rank) for rank in (0, 1)]:
        assert process.wait(timeout=300) == 0
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def _process(*words: object) -> subprocess.Popen[bytes]:
    """This file in a process of its own; a fork of the tests' process would inherit locks that nobody holds there."""
    root = Path(__file__).parents[3]
    return subprocess.Popen([sys.executable, "-m", "tests.training.deep.trainings", *map(str, words)], cwd=root)


def _part(kind: str, folder: Path, rank: int) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(train(kind), folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _tell(kind: str, checkpoint: Path, _: int) -> None:
    torch.save(train(kind, checkpoint), checkpoint.with_suffix(".told"))


if __name__ == "__main__":
    {"die": train, "tell": _tell, "part": _part}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
