"""Pictures of volumes and of masks laid over them, for judges who look.

A volume is summed along one axis before it is resampled, so that a thick slice counts as much as it holds; the result
has square pixels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from assay.errors import InputError
from assay.kernels.mask_shape import Bools

Floats = npt.NDArray[np.float64]
WINDOWS = {"soft tissue": (-150.0, 250.0), "bone": (-500.0, 1500.0), "skeleton": (400.0, 2000.0)}
"""Hounsfield units that become black and white."""
LARGEST = 4096  # pixels along an axis of a projection


def window(values: npt.ArrayLike, low: float, high: float) -> Floats:
    """Scale what lies between `low` and `high` to 0..1 and clip the rest; NaN and infinity are refused.

    >>> window([-300.0, 50.0, 900.0], -150, 250).tolist()
    [0.0, 0.5, 1.0]
    """
    array = np.asarray(values, dtype=np.float64)
    if not low < high:
        raise InputError(f"A window runs from a low to a high value, got {low} to {high}.")
    if not np.isfinite(array).all():
        raise InputError("A picture holds NaN or infinity: fill such voxels before it is judged.")
    return np.asarray(np.clip((array - low) / (high - low), 0.0, 1.0))


def project(volume: Floats, axis: int, spacing: tuple[float, float, float]) -> Floats:
    """Sum a volume (x, y, z) of 0..1 along `axis`, scale to a largest value of 1, resample to square pixels."""
    flat = volume.sum(axis=axis)
    return _square(flat / (flat.max() or 1.0), axis, spacing, order=1)


def project_mask(mask: Bools, axis: int, spacing: tuple[float, float, float]) -> Floats:
    """Silhouette of a mask (x, y, z): 0 outside; inside above 0.5 and up to 1 where it is thickest."""
    flat = mask.sum(axis=axis).astype(np.float64)
    thick = np.where(flat > 0, 0.5 + flat / (2 * (flat.max() or 1.0)), 0.0)
    return _square(thick, axis, spacing, order=0)


def overlay(picture: npt.NDArray[np.floating], silhouette: npt.NDArray[np.floating], solid: bool = False) -> Floats:
    """Lay a silhouette (h, w) in red over a grey (h, w) or colour (h, w, 3) picture of 0..1; gives (h, w, 3).

    Red never falls below 0.35 inside, so that the silhouette shows on black as well; `solid` hides what lies under it,
    for things as thin as a vessel.
    """
    grey = np.asarray(picture, dtype=np.float64)
    colour = np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey[..., :3].copy()
    if colour.shape[:2] != silhouette.shape:
        raise InputError(f"A silhouette of shape {silhouette.shape} does not fit a picture of {colour.shape[:2]}.")
    inside = silhouette > 0
    colour[inside, 0] = np.maximum(silhouette if solid else colour[..., 0], 0.35)[inside]
    colour[inside, 1:] = 0.0
    return np.asarray(colour)


def _square(flat: Floats, axis: int, spacing: tuple[float, float, float], order: Literal[0, 1]) -> Floats:
    kept = [float(step) for at, step in enumerate(spacing) if at != axis % 3]
    if not all(np.isfinite(step) and step > 0 for step in kept):
        raise InputError(f"The spacing of voxels must be three lengths above 0, got {spacing}.")
    finest = min(kept)
    factors = [step / finest for step in kept]
    if max(length * factor for length, factor in zip(flat.shape, factors, strict=True)) > LARGEST:
        raise InputError(f"A projection would exceed {LARGEST} pixels along an axis: is the spacing {spacing} right?")
    return np.asarray(ndimage.zoom(flat, factors, order=order, grid_mode=True, mode="nearest"), dtype=np.float64)
