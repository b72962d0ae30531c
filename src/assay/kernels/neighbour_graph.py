"""Which rows are alike: undirected edges, each pair once, in the order that messages are passed in.

Legend of shapes: n rows, d features, e directed edges (two for each pair).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from assay.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Edges sorted by the row that they lead to.

    Parameters
    ----------
    ptr : (n + 1,) edges ptr[i]..ptr[i + 1] lead to row i.
    other : (e,) the row that each comes from.
    twin : (e,) the edge of the same pair in the other direction.
    length : (e,) distance between the two rows.
    """

    ptr: Ints
    other: npt.NDArray[np.int32]
    twin: Ints
    length: Floats

    @classmethod
    def of_edges(cls, edges: npt.ArrayLike, points: Floats) -> Self:
        """Join rows as told: doubled edges count once, edges from a row to itself do not count.

        Parameters
        ----------
        edges : (2, a) row numbers, in any order and direction.
        points : (n, d), between which the lengths are measured.

        Examples
        --------
        >>> graph = Graph.of_edges([[0, 1, 2], [1, 0, 2]], np.array([[0.0], [3.0], [9.0]]))
        >>> graph.ptr.tolist(), graph.other.tolist(), graph.length.tolist()
        ([0, 1, 2, 2], [1, 0], [3.0, 3.0])
        """
        n = len(points)
        pairs = np.asarray(edges)
        if pairs.ndim != 2 or len(pairs) != 2 or (pairs.size and pairs.dtype.kind not in "iu"):
            raise InputError(f"Edges are {pairs.dtype} {pairs.shape}: give row numbers (2, e).")
        bad = ((pairs < 0) | (pairs >= n)).any(0)
        if bad.any():
            raise InputError(f"An edge names a row outside 0..{n - 1}.", row=int(bad.argmax()))
        low, high = np.sort(pairs.astype(np.int64), axis=0)
        keys = np.unique((low * n + high)[low < high])
        low, high = keys // n, keys % n
        apart = np.sqrt(
            sum(((points[low, f] - points[high, f]) ** 2 for f in range(points.shape[1])), np.zeros(len(low)))
        )
        to = np.concatenate([high, low])
        order = np.argsort(to, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return cls(
            np.concatenate([[0], np.cumsum(np.bincount(to, minlength=n))]),
            np.concatenate([low, high])[order].astype(np.int32),
            np.concatenate([place[len(low) :], place[: len(low)]])[order],
            np.concatenate([apart, apart])[order],
        )

    @classmethod
    def nearest(cls, points: Floats, n_neighbors: int) -> Self:
        """Join each row to those at the least angle from it; lengths are distances between the points themselves.

        Exact. Up to 15 features by a tree, in O(n log n); beyond, by blocks of all distances, in O(n^2 d) time and
        O(n) memory, which takes minutes from some 100,000 rows on: give edges of an index of your own there.
        """
        size = np.sqrt(np.einsum("ij,ij->i", points, points))[:, None]
        turned = points / np.where(size > 0, size, 1.0)  # between points of length one, distances sort as angles do
        k = min(n_neighbors, len(points) - 1)
        if k == 0:
            return cls.of_edges([[], []], points)
        found = NearestNeighbors(n_neighbors=k).fit(turned).kneighbors(return_distance=False)
        return cls.of_edges(np.stack([np.repeat(np.arange(len(points)), k), found.ravel()]), points)

    def couplings(self, strength: float) -> Floats:
        """J = strength * exp(-length / median length) of each edge (e,); alike rows have J = strength.

        >>> Graph.of_edges([[0], [1]], np.array([[0.0], [3.0]])).couplings(np.e).round(6).tolist()
        [1.0, 1.0]
        """
        scale: Any = np.median(self.length) if len(self.length) else 1.0
        if scale == 0:  # most pairs are of equal rows
            scale = self.length[self.length > 0].mean() if self.length.any() else 1.0
        found: Floats = strength * np.exp(-self.length / scale)
        return found

    def means(self, values: Floats) -> Floats:
        """Mean over the neighbours of each row (n, k) of values (n, k); a row without neighbours keeps its own.

        >>> Graph.of_edges([[0, 1], [1, 2]], np.zeros((3, 1))).means(np.array([[1.0], [2.0], [5.0]])).ravel().tolist()
        [2.0, 3.0, 2.0]
        """
        degree = np.diff(self.ptr)
        to = np.repeat(np.arange(len(degree)), degree)
        sums = np.stack([np.bincount(to, column[self.other], len(degree)) for column in values.T], axis=1)
        return np.where(degree[:, None] > 0, sums / np.maximum(degree, 1)[:, None], values)


def centres_and_scales(points: Floats) -> tuple[Floats, Floats]:
    """Mean of each column (d,), and its standard deviation, or of a column of two values the step between them.

    Divided by its deviation, a rare flag would be as far as all other features together, and rows alike by it alone.

    >>> [each.tolist() for each in centres_and_scales(np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 6.0]]))[1:]]
    [[1.0, 2.160246899469287]]
    """
    low, high = points.min(axis=0), points.max(axis=0)
    flag = ((points == low) | (points == high)).all(axis=0)
    scale = np.where(flag, high - low, points.std(axis=0))
    return points.mean(axis=0), np.where(scale > 0, scale, 1.0)
