"""Which sources err together: pairs of votes on one task, and tests of four sources at a time.

If votes are independent given the truth, the covariances of four sources a, b, m, n obey cov(a, b) cov(m, n) =
cov(a, m) cov(b, n): exactly with two classes, and with more where sources are right or wrong whatever the class.
Dependence of a and b, or of m and n, makes the left side larger.

Legend of shapes: n tasks, w sources, k classes, v votes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import ndtri

from assay.kernels.vote_table import VoteTable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PARTIES = 48  # third parties that a pair is tested against, those with most votes
COMMON = 10  # tasks that a pair must share to be tested
TWINS = 30  # tasks after which two sources that never differ are one; if both are always right, nothing is lost


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is known of each pair of sources, symmetric tables (w, w) with an empty diagonal.

    `together`: tasks that both voted on; `excess`: agreements beyond what the truth explains; `most`: the largest that
    could be, that of copies; `variance`: of `excess` if the two were independent.
    """

    together: Floats
    excess: Floats
    most: Floats
    variance: Floats

    def overlap(self) -> Floats:
        """Excess as a share of the most (w, w), 0 for independent sources and 1 for copies."""
        share = np.divide(self.excess, self.most, out=np.zeros_like(self.most), where=self.most > 0)
        return np.clip(share, 0.0, 1.0)


def pair_counts(votes: VoteTable, belief: Floats) -> tuple[Floats, Floats]:
    """Agreements (w, w), and expected tasks of each truth that two sources share (w, w, k); votes count by weight."""
    w, k = votes.n_workers, votes.n_classes
    agree, shared = np.zeros((w, w)), np.zeros((w, w, k))
    _pair_counts(votes.ptr, votes.worker, votes.label, votes.weights, belief, agree, shared)
    return agree, shared


def compare(agree: Floats, shared: Floats, chance: Floats) -> Pairs:
    """Set agreements against what confusions (w, k, k) at [source, truth, label] lead to expect."""
    w = len(agree)
    excess, most, variance = np.zeros((w, w)), np.zeros((w, w)), np.zeros((w, w))
    _compare(agree, shared, chance, excess, most, variance)
    return Pairs(shared.sum(axis=2), excess, most, variance)


def find_families(agree: Floats, together: Floats, label_share: Floats, level: float) -> Ints:
    """Group sources that no truth with independent sources explains; returns a number (w,) for each group.

    Pairs are tested in the order of their correlation, each against all third parties m, n of other groups, so that
    of two ways to explain four sources the one is taken that calls the more alike pair dependent. Sources that never
    differ are grouped without a test.

    Parameters
    ----------
    agree, together : (w, w) agreements and common tasks.
    label_share : (w, k) how often each source says each class.
    level : chance that independent sources are grouped at all (Bonferroni).
    """
    w = len(agree)
    family = np.arange(w)
    for a, b in np.argwhere(np.triu((agree == together) & (together >= TWINS), 1)):
        family[family == family[b]] = family[a]
    n = np.maximum(together, 1)
    rate = agree / n
    covariance = rate - label_share @ label_share.T
    variance = np.where(together >= COMMON, np.maximum(rate * (1 - rate), 1 / n) / n, np.inf)
    spread = np.sqrt(np.maximum(1 - np.sum(label_share**2, axis=1), 1e-12))
    alike = np.where(together >= COMMON, covariance / np.outer(spread, spread), -1.0)
    a, b = np.nonzero(np.triu(alike > 0.2, 1))  # less is never a copy
    parties = np.argsort(-together.sum(axis=1), kind="stable")[:PARTIES]
    if w >= 4 and len(a):  # to three sources, independence always fits
        tests = w * (w - 1) / 2 * (len(parties) - 2) * (len(parties) - 3) / 2
        order = np.argsort(-alike[a, b], kind="stable")
        _group(a[order], b[order], parties, covariance, variance, -ndtri(level / tests), family)
    return np.unique(family, return_inverse=True)[1].astype(np.int64)


def vote_shares(votes: VoteTable, overlap: Floats) -> Floats:
    """How much each vote adds (v,): 1 / (1 + overlap with the others who voted on the task), by weight.

    m sources whose overlaps are all r add up to m / (1 + (m - 1) r) votes, Kish's effective size. `overlap` (w, w).
    """
    share = np.empty(votes.n_votes)
    _shares(votes.ptr, votes.worker, votes.weights, overlap, share)
    return share


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _pair_counts(ptr: Any, worker: Any, label: Any, weight: Any, belief: Any, agree: Any, shared: Any) -> None:
    for i in range(len(ptr) - 1):
        for e in range(ptr[i], ptr[i + 1]):
            for f in range(ptr[i], e):
                a, b = worker[e], worker[f]
                if a == b:
                    continue
                both = np.float64(weight[e]) * np.float64(weight[f]) if len(weight) else 1.0
                if label[e] == label[f]:
                    agree[a, b] += both
                    agree[b, a] += both
                for t in range(belief.shape[1]):
                    shared[a, b, t] += both * belief[i, t]
                    shared[b, a, t] += both * belief[i, t]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _compare(agree: Any, shared: Any, chance: Any, excess: Any, most: Any, variance: Any) -> None:
    k = chance.shape[1]
    for a in range(len(agree)):
        for b in range(a):
            e, m, v = agree[a, b], 0.0, 0.0
            for t in range(k):
                if shared[a, b, t] == 0:
                    continue
                meet, top = 0.0, 0.0
                for y in range(k):
                    meet += chance[a, t, y] * chance[b, t, y]
                    top += min(chance[a, t, y], chance[b, t, y])
                e -= shared[a, b, t] * meet
                m += shared[a, b, t] * (top - meet)
                v += shared[a, b, t] * meet * (1 - meet)
            excess[a, b] = excess[b, a] = e
            most[a, b] = most[b, a] = m
            variance[a, b] = variance[b, a] = v


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _stands_out(a: Any, b: Any, parties: Any, covariance: Any, variance: Any, bar: Any, family: Any) -> bool:
    for m in parties:
        if family[m] == family[a] or family[m] == family[b]:
            continue
        for n in parties:
            if family[n] == family[a] or family[n] == family[b] or family[n] == family[m]:
                continue
            ab, mn, am, bn = covariance[a, b], covariance[m, n], covariance[a, m], covariance[b, n]
            more = ab * mn - am * bn
            if mn <= 0 or more <= 0:
                continue
            v = mn**2 * variance[a, b] + ab**2 * variance[m, n] + bn**2 * variance[a, m] + am**2 * variance[b, n]
            if more > bar * math.sqrt(v):
                return True
    return False


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _group(first: Any, second: Any, parties: Any, covariance: Any, variance: Any, bar: Any, family: Any) -> None:
    for p in range(len(first)):
        a, b = family[first[p]], family[second[p]]
        if a != b and _stands_out(first[p], second[p], parties, covariance, variance, bar, family):
            for j in range(len(family)):
                if family[j] == b:
                    family[j] = a


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _shares(ptr: Any, worker: Any, weight: Any, overlap: Any, share: Any) -> None:
    for i in range(len(ptr) - 1):
        for e in range(ptr[i], ptr[i + 1]):
            others = 1.0
            for f in range(ptr[i], ptr[i + 1]):
                if worker[f] != worker[e]:
                    others += overlap[worker[e], worker[f]] * (np.float64(weight[f]) if len(weight) else 1.0)
            share[e] = 1.0 / others
