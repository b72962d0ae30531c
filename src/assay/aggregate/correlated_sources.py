"""Pool people, models and rules so that copies of one model do not count as many voices.

Give it votes whose workers may be machines. Three prompts of one language model, or a rule and the model trained on
it, make the same mistakes; counted as three they outvote two people who looked independently. This method finds sources
that agree more than any common truth explains, hears each such family as one voice, and says how many votes a panel is
worth.

Papers: Dawid, Skene 1979 (confusions); Ratner, De Sa, Wu, Selsam, Re 2016, "Data programming", arXiv 1605.07723
(dependent machine sources); Kish 1965, "Survey sampling" (effective size).

    P(votes | truth) = product over families of sum_voice link[truth, voice] product_members chance[voice, vote]
    overlap[j, l]    = (agreement - what the confusions expect given the truth) / (that of copies - the same)
    effective votes  = sum over the votes of a task of 1 / (1 + overlaps with the other voters)

Exact copies are one vote whatever their number; a source on its own is a Dawid-Skene worker.

When to use: panels of a few to a few thousand sources, some of them machines. When not: a crowd where every pair shares
a task or two (no family can be found, only the background), or hundreds of thousands of workers.

What no data can tell: votes of two tight groups fit equally well whichever group is taken for copies. Families are
therefore sought among the most alike pairs first (people rarely agree like copies), unless `families` says who shares
a maker. Hard tasks make independent people err together: that is measured as one `background_` overlap of all
families and softens the belief, which is what keeps it from the over-confidence of Dawid-Skene.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from sklearn.base import BaseEstimator

from assay.aggregate import gold_codes, table_of, task_evidence
from assay.errors import InputError
from assay.kernels.belief_rows import Ties, top_class
from assay.kernels.source_pairs import Pairs, compare, find_families, pair_counts, vote_shares
from assay.kernels.vote_families import Tree, by_family, tree_expect
from assay.kernels.vote_order import worker_codes
from assay.kernels.vote_table import VoteTable
from assay.labels.hard import Hard
from assay.labels.soft import Soft
from assay.labels.votes import Votes

METHOD = {
    "name": "correlated_sources",
    "title": "Machines as workers",
    "paper": "Ratner, De Sa, Wu, Selsam, Re, 2016, Data programming: Creating large training sets, quickly",
    "arxiv": "1605.07723",
    "accepts": ["votes", "hard"],
    "gives": ["soft", "source evidence", "dependence of pairs"],
    "command": "assay aggregate VOTES --method correlated_sources",
    "claim": "Three copies of a model do not outvote two independent people; independent sources keep full weight.",
    "status": "experimental",
}

Floats = npt.NDArray[np.float64]
LEVEL = 0.05  # chance that independent sources are taken for a family, or for having a background
LARGEST = 2**26  # cells of the table pairs x classes: half a gigabyte
RIGHT = 0.7  # share of right votes that the smoothing of a confusion expects


class CorrelatedSources(BaseEstimator):  # type: ignore[misc]
    """Dawid-Skene over families of sources that err together (n tasks, w sources, k classes).

    Parameters
    ----------
    families : maker of each source, `{"gpt-a": "gpt", "gpt-b": "gpt"}`; sources left out are on their own. None: found.
    background : whether to measure, and allow for, errors that all families share.
    smoothing : votes that each row of a confusion is smoothed by.
    max_iter, tol : EM stops when its objective rises by less than `tol` a task.
    ties, random_state : what `predict` does when classes tie ("lowest" code or "seeded" draw), and its seed.

    Attributes
    ----------
    belief_ : Soft (n, k) over the space of the votes.
    family_ : (w,) number of the family of each source.
    overlap_ : (w, w) overlap within families, 0 to 1; the background elsewhere.
    background_ : overlap of sources of different families.
    confusion_ : (w, k, k) chance of a label at [source, truth, label].
    prior_ : (k,) frequency of the classes.
    effective_votes_ : (n,) what the votes on each task add up to.
    log_likelihood_ : log of the marginal likelihood with the priors' after each iteration, which never falls.
    n_iter_, converged_ : iterations of EM, and whether they sufficed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, 2000)
    >>> said = np.where(rng.random((2000, 3)) < 0.8, truth[:, None], 1 - truth[:, None])
    >>> label = said[:, [0, 0, 0, 1, 2]].ravel()
    >>> names = np.tile(["m1", "m2", "m3", "ann", "bob"], 2000)
    >>> model = CorrelatedSources().fit(Votes.from_long(np.repeat(np.arange(2000), 5), names, label))
    >>> model.workers()["share"].round(1).tolist()
    [0.3, 0.3, 0.3, 1.0, 1.0]
    """

    def __init__(
        self,
        families: Mapping[Any, str] | None = None,
        background: bool = True,
        smoothing: float = 2.0,
        max_iter: int = 500,
        tol: float = 1e-6,
        ties: Ties = "lowest",
        random_state: int = 0,
    ) -> None:
        self.families = families
        self.background = background
        self.smoothing = smoothing
        self.max_iter = max_iter
        self.tol = tol
        self.ties = ties
        self.random_state = random_state

    def fit(self, votes: Votes, gold: Hard | None = None) -> Self:
        """Learn families, sources and the truth; `gold` holds the known truth of some of the n tasks."""
        self._check(votes)
        self.space_, self.worker_ids_ = votes.space, votes.worker_ids
        table, known = table_of(votes), gold_codes(votes, gold)
        self.family_ = self._families(votes, table)
        table = by_family(table, self.family_)
        self._em(table, known)
        self.confusion_, self.prior_ = self._tree.confusion(), self._tree.prior
        belief = tree_expect(table, self._tree, 0.0, known)[0]
        self.pairs_ = compare(*pair_counts(table, belief), self.confusion_)
        related = self.family_[:, None] == self.family_
        self.background_ = _background(self.pairs_, ~related) if self.background else 0.0
        self.overlap_ = np.where(related, self.pairs_.overlap(), self.background_)
        np.fill_diagonal(self.overlap_, 0)
        self.belief_ = Soft(votes.space, tree_expect(table, self._tree, self.background_, known)[0])
        weight = table.weight_per_vote()
        share = vote_shares(table, self.overlap_) * weight
        self._evidence = task_evidence(votes, self.belief_.p)
        self.effective_votes_ = np.bincount(table.task(), share, minlength=table.n_tasks)
        self._counts = np.bincount(table.worker, weight, minlength=table.n_workers)
        self._added = np.bincount(table.worker, share, minlength=table.n_workers)
        return self

    def predict_proba(self, votes: Votes) -> Floats:
        """Belief (n', k) for new tasks; sources are matched by id, an unknown one is an average source on its own."""
        self.space_.require(votes.space)
        at = worker_codes(self.worker_ids_, votes.worker_ids)
        new = np.flatnonzero(at == len(self.worker_ids_))
        known, k, g = self._tree, len(self.prior_), len(self._tree.alone)
        family = known.family.take(at, mode="clip")
        family[new] = g + np.arange(len(new))
        chance = known.chance.take(at, axis=0, mode="clip")
        chance[new] = self.confusion_.mean(axis=0)
        alone = np.append(known.alone, np.ones(len(new), dtype=bool))
        link = np.concatenate([known.link, np.full((len(new), k, k), 1 / k)])
        tree = Tree(family, alone, link, chance, known.prior)
        return tree_expect(by_family(table_of(votes), family), tree, self.background_)[0]

    def predict(self, votes: Votes) -> npt.NDArray[np.int32]:
        """Most probable class (n',) of new tasks."""
        return top_class(self.predict_proba(votes), self.ties, self.random_state)

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a source: votes, accuracy, what its mean vote adds, family, nearest source and overlap with it."""
        near = np.where(np.eye(len(self.worker_ids_), dtype=bool), -1.0, self.overlap_)
        share = np.divide(self._added, self._counts, out=np.ones(len(self._counts)), where=self._counts > 0)
        return {
            "worker": self.worker_ids_,
            "n_votes": self._counts,
            "accuracy": np.einsum("wtt,t->w", self.confusion_, self.prior_),
            "share": share,
            "family": self.family_,
            "nearest": self.worker_ids_[near.argmax(axis=1)],
            "overlap": np.maximum(near.max(axis=1), 0),
        }

    def dependence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a pair of sources with a task in common, the most dependent first: overlap, z-score, one family?"""
        a, b = np.nonzero(np.triu(self.pairs_.together > 0, 1))
        overlap = self.pairs_.overlap()[a, b]
        z = self.pairs_.excess[a, b] / np.sqrt(np.maximum(self.pairs_.variance[a, b], 1e-12))
        order = np.lexsort((-z, -overlap))
        a, b = a[order], b[order]
        return {
            "source": self.worker_ids_[a],
            "other": self.worker_ids_[b],
            "tasks": self.pairs_.together[a, b],
            "overlap": overlap[order],
            "z": z[order],
            "one_family": self.family_[a] == self.family_[b],
        }

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: what every aggregator says, and what its votes add up to."""
        return {**self._evidence, "effective_votes": self.effective_votes_}

    def _families(self, votes: Votes, table: VoteTable) -> npt.NDArray[np.int64]:
        names = votes.worker_ids.tolist()
        if self.families is not None:
            made = [("family", self.families[name]) if name in self.families else ("alone", name) for name in names]
            number = {maker: i for i, maker in enumerate(dict.fromkeys(made))}
            return np.array([number[maker] for maker in made], dtype=np.int64)
        k = table.n_classes
        agree, shared = pair_counts(table, np.ones((table.n_tasks, 1)))
        cell = table.worker.astype(np.int64) * k + table.label
        said = np.bincount(cell, table.weight, minlength=len(names) * k).reshape(-1, k).astype(np.float64)
        said /= np.maximum(said.sum(axis=1, keepdims=True), 1e-300)
        return find_families(agree, shared[:, :, 0], said, LEVEL)

    def _em(self, table: VoteTable, gold: Any) -> None:
        k = table.n_classes
        expected = np.full((k, k), (1 - RIGHT) / max(k - 1, 1))
        np.fill_diagonal(expected, RIGHT if k > 1 else 1.0)
        pseudo = self.smoothing * expected
        alone = np.bincount(self.family_) == 1
        link, chance = (np.tile(expected, (m, 1, 1)) for m in (len(alone), table.n_workers))
        self._tree = Tree(self.family_, alone, link, chance, np.full(k, 1 / k))
        self.log_likelihood_: list[float] = []
        self.converged_ = False
        while len(self.log_likelihood_) < self.max_iter and not self.converged_:
            belief, link, chance, total = tree_expect(table, self._tree, 0.0, gold)
            logs = np.sum(pseudo * np.log(self._tree.chance)) + np.sum(pseudo * np.log(self._tree.link)[~alone])
            self.log_likelihood_.append(float(total + logs + np.log(self._tree.prior).sum()))
            link, chance = link + pseudo, chance + pseudo
            link, chance = link / link.sum(axis=2, keepdims=True), chance / chance.sum(axis=2, keepdims=True)
            prior = (belief.sum(axis=0) + 1) / (len(belief) + k)
            self._tree = Tree(self.family_, alone, link, chance, prior)
            course = self.log_likelihood_
            self.converged_ = len(course) > 1 and course[-1] - course[-2] < self.tol * len(belief)
        self.n_iter_ = len(self.log_likelihood_)

    def _check(self, votes: Votes) -> None:
        if votes.n_votes == 0:
            raise InputError("There are no votes: expected at least one.")
        if not self.smoothing > 0:
            raise InputError(f"smoothing must be above 0, got {self.smoothing}: a chance of 0 could never be unlearnt.")
        if votes.n_workers**2 * votes.space.n_classes > LARGEST:
            raise InputError(
                f"{votes.n_workers} sources and {votes.space.n_classes} classes make a table of pairs above {LARGEST} "
                "cells: use a method that takes workers as independent, or fewer sources."
            )


def _background(pairs: Pairs, apart: npt.NDArray[np.bool_]) -> float:
    """Overlap that all pairs `apart` (w, w) have in common, 0 unless it is significant."""
    excess, variance = pairs.excess[apart].sum() / 2, pairs.variance[apart].sum() / 2
    if variance == 0 or excess <= -ndtri(LEVEL) * np.sqrt(variance):
        return 0.0
    return float(np.clip(2 * excess / pairs.most[apart].sum(), 0, 1))
