"""What a model has in its layers at each token, taken by hooks; and scaling that only ever sees training rows.

Numbering: 0 is what the first block reads (the embedded tokens), l is what block l of L writes, before the final norm.
transformers' `output_hidden_states` is the same for 0 to L - 1 and has the last one after the norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal

from assay.errors import InputError
from assay.language import Tensor, nn, torch
from assay.language.models import LanguageModel

Place = Literal["residual", "attention", "mlp"]
PARTS = {"attention": ("self_attn", "attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn")}


class _Enough(Exception):
    """Raised by the hook of the last layer that is wanted, so that the later ones do not run."""


def layer_states(
    lm: LanguageModel,
    ids: Tensor,
    mask: Tensor | None = None,
    layers: Sequence[int] | None = None,
    at: Place = "residual",
    pool: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Activations of chosen layers.

    Parameters
    ----------
    ids : (b, t) tokens, padded on either side.
    mask : (b, t), 1 for a token and 0 for padding, where activations are set to 0; None for no padding.
    layers : numbers of layers; all by default. Blocks after the highest one are not run.
    at : "residual", 0 to L; "attention" or "mlp" for what this part of block 1 to L adds to it.
    pool : makes less of a layer's (b, t, d) as soon as it is there, so that the rest is not kept, such as
        `lambda states: states.mean(-1)`.

    Returns
    -------
    (layers, b, t, d), or (layers, ...) of what `pool` gives; without gradient.

    >>> from assay.language.models import tiny_language_model
    >>> lm = tiny_language_model()
    >>> layer_states(lm, torch.tensor([lm.encode("Hello")])).shape
    torch.Size([3, 1, 5, 32])
    """
    blocks = _blocks(lm)
    first = 0 if at == "residual" else 1
    wanted = list(range(first, len(blocks) + 1)) if layers is None else list(layers)
    unknown = [layer for layer in wanted if not first <= layer <= len(blocks)]
    if at not in ("residual", *PARTS):
        raise InputError(f"at is {at!r}: expected 'residual', 'attention' or 'mlp'.")
    if unknown or not wanted:
        raise InputError(f"Layer {unknown[0] if unknown else wanted} of {lm.name}: {at} has {first} to {len(blocks)}.")
    mask = torch.ones_like(ids) if mask is None else mask
    if ids.ndim != 2 or mask.shape != ids.shape or ids.numel() == 0:
        raise InputError(f"ids must be (b, t) with at least one token, and mask alike: got {ids.shape}, {mask.shape}.")
    if ids.shape[1] > lm.context_length or not 0 <= int(ids.min()) <= int(ids.max()) < lm.n_vocabulary:
        raise InputError(
            f"{lm.name} reads up to {lm.context_length} ids from 0 to {lm.n_vocabulary - 1}: got {ids.shape[1]} ids "
            f"from {int(ids.min())} to {int(ids.max())}."
        )
    kept: dict[int, Tensor] = {}
    shown = mask.to(lm.device)

    def keep(layer: int, states: Any) -> None:
        states = (states[0] if isinstance(states, tuple) else states) * shown[..., None].to(lm.model.dtype)
        kept[layer] = states if pool is None else pool(states)
        if layer == max(wanted):
            raise _Enough

    with _hooks(blocks, set(wanted), at, keep), torch.no_grad(), suppress(_Enough):
        lm.body(
            input_ids=ids.to(lm.device),
            attention_mask=shown,
            position_ids=(shown.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        )
    return torch.stack([kept[layer] for layer in wanted])


def _blocks(lm: LanguageModel) -> Any:
    """The list of the model's blocks, wherever its family keeps it."""
    n = lm.model.config.get_text_config().num_hidden_layers
    for module in lm.body.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n:
            return module
    raise InputError(f"{lm.name} keeps its {n} blocks in no list: its layers cannot be told apart.")


@contextmanager
def _hooks(blocks: Any, wanted: set[int], at: str, keep: Callable[[int, Any], None]) -> Iterator[None]:
    def read(layer: int, _: Any, args: Any, kwargs: Any) -> None:
        keep(layer, args[0] if args else kwargs["hidden_states"])

    def written(layer: int, _: Any, __: Any, output: Any) -> None:
        keep(layer, output)

    handles = []
    try:
        if 0 in wanted:
            handles.append(blocks[0].register_forward_pre_hook(partial(read, 0), with_kwargs=True))
        for layer in sorted(wanted - {0}):
            module = blocks[layer - 1] if at == "residual" else _part(blocks[layer - 1], at)
            handles.append(module.register_forward_hook(partial(written, layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _part(block: Any, at: str) -> Any:
    for name in PARTS[at]:
        if hasattr(block, name):
            return getattr(block, name)
    raise InputError(f"A {type(block).__name__} has no part named {' or '.join(PARTS[at])}: take at='residual'.")


class Standardise:
    """Mean 0 and deviation 1 for each layer and feature, learned from training rows alone.

    `fit` and `partial_fit` take states (layers, b, t, d) and a mask (b, t) of the tokens that count. Once rows were
    transformed, no more can be added: it would let test rows into the numbers that they are judged by.

    Attributes
    ----------
    mean_, scale_ : (layers, d).
    n_seen_ : tokens that were counted.

    >>> states = torch.tensor([[[[1.0], [3.0], [9.0]]]])  # (layers, b, t, d)
    >>> scaler = Standardise().fit(states, torch.tensor([[1, 1, 0]]))
    >>> scaler.transform(states).flatten().tolist()
    [-1.0, 1.0, 7.0]
    """

    mean_: Tensor
    scale_: Tensor
    _spread: Tensor

    def __init__(self) -> None:
        self.n_seen_ = 0
        self._closed = False

    def fit(self, states: Tensor, mask: Tensor | None = None) -> Standardise:
        """Learn from training states (layers, b, t, d), forgetting what was learned before."""
        self.n_seen_, self._closed = 0, False
        return self.partial_fit(states, mask)

    def partial_fit(self, states: Tensor, mask: Tensor | None = None) -> Standardise:
        """Add a batch of training states; batches in any order give the same numbers as all at once."""
        if self._closed:
            raise InputError(
                "These statistics were used already, so no rows can be added: fit on all training rows first, then "
                "transform."
            )
        counted = torch.ones(states.shape[1:3], dtype=torch.bool) if mask is None else mask.to(torch.bool)
        rows = states.detach()[:, counted.to(states.device)].double()  # (layers, n, d)
        n = rows.shape[1]
        if n == 0 or not bool(torch.isfinite(rows).all()):
            raise InputError("Statistics need at least one token that counts, and finite states.")
        mean, spread = rows.mean(1), rows.var(1, correction=0) * n
        if self.n_seen_:
            apart, total = mean - self.mean_, n + self.n_seen_
            spread = self._spread + spread + apart.square() * (n * self.n_seen_ / total)
            mean = self.mean_ + apart * (n / total)
        self.mean_, self._spread, self.n_seen_ = mean, spread, self.n_seen_ + n
        deviation = (spread / self.n_seen_).sqrt()
        self.scale_ = torch.where(deviation > 0, deviation, torch.ones_like(deviation))  # a constant stays at 0
        return self

    def transform(self, states: Tensor) -> Tensor:
        """States (layers, b, t, d), standardised, in their own precision."""
        if self.n_seen_ == 0:
            raise InputError("There are no statistics yet: fit on training rows first.")
        self._closed = True
        mean, scale = (each[:, None, None].to(states.device) for each in (self.mean_, self.scale_))
        return ((states.double() - mean) / scale).to(states.dtype)
