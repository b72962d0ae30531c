"""Which rows to review next, and what reviewed rows may count as: Neyman's allocation, a resumable random order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.kernels.strata import Stratum

_PURPOSE = 0xA0D17  # so that a caller's own generator with the same seed does not walk in step with the draw
_STRETCH = 4096  # rows looked at together for one that is open

Rows = npt.NDArray[np.int64]


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


class AuditOrder:
    """The order of a random audit of the flagged and of the unflagged rows, sorted once and asked after every review.

    Rows of a stratum come in one random order that depends on the seed and the number of rows alone.

    Parameters
    ----------
    flagged : (n_rows,) bool.
    ranking : (n_rows,) score from before any verdict, large is suspicious; None where only draws are asked for.
    random_state : seed of the order.
    mask : (n_rows,) True for the rows that have a label, the others are not drawn; None: all of them.
    """

    def __init__(
        self,
        flagged: npt.ArrayLike,
        ranking: npt.ArrayLike | None = None,
        random_state: int = 0,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        flags = check_flags(flagged)
        self.flagged, self.n_rows = flags, len(flags)
        inside = np.ones(len(flags), dtype=bool) if mask is None else mask
        key = np.empty(len(flags))
        key[inside] = np.random.default_rng([random_state, _PURPOSE]).random(int(inside.sum()))
        self.as_drawn: list[Rows] = []  # of each stratum: its rows in the order of the draw
        self.worst_first: list[Rows] = []
        self.place = np.zeros(len(flags), dtype=np.int64)  # of a row in `worst_first`
        for stratum in (flags & inside, ~flags & inside):
            members = np.flatnonzero(stratum)
            self.as_drawn.append(members[np.argsort(key[members], kind="stable")])
            if ranking is not None:
                worst = members[np.argsort(-np.asarray(ranking, dtype=np.float64)[members], kind="stable")]
                self.worst_first.append(worst)
                self.place[worst] = np.arange(len(worst))

    def next(self, open_rows: npt.NDArray[np.bool_], means: npt.ArrayLike, n: int) -> Rows:
        """The next `n` rows to draw among those still open: one of each stratum, then interleaved by Neyman's rule.

        Parameters
        ----------
        open_rows : (n_rows,) bool, the rows that may come.
        means : (2,) mean chance of being wrong of the flagged and of the unflagged rows.
        """
        rows, turns = [], []
        for drawn, mean in zip(self.as_drawn, np.clip(means, 1e-4, 1 - 1e-4), strict=True):
            at = first_open(open_rows, drawn, n)
            rows.append(drawn[at])
            # The first row of each stratum comes before all others: without one there is no rate of the whole.
            turns.append(np.where(at > 0, at + 0.5, 0) / max(len(drawn) * np.sqrt(mean * (1 - mean)), 1e-12))
        found, turn = np.concatenate(rows), np.concatenate(turns)
        return np.asarray(found[np.lexsort((found, turn))][:n])

    def roles(
        self, done: npt.NDArray[np.bool_], undecided: npt.NDArray[np.bool_] | None = None
    ) -> list[tuple[Rows, Rows]]:
        """Of each stratum the rows that are a census and those that are a random sample of the others; see `roles`.

        Takes time in proportion to the reviewed rows, not to all.

        Parameters
        ----------
        done : (n_rows,) bool, the reviewed rows.
        undecided : (n_rows,) bool, rows on which no verdict could be had; they are passed over as if they were not
            there.
        """
        out = np.zeros(self.n_rows, dtype=bool) if undecided is None else undecided
        most = int(done.sum() + out.sum()) + 1  # among so many rows one is not reviewed, or all are
        found = []
        for drawn, worst in zip(self.as_drawn, self.worst_first, strict=True):
            first = worst[:most][~out[worst[:most]]]
            order = drawn[:most][~out[drawn[:most]]]
            size = _leading(done[first])
            sample = order[: _leading(done[order])]
            if size < len(first) and len(sample):  # else the whole stratum was reviewed
                # The census leaves half of the random draw to the others.
                limit = int(np.sort(self.place[sample])[len(sample) // 2])
                size = int(np.count_nonzero(self.place[first[:size]] < limit))
            others = order[~np.isin(order, first[:size])]
            found.append((first[:size], others[: _leading(done[others])]))
        return found

    def counts(
        self, rows: npt.ArrayLike, wrong: npt.NDArray[np.bool_], undecided: npt.ArrayLike = ()
    ) -> tuple[tuple[Stratum, Stratum], tuple[Stratum, Stratum], int]:
        """What reviewed rows say about all rows, for `ErrorRate.from_counts`.

        Parameters
        ----------
        rows, wrong : (v,) distinct reviewed rows and whether their label is wrong.
        undecided : (u,) rows on which no verdict could be had. They leave the table: the error rate is that of the rows
            that people can judge.

        Returns
        -------
        strata, known : random samples of the flagged and the unflagged rows, and the rows that count exactly.
        n_extra : reviewed rows that count for nothing but themselves.
        """
        at, left_out = check_rows(rows, self.n_rows), check_rows(undecided, self.n_rows)
        done, bad, out = np.zeros((3, self.n_rows), dtype=bool)
        done[at], bad[at], out[left_out] = True, wrong, True
        gone = int(self.flagged[left_out].sum())
        strata, known, used = [], [], 0
        for drawn, less, (census, sample) in zip(
            self.as_drawn, (gone, len(left_out) - gone), self.roles(done, out), strict=True
        ):
            strata.append(Stratum(len(drawn) - less - len(census), len(sample), int(bad[sample].sum())))
            known.append(Stratum(len(census), len(census), int(bad[census].sum())))
            used += len(census) + len(sample)
        return (strata[0], strata[1]), (known[0], known[1]), len(at) - used


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
        means = [0.3, 0.05]
    else:
        chance = np.asarray(p_wrong, dtype=np.float64)
        if chance.shape != mask.shape:
            raise InputError(f"p_wrong must have the {len(mask)} rows of flagged; got shape {chance.shape}.")
        outside = ~((chance >= 0) & (chance <= 1))
        if outside.any():
            raise InputError("p_wrong must lie in 0..1 without NaN.", row=int(np.flatnonzero(outside)[0]))
        means = mean_chances(mask, chance)
    left = np.ones(len(mask), dtype=bool)
    if reviewed_rows is not None:
        left[check_rows(reviewed_rows, len(mask))] = False
    return AuditOrder(mask, None, random_state).next(left, means, n)


def mean_chances(flagged: npt.NDArray[np.bool_], chance: npt.NDArray[np.floating[Any]]) -> list[float]:
    """Mean chance of being wrong of the flagged and of the other rows, 0 where there are none."""
    return [float(chance[rows].mean()) if rows.any() else 0.0 for rows in (flagged, ~flagged)]


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
    order = AuditOrder(flagged, ranking, random_state)
    rows = check_rows(reviewed_rows, order.n_rows)
    done = np.zeros(order.n_rows, dtype=bool)
    done[rows] = True
    role = np.full(order.n_rows, "extra", dtype="<U6")
    for census, sample in order.roles(done):
        role[census] = "census"
        role[sample] = "sample"
    return role[rows]


def first_open(open_rows: npt.NDArray[np.bool_], drawn: Rows, n: int) -> Rows:
    """Places of the first n rows of `drawn` that are open, looked for a stretch at a time."""
    found: list[Rows] = []
    count = 0
    for start in range(0, len(drawn), _STRETCH):
        at = start + np.flatnonzero(open_rows[drawn[start : start + _STRETCH]])
        found.append(at)
        count += len(at)
        if count >= n:
            break
    return np.concatenate(found)[:n] if found else np.zeros(0, dtype=np.int64)


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
