"""Conversions between rows and groups of rows: votes, clusters, bags, token masks."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import Ints, as_integers, first, pointer_of, same_length
from assay.labels.convert.classes import Ties, choose, largest
from assay.labels.hard import Hard
from assay.labels.masks import Masks
from assay.labels.proportions import Proportions
from assay.labels.soft import Soft
from assay.labels.spaces import Kind
from assay.labels.votes import Votes


def votes_from_hard(labels: Hard, *, worker: str) -> Votes:
    """One vote of one worker a labelled row; tasks are numbered. `hard_from_votes` undoes it."""
    there, ids = np.flatnonzero(labels.present), np.arange(labels.n_rows)
    return Votes(labels.space, there, np.zeros(len(there), dtype=np.int32), labels.y[there], ids, np.array([worker]))


def hard_from_votes(votes: Votes, *, ties: Ties, random_state: int | None = None) -> Hard:
    """Majority vote, weighted when the votes are. Loses who voted; tasks without a vote stay unlabelled."""
    best, decided = largest(votes.totals(), ties, random_state)
    return Hard(votes.space, best, decided & votes.present)


def soft_from_votes(votes: Votes, *, how: Literal["share", "laplace"]) -> Soft:
    """Share of the votes, or (votes + 1) / (all + k) with "laplace". Tasks without a vote hold no belief."""
    choose("how", how, "share", "laplace")
    return Soft.normalized(votes.space, votes.totals() + (how == "laplace"), votes.present)


def hard_from_clusters(clusters: Hard, reference: Hard, *, unmatched: Literal["abstain", "majority"]) -> Hard:
    """Name clusters after the classes of a reference labelling of the same rows: the matching with most agreement.

    Rows without a reference label are named too, but do not steer the matching. When there are more clusters than
    classes, the clusters left over abstain, or take the class that most of their rows have.
    """
    from scipy.optimize import linear_sum_assignment

    choose("unmatched", unmatched, "abstain", "majority")
    same_length("clusters", clusters.n_rows, reference=reference.y)
    both = clusters.present & reference.present
    c, k = clusters.space.n_classes, reference.space.n_classes
    agreement = np.bincount(clusters.y[both].astype(np.int64) * k + reference.y[both], minlength=c * k).reshape(c, k)
    best, decided = largest(agreement, "abstain", None)
    named = np.full(c, -1, dtype=np.int64)
    if unmatched == "majority":
        named[decided] = best[decided]
    rows, columns = linear_sum_assignment(agreement, maximize=True)
    matched = agreement[rows, columns] > 0
    named[rows[matched]] = columns[matched]
    code = named[clusters.y]
    return Hard(reference.space, np.maximum(code, 0), clusters.present & (code >= 0))


def proportions_from_hard(labels: Hard, bag: Ints, *, missing: Literal["refuse", "drop"]) -> Proportions:
    """Count the classes in each bag and forget who is who. `bag` (n,) is the bag of each row, 0 to b - 1.

    An unlabelled row is refused, or left out of its bag.
    """
    choose("missing", missing, "refuse", "drop")
    bags = as_integers(bag, "Bags", dtypes=(np.int64,))
    same_length("bags", labels.n_rows, bag=bags)
    row = first(~labels.present) if missing == "refuse" else None
    if row is not None:
        raise InputError("A row in a bag has no label: `missing='drop'` leaves it out.", row=row)
    n_bags, k = int(bags.max(initial=-1)) + 1, labels.space.n_classes
    there = np.flatnonzero(labels.present)
    members = there[np.argsort(bags[there], kind="stable")]
    counts = np.bincount(bags[there] * k + labels.y[there], minlength=n_bags * k).reshape(n_bags, k)
    ptr = pointer_of(counts.sum(axis=1))
    return Proportions(labels.space, labels.n_rows, ptr, members, counts)


def hard_from_proportions(bags: Proportions, *, mixed: Literal["abstain", "refuse"]) -> Hard:
    """Label the items of the bags that hold one class only. Items of other bags abstain, or are refused."""
    choose("mixed", mixed, "abstain", "refuse")
    pure = bags.p.max(axis=1, initial=0) == 1
    row = first(~pure) if mixed == "refuse" else None
    if row is not None:
        raise InputError("A bag holds more than one class.", row=row)
    bag = bags.bag_of()
    y = np.append(bags.p.argmax(axis=1), 0)[bag]
    return Hard(bags.space, y, np.append(pure, False)[bag])


def soft_from_proportions(bags: Proportions, *, how: Literal["share"]) -> Soft:
    """Believe of each item what is true of its bag. Loses that the bag's items are tied together."""
    choose("how", how, "share")
    bag = bags.bag_of()
    p = np.vstack([bags.p, np.zeros((1, bags.space.n_classes))])[bag]
    return Soft(bags.space, p, bag < bags.n_rows)


def shares_from_counts(bags: Proportions) -> Proportions:
    """Divide counts by the size of the bag. `counts_from_shares` undoes it."""
    if bags.counts is None:
        raise InputError("These bags hold shares already.")
    return Proportions(bags.space, bags.n_items, bags.ptr, bags.members, shares=bags.p)


def counts_from_shares(bags: Proportions, *, rounding: Literal["exact", "largest-remainder"]) -> Proportions:
    """Multiply shares by the size of the bag.

    "exact" refuses what is no whole number (within 0.01); "largest-remainder" rounds so that the counts add up.
    """
    choose("rounding", rounding, "exact", "largest-remainder")
    raw = bags.p * bags.sizes[:, None]
    if rounding == "exact":
        row = first(np.abs(raw - np.rint(raw)) > 0.01)
        if row is not None:
            raise InputError(
                f"The shares of a bag of {bags.sizes[row]} items are no whole counts: {raw[row]}.", row=row
            )
        counts = np.rint(raw).astype(np.int32)
    else:
        counts = np.floor(raw + 1e-9).astype(np.int32)
        rank = np.argsort(np.argsort(counts - raw, axis=1, kind="stable"), axis=1)
        counts += rank < (bags.sizes - counts.sum(axis=1))[:, None]
    return Proportions(bags.space, bags.n_items, bags.ptr, bags.members, counts)


def masks_from_hard(labels: Hard, lengths: Ints) -> Masks:
    """Give each element of a sequence of `lengths` (n,) the label of its row. `hard_from_masks` undoes it."""
    sizes = as_integers(lengths, "Lengths", dtypes=(np.int64,))
    same_length("sequences", labels.n_rows, lengths=sizes)
    row = first(sizes == 0)
    if row is not None:
        raise InputError("A label cannot be spread over an empty sequence.", row=row)
    mask = np.repeat(labels.present, sizes)
    return Masks(labels.space, np.repeat(labels.y, sizes), pointer_of(sizes), mask)


def hard_from_masks(
    masks: Masks, *, how: Literal["unanimous", "majority"], ties: Ties = "abstain", random_state: int | None = None
) -> Hard:
    """Label each sequence with the class of all its elements, or of most. Other rows, and empty ones, abstain."""
    choose("how", how, "unanimous", "majority")
    if masks.space.kind is Kind.REAL:
        raise InputError("Mask weights name no class: `scores_from_masks` adds them up.")
    k, there = masks.space.n_classes, masks.present
    row = np.repeat(np.arange(masks.n_rows), masks.lengths)[there]
    counts = np.bincount(row * k + masks.values[there], minlength=masks.n_rows * k).reshape(masks.n_rows, k)
    best, decided = largest(counts, ties, random_state)
    decided &= counts.any(axis=1)
    if how == "unanimous":
        decided &= (counts > 0).sum(axis=1) == 1
    return Hard(masks.space, best, decided)


def scores_from_masks(masks: Masks, *, how: Literal["sum", "mean"]) -> npt.NDArray[np.float64]:
    """Add up or average the weights of each sequence `(n,)`; ignored elements count nothing, the mean of none is 0."""
    choose("how", how, "sum", "mean")
    if masks.space.kind is not Kind.REAL:
        raise InputError("Mask classes cannot be added up: `hard_from_masks` counts them.")
    there = masks.present
    row = np.repeat(np.arange(masks.n_rows), masks.lengths)[there]
    total = np.bincount(row, weights=masks.values[there], minlength=masks.n_rows)
    if how == "sum":
        return np.asarray(total, dtype=np.float64)
    return np.asarray(total / np.maximum(np.bincount(row, minlength=masks.n_rows), 1))
