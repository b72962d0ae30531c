"""Numbers that describe a mask without a model: overlap, parts, place, size, and how it sits on the picture under it.

Masks are boolean arrays of two or three axes; everything is linear in the number of pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from assay.errors import InputError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
RING = 3  # pixels around a mask that count as its surroundings
GRID = 32  # cells along each axis of an atlas


def as_pixels(mask: npt.ArrayLike, row: int | None = None) -> Bools:
    """Return a mask of two or three axes as booleans; anything above 0 is inside. NaN is refused."""
    array = np.asarray(mask)
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "biuf":
        raise InputError(
            f"A mask must be numbers of two or three axes, got {array.dtype} of shape {array.shape}.", row=row
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError("A mask holds NaN or infinity: say inside or outside for every pixel.", row=row)
    return np.asarray(array > 0)


def dice(a: Bools, b: Bools) -> float:
    """Overlap 2 |a and b| / (|a| + |b|); two empty masks are equal.

    >>> dice(np.eye(2) > 0, np.eye(2) > 0), dice(np.eye(2) > 0, np.eye(2) < 1), dice(np.eye(2) > 2, np.eye(2) > 2)
    (1.0, 0.0, 1.0)
    """
    if a.shape != b.shape:
        raise InputError(f"Two masks of one picture must have one shape, got {a.shape} and {b.shape}.")
    both = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 1.0 if both == 0 else 2 * int(np.count_nonzero(a & b)) / both


def part_sizes(mask: Bools) -> npt.NDArray[np.int64]:
    """Pixels of each connected part, the largest first; pixels that touch at a corner are connected."""
    labelled, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(np.asarray(labelled).ravel(), minlength=count + 1)[1:]
    return np.sort(sizes.astype(np.int64))[::-1]


SHAPE = ("area", "parts", "largest part", "fill of its box", "edge contact", "holes")


def shape_names(ndim: int) -> tuple[str, ...]:
    """Names of the numbers of `shape_numbers`."""
    axes = range(ndim)
    return (*SHAPE, *(f"centre {axis}" for axis in axes), *(f"spread {axis}" for axis in axes))


def shape_numbers(mask: Bools) -> Floats:
    """Describe a mask (6 + 2 ndim,) by the numbers that `shape_names` names; an empty mask has an area and zeros.

    Area is a log share of the picture, parts a log count; all else are shares, of the mask or of an axis.
    """
    out = np.zeros(6 + 2 * mask.ndim)
    inside = int(np.count_nonzero(mask))
    out[0] = np.log((inside + 0.5) / mask.size)
    if not inside:
        return out
    sizes = part_sizes(mask)
    at = np.nonzero(mask)
    box = np.prod([float(np.ptp(axis)) + 1 for axis in at])
    out[1], out[2], out[3] = np.log(len(sizes)), sizes[0] / inside, inside / box
    inner = np.zeros_like(mask)
    inner[(slice(1, -1),) * mask.ndim] = True
    out[4] = np.count_nonzero(mask & ~inner) / inside
    out[5] = np.count_nonzero(ndimage.binary_fill_holes(mask) & ~mask) / inside
    for axis, place in enumerate(at):
        share = (place + 0.5) / mask.shape[axis]
        out[6 + axis], out[6 + mask.ndim + axis] = share.mean(), share.std()
    return out


def on_grid(mask: Bools) -> Floats:
    """A mask as shares of cells of a grid of 32 along each axis, so that masks of different size can be compared."""
    factors = [GRID / length for length in mask.shape]
    shares = ndimage.zoom(mask.astype(np.float64), factors, order=1, grid_mode=True, mode="grid-constant")
    return np.asarray(np.clip(shares, 0, 1), dtype=np.float64)


def soft_overlap(shares: Floats, atlas: Floats) -> float:
    """Dice of two grids of shares."""
    total = float(shares.sum() + atlas.sum())
    return 1.0 if total == 0 else 2 * float(np.minimum(shares, atlas).sum()) / total


def picture_numbers(mask: Bools, channels: Floats) -> Floats:
    """How a mask sits on its picture (3 c,), for each channel of `channels` (c, ...).

    Mean inside less mean in a ring around, spread inside, and strength of edges under the outline; all in standard
    deviations of the picture, and zero for an empty or a full mask.
    """
    out = np.zeros((len(channels), 3))
    ring = ndimage.binary_dilation(mask, iterations=RING) & ~mask
    if mask.any() and ring.any():
        outline = mask & ~ndimage.binary_erosion(mask)
        for at, channel in enumerate(channels):
            scale = float(channel.std()) or 1.0
            steep: Any = ndimage.gaussian_gradient_magnitude(channel, 1.0)
            contrast = float(channel[mask].mean() - channel[ring].mean())
            out[at] = contrast / scale, float(channel[mask].std()) / scale, float(steep[outline].mean()) / scale
    return out.ravel()
