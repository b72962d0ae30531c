"""Time of survival curves and censoring weights: beside one argsort, scikit-survival and lifelines, turn by turn.

Nothing is timed before the results are found equal: curves and marginal weights with both packages, Beran's weights
with the same in blocks of numpy. scikit-survival reads the law of censoring at an event instead of before it, and is
compared at continuous times, where that is the same.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time as clock
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.censoring import beran
from assay.kernels.censoring_weights import CensoringLaw, own_weights
from assay.kernels.survival_curve import SurvivalCurve, survival_curve
from assay.kernels.survival_scores import concordance
from assay.kernels.timeline import Timeline
from bench.data import RESULTS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Calls = Mapping[str, Callable[[], Any]]

VERSIONS = versions_of("assay", "numba", "scikit-survival", "lifelines", "pandas")


def turns(calls: Calls, repeats: int) -> dict[str, float]:
    """Median wall seconds of calls made turn by turn, so that a busy machine slows all; each is called once before."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock.perf_counter()
            call()
            seconds[name].append(clock.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def same(name: str, ours: npt.ArrayLike, theirs: npt.ArrayLike) -> None:
    """Stop unless two results agree to nine digits."""
    if not np.allclose(ours, theirs, rtol=1e-9, atol=1e-12):
        raise SystemExit(f"{name}: the results differ, so no time is printed.")


def best_of(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Least CPU seconds of some calls, of all threads, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = clock.process_time()
        result = call()
        best = min(best, clock.process_time() - start)
    return best, result


def blocked(time: Floats, event: Bools, points: Floats, block: int = 256) -> Floats:
    """Beran's G(T-) of sorted rows in plain numpy, a block of queries times all rows at once."""
    first, out = np.searchsorted(time, time), np.empty(len(time))
    norms = (points**2).sum(1)
    for start in range(0, len(time), block):
        rows = np.arange(start, min(start + block, len(time)))
        W = np.exp(-0.5 * np.maximum(norms[rows, None] - 2 * points[rows] @ points.T + norms, 0))
        W[np.arange(len(rows)), rows] = 0
        risk = np.cumsum(W[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.where(~event & (risk > 0), np.log1p(-np.minimum(W / risk, 1)), 0.0)
        law = np.cumsum(np.c_[np.zeros(len(rows)), log], axis=1)
        out[rows] = np.exp(law[np.arange(len(rows)), first[rows]])
    return out


def draw(n: int, ticks: int | None, seed: int = 0) -> tuple[Floats, Bools]:
    """Times, continuous or of so many different values, and events, half of the rows."""
    rng = np.random.default_rng(seed)
    time, event = rng.exponential(size=n), rng.random(n) < 0.5
    return (time if ticks is None else np.floor(time * ticks / time.max())), event


def curve(time: Floats, event: Bools) -> SurvivalCurve:
    """From columns to a curve with bounds."""
    return survival_curve(Timeline(time, event))


def weights(time: Floats, event: Bools) -> Floats:
    """From columns to marginal weights."""
    return own_weights(CensoringLaw(time, event), event, 0.0).weights


def marginal(n: int, ticks: int | None, repeats: int, command: str) -> list[ResultRow]:
    """Weights and curves."""
    nonparametric: Any = importlib.import_module("sksurv.nonparametric")
    lifelines: Any = importlib.import_module("lifelines")
    time, event = draw(n, ticks)
    case = f"n = {n:,}, {'continuous' if ticks is None else f'{ticks:,} different'} times"

    def lifelines_curve() -> Any:
        return lifelines.KaplanMeierFitter().fit(time, event)

    ours, fitted = curve(time, event), lifelines_curve()
    same("lifelines", ours.survival, fitted.survival_function_.loc[ours.time].to_numpy()[:, 0])
    _, theirs = nonparametric.kaplan_meier_estimator(event, time)
    same("scikit-survival", ours.survival, theirs)
    if ticks is None:
        seen = event & (time < time[~event].max())
        same("weights", weights(time, event)[seen], nonparametric.ipc_weights(event, time)[seen])
    found = turns(
        {
            "argsort": partial(np.argsort, time),
            "weights": partial(weights, time, event),
            "curve": partial(curve, time, event),
            "sksurv weights": partial(nonparametric.ipc_weights, event, time),
            "sksurv curve": partial(nonparametric.kaplan_meier_estimator, event, time, conf_type="log-log"),
            "lifelines curve": lifelines_curve,
        },
        repeats,
    )
    more: dict[str, Any] = {"unit": "s", "command": command, "seeds": (0,), "versions": VERSIONS}
    limit = found["argsort"]
    return [
        ResultRow(case, f"Kaplan-Meier {what}", found[ours], limit=limit, rival=found[theirs], rival_name=name, **more)
        for what, ours, theirs, name in (
            ("weights", "weights", "sksurv weights", "scikit-survival"),
            ("curve with bounds", "curve", "sksurv curve", "scikit-survival"),
            ("curve with bounds, beside lifelines", "curve", "lifelines curve", "lifelines"),
        )
    ]


def order(n: int, repeats: int, command: str) -> ResultRow:
    """Concordance, whose rival compares all pairs."""
    metrics: Any = importlib.import_module("sksurv.metrics")
    time, event = draw(n, None)
    predicted = time + np.random.default_rng(1).normal(size=n)
    same(
        "concordance",
        concordance(time, event, predicted),
        metrics.concordance_index_censored(event, time, -predicted)[0],
    )
    found = turns(
        {
            "ours": partial(concordance, time, event, predicted),
            "theirs": partial(metrics.concordance_index_censored, event, time, -predicted),
        },
        repeats,
    )
    case = f"n = {n:,}, continuous times"
    return ResultRow(
        case,
        "concordance",
        found["ours"],
        "s",
        command,
        None,
        (0,),
        found["theirs"],
        "scikit-survival",
        versions=VERSIONS,
    )


def conditional(n: int, compare: bool, command: str) -> list[ResultRow]:
    """Beran's weights of all events of n rows with eight features, and along the score."""
    rng = np.random.default_rng(0)
    X, (time, event) = rng.normal(size=(n, 8)), draw(n, None)
    line = Timeline(time, event)
    points = X[line.order] / n ** (-1 / 12)
    at = np.flatnonzero(~line.censored)
    until = line.places(line.time[at])
    beran(line, points, points[:70], until[:70])
    ours, found = best_of(partial(beran, line, points, points[at], until, at), 3 if compare else 1)
    case = f"n = {n:,}, 8 features, {len(at):,} events"
    more: dict[str, Any] = {"command": command, "seeds": (0,), "versions": VERSIONS}
    if not compare:
        score, _ = best_of(lambda: CensoringLaw(time, event, X, 0.5, score=True).own(), 1)
        return [
            ResultRow(case, "Beran weights, CPU time", ours, "s", **more),
            ResultRow(case, "Beran weights along the score, its fit included, CPU time", score, "s", **more),
        ]
    rival, plain = best_of(partial(blocked, line.time, ~line.censored, points), 1)
    if not np.allclose(plain[at], found[0], rtol=1e-6, atol=1e-9):
        raise SystemExit("Beran's law differs from the plain form: no time is printed.")
    return [ResultRow(case, "Beran weights, CPU time", ours, "s", rival=rival, rival_name="blocked numpy", **more)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command, small = f"python -m bench.learn.censored_speed --scale {scale}", scale == "small"
    n = 20_000 if small else 1_000_000
    parts: list[Callable[[], list[ResultRow]]] = [
        *(partial(marginal, n, ticks, 3 if small else 7, command) for ticks in (None, 1000)),
        lambda: [order(3000 if small else 20_000, 3, command)],
        partial(conditional, 2000 if small else 5000, True, command),
        partial(conditional, 10_000 if small else 100_000, False, command),
    ]
    rows: list[ResultRow] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the rivals' own
        for part in parts:
            for row in part():
                rows.append(row)
                beside = f"{row.rival_name} {row.rival:.4g}" if row.rival is not None else ""
                limit = f"argsort {row.limit:.4g}" if row.limit is not None else ""
                print(f"{row.case}; {row.metric}: {row.ours:.4g} {row.unit} {limit} {beside}", flush=True)
    write_results(RESULTS / "learn" / "censored_speed.json", rows)


if __name__ == "__main__":
    main()
