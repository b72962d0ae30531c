"""From the confident joint to how many rows to remove: calibration, rounding, prune counts, and what the joint says.

The joint is `(k, k)` int64, given class by true class: a numpy array, or above 2000 classes a `scipy.sparse.csr_array`
of the cells that were counted. Rounding and pruning reproduce the integers of the reference implementation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from assay.kernels.confident_joint import Floats, Ints, Joint


def calibrate(joint: Joint, counts: Ints) -> Joint:
    """Scale each row of the joint to the number of rows given that class, (k,) `counts`, and round to integers.

    Row totals become `counts` by largest remainder; among equal remainders numpy's default sort decides.
    """
    if isinstance(joint, np.ndarray):
        by_true = joint.T / joint.sum(axis=1) * counts  # divide, then multiply, then sum along true classes:
        by_true = np.ascontiguousarray(by_true)  # the last bit decides remainders that are equal in exact arithmetic
        scaled = (by_true / by_true.sum() * counts.sum()).T
        return np.array([round_to_total(row) for row in scaled])
    sums, size = np.asarray(joint.sum(axis=1)), np.diff(joint.indptr)
    result = joint.copy()
    result.data[joint.indptr[:-1][size == 1]] = counts[size == 1]
    for i in np.flatnonzero(size > 1):
        cells = slice(joint.indptr[i], joint.indptr[i + 1])
        result.data[cells] = round_to_total(joint.data[cells] / sums[i] * counts[i])
    result.eliminate_zeros()
    return result


def round_to_total(row: Floats) -> Ints:
    """Round `(k,)` numbers to integers whose sum is the rounded sum, changing those that lose least."""
    whole = np.round(row)
    short = round(float(row.sum())) - int(whole.sum())
    while short:
        step = 1 if short > 0 else -1
        changed = np.argsort(row - whole)[::-step][: abs(short)]
        whole[changed] += step
        short -= step * len(changed)
    return whole.astype(np.int64)


def prune_counts(calibrated: Joint, min_examples_per_class: int, frac_noise: float) -> tuple[Joint, Ints]:
    """How many rows to remove for every (given, true) pair, and how many to keep in every given class.

    Parameters
    ----------
    calibrated : (k, k) the calibrated joint.
    min_examples_per_class : rows to keep; a class that would keep fewer takes the lack evenly from its noise cells.
    frac_noise : share of the estimated errors to remove, 0 to 1.

    Returns
    -------
    counts : (k, k) int64, zero on the diagonal.
    keep : (k,) int64.
    """
    k = calibrated.shape[0]
    diagonal = calibrated.diagonal()
    kept = np.maximum(diagonal, min_examples_per_class)
    table = sparse.coo_array(calibrated)
    given, true = table.coords
    off = (given != true) & (table.data > 0)
    given, true, counts = given[off], true[off], table.data[off]
    noisy = np.bincount(given, minlength=k) + (diagonal > 0)
    lack = (kept - diagonal) / np.maximum(noisy - 1.0, 1.0)
    reduced = np.maximum(counts - lack[given], 0)
    scaled = reduced * frac_noise
    spared: Any = sparse.csr_array((reduced - scaled, (given, true)), shape=(k, k))
    if isinstance(calibrated, np.ndarray):
        spared = spared.toarray()  # pairwise sums over whole rows: truncation below sees the last bit
    keep = (kept + np.asarray(spared.sum(axis=1))).astype(np.int64)
    removed = sparse.coo_array((scaled.astype(np.int64), (given, true)), shape=(k, k)).tocsr()
    removed.eliminate_zeros()
    return removed, keep


def limit_rows(removed: Joint, counts: Ints) -> Joint:
    """Let no cell of the sparse table `removed` (k, k) ask for more rows than its given class has, (k,) `counts`."""
    limited = removed.copy()
    limited.data = np.minimum(removed.data, np.repeat(counts, np.diff(removed.indptr)))
    return limited


def latent(calibrated: Joint) -> tuple[Joint, Joint, Joint, Floats]:
    """What the calibrated joint says of the truth.

    Returns
    -------
    joint : (k, k) `P(given = i, true = j)`, sums to one.
    noise : (k, k) `P(given = i | true = j)`, columns sum to one.
    inverse_noise : (k, k) `P(true = j | given = i)` at [j, i], columns sum to one.
    prior : (k,) `P(true = j)`.

    A class that nothing is truly, or that nothing was given, has a column of zeros.
    """
    total = calibrated.sum()
    given_sums = np.maximum(np.asarray(calibrated.sum(axis=1)), 1)
    true_sums = np.asarray(calibrated.sum(axis=0))
    if isinstance(calibrated, np.ndarray):
        noise, inverse = calibrated / np.maximum(true_sums, 1), calibrated.T / given_sums
    else:
        noise = calibrated @ sparse.diags_array(1 / np.maximum(true_sums, 1))
        inverse = calibrated.T.tocsr() @ sparse.diags_array(1 / given_sums)
    return calibrated / total, noise, inverse, true_sums / total
