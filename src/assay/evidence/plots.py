"""Builders of plots: they take raw results and keep what is drawn.

Titles state the finding. The page shows each plot in light and dark, wide and narrow, with its numbers as a table;
`figures.py` says what a plot holds, `draw.py` draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.evidence.figures import Figure
from assay.evidence.shown import number

_POINTS = 200  # a line keeps at most this many points
_BARS = 20
_HEAT = 12  # more would be smaller than text on a telephone


def histogram(
    title: str,
    scores: npt.ArrayLike,
    cut: float | None = None,
    *,
    cut_label: str = "cut-off",
    x_label: str = "Probability that the label is wrong",
    unit: str = "%",
    bins: int = 40,
    note: str = "",
) -> Figure:
    """Rows by score `(n,)`, what lies above `cut` marked. The count axis is logarithmic when one bar hides the rest."""
    values = np.asarray(scores, dtype=np.float64)
    counts, edges = np.histogram(values, bins=bins, range=(0, 1) if unit == "%" else None)
    above = None if cut is None else int((values >= cut).sum())
    data = {
        "edges": edges, "counts": counts, "cut": cut, "cut_label": cut_label, "above": above, "x_label": x_label,
        "unit": unit,
    }  # fmt: skip
    return Figure("histogram", title, data, note)


def bars(
    title: str,
    names: Sequence[str],
    values: npt.ArrayLike,
    intervals: npt.ArrayLike | None = None,
    *,
    x_label: str,
    reference: float | None = None,
    reference_label: str = "all rows",
    note: str = "",
) -> Figure:
    """A share `(m,)` per name with its interval `(m, 2)`, largest first; the largest 20 are kept."""
    found = np.asarray(values, dtype=np.float64)
    order = np.argsort(-found, kind="stable")[:_BARS]
    bounds = None if intervals is None else np.asarray(intervals, dtype=np.float64)
    data = {
        "names": [names[at] for at in order],
        "values": found[order],
        "low": None if bounds is None else bounds[order, 0],
        "high": None if bounds is None else bounds[order, 1],
        "of": len(names),
        "x_label": x_label,
        "unit": "%",
        "reference": reference,
        "reference_label": reference_label,
    }
    return Figure("bars", title, data, note)


def reliability(title: str, p: npt.ArrayLike, wrong: npt.ArrayLike, *, bins: int = 10, note: str = "") -> Figure:
    """Of the rows called wrong with probability `p` `(n,)`, how many were `wrong` `(n,)` bool.

    Bins are equally wide, empty ones left out; bars are 95 % Wilson intervals.
    """
    from scipy.stats import binomtest

    called, truth = np.asarray(p, dtype=np.float64), np.asarray(wrong, dtype=bool)
    place = np.minimum((called * bins).astype(np.int64), bins - 1)
    predicted, observed, low, high, counts = [], [], [], [], []
    for part in (np.flatnonzero(place == at) for at in np.unique(place)):
        hits = int(truth[part].sum())
        bounds = binomtest(hits, len(part)).proportion_ci(method="wilson")
        predicted.append(float(called[part].mean()))
        observed.append(hits / len(part))
        low.append(float(bounds.low))
        high.append(float(bounds.high))
        counts.append(len(part))
    data = {"predicted": predicted, "observed": observed, "low": low, "high": high, "counts": counts}
    return Figure("reliability", title, data, note)


def review_curve(
    title: str,
    reviewed: npt.ArrayLike,
    found: npt.ArrayLike,
    low: npt.ArrayLike | None = None,
    high: npt.ArrayLike | None = None,
    *,
    total: float | None = None,
    done: float | None = None,
    note: str = "",
) -> Figure:
    """Errors found `(m,)` after so many `reviewed` rows `(m,)`, with a band; `total` errors expected, `done` so far."""
    horizontal = [] if total is None else [{"y": total, "label": f"about {number(round(total))} errors in all"}]
    return _lines(
        title,
        reviewed,
        {"errors found": (found, low, high)},
        x=("Rows reviewed, worst first", ""),
        y=("Errors found", ""),
        vertical=_done(done),
        horizontal=horizontal,
        note=note,
    )


def half_width(
    title: str,
    reviews: npt.ArrayLike,
    width: npt.ArrayLike,
    *,
    goal: float | None = None,
    done: float | None = None,
    note: str = "",
) -> Figure:
    """Half the width of the error rate's interval, a share `(m,)`, after so many random `reviews` `(m,)`."""
    horizontal = [] if goal is None else [{"y": goal, "label": f"goal: ± {number(goal, '%')}"}]
    return _lines(
        title,
        reviews,
        {"± half-width": (width, None, None)},
        x=("Rows reviewed at random", ""),
        y=("Half-width of the 95 % interval", "%"),
        vertical=_done(done),
        horizontal=horizontal,
        note=note,
    )


def stability(
    title: str,
    prevalence: npt.ArrayLike,
    accuracies: Mapping[str, npt.ArrayLike],
    intervals: Mapping[str, npt.ArrayLike] | None = None,
    *,
    crossovers: Sequence[tuple[float, float, float]] = (),
    observed: float | None = None,
    note: str = "",
) -> Figure:
    """Accuracy of each model `(m,)` against the share of wrong labels `(m,)`.

    Parameters
    ----------
    intervals : model name to `(m, 2)` bounds.
    crossovers : (prevalence, low, high) at which two models change places.
    observed : the prevalence in the data as it is.
    """
    bounds = {name: np.asarray(both, dtype=np.float64) for name, both in (intervals or {}).items()}
    series = {
        name: (values, bounds[name][:, 0] if name in bounds else None, bounds[name][:, 1] if name in bounds else None)
        for name, values in accuracies.items()
    }
    vertical = [
        {"x": at, "low": low, "high": high, "label": f"change places at {number(at, '%', (low, high))}"}
        for at, low, high in crossovers
    ]
    if observed is not None:
        vertical.append({"x": observed, "low": None, "high": None, "label": f"this data: {number(observed, '%')}"})
    x, y = ("Share of wrong labels in the test set", "%"), ("Accuracy on corrected labels", "%")
    return _lines(title, prevalence, series, x=x, y=y, vertical=vertical, horizontal=[], note=note)


def learning_curve(
    title: str, epochs: npt.ArrayLike, accuracy: npt.ArrayLike, *, best: float | None = None, note: str = ""
) -> Figure:
    """Agreement `(m,)` with held-out labels after each of the `epochs` `(m,)`; `best` is the epoch that was taken."""
    taken = [] if best is None else [{"x": best, "low": None, "high": None, "label": f"taken: epoch {number(best)}"}]
    series = {"held-out rows": (accuracy, None, None)}
    x, y = ("Epoch", ""), ("Agreement with held-out labels", "%")
    return _lines(title, epochs, series, x=x, y=y, vertical=taken, horizontal=[], note=note)


def survival_curves(
    title: str,
    times: npt.ArrayLike,
    curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]],
    *,
    x_label: str = "Time",
    horizon: float | None = None,
    note: str = "",
) -> Figure:
    """Shares that last beyond each of the `times` `(m,)`, with the bounds of each curve, all `(m,)`."""
    marks = (
        [] if horizon is None else [{"x": horizon, "low": None, "high": None, "label": f"horizon {number(horizon)}"}]
    )
    y = ("Share of the rows", "%")
    return _lines(title, times, curves, x=(x_label, ""), y=y, vertical=marks, horizontal=[], note=note)


def heat(
    title: str,
    names: Sequence[str],
    values: npt.ArrayLike,
    *,
    unit: str = "%",
    row_axis: str = "given label",
    column_axis: str = "likely true label",
    mute_diagonal: bool = True,
    note: str = "",
) -> Figure:
    """A `(k, k)` matrix as a picture, k at most 12; with `mute_diagonal` the colours scale to what is off the diagonal.

    For more classes use the block `Matrix`, which lists the largest cells.
    """
    if len(names) > _HEAT:
        raise InputError(f"A heat plot shows at most {_HEAT} classes, got {len(names)}: use the block Matrix instead.")
    data = {
        "names": list(names), "values": np.asarray(values, dtype=np.float64), "unit": unit, "row_axis": row_axis,
        "column_axis": column_axis, "mute_diagonal": mute_diagonal,
    }  # fmt: skip
    return Figure("heat", title, data, note)


def _done(done: float | None) -> list[dict[str, Any]]:
    return [] if done is None else [{"x": done, "low": None, "high": None, "label": f"now: {number(done)}"}]


def _lines(
    title: str,
    at: npt.ArrayLike,
    series: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike | None, npt.ArrayLike | None]],
    *,
    x: tuple[str, str],
    y: tuple[str, str],
    vertical: list[dict[str, Any]],
    horizontal: list[dict[str, Any]],
    note: str,
) -> Figure:
    where = np.asarray(at, dtype=np.float64)
    kept = np.unique(np.linspace(0, len(where) - 1, min(_POINTS, len(where))).round().astype(int))

    def thin(values: npt.ArrayLike | None) -> npt.NDArray[np.float64] | None:
        return None if values is None else np.asarray(values, dtype=np.float64)[kept]

    data = {
        "x": where[kept],
        "series": [{"name": n, "y": thin(v), "low": thin(lo), "high": thin(hi)} for n, (v, lo, hi) in series.items()],
        "x_label": x[0],
        "x_unit": x[1],
        "y_label": y[0],
        "y_unit": y[1],
        "vertical": vertical,
        "horizontal": horizontal,
    }
    return Figure("lines", title, data, note)
