"""Censored labels: how much of the error of naive labels weights remove, whose risk estimates are right, and speed.

Simulated: two features, log-normal labels, exponential censoring whose rate grows with the feature that lengthens the
labels (about half censored). Real: patients of three studies who died, whose true times are known, censored anew the
same way. Speed: Kaplan-Meier weights beside one `np.argsort`, Beran weights beside the blocked n by n form in numpy.
"""

from __future__ import annotations

import argparse
import importlib
import time as clock
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from assay.evidence.results import ResultRow, write_results
from assay.kernels.censoring import Timeline, beran
from assay.kernels.survival_scores import weighted_mean
from assay.labels import Censored
from assay.learn.censored import CensoredRegressor, ipcw, restricted
from bench.data import RESULTS, shared

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MODELS = {
    "linear": LinearRegression(),
    "forest": RandomForestRegressor(100, min_samples_leaf=10, random_state=0),
}


def simulate(n: int, seed: int) -> tuple[Floats, Floats, Floats, Bools]:
    """Features, labels, times and events of the simulation."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    Y = np.exp(0.3 + 1.2 * X[:, 0] - 0.6 * X[:, 1] + 0.25 * rng.normal(size=n))
    C = rng.exponential(1 / (0.08 + 0.55 * X[:, 0]))
    return X, Y, np.minimum(Y, C), Y <= C


def deaths(name: str) -> tuple[Floats, Floats]:
    """Features and times, in units of their mean, of the patients whose death was seen."""
    try:
        h5py: Any = importlib.import_module("h5py")
    except ModuleNotFoundError:
        raise SystemExit("The studies are HDF5 files: pip install h5py.") from None
    with h5py.File(shared(f"deepsurv/{name}.h5")) as file:
        X, t, e = (np.concatenate([file[part][key][:] for part in ("train", "test")]) for key in "xte")
    Y = t[e == 1].astype(np.float64)
    return X[e == 1].astype(np.float64), Y / Y.mean()


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of a mean over seeds."""
    mean, half = np.mean(values), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(mean - half), float(mean + half)


def best_of(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Least wall seconds of some calls, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = clock.perf_counter()
        result = call()
        best = min(best, clock.perf_counter() - start)
    return best, result


def marginal(time: Floats, event: Bools) -> Floats:
    """Kaplan-Meier's G(T-) of all rows."""
    return Timeline(time, event).own()


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


def simulated(n: int, seeds: range, command: str) -> list[ResultRow]:
    """Test error by label treatment, and estimates of second moments by law."""
    case = f"simulation, n = {n}"
    errors: dict[tuple[str, str], list[float]] = {}
    moments: dict[tuple[str, str], list[float]] = {}
    effective: dict[str, list[float]] = {}
    for seed in seeds:
        X, Y, time, event = simulate(n, seed)
        test, wanted, _, _ = simulate(5000, 10_000 + seed)
        labels = Censored.from_time_event(time, event)
        for name, model in MODELS.items():
            fits = {
                "bounds as labels": clone(model).fit(X, time),
                "censored rows dropped": clone(model).fit(X[event], time[event]),
                "Kaplan-Meier weights": CensoredRegressor(model, "kaplan_meier").fit(X, labels),
                "Beran weights": CensoredRegressor(model, "beran").fit(X, labels),
                "nothing censored": clone(model).fit(X, Y),
            }
            for treatment, fit in fits.items():
                errors.setdefault((name, treatment), []).append(float(np.mean((fit.predict(test) - wanted) ** 2)))
        for law, points in (("Kaplan-Meier", None), ("Beran", X)):
            for target, tau in (("E[Y^2]", None), ("E[min(Y, 4)^2]", 4.0)):
                seen = restricted(labels, tau)
                weights, truth = ipcw(seen, points), float(np.mean(np.minimum(Y, tau or np.inf) ** 2))
                found = weighted_mean(seen.time**2, weights.weights).value
                moments.setdefault((law, target), []).append(found / truth - 1)
            effective.setdefault(law, []).append(ipcw(labels, points).effective_rows)
    rows = []

    def add(metric: str, values: Sequence[float], unit: str = "", **more: Any) -> None:
        mean = float(np.mean(values))
        rows.append(ResultRow(case, metric, mean, unit, command, interval(values), tuple(seeds), **more))

    for (name, treatment), values in errors.items():
        bound = float(np.mean(errors[name, "nothing censored"]))
        add(f"test MSE, {name}, {treatment}", values, limit=bound, deployable=treatment != "nothing censored")
    for name in MODELS:
        naive, reached, dropped = (
            np.array(errors[name, t]) for t in ("bounds as labels", "nothing censored", "censored rows dropped")
        )
        for law in ("Kaplan-Meier", "Beran"):
            ours = np.array(errors[name, f"{law} weights"])
            removed = (naive - ours) / (naive - reached)
            drop = float(np.mean((naive - dropped) / (naive - reached)))
            more: dict[str, Any] = {"rival": drop, "rival_name": "censored rows dropped", "limit": 1.0}
            add(f"share of naive excess MSE removed, {name}, {law}", removed.tolist(), **more)
    for (law, target), values in moments.items():
        add(f"relative bias of the estimate of {target}, {law}", values, limit=0.0)
    for law in effective:
        add(f"effective rows, {law}", effective[law], "rows", limit=float(n))
    return rows


def coverage(n: int, tau: float | None, runs: int, command: str) -> list[ResultRow]:
    """How often the interval of the risk of a fixed prediction holds the true risk, beside the true law's weights."""
    most = tau or np.inf

    def predict(X: Floats) -> Floats:
        return np.asarray(np.minimum(0.8 + 1.7 * X[:, 0], most))

    X, Y, _, _ = simulate(1_000_000, 77)
    risk = float(np.mean((np.minimum(Y, most) - predict(X)) ** 2))
    held: dict[str, list[bool]] = {}
    for seed in range(runs):
        X, _, time, event = simulate(n, 20_000 + seed)
        labels = restricted(Censored.from_time_event(time, event), tau)
        time, event = np.asarray(labels.time, dtype=np.float64), labels.event
        for law, weights in (
            ("Kaplan-Meier", ipcw(labels).weights),
            ("Beran", ipcw(labels, X).weights),
            ("true", np.asarray(event / np.exp(-(0.08 + 0.55 * X[:, 0]) * time))),
        ):
            found = weighted_mean((time - predict(X)) ** 2, weights)
            held.setdefault(law, []).append(found.low <= risk <= found.high)
    rows = []
    true = float(np.mean(held.pop("true")))
    for law, each in held.items():
        bounds = stats.binomtest(sum(each), runs).proportion_ci()
        rows.append(
            ResultRow(
                case=f"simulation, n = {n}, {'no tau' if tau is None else f'tau = {tau:g}'}, {runs} runs",
                metric=f"coverage of the 95 % interval of a fixed prediction's risk, {law}",
                ours=float(np.mean(each)),
                unit="",
                command=command,
                interval=(float(bounds.low), float(bounds.high)),
                rival=true,
                rival_name="weights of the true law",
                limit=0.95,
            )
        )
    return rows


def planted(name: str, seeds: range, command: str) -> list[ResultRow]:
    """Real times censored anew by the feature that tells most about them; the goal is the fit to all of them."""
    X, Y = deaths(name)
    full = LinearRegression().fit(X, Y).predict(X)
    told = np.array([np.corrcoef(x, Y)[0, 1] if x.std() > 0 else 0.0 for x in X.T])
    best = int(np.argmax(np.abs(told)))
    z = (X[:, best] - X[:, best].mean()) / X[:, best].std() * np.sign(told[best])
    out: dict[str, list[tuple[float, float]]] = {}
    for seed in seeds:
        C = np.random.default_rng(seed).exponential(1.5 * np.exp(-0.6 * z))
        time, event = np.minimum(Y, C), Y <= C
        labels = Censored.from_time_event(time, event)
        naive = float(np.mean((LinearRegression().fit(X, time).predict(X) - full) ** 2))
        kept = LinearRegression().fit(X[event], time[event]).predict(X)
        out.setdefault("dropped", []).append((1 - float(np.mean((kept - full) ** 2)) / naive, 0.0))
        for law, points in (("Kaplan-Meier", None), ("Beran on that feature", z[:, None]), ("Beran on all", X)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = CensoredRegressor(law="kaplan_meier" if points is None else "beran")
                model.fit(X, labels, covariates=points)
            removed = 1 - float(np.mean((model.predict(X) - full) ** 2)) / naive
            mean = weighted_mean(time, model.weights_.weights).value
            out.setdefault(law, []).append((removed, mean - 1))
    case = f"{name}: {len(Y)} observed deaths, {X.shape[1]} features, censored anew"
    drop = float(np.mean([each for each, _ in out.pop("dropped")]))
    rows = []
    for law, pairs in out.items():
        removed_by, bias = ([float(v) for v in column] for column in zip(*pairs, strict=True))
        for metric, values, more in (
            (
                f"share of the distance to the uncensored fit removed, {law}",
                removed_by,
                {"rival": drop, "rival_name": "censored rows dropped", "limit": 1.0},
            ),
            (f"relative bias of the estimated mean, {law}", bias, {"limit": 0.0}),
        ):
            found: dict[str, Any] = more
            mean = float(np.mean(values))
            rows.append(ResultRow(case, metric, mean, "", command, interval(values), tuple(seeds), **found))
    return rows


def speed(n_marginal: int, n_beran: int, n_rival: int, command: str) -> list[ResultRow]:
    """Wall times, after a check that the results are those of the plain form."""
    rng = np.random.default_rng(0)
    rows = []
    for ticks in (None, 1000):
        time, event = rng.exponential(size=n_marginal), rng.random(n_marginal) < 0.5
        if ticks:
            time = np.floor(time * ticks / time.max())
        marginal(time, event)
        pairs = [  # turn by turn, so that a busy machine slows both
            (best_of(partial(marginal, time, event), 1)[0], best_of(partial(np.argsort, time), 1)[0]) for _ in range(25)
        ]
        ours, limit = (float(np.median(column)) for column in zip(*pairs, strict=True))
        case = f"n = {n_marginal:,}, {'continuous' if ticks is None else f'{ticks} tied'} times"
        rows.append(ResultRow(case, "Kaplan-Meier weights, median of 25", ours, "s", command, seeds=(0,), limit=limit))
    for n in (n_rival, n_beran):
        X, time, event = rng.normal(size=(n, 8)), rng.exponential(size=n), rng.random(n) < 0.5
        line = Timeline(time, event)
        points = X[line.order] / n ** (-1 / 12)
        at = np.flatnonzero(~line.censored)
        until = line.places(line.time[at])
        beran(line, points, points[:70], until[:70])
        ours, found = best_of(partial(beran, line, points, points[at], until, at), 3 if n == n_rival else 1)
        rival = None
        if n == n_rival:
            rival, plain = best_of(partial(blocked, line.time, ~line.censored, points), 1)
            if not np.allclose(plain[at], found[0], rtol=1e-6, atol=1e-9):
                raise SystemExit("Beran's law differs from the plain form: no time is printed.")
        name = None if rival is None else "blocked numpy"
        case = f"n = {n:,}, 8 features, {len(at):,} events"
        rows.append(ResultRow(case, "Beran weights", ours, "s", command, seeds=(0,), rival=rival, rival_name=name))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command, small = f"python -m bench.learn.censored --scale {scale}", scale == "small"
    rows: list[ResultRow] = []
    parts: list[Callable[[], list[ResultRow]]] = [
        partial(speed, *((100_000, 10_000, 2000) if small else (1_000_000, 100_000, 5000)), command),
        *(partial(simulated, n, range(3 if small else 10), command) for n in ((500,) if small else (1000, 4000))),
        *(partial(coverage, 500 if small else 1000, tau, 20 if small else 300, command) for tau in (None, 4.0)),
        *(partial(planted, name, range(3 if small else 10), command) for name in ("metabric", "gbsg", "whas")),
    ]
    for part in parts:
        for row in part():
            rows.append(row)
            print(
                f"{row.case}; {row.metric}: {row.ours:.4g}{row.unit} {row.interval or ''} limit {row.limit}", flush=True
            )
    write_results(RESULTS / "learn" / "censored.json", rows)


if __name__ == "__main__":
    main()
