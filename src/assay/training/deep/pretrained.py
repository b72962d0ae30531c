"""Pretrained networks under a head of one's own: any Hugging Face model saved in a folder.

For features that stay as they are, encode once and train a head on the numbers; that is far cheaper:

    Data(encode(texts, "minilm"), labels, k)     with     mlp((384,), k, hidden=())

Nothing is downloaded, and no code of the folder is run.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.errors import InputError, require
from assay.training.deep import Tensor, nn, torch
from assay.training.deep.backbones import Network


class _Encoder(nn.Module):  # type: ignore[misc]
    """The pooled output of a Hugging Face model, or the mean of its last states over what is not padding."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Mapping[str, Tensor] | Tensor) -> Tensor:
        named = inputs if isinstance(inputs, Mapping) else {"pixel_values": inputs}
        said = self.model(**named)
        states = said.last_hidden_state  # (b, t, d) of texts, (b, t, d) or (b, d, h, w) of pictures
        if states.ndim == 4:
            return states.mean((2, 3))
        mask = named.get("attention_mask")
        if mask is None:
            return states.mean(1)
        share = mask.to(states.dtype)[:, :, None]
        return (states * share).sum(1) / share.sum(1).clamp(min=1)  # (b, d)


def hugging_face(folder: str | Path, n_classes: int) -> Network:
    """A model of a folder, as `save_pretrained` wrote it, with a new linear head; all weights train.

    Inputs are what the model's `forward` takes by name, such as `tokens` makes, or pictures (b, c, h, w).
    To train the head alone: `network.encoder.requires_grad_(False)`.

    Raises
    ------
    MissingExtraError without transformers, InputError where the folder holds no model.
    """
    library = require("transformers", "deep", "Pretrained models")
    model = _loaded(library.AutoModel, folder)
    config = model.config
    sizes = [getattr(config, name, None) for name in ("hidden_size", "d_model", "dim", "num_features")]
    stages = getattr(config, "hidden_sizes", None)
    width = next((size for size in sizes if size), stages[-1] if stages else None)
    if width is None:
        raise InputError(f"The configuration in {folder} does not say how many numbers the model gives.")
    return Network(_Encoder(model), nn.Linear(width, n_classes))


def tokens(folder: str | Path, texts: Sequence[str], max_length: int = 128) -> dict[str, Tensor]:
    """What a text model of a folder reads, (n, t) each, padded to the longest text and cut at `max_length` tokens."""
    library = require("transformers", "deep", "Pretrained models")
    tokenizer = _loaded(library.AutoTokenizer, folder)
    made = tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    return {name: torch.as_tensor(values) for name, values in made.items()}


def _loaded(kind: Any, folder: str | Path) -> Any:
    if not Path(folder).is_dir():
        raise InputError(f"There is no folder {folder}: save a model there with `save_pretrained`.")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the library draws a bar of its own while it loads
            return kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no model that can be read: {error}") from None
