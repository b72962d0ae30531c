"""Training that does not memorise wrong labels: what the network believed early holds it back later.

Networks learn the right labels first and the wrong ones last. Early-Learning Regularization keeps a running mean of
what the network said of each row, and pulls the network towards it, so that the pull of a wrong label is undone. The
means suggest a label for each row and tell which labels to doubt.

Paper: Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
Labels", NeurIPS 2020, arXiv 2007.00151.

    loss_i = -log p_i[y_i] + strength * log(1 - <p_i, t_i>),    t_i <- momentum * t_i + (1 - momentum) * p_i

with p_i the probabilities of row i (clamped to 1e-4 .. 1 - 1e-4), t_i its belief, taken as constant in the gradient,
and strength (lambda) and momentum (beta). The loss is normally negative and keeps falling: that is no fault.

ELR+ trains two networks: each takes its beliefs from the average of the other's weights, and learns from mixed-up rows.

When to use: a good share of labels is wrong, and there is no clean set. The strength must grow with the number of
classes (3 for 10, 7 for 100); the paper takes 1, with momentum 0.9, where wrong labels are systematic. When not: more
wrong than right labels in some class: the early belief is then wrong, and locked in.

Departures: both networks of ELR+ see one order of rows and one set of labels (in the reference code each draws its own
noise, and trains on rows that validate the other); their averages begin as plain means of the weights rather than from
other initial weights; suspicion is the margin by which the belief in another class exceeds that in the given one.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy.typing as npt

from assay.errors import InputError
from assay.training.deep import Tensor, functional, nn, torch
from assay.training.deep.averaging import WeightAverage
from assay.training.deep.batches import Batch, Data, mix, mixed
from assay.training.deep.estimator import Backbone, NetworkClassifier
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.row_table import row_table
from assay.training.deep.stream import Augment
from assay.training.deep.targets import codes, cross_entropy, of_target

METHOD = {
    "name": "elr",
    "title": "Early-learning regularization",
    "paper": "Liu, Niles-Weed, Razavian, Fernandez-Granda, 2020, Early-Learning Regularization Prevents Memorization "
    "of Noisy Labels",
    "arxiv": "2007.00151",
    "accepts": ["hard", "soft", "votes"],
    "gives": ["classifier", "suspects", "suggested labels"],
    "command": "assay learn TABLE --label COL --method elr",
    "claim": "On digits with 40 % symmetric noise the last epoch is at least 15 points more accurate than that of "
    "cross-entropy, and at most half as many wrong labels are memorised.",
    "status": "stable",
}

LOW = 1e-4  # probabilities are kept this far from 0 and 1, so that the loss stays finite

Dtype = Literal["float32", "float16"]


def clamped(probabilities: Tensor) -> Tensor:
    """Probabilities (b, k) kept away from 0 and 1; no gradient where that changes them."""
    return probabilities.clamp(LOW, 1 - LOW)


def pull(probabilities: Tensor, belief: Tensor) -> Tensor:
    """The regulariser (b,): log(1 - <p, t>) of probabilities (b, k) and beliefs (b, k)."""
    return torch.log1p(-(probabilities * belief).sum(1).clamp(max=1 - LOW))


def margin_against(belief: Tensor, given: Tensor) -> Tensor:
    """By how much the belief in the best other class exceeds that in the given one (n,), in -1..1; nan without any."""
    share = belief.float() / belief.float().sum(1, keepdim=True)  # 0 / 0 is nan: never visited
    own = of_target(share, given)
    return share.scatter(1, given[:, None], -math.inf).amax(1) - own


class ELR(Objective):
    """Early-learning regularization.

    Parameters
    ----------
    strength : lambda, how hard the pull is.
    momentum : beta, how slowly beliefs change.
    dtype : of the beliefs (n, k); "float16" halves their memory.
    file : where to map the beliefs from, for tables larger than memory; overwritten.

    Attributes
    ----------
    belief : (n, k) running means t; after m visits a row of it sums to 1 - beta^m.
    """

    belief: Tensor

    def __init__(
        self, strength: float = 3.0, momentum: float = 0.7, dtype: Dtype = "float32", file: str | Path | None = None
    ) -> None:
        super().__init__()
        if not strength >= 0 or not 0 <= momentum < 1:
            raise InputError(f"strength is {strength} and momentum {momentum}: expected >= 0, and within 0..1.")
        self.strength, self.momentum, self.dtype, self.file = strength, momentum, dtype, file

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Make the beliefs, all zero."""
        super().begin(n_rows, n_classes, data, model)
        table = row_table(n_rows, n_classes, self.dtype, self.file)
        self.keep("belief", table, stays=self.file is not None)

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy and pull (b,); updates the beliefs first, as the reference code does."""
        log_p = functional.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=1)  # (b, k)
        q = clamped(log_p.exp())
        belief = self.updated("belief", rows, q.detach() / q.detach().sum(1, keepdim=True))
        return self.strength * pull(q, belief) - of_target(log_p, targets)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def updated(self, name: str, rows: Tensor, probabilities: Tensor) -> Tensor:
        """Take probabilities (b, k) into the beliefs of rows (b,), and return these."""
        belief = torch.lerp(probabilities, self.read(name, rows).to(probabilities.dtype), self.momentum)
        self.write(name, rows, belief)
        return belief

    def beliefs(self) -> Tensor:
        """What is believed of each row (n, k)."""
        return self.belief

    def suspects(self, targets: Tensor) -> Tensor:
        """Margin (n,) by which the belief in another class exceeds that in the given one; above 0 they differ."""
        return margin_against(self.beliefs(), codes(targets).to(self.belief.device))

    def evidence(self, targets: Tensor) -> dict[str, npt.NDArray[Any]]:
        """Also the label that the belief suggests, and how strong it is."""
        best = (self.beliefs().float() / self.beliefs().float().sum(1, keepdim=True)).max(1)
        told = {"suggested": best.indices.cpu().numpy(), "confidence": best.values.cpu().numpy()}
        return {**super().evidence(targets), **told}


class ELRPlus(ELR):
    """Two networks that regularise each other, with averaged weights and mixed-up rows (ELR+).

    Parameters
    ----------
    strength, momentum, dtype : as for `ELR`.
    mixup : alpha of the Beta law by which rows are mixed; 0 for none, as tokens need.
    average : gamma, decay of the average of each network's weights.
    sharpen : multiply mixed labels by the belief, as the reference code does for 100 classes.
    ramp_steps : steps over which the strength rises; 0 for none (40,000 for CIFAR-100).
    """

    n_models: ClassVar[int] = 2
    n_views: ClassVar[int] = 2
    belief_2: Tensor

    def __init__(
        self,
        strength: float = 3.0,
        momentum: float = 0.7,
        mixup: float = 1.0,
        average: float = 0.997,
        sharpen: bool = False,
        ramp_steps: int = 0,
        dtype: Dtype = "float32",
    ) -> None:
        super().__init__(strength, momentum, dtype)
        self.mixup, self.average, self.sharpen, self.ramp_steps = mixup, average, sharpen, ramp_steps

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Make the beliefs of both, and the averages of their weights."""
        if model is None:
            raise InputError("ELR+ keeps averages of its networks: call begin(n_rows, n_classes, model=[one, other]).")
        super().begin(n_rows, n_classes, data, model)
        self.keep("belief_2", row_table(n_rows, n_classes, self.dtype))
        self.averages = nn.ModuleList(WeightAverage(network, self.average) for network in model)

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The sum of both networks' losses."""
        if batch.step > 0:
            for average, network in zip(self.averages, model, strict=True):
                average.update(network)
        rise = 1 - min(batch.step, self.ramp_steps) / self.ramp_steps if self.ramp_steps else 0.0
        strength = self.strength * math.exp(-5 * rise**2)
        losses = [self._one(batch, model, k, strength) for k in (0, 1)]
        self.remember(batch.rows, (losses[0] + losses[1]) / 2)
        return batch.mean(losses[0]) + batch.mean(losses[1])

    def _one(self, batch: Batch, model: Any, k: int, strength: float) -> Tensor:
        """Losses (b,) of network k."""
        x = batch.views[k] if batch.views else batch.inputs
        with torch.no_grad():
            said = self.averages[1 - k].module(x).float().softmax(1)  # in training mode, as in the reference code
        belief = self.updated(("belief", "belief_2")[k], batch.rows, said)
        targets = batch.targets
        if self.mixup > 0:
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            share = max(share, 1 - share)
            other = torch.randperm(len(batch.rows), device=batch.rows.device)
            x = mix(x, x[other], share)
            belief = share * belief + (1 - share) * belief[other]
            targets = mixed(targets, targets[other], share, self.n_classes)
        if self.sharpen:
            targets = mixed(targets, targets, 1.0, self.n_classes) * belief
            targets = targets / targets.sum(1, keepdim=True).clamp(min=1e-12)
        logits = model[k](x)
        return cross_entropy(logits, targets) + strength * pull(clamped(logits.float().softmax(1)), belief)

    def beliefs(self) -> Tensor:
        """The mean of what both networks believe (n, k)."""
        return (self.belief.float() + self.belief_2.float()) / 2


class ELRClassifier(NetworkClassifier):
    """A network trained by early-learning regularization.

    Parameters
    ----------
    strength, momentum : as for `ELR`.
    backbone, recipe, validation, augment, random_state : see `NetworkClassifier`.
    """

    def __init__(
        self,
        strength: float = 3.0,
        momentum: float = 0.7,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(backbone, recipe, validation, augment, random_state)
        self.strength = strength
        self.momentum = momentum

    def make_objective(self) -> Objective:
        """ELR with these arguments."""
        return ELR(self.strength, self.momentum)


class ELRPlusClassifier(ELRClassifier):
    """Two networks trained by ELR+; the arguments are those of `ELRClassifier`, mixing and averaging the paper's."""

    def make_objective(self) -> Objective:
        """ELR+ with these arguments."""
        return ELRPlus(self.strength, self.momentum)
