"""Censored labels: how much of the error of naive labels weights remove, whose risk estimates are right, and speed.

Simulated: two features, log-normal labels, exponential censoring whose rate grows with the feature that lengthens the
labels (about half censored), alone or with eight columns of noise. Real: patients of five studies who died, whose true
times are known, censored anew the same way. Times are in `censored_speed`.
"""

from __future__ import annotations

import argparse
import importlib
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
from assay.kernels.censoring_weights import Weights
from assay.kernels.survival_scores import weighted_mean
from assay.labels import Censored
from assay.learn.censored import CensoredRegressor, Law, ipcw, restricted
from bench.data import RESULTS, shared

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MODELS = {
    "linear": LinearRegression(),
    "forest": RandomForestRegressor(100, min_samples_leaf=10, random_state=0),
}
STUDIES = ("metabric", "gbsg", "whas", "flchain", "whas500")
LAWS: dict[str, Law] = {"Kaplan-Meier": "kaplan_meier", "Beran": "beran", "Beran along the score": "score"}


def simulate(n: int, seed: int, noise: int = 0) -> tuple[Floats, Floats, Floats, Bools]:
    """Features, labels, times and events of the simulation; `noise` more columns that tell nothing."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    Y = np.exp(0.3 + 1.2 * X[:, 0] - 0.6 * X[:, 1] + 0.25 * rng.normal(size=n))
    C = rng.exponential(1 / (0.08 + 0.55 * X[:, 0]))
    return np.column_stack([X, rng.normal(size=(n, noise))]), Y, np.minimum(Y, C), Y <= C


def law_weights(law: Law, labels: Censored, X: Floats) -> Weights:
    """Weights by a law of `LAWS`."""
    return ipcw(labels, None if law == "kaplan_meier" else X, score=law == "score")


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


def patients(name: str) -> tuple[Floats, Floats]:
    """As `deaths`, of the two studies that come with scikit-survival; categories as columns, gaps as medians."""
    pandas: Any = importlib.import_module("pandas")
    datasets: Any = importlib.import_module("sksurv.datasets")
    table, labels = getattr(datasets, f"load_{name}")()
    event, time = (labels[field] for field in labels.dtype.names)
    table = table.drop(columns=[column for column in ("chapter",) if column in table])  # the cause of the death
    for column in ("flc.grp", "sample.yr"):  # numbers that are kept as categories
        if column in table:
            table[column] = table[column].astype(str).astype(float)
    X = pandas.get_dummies(table.fillna(table.median(numeric_only=True)), drop_first=True).to_numpy(dtype=np.float64)
    Y = time[event].astype(np.float64)
    return X[event], Y / Y.mean()


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of a mean over seeds."""
    mean, half = np.mean(values), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(mean - half), float(mean + half)


def simulated(n: int, noise: int, seeds: range, command: str) -> list[ResultRow]:
    """Test error by label treatment, and estimates of second moments by law."""
    case = f"simulation, n = {n}" + (f", {noise} columns of noise" if noise else "")
    errors: dict[tuple[str, str], list[float]] = {}
    moments: dict[tuple[str, str], list[float]] = {}
    effective: dict[str, list[float]] = {}
    for seed in seeds:
        X, Y, time, event = simulate(n, seed, noise)
        test, wanted, _, _ = simulate(5000, 10_000 + seed, noise)
        labels = Censored.from_time_event(time, event)
        for name, model in MODELS.items():
            fits = {
                "bounds as labels": clone(model).fit(X, time),
                "censored rows dropped": clone(model).fit(X[event], time[event]),
                **{f"{told} weights": CensoredRegressor(model, law).fit(X, labels) for told, law in LAWS.items()},
                "nothing censored": clone(model).fit(X, Y),
            }
            for treatment, fit in fits.items():
                errors.setdefault((name, treatment), []).append(float(np.mean((fit.predict(test) - wanted) ** 2)))
        for told, law in LAWS.items():
            for target, tau in (("E[Y^2]", None), ("E[min(Y, 4)^2]", 4.0)):
                seen = restricted(labels, tau)
                weights, truth = law_weights(law, seen, X), float(np.mean(np.minimum(Y, tau or np.inf) ** 2))
                found = weighted_mean(seen.time**2, weights.weights).value
                moments.setdefault((told, target), []).append(found / truth - 1)
            effective.setdefault(told, []).append(law_weights(law, labels, X).effective_rows)
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
        for told in LAWS:
            ours = np.array(errors[name, f"{told} weights"])
            removed = (naive - ours) / (naive - reached)
            drop = float(np.mean((naive - dropped) / (naive - reached)))
            more: dict[str, Any] = {"rival": drop, "rival_name": "censored rows dropped", "limit": 1.0}
            add(f"share of naive excess MSE removed, {name}, {told}", removed.tolist(), **more)
    for (told, target), values in moments.items():
        add(f"relative bias of the estimate of {target}, {told}", values, limit=0.0)
    for told, values in effective.items():
        add(f"effective rows, {told}", values, "rows", limit=float(n))
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
            *((told, law_weights(law, labels, X).weights) for told, law in LAWS.items()),
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
    X, Y = (patients if name in ("flchain", "whas500") else deaths)(name)
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
        treatments: tuple[tuple[str, Law, Floats | None], ...] = (
            ("Kaplan-Meier", "kaplan_meier", None),
            ("Beran on that feature", "beran", z[:, None]),
            ("Beran on all", "beran", X),
            ("Beran along the score", "score", X),
        )
        for told_law, law, points in treatments:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = CensoredRegressor(law=law).fit(X, labels, covariates=points)
            removed = 1 - float(np.mean((model.predict(X) - full) ** 2)) / naive
            mean = weighted_mean(time, model.weights_.weights).value
            out.setdefault(told_law, []).append((removed, mean - 1))
    case = f"{name}: {len(Y)} observed deaths, {X.shape[1]} features, censored anew"
    drop = float(np.mean([each for each, _ in out.pop("dropped")]))
    rows = []
    for treatment, pairs in out.items():
        removed_by, bias = ([float(v) for v in column] for column in zip(*pairs, strict=True))
        for metric, values, more in (
            (
                f"share of the distance to the uncensored fit removed, {treatment}",
                removed_by,
                {"rival": drop, "rival_name": "censored rows dropped", "limit": 1.0},
            ),
            (f"relative bias of the estimated mean, {treatment}", bias, {"limit": 0.0}),
        ):
            found: dict[str, Any] = more
            mean = float(np.mean(values))
            rows.append(ResultRow(case, metric, mean, "", command, interval(values), tuple(seeds), **found))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    scale = parser.parse_args().scale
    command, small = f"python -m bench.learn.censored --scale {scale}", scale == "small"
    rows: list[ResultRow] = []
    parts: list[Callable[[], list[ResultRow]]] = [
        *(
            partial(simulated, n, noise, range(3 if small else 10), command)
            for n, noise in (((500, 0),) if small else ((1000, 0), (4000, 0), (4000, 8)))
        ),
        *(partial(coverage, 500 if small else 1000, tau, 20 if small else 300, command) for tau in (None, 4.0)),
        *(partial(planted, name, range(3 if small else 10), command) for name in STUDIES),
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
