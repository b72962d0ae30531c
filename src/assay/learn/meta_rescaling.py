"""Row weights that the training itself learns, from how each row behaves, without a single clean label.

A small network, the rescaler, sees how hard each row is beside others with the same label (losses, probabilities, how
much they shake under dropout, whether label and prediction agree) and says how much the row counts. It is trained along
by asking, after each step, how its weights should have been for the next weighted batch of the same noisy rows to cost
less. Weights of wrong labels fall towards 0; their running mean tells which labels to doubt.

Paper: Heck, Geishauser, Lubis, van Niekerk, Feng, Lin, Ruppik, Vukovic, Gasic, "Learning from Noisy Labels via
Self-Taught On-the-Fly Meta Loss Rescaling" (STORM), AAAI 2025, arXiv 2412.12955.

    theta' = theta - inner_lr * grad mean_i Omega(f_i) l_i(theta),    M(omega) = mean_j Omega(f_j) l_j(theta')

with features f of the batch i and of a second one j, drawn at random from the same rows. omega follows Adam along dM in
two parts: *meta* (through theta') and *outer* (through Omega(f_j)).

When to use: wrong labels at random, no clean set, any network. When not: labels that are nearly all right (it costs
accuracy: rare and hard rows lose weight), or a class whose labels are wrong in the same way everywhere. Weights average
about a half, which halves the learning rate; `normalise` undoes that.

Departures. (1) The second-order graph is never built: with one step of gradient descent

    dM / dw_i = -inner_lr / b * <dM / dtheta', grad l_i(theta)>

which one forward-mode pass gives for all rows, exactly, and with the memory of plain training.
(2) The network moves by the recipe's optimizer, with all its state; in the reference code Adam begins anew at every
step, which is descent by signs and makes the meta part vanish; path "signs" is that. (3) Path "outer" takes the batch
of the step itself for j, at theta. (4) The memory holds a fixed number of rows, not a batch size. (5) Networks without
dropout get it on their inputs, in the extra passes alone, as the reference code does to TF-IDF. (6) One rescaler serves
all classes: with one for each, as in the paper, nothing keeps it from giving up all rows of its class, and some do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy.typing as npt

from assay.errors import InputError
from assay.training.deep import Tensor, functional, nn, torch
from assay.training.deep.batches import Batch, Data
from assay.training.deep.behaviour import N_FEATURES, Behaviour
from assay.training.deep.estimator import Backbone, NetworkClassifier
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.stream import Augment
from assay.training.deep.targets import codes, cross_entropy
from assay.training.deep.virtual import with_gradients

METHOD = {
    "name": "meta_rescaling",
    "title": "Meta loss rescaling",
    "paper": "Heck, Geishauser, Lubis, van Niekerk, Feng, Lin, Ruppik, Vukovic, Gasic, 2025, Learning from Noisy "
    "Labels via Self-Taught On-the-Fly Meta Loss Rescaling",
    "arxiv": "2412.12955",
    "accepts": ["hard", "soft", "votes"],
    "gives": ["classifier", "weights", "suspects"],
    "command": "assay learn TABLE --label COL --method meta_rescaling",
    "claim": "On digits with 30 % of the labels wrong the last epoch is at least 5 points more accurate than that of "
    "cross-entropy, and the learned weights tell wrong from right labels with an AUC above 0.85.",
    "status": "stable",
}

KEEP = 0.9  # how slowly the running means of the weights change
Path = Literal["both", "meta", "outer", "signs"]


class Rescaler(nn.Module):  # type: ignore[misc]
    """One perceptron a group, all evaluated at once; what it normalises it normalises over the batch.

    Linear - normalise - ReLU - Linear - normalise - softmax over two outputs, of which the second is the weight.
    Without the last normalisation weights of zero would cost least. It also removes biases, so there are none.

    Parameters
    ----------
    n_features, n_groups : f and g.
    """

    def __init__(self, n_features: int, n_groups: int) -> None:
        super().__init__()
        bound = n_features**-0.5
        self.hidden = nn.Parameter(torch.empty(n_groups, n_features, n_features).uniform_(-bound, bound))
        self.out = nn.Parameter(torch.empty(n_groups, n_features, 2).uniform_(-bound, bound))

    def standardised(self, features: Tensor) -> Tensor:
        """What the softmax of each group takes (b, g, 2), each column of mean 0 and variance 1 over the batch."""
        hidden = torch.einsum("bf,gfh->bgh", features, self.hidden).flatten(1)
        hidden = functional.batch_norm(hidden, None, None, training=True).relu()
        hidden = hidden.unflatten(1, self.hidden.shape[::2])
        out = torch.einsum("bgh,gho->bgo", hidden, self.out)
        return functional.batch_norm(out.flatten(1), None, None, training=True).view_as(out)

    def forward(self, features: Tensor, groups: Tensor) -> Tensor:
        """Weights (b,) in 0..1 of features (b, f) of rows in groups (b,)."""
        return self.standardised(features)[torch.arange(len(groups)), groups].softmax(1)[:, 1]


class MetaRescaling(Objective):
    """Self-taught on-the-fly meta loss rescaling.

    Parameters
    ----------
    path : what the rescaler learns by: "both"; "meta" (the paper's "without meta loss rescaling"); "outer", which
        needs no second batch; "signs", where network and step within move by signs.
    inner_lr : of the step within the step; that of the recipe is natural.
    passes : forward passes under dropout, the one with a gradient included.
    dropout : share of inputs dropped in the extra passes where the network itself has no dropout.
    per_class : a rescaler and statistics for each class, or one for all.
    memory : rows that the statistics are over, of each class where these are apart; the paper's is its batch size.
    features : "all" nineteen, or the "loss" and the agreement alone.
    normalise : divide the weights by their mean over the batch, so that the learning rate stays.
    binary : use weights of 0 or 1, by a threshold of a half that gradients pass (unstable in the paper).

    Attributes
    ----------
    weight : (n,) float32 running mean of the weights that each row had; nan = never visited.
    """

    weight: Tensor

    def __init__(
        self,
        path: Path = "both",
        inner_lr: float = 0.02,
        passes: int = 3,
        dropout: float = 0.1,
        per_class: bool = False,
        memory: int = 32,
        features: Literal["all", "loss"] = "all",
        normalise: bool = False,
        binary: bool = False,
    ) -> None:
        super().__init__()
        if path not in ("both", "meta", "outer", "signs") or features not in ("all", "loss"):
            raise InputError(f"path is {path!r}, features {features!r}: expected both, meta, outer, signs; all, loss.")
        if passes < 1 or memory < 2 or not 0 <= dropout < 1 or not inner_lr > 0:
            raise InputError(
                f"passes {passes}, memory {memory}, dropout {dropout}, inner_lr {inner_lr}: expected >= 1, >= 2, "
                "within 0..1, and > 0."
            )
        self.path, self.inner_lr, self.passes, self.dropout, self.per_class = path, inner_lr, passes, dropout, per_class
        self.memory, self.features, self.normalise, self.binary = memory, features, normalise, binary
        self._kept = list(range(N_FEATURES)) if features == "all" else [0, N_FEATURES - 1]

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Make the rescaler, and empty memories for the batches and for the second ones."""
        super().begin(n_rows, n_classes, data, model)
        groups = n_classes if self.per_class else 1
        self.rescaler = Rescaler(len(self._kept), groups)
        self.behaviour, self.second_behaviour = Behaviour(groups, self.memory), Behaviour(groups, self.memory)
        self.keep("weight", torch.full((n_rows,), math.nan))

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Weighted cross-entropy (b,) of a loop of one's own: path "outer" by one pass, and no more than one backward.

        Give `parameters()` of the objective an optimizer of their own.
        """
        losses = cross_entropy(logits, targets)
        weights = self.weigh(self.behaviour, logits[None], targets)
        return self._used(rows, weights).detach() * losses + self._through(weights, losses)

    def weigh(self, behaviour: Behaviour, logits: Tensor, targets: Tensor) -> Tensor:
        """Weights (b,) by logits (passes, b, k); the gradient reaches the rescaler alone."""
        groups = codes(targets) if self.per_class else torch.zeros_like(codes(targets))
        features = behaviour(logits.detach(), targets, groups).to(self.rescaler.out.dtype)
        weights: Tensor = self.rescaler(features[:, self._kept], groups)
        return weights + ((weights >= 0.5).to(weights) - weights).detach() if self.binary else weights

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss of a batch, whose one backward pass moves the network and the rescaler."""
        seed = int(torch.randint(2**62, ()))
        with _seeded(seed, batch.rows.device):
            logits = model(batch.inputs)
        losses = cross_entropy(logits, batch.targets)
        self.remember(batch.rows, losses)
        weights = self.weigh(self.behaviour, self._repeated(model, {}, batch, logits), batch.targets)
        used = self._used(batch.rows, weights)
        loss = batch.mean(used.detach() * losses)
        if self.path == "outer":
            return loss + batch.mean(self._through(weights, losses))
        if batch.draw is None:
            raise InputError(f"Path {self.path!r} needs batch.draw, a second batch: give it, or take path 'outer'.")
        named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        slopes = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
        if self.path == "signs":
            slopes = tuple(slope.sign() for slope in slopes)
        steps = zip(named.items(), slopes, strict=True)
        after = {name: (value.detach() - self.inner_lr * slope).requires_grad_() for (name, value), slope in steps}
        told, pulls = self._second(model, after, batch.draw(len(batch.rows)))
        if self.path != "signs":
            change = self._along(model, named, pulls, batch, seed)
            told = told - self.inner_lr * batch.mean(self._through(used, change))
        return with_gradients(loss.detach() + told, list(named.values()), slopes)

    def _second(self, model: nn.Module, after: dict[str, Tensor], batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A zero with the gradient of the outer part, and dM / dtheta', of a second batch."""
        logits = _at(model, after, batch.inputs)
        losses, factor, told = cross_entropy(logits, batch.targets), 1.0, torch.zeros((), device=logits.device)
        if self.path != "meta":
            weights = self.weigh(self.second_behaviour, self._repeated(model, after, batch, logits), batch.targets)
            factor, told = weights.detach(), batch.mean(self._through(weights, losses))
        total = batch.mean(factor * losses)
        return told, torch.autograd.grad(total, list(after.values()), allow_unused=True, materialize_grads=True)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _repeated(self, model: nn.Module, parameters: dict[str, Tensor], batch: Batch, logits: Tensor) -> Tensor:
        """Logits (passes, b, k): those given, and those of the extra passes."""
        x = batch.inputs
        own = any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0 for part in model.modules())
        p = 0.0 if own or not isinstance(x, Tensor) or not x.is_floating_point() else self.dropout
        extra = [_at(model, parameters, functional.dropout(x, p) if p else x) for _ in range(self.passes - 1)]
        return torch.stack([logits.detach(), *extra])

    def _along(self, model: nn.Module, named: dict[str, Tensor], pulls: Any, batch: Batch, seed: int) -> Tensor:
        """Slope (b,) of each row's loss along `pulls`, by one forward-mode pass under the dropout of the first pass."""
        plain = nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH)  # fused attention has no such mode
        dual = torch.autograd.forward_ad
        with torch.no_grad(), dual.dual_level(), plain, _seeded(seed, batch.rows.device):
            moving = {name: dual.make_dual(named[name], pull) for name, pull in zip(named, pulls, strict=True)}
            losses = cross_entropy(_at(model, moving, batch.inputs), batch.targets)
            slopes: Tensor = dual.unpack_dual(losses).tangent
        return slopes

    def _used(self, rows: Tensor, weights: Tensor) -> Tensor:
        """The weights (b,) as they multiply losses; takes them into the running means of the rows."""
        seen, before = weights.detach(), self.read("weight", rows)
        self.write("weight", rows, torch.where(before.isnan(), seen, torch.lerp(seen, before.to(seen), KEEP)))
        return weights / seen.mean().clamp(min=1e-8) if self.normalise else weights

    def _through(self, weights: Tensor, slopes: Tensor) -> Tensor:
        """Zeros (b,) whose gradient with respect to the weights is `slopes`."""
        slopes = slopes.detach().clamp(-1, 1) if self.binary else slopes.detach()  # hardtanh, as in the reference code
        carried = weights * slopes
        return carried - carried.detach()

    def end_epoch(self, epoch: int, model: Any, validation: Data | None) -> None:
        """Empty the memories."""
        del epoch, model, validation
        self.behaviour.forget()
        self.second_behaviour.forget()

    def suspects(self, targets: Tensor) -> Tensor:
        """One minus the running mean of each row's weight (n,)."""
        del targets
        return 1 - self.weight

    def evidence(self, targets: Tensor) -> dict[str, npt.NDArray[Any]]:
        """Also the running mean of the weights."""
        return {**super().evidence(targets), "weight": self.weight.cpu().numpy()}


def _at(model: nn.Module, parameters: dict[str, Tensor], inputs: Any) -> Tensor:
    """Logits at other parameters; running statistics of the model do not change."""
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    said: Tensor = torch.func.functional_call(model, {**parameters, **statistics}, (inputs,))
    return said


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Global randomness from a seed, so that dropout can be repeated; put back afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class MetaRescalingClassifier(NetworkClassifier):
    """A network trained with row weights that it learns on the way.

    Parameters
    ----------
    path, inner_lr, passes, per_class, normalise : as for `MetaRescaling`.
    backbone, recipe, validation, augment, random_state : see `NetworkClassifier`.
    """

    def __init__(
        self,
        path: Path = "both",
        inner_lr: float = 0.02,
        passes: int = 3,
        per_class: bool = False,
        normalise: bool = False,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(backbone, recipe, validation, augment, random_state)
        self.path = path
        self.inner_lr = inner_lr
        self.passes = passes
        self.per_class = per_class
        self.normalise = normalise

    def make_objective(self) -> Objective:
        """Meta rescaling with these arguments."""
        return MetaRescaling(self.path, self.inner_lr, self.passes, per_class=self.per_class, normalise=self.normalise)
