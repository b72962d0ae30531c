"""Dealing rows into folds: classes in equal shares, groups unbroken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from assay.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def assign_folds(
    labels: npt.ArrayLike,
    n_splits: int = 5,
    *,
    random_state: int = 0,
    groups: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
) -> npt.NDArray[np.int32]:
    """Deal rows into folds that hold the classes in equal shares.

    Parameters
    ----------
    labels : (n,) integer codes; ignored where `mask` is False.
    n_splits : number of folds.
    random_state : seed of the shuffle.
    groups : (n,) any values; rows of one group share a fold. Groups are dealt greedily, largest first, so the folds
        do not depend on the order of the rows: give row ids as groups where that matters.
    mask : (n,) True where the row has a label.

    Returns
    -------
    (n,) int32 in 0..n_splits-1; -1 for rows without a label, unless labelled rows share their group.
    Without groups, the counts of any class differ by at most one between folds.
    """
    codes = np.asarray(labels)
    labelled = np.ones(len(codes), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    rows = np.flatnonzero(labelled)
    rng = np.random.default_rng(random_state)
    fold = np.full(len(codes), -1, dtype=np.int32)
    if groups is None:
        shuffled = rng.permutation(rows)
        by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
        fold[by_class] = np.arange(len(rows)) % n_splits
        return fold
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups, n_classes = int(group.max()) + 1, int(codes[rows].max()) + 1
    counts = sparse.csr_array(
        (np.ones(len(rows)), (group[rows], codes[rows])), shape=(n_groups, n_classes)
    )  # (groups, k), entries of equal (group, class) are summed
    counts.sum_duplicates()
    share = 1.0 / np.maximum(counts.sum(axis=0), 1.0)  # (k,) a row's part of its class
    held = np.zeros((n_splits, n_classes))
    size = np.zeros(n_splits)
    of_group = np.full(n_groups, -1, dtype=np.int32)
    order = rng.permutation(n_groups)
    sizes: Floats = counts.sum(axis=1)
    for g in order[np.argsort(-sizes[order], kind="stable")]:
        span = slice(counts.indptr[g], counts.indptr[g + 1])
        classes, count = counts.indices[span], counts.data[span]
        if len(classes) == 0:
            continue
        crowding = held[:, classes] @ (count * share[classes]) + size * (sizes[g] / len(rows)) * 1e-6
        best = int(crowding.argmin())
        held[best, classes] += count * share[classes]
        size[best] += sizes[g]
        of_group[g] = best
    return of_group[group]


def fold_rows(
    codes: Ints, labelled: Bools, fold: npt.NDArray[np.int32], present: Ints, j: int
) -> tuple[Ints, Ints, Ints]:
    """Rows to train on, rows to predict, and the held-out rows lent to training, for fold j."""
    train = np.flatnonzero(labelled & (fold != j))
    held = np.flatnonzero(labelled & (fold == j))
    missing = np.setdiff1d(present, codes[train])
    lent = np.array([held[codes[held] == c][0] for c in missing], dtype=np.int64)
    return np.concatenate([train, lent]), np.flatnonzero((fold == j) | (fold < 0)), lent


def check_groups(groups: npt.ArrayLike | None, n: int) -> None:
    """Raise unless there is one group per row and none is missing."""
    if groups is None:
        return
    values = np.asarray(groups)
    if values.shape != (n,):
        raise InputError(f"Groups have shape {values.shape}: give one value per row, ({n},).")
    bad = np.array([value is None or value != value for value in values]) if values.dtype.kind in "fO" else None
    if bad is not None and bad.any():
        raise InputError("A group is missing: give rows without a group one of their own.", row=int(bad.argmax()))


def check_splits(n_splits: int, labelled: Bools, groups: npt.ArrayLike | None) -> None:
    """Raise unless every fold can hold a labelled row, or a group of them."""
    units = int(labelled.sum()) if groups is None else len(np.unique(np.asarray(groups)[labelled]))
    what = "labelled rows" if groups is None else "groups with labels"
    if not 2 <= n_splits <= units:
        mend = f"ask for between 2 and {units} folds" if units > 1 else "at least two are needed"
        raise InputError(f"{n_splits} folds were asked for and there are {units} {what}: {mend}.")
