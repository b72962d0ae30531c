"""Tags from confirmed ones alone: what nobody tagged is unknown, not absent.

Whoever tags pictures or texts misses tags far more often than they invent them. So the network is not told that an
untagged row lacks the tag: the rows confirmed to have it should stand out against all rows together.

Paper: Yuan, Zhang, Huang, "Positive Label Is All You Need for Multi-Label Classification", ICME 2024, arXiv 2306.16016,
on the loss of Chen et al., "A Variational Approach for Learning from Positive and Unlabeled Data", NeurIPS 2020.

    phi_ic = sigmoid(z_ic / tau_c)
    L_c = w_c log(mean_i phi_ic) - mean_{i confirmed} log phi_ic
    tau_c = min(1, alpha std_i(z_ic)),   w_c = (mean_i phi_ic)^gamma,   both taken as constant in the gradient

with logits z (b, k) over all rows i of a batch, the confirmed ones among them. L_c does not see the scale of phi; the
consistency under mixing, (log y_mix - log sigmoid z(x_mix))^2 with targets 1 where confirmed and sigmoid(z) elsewhere,
is what ties it to 1 at the surest rows. Confirmed rows must be a random part of all rows that have the tag: where big
or obvious things get tagged first, phi favours them.

When to use: tags that were recorded when present and never when absent, or absences that nobody trusts. When not: all
cells looked at (use binary cross-entropy); fewer than about ten confirmed rows a tag. Where only the order of rows
matters, or the share of rows with each tag is known, cross-entropy that stops in time does about as well.

Departures: `COLDEST` and `MILDEST` keep tau and w from zero, where a low bias or bunched logits switch the loss off
(the reference code floors neither), and the last bias starts at zero; half of the rows are drawn for the sake of
confirmed tags, and weighed so that all means stay those of the data; the epoch is chosen by L_c with w = tau = 1 on
rows held out; means are over the rows of all processes. As in the reference code, the gradient also flows through the
targets of mixing. Recorded absences are ignored unless `use_negatives`.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.training.deep import Tensor, functional, torch
from assay.training.deep.batches import Batch, Data, mix
from assay.training.deep.estimator import Backbone
from assay.training.deep.processes import gathered, n_processes
from assay.training.deep.recipe import Recipe
from assay.training.deep.stream import Augment
from assay.training.deep.tag_estimator import Floats, Marks, TagClassifier
from assay.training.deep.tag_losses import ASL, EM, TagObjective, wide
from assay.training.deep.tags import confirmed_sampling

METHOD = {
    "name": "positive_multilabel",
    "title": "Tags from positives alone (PU-MLC)",
    "paper": "Yuan, Zhang, Huang, 2024, Positive Label Is All You Need for Multi-Label Classification",
    "arxiv": "2306.16016",
    "accepts": ["tags"],
    "gives": ["classifier", "class priors", "missed tags", "alarms"],
    "command": "assay learn TABLE --tags COLUMNS --positive-only",
    "claim": "On mosaics of digits of whose tags a tenth is recorded, the micro-F1 at one half is at least 80 % in the "
    "mean of five seeds, and that of binary cross-entropy is below 5 %.",
    "status": "stable",
}

Method = Literal["pu", "bce", "asl", "em"]
Sampling = Literal["confirmed", "even"]

COLDEST = 1e-1  # temperatures are no lower
MILDEST = 1e-2  # re-balance factors are no lower


def temperatures(logits: Tensor, alpha: float, weights: Tensor) -> Tensor:
    """Tau (k,), at most one, of logits (b, k) and weights (b,); no gradient. An infinite alpha is no temperature."""
    z = logits.detach()
    if alpha == math.inf:
        return torch.ones_like(z[0])
    w = weights[:, None]
    variance = (w * (z - (w * z).mean(0)) ** 2).mean(0)
    return (alpha * variance.sqrt()).clamp(COLDEST, 1.0)


def rebalance(log_mean: Tensor, gamma: float) -> Tensor:
    """Factors w (k,) of the logs of the mean phi (k,); no gradient."""
    return (gamma * log_mean.detach()).exp().clamp(min=MILDEST)


def pu_terms(
    logits: Tensor, confirmed: Tensor, gamma: float = 0.55, alpha: float = 1.0, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What pushes all rows down (k,), and what lifts the confirmed ones (b, k), whose mean over the rows counts.

    Parameters
    ----------
    logits, confirmed : (b, k) any floats, and bools: whether the tag is known to be there.
    gamma, alpha : of the re-balance (0: none), and of the temperature (infinite: none).
    weights : (b,) whose mean is one, how much each row counts in every mean; None: all alike.

    A tag that is confirmed in no row of the batch lifts none, exactly.
    """
    z = wide(logits)
    w = z.new_ones(len(z)) if weights is None else weights.to(z.dtype)
    log_phi = functional.logsigmoid(z / temperatures(z, alpha, w))
    log_mean = (log_phi + w.log()[:, None]).logsumexp(0) - math.log(len(z))
    return rebalance(log_mean, gamma) * log_mean, -among(confirmed, w) * log_phi


def among(marked: Tensor, weights: Tensor) -> Tensor:
    """What turns a mean over rows into one over the marked rows (b, k); all zero for a tag that marks none."""
    marks = marked.to(weights.dtype) * weights[:, None]
    return marks / marks.mean(0).clamp(min=1e-12)


def pu_loss(logits: Tensor, confirmed: Tensor, gamma: float = 0.55, alpha: float = 1.0) -> Tensor:
    """L_c (k,), arguments as for `pu_terms`.

    >>> pu_loss(torch.tensor([[0.0], [0.0]]), torch.tensor([[True], [False]]), gamma=0.0).tolist()
    [0.0]
    """
    down, up = pu_terms(logits, confirmed, gamma, alpha)
    return down + up.mean(0)


def log_target(logits: Tensor, confirmed: Tensor) -> Tensor:
    """Log of the target of mixing (b, k): of 1 where confirmed, of sigmoid(z) elsewhere."""
    return functional.logsigmoid(wide(logits)).masked_fill(confirmed, 0.0)


def consistency(mixed_logits: Tensor, one: Tensor, other: Tensor, share: float) -> Tensor:
    """Squared error (b, k) of the logits of mixed rows, from the log targets of both; `share` is that of `one`."""
    target = torch.logaddexp(one + math.log(share), other + math.log1p(-share))
    return (target - functional.logsigmoid(wide(mixed_logits))) ** 2


class PU(TagObjective):
    """The loss of PU-MLC, with the consistency under mixing in `forward`.

    In a loop of your own `loss(logits, tags, rows)` has the first part.

    Parameters
    ----------
    gamma, alpha : of the re-balance and of the temperature; 0 and infinity are plain VPU.
    mixup : alpha of the Beta law by which rows are mixed; 0 for none, as tokens need.
    use_negatives : also lower the tag where its absence was recorded (an extension: the paper ignores it).
    chances : (n,) by which rows are drawn, where they are not drawn alike; all means stay those of the data.
    """

    weight: Tensor

    def __init__(
        self,
        gamma: float = 0.55,
        alpha: float = 1.0,
        mixup: float = 0.3,
        use_negatives: bool = False,
        chances: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__()
        if not (gamma >= 0 and alpha > 0 and mixup >= 0):
            raise InputError(f"gamma {gamma}, alpha {alpha}, mixup {mixup}: expected >= 0, above 0, and >= 0.")
        self.gamma, self.alpha, self.mixup, self.use_negatives = gamma, alpha, mixup, use_negatives
        self.chances = chances

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Also keep what each row counts for."""
        super().begin(n_rows, n_classes, data, model)
        counts = np.ones(n_rows) if self.chances is None else 1 / np.asarray(self.chances, dtype=np.float64)
        self.keep("weight", torch.from_numpy(counts / counts.mean()).float())

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Losses (b,), whose mean is the sum of L_c over the tags; the means in L_c are over all processes' rows."""
        z, tags, weights, own = everywhere(wide(logits), targets, self.read("weight", rows))
        w = weights / weights.mean()
        down, up = pu_terms(z, tags > 0, self.gamma, self.alpha, w)
        if self.use_negatives:
            up = up + among(tags < 0, w) * functional.softplus(z)
        pushed = down.sum()
        pushed = pushed + (len(z) / len(logits) - 1) * (pushed - pushed.detach())  # each process moves its own rows
        return pushed + up[own].sum(1)

    def criterion(self, logits: Tensor, tags: Tensor) -> Tensor:
        """The bound that plain VPU minimises, on rows held out; tags count by their confirmed rows."""
        counts = (tags > 0).sum(0)
        return (counts * pu_loss(logits, tags > 0, 0.0, math.inf)).sum() / counts.sum().clamp(min=1)

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss of a batch, with that of its mixed halves; of an odd number of rows the last is not mixed."""
        logits = model(batch.inputs)
        losses = self.loss(logits, batch.targets, batch.rows)
        self.remember(batch.rows, losses)
        if self.mixup == 0:
            return batch.mean(losses)
        half = len(batch.rows) // 2
        share = float(torch.distributions.Beta(self.mixup, self.mixup).sample().clamp(1e-6, 1 - 1e-6))
        order = torch.randperm(half, device=batch.rows.device)
        targets = log_target(logits, batch.targets > 0)
        one, other = targets[:half][order], targets[half : 2 * half]
        said = model(mix(batch.inputs[:half][order], batch.inputs[half : 2 * half], share))
        return batch.mean(losses) + consistency(said, one, other, share).sum(1).mean()


def everywhere(z: Tensor, tags: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Logits, tags and weights of all processes' rows, and where this one's are; the gradient reaches these alone."""
    if n_processes() == 1:
        return z, tags, weights, slice(None)
    k, rank = z.shape[1], torch.distributed.get_rank()
    told = torch.cat([z.detach(), tags.to(z.dtype), weights[:, None].to(z.dtype)], 1)
    ranks, found = gathered(torch.full((len(z),), rank, device=z.device), told)
    own = ranks == rank
    return found[:, :k].masked_scatter(own[:, None], z), found[:, k : 2 * k], found[:, -1], own


class PositiveMultilabel(TagClassifier):
    """A network for tags of which only confirmed ones count.

    Parameters
    ----------
    method : "pu" (PU-MLC); or what it is compared with: "bce", where unknown is absent; "asl", the asymmetric loss;
        "em", the likelihood of what was recorded.
    gamma, alpha, mixup : of "pu", see `PU`. The paper has gamma 0.55, alpha 1 for 80 tags, and 0.85, 2 for 20.
    use_negatives : let "pu" and "em" learn from recorded absences too.
    sampling : how "pu" draws rows: "confirmed", half of them for the sake of confirmed tags, or "even".
    priors, calibrate, threshold, backbone, recipe, validation, augment, random_state : see `TagClassifier`;
        "em" takes priors for known while it trains.

    Examples
    --------
    >>> X = np.repeat([[0.0, 1.0], [1.0, 0.0]], 40, axis=0)
    >>> Y = np.zeros((80, 2), dtype=int)
    >>> Y[:10, 0] = Y[40:50, 1] = 1  # a quarter of the tags was recorded
    >>> PositiveMultilabel().fit(X, Y).predict([[0.0, 1.0]]).tolist()
    [[1, 0]]
    """

    def __init__(
        self,
        method: Method = "pu",
        gamma: float = 0.55,
        alpha: float = 1.0,
        mixup: float = 0.3,
        use_negatives: bool = False,
        sampling: Sampling = "confirmed",
        priors: npt.ArrayLike | None = None,
        calibrate: bool = False,
        threshold: npt.ArrayLike = 0.5,
        backbone: Backbone | None = None,
        recipe: Recipe | None = None,
        validation: float = 0.1,
        augment: Augment | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(priors, calibrate, threshold, backbone, recipe, validation, augment, random_state)
        self.method = method
        self.gamma = gamma
        self.alpha = alpha
        self.mixup = mixup
        self.use_negatives = use_negatives
        self.sampling = sampling

    def make_objective(self, tags: Marks) -> TagObjective:
        """The objective of that name."""
        if self.method not in get_args(Method) or self.sampling not in get_args(Sampling):
            raise InputError(
                f"method is {self.method!r} and sampling {self.sampling!r}: expected one of "
                f"{', '.join(get_args(Method))}, and one of {', '.join(get_args(Sampling))}."
            )
        if self.method == "pu":
            return PU(self.gamma, self.alpha, self.mixup, self.use_negatives, self.make_sampling(tags))
        if self.method == "em":
            return EM(None if self.priors is None else (tags > 0).mean(0) / self.priors, self.use_negatives)
        return ASL() if self.method == "asl" else TagObjective()

    def make_sampling(self, tags: Marks) -> Floats | None:
        """Chances (n,) of the rows where "pu" draws them for confirmed tags."""
        return confirmed_sampling(tags) if self.method == "pu" and self.sampling == "confirmed" else None

    def tell(self, logits: Floats) -> dict[str, npt.NDArray[Any]]:
        """Temperature and re-balance factor of each tag over all training rows; with "em" the learned c."""
        if isinstance(self.objective_, EM):
            return {"frequency": self.objective_.log_odds.detach().sigmoid().cpu().numpy()}
        if self.method != "pu":
            return {}
        z = torch.from_numpy(logits)
        tau = temperatures(z, self.alpha, torch.ones(len(z), dtype=z.dtype))
        log_mean = functional.logsigmoid(z / tau).logsumexp(0) - math.log(len(z))
        return {"temperature": tau.numpy(), "rebalance": rebalance(log_mean, self.gamma).numpy()}
