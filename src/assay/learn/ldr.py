"""Losses between cross-entropy and a symmetric one, with a temperature that may be each row's own.

An adversary moves the mass of the label to the classes that hurt most; the temperature says how freely. Cold, only the
worst class counts, as in a support vector machine; warm, all classes count alike, and wrong labels cancel out.

Paper: Zhu, Ying, Yang, "Label Distributionally Robust Losses for Multi-class Classification: Consistency, Robustness
and Adaptivity", ICML 2023, arXiv 2112.14869.

    LDR-KL  psi = max_p sum_k p_k delta_k - t KL(p || 1/K) = t log mean_k exp(delta_k / t),
            delta_k = f_k - f_y + margin [k != y]
    LDR-k   the same, no p_k above 1/k: k = 1 is LDR-KL, k = K the symmetric limit
    ALDR    t = temperature * (1 - KL(softmax(f / t) || 1/K) / (alpha log K)), one step of it at each visit of a row;
            psi loses alpha log K / (2 temperature) * (t - temperature)^2

with f the normalised scores, t and temperature (lambda, lambda_0), and y a class or a belief. The gradient by f is
p - y at any temperature: t does not rescale the learning rate. Losses may be negative: that is no fault.

When to use: wrong labels spread over the classes, and no state to keep: one line to change. ALDR with a low temperature
for many classes. LDR-k asks to be right among the first k. When not: systematic wrong labels, which do not cancel out;
and many classes at the temperature for ten. GCE with a tuned q resists more on ten classes (docs/learn/ldr.md).

Departures: the temperature of a row is computed by log-softmax rather than from p + 1e-5; LDR-k, which the reference
code lacks, is derived from its definition, with the mass of p always one; suspicion is the mean loss, since the
temperature looks at the prediction alone, and not at the label (`evidence` tells it too).
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from assay.errors import InputError
from assay.training.deep import Tensor, functional, torch
from assay.training.deep.batches import Data
from assay.training.deep.estimator import Backbone, NetworkClassifier
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.stream import Augment
from assay.training.deep.targets import of_target, one_hot

METHOD = {
    "name": "ldr",
    "title": "Label-distributionally robust losses",
    "paper": "Zhu, Ying, Yang, 2023, Label Distributionally Robust Losses for Multi-class Classification: Consistency, "
    "Robustness and Adaptivity",
    "arxiv": "2112.14869",
    "accepts": ["hard", "soft", "votes"],
    "gives": ["classifier", "suspects"],
    "command": "assay learn TABLE --label COL --method ldr",
    "claim": "On digits with 40 % symmetric noise the last epoch of LDR-KL is, in the mean of five seeds, at least 15 "
    "points more accurate than that of cross-entropy, and at most half as many wrong labels are memorised.",
    "status": "stable",
}


def normalised(logits: Tensor, softplus: bool = True) -> Tensor:
    """Scores (b, k) whose mean size is 1, so that the loss has a minimum at any temperature.

    With `softplus` they lie in 0..k (LDR); without it they keep their signs (ALDR).
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if softplus:
        logits = functional.softplus(logits)
    return logits / logits.abs().mean(1, keepdim=True).clamp(min=1e-12)


def deltas(scores: Tensor, targets: Tensor, margin: float = 0.0) -> Tensor:
    """By how much each class (b, k) exceeds the target, plus the margin of other classes."""
    raised = scores + margin * (1 - one_hot(targets, scores.shape[1]).to(scores.dtype))
    return raised - of_target(scores, targets)[:, None]


def ldr_kl(delta: Tensor, temperature: float | Tensor) -> Tensor:
    """LDR-KL (b,) of `deltas` (b, k), exact for cold and warm alike; temperature: one number, or one a row (b, 1)."""
    worst = delta.detach().amax(1, keepdim=True)
    loss: Tensor = worst + temperature * torch.log1p(torch.expm1((delta - worst) / temperature).mean(1, keepdim=True))
    return loss.squeeze(1)


def adversary(delta: Tensor, temperature: float, top_k: int) -> Tensor:
    """The p (b, k) of LDR-k, none above 1 / top_k, by water-filling: O(k log k) a row."""
    x, order = (delta / temperature).sort(dim=1, descending=True)
    left = 1 - torch.arange(top_k, dtype=x.dtype, device=x.device) / top_k  # when the r largest are at their bound
    tail = x.flip(1).logcumsumexp(1).flip(1)[:, :top_k]  # (b, top_k)
    fits = left * torch.exp(x[:, :top_k] - tail) <= 1 / top_k
    fits[:, -1] = True  # but for rounding
    first = fits.int().argmax(1, keepdim=True)  # (b, 1), the r to choose
    rest = left[first] * torch.exp(x - tail.gather(1, first))
    at_bound = torch.arange(x.shape[1], device=x.device) < first
    p = rest.masked_fill(at_bound, 1 / top_k)
    return torch.zeros_like(p).scatter(1, order, p)


def ldr_k(delta: Tensor, temperature: float, top_k: int) -> Tensor:
    """LDR-k (b,) of `deltas` (b, k); p is constant in the gradient (Danskin)."""
    p = adversary(delta.detach(), temperature, top_k)
    divergence = torch.special.xlogy(p, p).sum(1) + math.log(p.shape[1])
    return (p * delta).sum(1) - temperature * divergence


def adapted(scores: Tensor, now: Tensor, temperature: float, alpha: float) -> Tensor:
    """Temperatures (b, 1) after one step from those `now` (b, 1): certain scores (b, k) get colder."""
    log_p = functional.log_softmax(scores / now, dim=1)
    share = 1 + (log_p.exp() * log_p).sum(1, keepdim=True) / math.log(scores.shape[1])  # KL over log k, in 0..1
    return temperature * (1 - share / alpha)


class LDR(Objective):
    """LDR-KL, and with `top_k` above 1 LDR-k.

    Parameters
    ----------
    temperature : lambda; try 3, 10 and 100, by noisy validation.
    margin : c, that the target must lead by.
    top_k : among how many the target may be.
    """

    def __init__(self, temperature: float = 10.0, margin: float = 0.1, top_k: int = 1) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature, self.margin, self.top_k = temperature, margin, top_k

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Forget the losses."""
        super().begin(n_rows, n_classes, data, model)
        if not 1 <= self.top_k <= n_classes:
            raise InputError(f"top_k is {self.top_k}: expected 1..{n_classes}, the number of classes.")

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Losses (b,)."""
        del rows
        delta = deltas(normalised(logits), targets, self.margin)
        return ldr_kl(delta, self.temperature) if self.top_k == 1 else ldr_k(delta, self.temperature, self.top_k)

    def logits(self, model: Any, inputs: Any) -> Tensor:
        """Normalised scores: the size of the network's own means nothing."""
        return normalised(super().logits(model, inputs))


class ALDR(Objective):
    """LDR-KL with a temperature for each row, warm where the network is unsure.

    Parameters
    ----------
    temperature : lambda_0, the warmest; of 10 classes, 10 leaves all rows above 9.8, and 1 lets them adapt.
    alpha : above 1; no row gets colder than temperature * (1 - 1 / alpha).
    margin : c, that the target must lead by.

    Attributes
    ----------
    row_temperature : (n,) lambda; nan for rows never visited.
    """

    row_temperature: Tensor

    def __init__(self, temperature: float = 10.0, alpha: float = 2.0, margin: float = 0.1) -> None:
        super().__init__()
        check_temperature(temperature)
        if not alpha > 1:
            raise InputError(f"alpha is {alpha}: expected above 1, so that temperatures stay above 0.")
        self.temperature, self.alpha, self.margin = temperature, alpha, margin

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Forget the temperatures."""
        super().begin(n_rows, n_classes, data, model)
        self.keep("row_temperature", torch.full((n_rows,), math.nan))

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Losses (b,); takes one step of the temperatures first, as the reference code does."""
        scores = normalised(logits, softplus=False)
        with torch.no_grad():
            now = self.read("row_temperature", rows).to(scores.dtype).nan_to_num(self.temperature)[:, None]
            t = adapted(scores, now, self.temperature, self.alpha)
            self.write("row_temperature", rows, t[:, 0])
        stiffness = self.alpha * math.log(scores.shape[1]) / self.temperature
        strain = stiffness / 2 * (t[:, 0] - self.temperature) ** 2
        return ldr_kl(deltas(scores, targets, self.margin), t) - strain

    def logits(self, model: Any, inputs: Any) -> Tensor:
        """Normalised scores: the size of the network's own means nothing."""
        return normalised(super().logits(model, inputs), softplus=False)

    def evidence(self, targets: Tensor) -> dict[str, npt.NDArray[Any]]:
        """Also the temperature of each row."""
        return {**super().evidence(targets), "temperature": self.row_temperature.double().cpu().numpy()}


def check_temperature(temperature: float) -> None:
    """Raise unless the temperature is above 0 and finite."""
    if not 0 < temperature < math.inf:
        raise InputError(f"temperature is {temperature}: expected a number above 0, such as 3, 10 or 100.")


class LDRClassifier(NetworkClassifier):
    """A network trained by LDR-KL or LDR-k.

    Parameters
    ----------
    temperature, margin, top_k : as for `LDR`.
    backbone, recipe, validation, augment, random_state : see `NetworkClassifier`.
    """

    default_recipe = Recipe(lr=0.05, momentum=0.0, weight_decay=5e-3)

    def __init__(
        self,
        temperature: float = 10.0,
        margin: float = 0.1,
        top_k: int = 1,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(backbone, recipe, validation, augment, random_state)
        self.temperature = temperature
        self.margin = margin
        self.top_k = top_k

    def make_objective(self) -> Objective:
        """LDR with these arguments."""
        return LDR(self.temperature, self.margin, self.top_k)


class ALDRClassifier(NetworkClassifier):
    """A network trained by ALDR-KL.

    Parameters
    ----------
    temperature, alpha, margin : as for `ALDR`.
    backbone, recipe, validation, augment, random_state : see `NetworkClassifier`.
    """

    default_recipe = LDRClassifier.default_recipe

    def __init__(
        self,
        temperature: float = 10.0,
        alpha: float = 2.0,
        margin: float = 0.1,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(backbone, recipe, validation, augment, random_state)
        self.temperature = temperature
        self.alpha = alpha
        self.margin = margin

    def make_objective(self) -> Objective:
        """ALDR with these arguments."""
        return ALDR(self.temperature, self.alpha, self.margin)
