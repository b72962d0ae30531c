"""Weights of tokens taken from what a frozen reference model computes: by rule (MaPO) or learned (SparsePO).

Every number here belongs to a state and weighs the token which that state predicts, never the token that stands there:
a weight that saw its own token would leak what it weighs.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from assay.errors import InputError
from assay.language import Tensor, nn, torch

_ATTENTION = re.compile("attn|attention", re.IGNORECASE)
KINDS = ("mlp", "attention", "residual", "logits")
"""Kinds of activations that MaPO averages over."""


def min_max(values: Tensor, response: Tensor) -> Tensor:
    """Values (s, t) stretched to 0..1 over the response tokens (s, t) of each sequence, zero elsewhere.

    A sequence without spread, or of one token, has the weight 1 on all of them. The paper standardises first, which
    changes nothing: the result is the same for a x + b with any a > 0.

    >>> min_max(torch.tensor([[9.0, 2, 4, 3]]), torch.tensor([[0, 1, 1, 1]]))
    tensor([[0.0000, 0.0000, 1.0000, 0.5000]])
    """
    at = response.bool()
    low = values.masked_fill(~at, torch.inf).amin(1, keepdim=True)
    high = values.masked_fill(~at, -torch.inf).amax(1, keepdim=True)
    spread = high - low
    flat = ~(spread > 1e-6 * high.abs().clamp(min=1e-30))  # rounding is no spread
    stretched = torch.where(flat, torch.ones_like(values), (values - low) / torch.where(flat, 1.0, spread))
    return torch.where(at, stretched, 0.0)


def mapo_mask(means: dict[str, list[Tensor]], response: Tensor) -> Tensor:
    """The mask (s, t) of recorded activations: each stretched to 0..1, averaged over a kind, then over the kinds.

    Parameters
    ----------
    means : for each kind the recorded activations, averaged over their width, (s, t) each.
    response : (s, t) 1 where the token which the state predicts is of the answer.
    """
    kinds = [torch.stack([min_max(a, response) for a in recorded]).mean(0) for recorded in means.values() if recorded]
    if not kinds:
        raise InputError("No activation was recorded: the model has no layers that hooks could find.")
    return torch.stack(kinds).mean(0)


@contextmanager
def recorded(model: Any, kinds: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Record the mean over the width of activations (s, t, width), by forward hooks on a transformers model.

    `mlp` are the outputs of activation functions, `attention` those of the projections inside attention (queries, keys,
    values, output), `residual` those of the embedding, of each layer and its parts, and of the last norm. Rotated
    queries and keys are no module and have no hook: they are left out. `logits` are recorded by `mean_logits`.
    """
    found: dict[str, list[Tensor]] = {kind: [] for kind in kinds}

    def keeper(kind: str) -> Any:
        def keep(_: Any, __: Any, output: Any) -> None:
            told = output[0] if isinstance(output, tuple) else output
            if isinstance(told, Tensor) and told.ndim == 3:
                found[kind].append(told.detach().float().mean(-1))

        return keep

    places = [(kind, module) for kind, module in _places(model) if kind in found]
    hooks = [module.register_forward_hook(keeper(kind)) for kind, module in places]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _places(model: Any) -> Iterator[tuple[str, nn.Module]]:
    """Where activations are recorded: kind, module."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=lambda layers: sum(p.numel() for p in layers.parameters()), default=())
    yield "residual", model.get_input_embeddings()
    for layer in layers:
        yield "residual", layer
        for part in layer.children():
            if not isinstance(part, nn.Dropout):
                yield "residual", part
        for name, module in layer.named_modules():
            kind = type(module)
            if kind.__module__ in ("transformers.activations", "torch.nn.modules.activation"):
                yield "mlp", module
            elif (isinstance(module, nn.Linear) or kind.__name__ == "Conv1D") and _ATTENTION.search(name):
                yield "attention", module
    within = {id(module) for layer in layers for module in layer.modules()}
    for module in model.modules():
        if "norm" in type(module).__name__.lower() and id(module) not in within:
            yield "residual", module


def mean_logits(hidden: Tensor, head: Any) -> Tensor:
    """The mean over the vocabulary of W x + b (s, t), of final hidden states (s, t, h), without making the logits."""
    mean = hidden.float() @ head.weight.detach().float().mean(0)
    return mean if head.bias is None else mean + head.bias.detach().float().mean()


class TokenMask(nn.Module):  # type: ignore[misc]
    """The learned mask of SparsePO: m = relu(sum_l c_l relu(w_l . LayerNorm(H_l) + b_l)), of L hidden states.

    Two stacked relus can be zero on every token, and then nothing learns, the policy neither: in 7 to 10 % of plain
    initialisations. Here c_l and b_l begin positive, `start` looks at real states and begins anew if the mask is dead.

    Parameters
    ----------
    n_layers, width : L and the width of the hidden states.
    dropout : of both relus' outputs, while training.
    clamp : the most a weight may be, or None.
    """

    def __init__(self, n_layers: int, width: int, dropout: float = 0.01, clamp: float | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gates = nn.Parameter(torch.empty(n_layers, width))
        self.bias = nn.Parameter(torch.empty(n_layers))
        self.mixer = nn.Parameter(torch.empty(n_layers))
        self.dropout = nn.Dropout(dropout)
        self.clamp = clamp
        self.reset()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def reset(self) -> None:
        """Begin anew, by torch's global randomness."""
        n_layers, width = self.gates.shape
        self.norm.reset_parameters()
        self.gates.uniform_(-1, 1).div_(width**0.5)
        self.bias.fill_(0.5)
        self.mixer.uniform_(-1, 1).abs_().div_(n_layers**0.5)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start(self, states: Tensor, tries: int = 20) -> None:
        """Look at the mask of states (n, L, h), begin anew until it lives, and scale its mean to one.

        A mask with the mean c acts like c times beta: with the mean one, beta means at the start what it means in DPO.
        """
        was = bool(self.training)
        self.eval()
        for _ in range(tries):
            mean = self._raw(states).mean()
            if bool(mean > 1e-6):
                self.mixer.div_(mean)
                break
            self.reset()
        else:
            raise InputError(f"The mask is zero on every token after {tries} beginnings: are the states constant?")
        self.train(was)

    def _raw(self, states: Tensor) -> Tensor:
        opened = torch.einsum("nlh,lh->nl", self.norm(states.float()), self.gates) + self.bias
        return self.dropout(torch.relu(self.dropout(torch.relu(opened)) @ self.mixer))

    def forward(self, states: Tensor) -> Tensor:
        """Weights (n,) of hidden states (n, L, h); no gradient flows into the states."""
        mask = self._raw(states.detach())
        if self.training and len(mask) and not bool((mask > 0).any()):
            warnings.warn(
                "The token mask is zero on a whole batch: nothing learns from it. Lower mask_lr, or l1.", stacklevel=2
            )
        return mask if self.clamp is None else mask.clamp(max=self.clamp)
