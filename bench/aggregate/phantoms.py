"""Masks whose truth is known, and machine labels that err as machines do: digits in two axes, ellipsoids in three."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.datasets import load_digits

Bools = npt.NDArray[np.bool_]
ERRORS = ("missing part", "island", "shift", "grown", "shrunk", "other side", "empty", "swapped")
SIDE = 32


def digits(n: int, seed: int, digit: int = 3) -> list[Bools]:
    """Foreground of handwritten digits of one class, (32, 32)."""
    data = load_digits()
    rng = np.random.default_rng(seed)
    rows = rng.choice(np.flatnonzero(data.target == digit), n, replace=n > 150)
    return [np.asarray(ndimage.zoom(data.images[row], 4, order=1) > 6) for row in rows]


def ellipsoids(n: int, seed: int) -> list[Bools]:
    """One organ of a body: ellipsoids (32, 32, 32) that lie a little left of the middle and vary from body to body."""
    rng = np.random.default_rng(seed)
    grid = np.indices((SIDE, SIDE, SIDE), dtype=np.float64)
    found = []
    for _ in range(n):
        centre = np.array([11.0, 16.0, 16.0]) + rng.normal(0, 1.2, 3)
        radius = np.array([5.0, 7.0, 8.0]) * rng.uniform(0.8, 1.2, 3)
        found.append(np.asarray((((grid.T - centre) / radius).T ** 2).sum(axis=0) < 1))
    return found


def spoiled(mask: Bools, other: Bools, rng: np.random.Generator) -> Bools:
    """A label of `mask` with one error of random strength; `other` is the mask of something else."""
    what, strength = rng.choice(ERRORS), rng.uniform(0.1, 1.0)
    out = mask.copy()
    at = np.nonzero(mask)
    if what == "missing part":
        axis = int(rng.integers(mask.ndim))
        cut = np.quantile(at[axis], 0.7 * strength)
        out[tuple(slice(None, int(cut)) if i == axis else slice(None) for i in range(mask.ndim))] = False
    elif what == "island":
        corner = tuple(slice(0, 2 + int(6 * strength)) for _ in range(mask.ndim))
        out[corner] = True
    elif what == "shift":
        out = np.roll(out, round(8 * strength), axis=int(rng.integers(mask.ndim)))
    elif what == "grown":
        out = np.asarray(ndimage.binary_dilation(out, iterations=1 + int(3 * strength)))
    elif what == "shrunk":
        out = np.asarray(ndimage.binary_erosion(out, iterations=1 + int(2 * strength)))
    elif what == "other side":
        out = np.flip(out, axis=0).copy()
    elif what == "empty":
        out[:] = False
    else:
        out = other.copy()
    return out
