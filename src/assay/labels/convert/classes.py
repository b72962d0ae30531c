"""Conversions between labels that name classes row by row: hard, soft, candidates, tags."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.candidates import Candidates
from assay.labels.checks import Bools, Ints, as_reals, first, pointer_of, same_length
from assay.labels.hard import Hard
from assay.labels.soft import Soft
from assay.labels.spaces import Kind, Space
from assay.labels.tags import Tags

Ties = Literal["abstain", "seeded"]


def choose(keyword: str, came: object, *choices: str) -> None:
    """Raise unless a policy is one of its choices."""
    if came not in choices:
        raise InputError(f"{keyword} must be one of {', '.join(map(repr, choices))}; got {came!r}.")


def largest(
    scores: npt.NDArray[np.number], ties: str, random_state: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the column of the largest score of each row `(n, k)`, and whether the row is decided `(n,)`.

    Ties never fall to the first column: they abstain, or are drawn with `random_state`.
    """
    choose("ties", ties, "abstain", "seeded")
    if ties == "seeded" and random_state is None:
        raise InputError("ties='seeded' needs random_state, an integer.")
    winners = scores == scores.max(axis=1, keepdims=True, initial=0)
    best = winners.argmax(axis=1)
    tied = np.flatnonzero(winners.sum(axis=1) != 1)
    decided = np.ones(len(scores), dtype=bool)
    if ties == "abstain":
        decided[tied] = False
    else:
        best[tied] = (np.random.default_rng(random_state).random(scores[tied].shape) * winners[tied]).argmax(axis=1)
    return best, decided


def soft_from_hard(labels: Hard) -> Soft:
    """One-hot rows, float32. Lossless; `hard_from_soft` undoes it."""
    p = np.zeros((labels.n_rows, labels.space.n_classes), dtype=np.float32)
    p[np.arange(labels.n_rows), labels.y] = 1
    return Soft(labels.space, p, labels.mask)


def hard_from_soft(labels: Soft, *, ties: Ties, random_state: int | None = None) -> Hard:
    """Most probable class. Loses the doubt; `ties` says what becomes of equal maxima."""
    best, decided = largest(labels.p, ties, random_state)
    return Hard(labels.space, best, decided & labels.present)


def hard_hidden(labels: Hard, *, hide: Bools) -> Hard:
    """Forget the labels where `hide` (n,) is true."""
    same_length("hard labels", labels.n_rows, hide=hide)
    return Hard(labels.space, labels.y, labels.present & ~hide)


def noisy_from_hard(labels: Hard, *, transition: npt.ArrayLike, random_state: int) -> Hard:
    """Corrupt labels: row y of `transition` (k, k) is the distribution of what is said when y is true."""
    rows = Soft(labels.space, as_reals(transition, "The transition matrix", ndim=2)).p
    if len(rows) != labels.space.n_classes:
        raise InputError(f"The transition matrix must have {labels.space.n_classes} rows, got {len(rows)}.")
    ladder = np.cumsum(rows, axis=1)
    draws = np.random.default_rng(random_state).random(labels.n_rows) * ladder[labels.y, -1]
    return Hard(labels.space, (draws[:, None] >= ladder[labels.y]).sum(axis=1), labels.mask)


def candidates_from_hard(labels: Hard) -> Candidates:
    """The set of the one class; an unlabelled row may be anything. `hard_from_candidates` undoes it."""
    k = labels.space.n_classes
    there = labels.present
    ptr = pointer_of(np.where(there, 1, k))
    members = np.arange(ptr[-1]) - np.repeat(ptr[:-1], np.diff(ptr))
    members[ptr[:-1][there]] = labels.y[there]
    return Candidates(labels.space, ptr, members)


def hard_from_candidates(labels: Candidates, *, larger: Literal["abstain", "refuse"]) -> Hard:
    """Class of the sets of one. Larger sets abstain, or are refused unless they hold every class (no label)."""
    choose("larger", larger, "abstain", "refuse")
    single = labels.sizes == 1
    row = first(~single & (labels.sizes < labels.space.n_classes)) if larger == "refuse" else None
    if row is not None:
        raise InputError(f"A set of {labels.sizes[row]} candidates is no hard label.", row=row)
    return Hard(labels.space, labels.members[labels.ptr[:-1]], single)


def soft_from_candidates(labels: Candidates, *, prior: npt.ArrayLike | Literal["uniform"]) -> Soft:
    """Spread each row over its candidates in proportion to `prior` (k,). A row that may be anything has no belief."""
    k = labels.space.n_classes
    weight = np.ones(k) if isinstance(prior, str) and prior == "uniform" else as_reals(prior, "The prior")
    if weight.shape != (k,) or (weight <= 0).any():
        raise InputError(f"The prior must hold {k} positive numbers.")
    return Soft.normalized(labels.space, labels.indicator() * weight, (labels.sizes < k) | (k == 1))


def complementary_from_hard(labels: Hard, *, random_state: int) -> Hard:
    """Draw one class that each row does not belong to. Loses nearly everything; k must be 2 or more."""
    k = labels.space.n_classes
    if k < 2:
        raise InputError(f"A complementary label needs two classes, got {k}.")
    step = np.random.default_rng(random_state).integers(1, k, labels.n_rows)
    return Hard(labels.space, (labels.y + step) % k, labels.mask)


def candidates_from_complementary(labels: Hard) -> Candidates:
    """Read hard labels as "not this class": every other class is a candidate.

    `complementary_from_candidates` undoes it.
    """
    possible = np.ones((labels.n_rows, labels.space.n_classes), dtype=bool)
    there = np.flatnonzero(labels.present)
    possible[there, labels.y[there]] = False
    return Candidates.from_indicator(labels.space, possible)


def complementary_from_candidates(labels: Candidates) -> Hard:
    """Return the one class that each set leaves out; refuses sets that leave out more."""
    k = labels.space.n_classes
    row = first(labels.sizes < k - 1)
    if row is not None:
        raise InputError(f"A set of {labels.sizes[row]} of {k} candidates leaves out more than one class.", row=row)
    possible = labels.indicator()
    return Hard(labels.space, possible.argmin(axis=1), labels.sizes == k - 1)


def candidates_from_intervals(space: Space, lo: Ints, hi: Ints) -> Candidates:
    """Read grades "from lo to hi" `(n,)`, codes of an ordinal space, both included.

    `intervals_from_candidates` undoes it.
    """
    bounds = Hard(space, lo).y, Hard(space, hi).y
    same_length("intervals", len(bounds[0]), hi=bounds[1])
    row = first(bounds[0] > bounds[1])
    if row is not None:
        raise InputError(f"An interval runs from {bounds[0][row]} down to {bounds[1][row]}.", row=row)
    ptr = pointer_of(bounds[1] - bounds[0] + 1)
    return Candidates(space, ptr, np.arange(ptr[-1]) - np.repeat(ptr[:-1] - bounds[0], np.diff(ptr)))


def intervals_from_candidates(labels: Candidates) -> tuple[Ints, Ints]:
    """Return the lowest and highest candidate `(n,)` of each row; refuses sets with holes."""
    lo, hi = labels.members[labels.ptr[:-1]], labels.members[labels.ptr[1:] - 1]
    row = first(hi - lo + 1 != labels.sizes)
    if row is not None:
        raise InputError("A candidate set with holes is no interval.", row=row)
    return lo, hi


def tags_from_hard(labels: Hard) -> Tags:
    """Mark the one class and deny the others. Categorical spaces only; `hard_from_tags` undoes it."""
    if labels.space.kind is not Kind.CATEGORICAL:
        raise InputError(f"Tags would lose that the space is {labels.space.kind.value}.")
    y = np.zeros((labels.n_rows, labels.space.n_classes), dtype=np.int8)
    y[np.arange(labels.n_rows), labels.y] = 1
    space = Space(labels.space.names, Kind.MULTILABEL, labels.space.open_set)
    return Tags(space, y, np.broadcast_to(labels.present[:, None], y.shape))


def hard_from_tags(labels: Tags, *, several: Literal["abstain", "refuse"]) -> Hard:
    """Class of the rows that are known to have exactly one tag.

    Other rows abstain, or are refused unless nothing is known about them.
    """
    choose("several", several, "abstain", "refuse")
    known = labels.present
    one = known.all(axis=1) & (labels.y.sum(axis=1) == 1)
    row = first(~one & known.any(axis=1)) if several == "refuse" else None
    if row is not None:
        raise InputError("A row does not have exactly one known tag.", row=row)
    space = Space(labels.space.names, Kind.CATEGORICAL, labels.space.open_set)
    return Hard(space, labels.y.argmax(axis=1), one)


def tags_hidden(labels: Tags, *, hide: Bools) -> Tags:
    """Forget the cells where `hide` (n, l) is true: partial tags."""
    if labels.positive_only or hide.shape != labels.y.shape:
        raise InputError(f"Hiding needs tags with a mask, and booleans of shape {labels.y.shape}, got {hide.shape}.")
    return Tags(labels.space, labels.y, labels.present & ~hide)


def positive_from_tags(labels: Tags, *, forget: Literal["negatives"]) -> Tags:
    """Keep the ones and forget which tags are absent: positive-unlabelled data."""
    choose("forget", forget, "negatives")
    return Tags(labels.space, labels.y, positive_only=True)
