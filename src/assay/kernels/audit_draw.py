"""Which rows to review next, and what reviewed rows may count as: Neyman's allocation, a resumable random order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assay.errors import InputError

_PURPOSE = 0xA0D17  # so that a caller's own generator with the same seed does not walk in step with the draw


def allocate(sizes: npt.ArrayLike, spread: npt.ArrayLike, total: int) -> npt.NDArray[np.int64]:
    """Split `total` reviews over strata in proportion to size times standard deviation, none above its size (Neyman).

    Parameters
    ----------
    sizes : (s,) rows left to review in each stratum.
    spread : (s,) standard deviation of "this label is wrong" within it.
    total : reviews to place; more than there are rows places them all.
    """
    size = np.asarray(sizes, dtype=np.int64)
    want = np.maximum(size * np.asarray(spread, dtype=np.float64), 1e-12)
    out = np.zeros(len(size), dtype=np.int64)
    left = min(int(total), int(size.sum()))
    while left > 0:
        room = size - out
        share = np.where(room > 0, want, 0.0)
        ideal = left * share / share.sum()
        step = np.minimum(np.floor(ideal).astype(np.int64), room)
        if step.sum() == 0:
            step[int(np.argmax(np.where(room > 0, ideal, -1.0)))] = 1
        out += step
        left -= int(step.sum())
    return out


def draw(
    flagged: npt.ArrayLike,
    p_wrong: npt.ArrayLike | None,
    n: int,
    random_state: int = 0,
    reviewed_rows: npt.ArrayLike | None = None,
) -> npt.NDArray[np.int64]:
    """The next rows of a random audit, in order.

    Within the flagged and the unflagged stratum rows come in one random order that depends on the seed and the number
    of rows alone; the strata are interleaved so that every beginning of the list splits as Neyman's rule asks. So a
    longer draw extends a shorter one, and with `reviewed_rows` an audit resumes where it stopped, even after
    `p_wrong` has changed.

    Parameters
    ----------
    flagged : (n_rows,) bool.
    p_wrong : (n_rows,) chance that each label is wrong, or None for 30 % of the flagged and 5 % of the others.
    n : rows to draw; fewer come when fewer are left.
    random_state : seed of the order.
    reviewed_rows : rows already reviewed, which are left out.

    Returns
    -------
    rows : (<= n,) row numbers in the order of review.
    """
    mask = check_flags(flagged)
    if n < 0:
        raise InputError(f"The number of rows to draw must not be negative; got {n}.")
    if p_wrong is None:
        chance = np.where(mask, 0.3, 0.05)
    else:
        chance = np.asarray(p_wrong, dtype=np.float64)
        if chance.shape != mask.shape:
            raise InputError(f"p_wrong must have the {len(mask)} rows of flagged; got shape {chance.shape}.")
        outside = ~((chance >= 0) & (chance <= 1))
        if outside.any():
            raise InputError("p_wrong must lie in 0..1 without NaN.", row=int(np.flatnonzero(outside)[0]))
    key = np.random.default_rng([random_state, _PURPOSE]).random(len(mask))
    turn = np.empty(len(mask))
    for stratum in (mask, ~mask):
        rows = np.flatnonzero(stratum)
        if len(rows) == 0:
            continue
        mean = float(np.clip(chance[rows].mean(), 1e-4, 1 - 1e-4))
        weight = len(rows) * np.sqrt(mean * (1 - mean))
        turn[rows[np.argsort(key[rows], kind="stable")]] = (np.arange(len(rows)) + 0.5) / weight
    order = np.argsort(turn, kind="stable")
    if reviewed_rows is not None:
        done = np.zeros(len(mask), dtype=bool)
        done[check_rows(reviewed_rows, len(mask))] = True
        order = order[~done[order]]
    return order[:n]


def roles(
    flagged: npt.ArrayLike, ranking: npt.ArrayLike, reviewed_rows: npt.ArrayLike, random_state: int = 0
) -> npt.NDArray[np.str_]:
    """What each reviewed row may be counted as, when some were drawn at random and some picked because they looked bad.

    Whoever picks the worst rows passes over those that were drawn already, so the drawn rows are no fair sample of
    what is left. Within each stratum the rows that rank above the first unreviewed one are therefore a census, drawn
    or not, and the sample is what was reviewed of the others up to the first unreviewed one in the order of `draw`,
    picked or not. That is a simple random sample of the others, since the ranking knows nothing of the draw.

    Parameters
    ----------
    flagged : (n_rows,) bool, as for `draw`.
    ranking : (n_rows,) score from before any verdict, large is suspicious.
    reviewed_rows : (v,) distinct row numbers.
    random_state : the seed of `draw`.

    Returns
    -------
    (v,) "census", "sample" or "extra"; an extra row is a fact about itself and says nothing about others.
    """
    mask = check_flags(flagged)
    rows = check_rows(reviewed_rows, len(mask))
    score = np.asarray(ranking, dtype=np.float64)
    key = np.random.default_rng([random_state, _PURPOSE]).random(len(mask))
    done = np.zeros(len(mask), dtype=bool)
    done[rows] = True
    role = np.full(len(mask), "extra", dtype="<U6")
    for stratum in (mask, ~mask):
        members = np.flatnonzero(stratum)
        worst_first = members[np.argsort(-score[members], kind="stable")]
        census = worst_first[: _census_size(done, worst_first, members[np.argsort(key[members], kind="stable")])]
        others = np.setdiff1d(members, census)
        as_drawn = others[np.argsort(key[others], kind="stable")]
        role[census] = "census"
        role[as_drawn[: _leading(done[as_drawn])]] = "sample"
    return role[rows]


def _census_size(
    done: npt.NDArray[np.bool_], worst_first: npt.NDArray[np.int64], as_drawn: npt.NDArray[np.int64]
) -> int:
    """How many of the worst rows are a census: all of them reviewed, half of the random draw left for the others."""
    most = _leading(done[worst_first])
    drawn = as_drawn[: _leading(done[as_drawn])]
    if most == len(worst_first) or not len(drawn):
        return most
    places = np.flatnonzero(np.isin(worst_first, drawn))
    return min(most, int(places[len(drawn) // 2]))


def _leading(done: npt.NDArray[np.bool_]) -> int:
    """How many come before the first that is False."""
    return len(done) if done.all() else int(done.argmin())


def check_flags(flagged: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """The flags as a bool array (n,), n > 0, or an error."""
    mask = np.asarray(flagged)
    if mask.ndim != 1 or mask.dtype != bool or len(mask) == 0:
        raise InputError(f"flagged must be a bool array (n,), n > 0; got {mask.dtype} of shape {mask.shape}.")
    return mask


def check_rows(rows: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    """Row numbers (v,) as distinct whole numbers below n, or an error that names the first bad one."""
    out = np.asarray(rows)
    if out.size == 0:
        return np.zeros(0, dtype=np.int64)
    if out.ndim != 1 or not np.issubdtype(out.dtype, np.integer):
        raise InputError(f"Row numbers must be whole numbers (v,); got {out.dtype} of shape {out.shape}.")
    outside = (out < 0) | (out >= n)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise InputError(f"Row number {out[at]} is not among the {n} rows.", row=at)
    first = np.unique(out, return_index=True)[1]
    if len(first) != len(out):
        at = int(np.setdiff1d(np.arange(len(out)), first)[0])
        raise InputError(f"Row {out[at]} was reviewed twice: give one verdict a row.", row=at)
    return out.astype(np.int64)
