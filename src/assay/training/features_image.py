"""Images as histograms of gradient directions (Dalal and Triggs 2005) and coarse colours, reduced by PCA."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from sklearn.decomposition import PCA
from sklearn.utils.parallel import Parallel, delayed

from assay.errors import InputError
from assay.training.features import Features

Floats = npt.NDArray[np.float32]
Picture = str | Path | bytes | Image.Image | npt.NDArray[np.generic]

SIDE = 32  # pixels; enough for the gist of a picture, 64 times fewer numbers than at 256
CELL = 4  # pixels a side of a histogram's cell
DIRECTIONS = 9  # of a gradient, sign ignored
COMPONENTS = 128
PCA_ROWS = 10_000  # rows that the components are fitted to
BLOCK = 1000  # images held at a time
BATCH = 50  # images that a thread decodes at a time


def image_features(
    images: Sequence[Picture] | npt.NDArray[np.generic],
    *,
    random_state: int = 0,
    on_row: Callable[[int, int], None] | None = None,
) -> Features:
    """Describe each picture by at most 128 numbers.

    Parameters
    ----------
    images : n paths, encoded bytes, Pillow images, or arrays (h, w) or (h, w, 3), uint8 or floats in 0..1;
        sizes may differ.
    random_state : seed of the PCA.
    on_row : called as `on_row(done, n)` after each block of pictures.

    Returns
    -------
    Features with a matrix (n, d) float32, d <= 128, of total variance one: two pictures lie about sqrt(2) apart.
    Pictures are held in blocks, so memory does not grow with their size.

    Raises
    ------
    InputError naming the row (and path) of the first picture that can't be read.
    """
    raw = described(images, on_row)
    mean, directions = components(raw, random_state)
    return Features(project(raw, mean, directions), "image")


def described(
    images: Sequence[Picture] | npt.NDArray[np.generic], on_row: Callable[[int, int], None] | None = None
) -> Floats:
    """Histograms and colours (n, d0) of n pictures, before the PCA."""
    n = len(images)
    if n == 0:
        raise InputError("There are no images.")
    parts = []
    for start, block in _blocks(images):
        parts.append(_describe(block))
        if on_row is not None:
            on_row(start + len(block), n)
    return np.concatenate(parts)


def components(raw: Floats, random_state: int = 0) -> tuple[Floats, Floats]:
    """Mean (d0,) and principal directions (d, d0) of described pictures (n, d0); `project` applies them."""
    n = len(raw)
    fitted = raw[:: -(-n // PCA_ROWS)]
    size = min(COMPONENTS, *fitted.shape)
    with np.errstate(invalid="ignore"):  # pictures that are all the same have no variance to explain
        pca = PCA(size, svd_solver="randomized", random_state=random_state).fit(fitted)
    scale = np.sqrt(pca.explained_variance_.sum()) or 1.0
    return pca.mean_.astype(np.float32), (pca.components_ / scale).astype(np.float32)


def project(raw: Floats, mean: Floats, directions: Floats) -> Floats:
    """Described pictures (n, d0) as (n, d) numbers."""
    return np.asarray((raw - mean) @ directions.T, dtype=np.float32)


def open_picture(picture: Picture, row: int, side: int) -> npt.NDArray[np.uint8]:
    """Decode, turn upright and resize one picture to (side, side, 3) uint8; InputError names its row."""
    if not isinstance(picture, str | Path | bytes | Image.Image | np.ndarray):
        raise InputError(f"An image is {type(picture).__name__}, not a path, bytes, Pillow image or array.", row=row)
    try:
        if isinstance(picture, Image.Image):
            return _resized(picture, side)
        if isinstance(picture, np.ndarray):
            return _resized(Image.fromarray(_bytes(picture, row)), side)
        source: Any = io.BytesIO(picture) if isinstance(picture, bytes) else picture
        with Image.open(source) as opened:
            opened.draft("RGB", (2 * side, 2 * side))  # JPEG: decode at a fraction of the size
            return _resized(ImageOps.exif_transpose(opened), side)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        name = f" {picture}" if isinstance(picture, str | Path) else ""
        raise InputError(f"The image{name} can't be read ({error}): mend or drop it.", row=row) from None


def _resized(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16") or image.mode == "I":  # Pillow would clip 16 bits to white
        deep = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((deep / max(deep.max(), 1) * 255).astype(np.uint8))
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def _bytes(array: npt.NDArray[np.generic], row: int) -> npt.NDArray[np.uint8]:
    """An array picture as uint8, grey or RGB."""
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if flat.ndim not in (2, 3) or (flat.ndim == 3 and flat.shape[2] not in (3, 4)) or flat.size == 0:
        raise InputError(
            f"An image has shape {array.shape}: expected (h, w) or (h, w, c) with 1, 3 or 4 channels.", row=row
        )
    if flat.dtype == np.uint8:
        return flat.astype(np.uint8, copy=False)
    numbers = flat.astype(np.float64)
    if flat.dtype.kind not in "fb" or not (np.isfinite(numbers).all() and numbers.min() >= 0 and numbers.max() <= 1):
        raise InputError(f"An image is {flat.dtype} with values outside 0..1: give uint8, or floats in 0..1.", row=row)
    return np.asarray((numbers * 255).round(), dtype=np.uint8)


def _blocks(images: Sequence[Picture] | npt.NDArray[np.generic]) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Blocks (b, SIDE, SIDE, 3) uint8 with the row of their first picture, decoded in threads."""
    run = Parallel(n_jobs=-1, prefer="threads")
    for start in range(0, len(images), BLOCK):
        rows = range(start, min(start + BLOCK, len(images)))
        parts = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
        yield start, np.concatenate(run(delayed(_open)(images, part) for part in parts))


def _open(images: Sequence[Picture] | npt.NDArray[np.generic], rows: range) -> npt.NDArray[np.uint8]:
    return np.stack([open_picture(images[row], row, SIDE) for row in rows])


def _describe(block: npt.NDArray[np.uint8]) -> Floats:
    """Gradient histograms and 4 x 4 mean colours (b, d0) of pictures (b, SIDE, SIDE, 3)."""
    pictures = block.astype(np.float32) / 255
    coarse = pictures.reshape(len(block), 4, SIDE // 4, 4, SIDE // 4, 3).mean(axis=(2, 4))
    return np.concatenate([gradient_histograms(pictures.mean(axis=3)), coarse.reshape(len(block), -1)], axis=1)


def gradient_histograms(grey: Floats) -> Floats:
    """Histograms of gradient directions in cells, normalised in overlapping blocks of 2 x 2 cells.

    Parameters
    ----------
    grey : (b, h, w) float32; h and w are multiples of 4.

    Returns
    -------
    (b, (h/4 - 1) * (w/4 - 1) * 36) float32. A gradient's length is shared between the two nearest of nine directions.
    """
    b, h, w = grey.shape
    down, across = np.gradient(grey, axis=(1, 2))
    length = np.hypot(down, across)
    position = (np.arctan2(down, across) % np.pi) * np.float32(DIRECTIONS / np.pi)
    lower = position.astype(np.int64)
    upper_part = (length * (position - lower)).ravel()
    lower_part = length.ravel() - upper_part
    shape = (b, h // CELL, w // CELL, DIRECTIONS)
    cell = np.arange(b * shape[1] * shape[2]).reshape(shape[:3])
    first = np.repeat(np.repeat(cell, CELL, axis=1), CELL, axis=2).ravel() * DIRECTIONS  # where a pixel's cell begins
    lower = lower.ravel() % DIRECTIONS
    total = np.bincount(first + lower, lower_part, cell.size * DIRECTIONS)
    total += np.bincount(first + (lower + 1) % DIRECTIONS, upper_part, cell.size * DIRECTIONS)
    cells = total.reshape(shape).astype(np.float32)
    corners = [cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, :-1, 1:], cells[:, 1:, 1:]]
    blocks = np.concatenate(corners, axis=3)
    blocks /= np.sqrt(np.square(blocks).sum(axis=3, keepdims=True) + 1e-3)
    flat: Floats = blocks.reshape(b, -1)
    return flat
