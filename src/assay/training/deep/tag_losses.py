"""Losses for tags of which only confirmed ones are known: what a method for such tags must beat.

- `AssumeNegative`: binary cross-entropy; whatever is not confirmed counts as absent.
- `ASL`, the asymmetric loss (Ridnik et al. 2021, arXiv 2009.14119): the same, but easy absences count less and very
  easy ones not at all, which forgives tags that were missed.
- `EM`: a tag that is there is confirmed with a chance c of its own (`frequency`), learned too: the likelihood of what
  was recorded, P(confirmed | x) = c p(x). Its gradient is that of expectation-maximisation, where an unknown cell
  counts as present with q = (1 - c) p / (1 - c p) (Elkan, Noto 2008). ROLE (Cole et al. 2021, arXiv
  2106.09708) keeps such beliefs by row and must be told the mean number of tags; here c is learned or given.

Tags are (b, k) of 1, 0 and -1; each loss is a sum over tags, (b,).
"""

from __future__ import annotations

from typing import Any

from assay.training.deep import Tensor, functional, nn, torch
from assay.training.deep.batches import Data
from assay.training.deep.objective import Objective
from assay.training.deep.run import predict
from assay.training.deep.tags import TagData

RAREST = 1e-4  # the least frequency that EM begins with


def assume_negative(logits: Tensor, tags: Tensor) -> Tensor:
    """Binary cross-entropy (b,) of logits (b, k), where whatever is not confirmed is absent."""
    z = wide(logits)
    return functional.binary_cross_entropy_with_logits(z, (tags > 0).to(z.dtype), reduction="none").sum(1)


def asymmetric(
    logits: Tensor, tags: Tensor, focus: float = 4.0, focus_confirmed: float = 1.0, shift: float = 0.05
) -> Tensor:
    """Asymmetric loss (b,); `focus` and `focus_confirmed` are gamma- and gamma+, `shift` is m of the paper.

    -(1 - p)^gamma+ log p where confirmed,    -p_m^gamma- log(1 - p_m) elsewhere,    p_m = max(p - m, 0)
    """
    z = wide(logits)
    p = z.sigmoid()
    rest = (p - shift).clamp(min=0)
    confirmed = (1 - p) ** focus_confirmed * functional.logsigmoid(z)
    elsewhere = rest**focus * torch.log1p(-rest)
    return -torch.where(tags > 0, confirmed, elsewhere).sum(1)


def recorded(logits: Tensor, tags: Tensor, log_frequency: Tensor, use_negatives: bool = False) -> Tensor:
    """Minus log-likelihood (b,) of what was recorded, of logits (b, k) and log c (k,).

    `use_negatives`: a cell of -1 is known to be absent; else it is as unknown as one of 0.
    """
    z = wide(logits)
    log_p = functional.logsigmoid(z)
    unknown = log1mexp(log_frequency + log_p)
    if use_negatives:
        unknown = torch.where(tags < 0, functional.logsigmoid(-z), unknown)
    return -torch.where(tags > 0, log_frequency + log_p, unknown).sum(1)


def log1mexp(a: Tensor) -> Tensor:
    """log(1 - e^a) of a < 0, of which only the rounding to 0 is kept away."""
    return torch.log(-torch.expm1(a.clamp(max=-1e-7)))


def wide(logits: Tensor) -> Tensor:
    """Logits in single precision or better."""
    return logits if logits.dtype == torch.float64 else logits.float()


def zero_output_bias(model: nn.Module, k: int) -> None:
    """Set the bias of the last layer with k outputs to zero, in place; a network without one stays as it is."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    last = [module for module in model.modules() if isinstance(module, kinds) and len(module.weight) == k][-1:]
    for module in last:
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class TagObjective(Objective):
    """Binary cross-entropy that takes unknown tags for absent ones, and what objectives for tags are derived from.

    Attributes
    ----------
    held : rows held out, to choose the epoch by what was recorded of them; None for none. Set it before training.
    scores : what `criterion` said of them after each epoch.
    best : weights of the network after the epoch with the least of them.
    """

    held: TagData | None = None

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Forget what was; the bias of the network's last layer starts at zero."""
        super().begin(n_rows, max(2, n_classes), data, model)
        self.n_classes = n_classes  # one tag is allowed
        self.scores: list[float] = []
        self.best: dict[str, Tensor] = {}
        if model is not None:
            zero_output_bias(model, n_classes)

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Losses (b,)."""
        del rows
        return assume_negative(logits, targets)

    def criterion(self, logits: Tensor, tags: Tensor) -> Tensor:
        """How badly logits (m, k) agree with what was recorded of rows held out; needs no truth."""
        return self.loss(logits, tags, torch.arange(len(tags), device=tags.device)).mean()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def end_epoch(self, epoch: int, model: Any, validation: Data | None) -> None:
        """Judge the epoch by the rows held out, and keep the weights of the best."""
        del epoch, validation
        if self.held is None:
            return
        place = self.past.device
        said = predict(self, model, self.held.inputs).to(place)
        self.scores.append(float(self.criterion(said, self.held.targets.to(place))))
        if self.scores[-1] <= min(self.scores):
            self.best = {name: value.clone() for name, value in model.state_dict().items()}


class ASL(TagObjective):
    """The asymmetric loss, with the paper's settings."""

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Losses (b,)."""
        del rows
        return asymmetric(logits, targets)


class EM(TagObjective):
    """The likelihood of what was recorded.

    Parameters
    ----------
    frequency : (k,) the chance that a tag which is there was confirmed; None: learned from the data of `begin`, from
        the share of rows with the tag on (as if all rows had it), so that it rises no further than the data demand.
    use_negatives : whether cells of -1 are known to be absent.

    Attributes
    ----------
    log_odds : (k,) of the frequency, a parameter where it is learned.
    """

    def __init__(self, frequency: Any = None, use_negatives: bool = False) -> None:
        super().__init__()
        self.frequency, self.use_negatives = frequency, use_negatives

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Begin the frequencies; without data, at a half."""
        super().begin(n_rows, n_classes, data, model)
        if self.frequency is not None:
            start = torch.as_tensor(self.frequency, dtype=torch.float32)
        else:
            start = torch.full((n_classes,), 0.5) if data is None else (data.targets > 0).float().mean(0)
        log_odds = start.clamp(RAREST, 1 - RAREST).logit()
        self.log_odds = nn.Parameter(log_odds, requires_grad=self.frequency is None)

    def loss(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Losses (b,)."""
        del rows
        return recorded(logits, targets, functional.logsigmoid(self.log_odds), self.use_negatives)
