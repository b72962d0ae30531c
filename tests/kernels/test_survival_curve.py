"""Kaplan-Meier curves against the definition and against both packages that draw them."""

import numpy as np
import pytest

from assay.errors import InputError
from assay.kernels.survival_curve import survival_curve
from assay.kernels.survival_scores import concordance, concordance_interval
from assay.kernels.timeline import Timeline


def rows(n, ticks=None, seed=0):
    rng = np.random.default_rng(seed)
    label, end = rng.exponential(size=n), rng.exponential(size=n) * 1.3
    if ticks is not None:
        label, end = np.ceil(label * ticks), np.ceil(end * ticks)
    return np.minimum(label, end), label <= end


TIES = pytest.mark.parametrize("ticks", [None, 3])


@TIES
def test_both_curves_are_the_products_of_their_definition(ticks):
    time, event = rows(60, ticks)
    line = Timeline(time, event)
    for of_censoring in (False, True):
        curve = survival_curve(line, of_censoring=of_censoring)
        s = 1.0
        for t, found in zip(curve.time, curve.survival, strict=True):
            here = time == t
            falls = here & (~event if of_censoring else event)
            # Who had an event at t is not at risk of being censored at t.
            risk = (time >= t) & ~(here & event & of_censoring)
            s *= 1 - falls.sum() / risk.sum() if falls.any() else 1
            assert np.isclose(found, s)


@TIES
def test_lifelines_draws_the_same_curve_and_bounds(ticks):
    lifelines = pytest.importorskip("lifelines")
    time, event = rows(400, ticks)
    curve = survival_curve(Timeline(time, event))
    rival = lifelines.KaplanMeierFitter().fit(time, event)
    np.testing.assert_allclose(rival.survival_function_.loc[curve.time].to_numpy()[:, 0], curve.survival, atol=1e-12)
    bounds = rival.confidence_interval_.loc[curve.time].to_numpy()
    inside = (curve.survival > 0) & (curve.survival < 1)
    np.testing.assert_allclose(bounds[inside], np.column_stack([curve.low, curve.high])[inside], atol=1e-12)


@TIES
def test_scikit_survival_draws_the_same_curves_and_bounds(ticks):
    rival = pytest.importorskip("sksurv.nonparametric").kaplan_meier_estimator
    time, event = rows(400, ticks, seed=1)
    line = Timeline(time, event)
    curve = survival_curve(line)
    at, survival, bounds = rival(event, time, conf_type="log-log")
    np.testing.assert_array_equal(at, curve.time)
    np.testing.assert_allclose(survival, curve.survival, atol=1e-12)
    inside = (survival > 0) & (survival < 1)
    np.testing.assert_allclose(bounds[:, inside], np.stack([curve.low, curve.high])[:, inside], atol=1e-12)
    _, censoring = rival(event, time, reverse=True)  # it too lets events leave first
    np.testing.assert_allclose(censoring, survival_curve(line, of_censoring=True).survival, atol=1e-12)


def test_ends_and_steps():
    curve = survival_curve(Timeline([1.0, 2.0, 3.0, 3.0], [False, True, True, True]))
    assert curve.survival.round(6).tolist() == [1, 0.666667, 0]
    assert (curve.low[[0, 2]].tolist(), curve.high[0], curve.high[2]) == ([1, 0], 1, curve.high[1])
    assert curve.at([0.5, 2.0, 2.5, 9.0])[0].round(6).tolist() == [1, 0.666667, 0.666667, 0]
    assert curve.median == 3
    assert survival_curve(Timeline([1.0, 2.0], [False, False])).median == np.inf


def test_bounds_hold_as_often_as_they_say():
    held = []
    for seed in range(300):
        time, event = rows(100, seed=seed)
        _, low, high = survival_curve(Timeline(time, event)).at([0.5])
        held.append(low[0] <= np.exp(-0.5) <= high[0])
    assert 0.91 < np.mean(held) < 0.985


def test_the_interval_of_concordance_is_the_spread_over_samples():
    """Against 200 fresh samples of the same law; and the same rate where samples are cut to a part."""
    found, halves = [], []
    for seed in range(200):
        time, event = rows(150, seed=seed)
        guess = time + np.random.default_rng(seed).normal(size=150)
        found.append(concordance(time, event, guess))
        if seed < 20:
            told = concordance_interval(time, event, guess)
            assert told.value == found[-1]
            halves.append((told.high - told.low) / 2)
    assert 0.85 < np.mean(halves) / (1.96 * np.std(found)) < 1.15
    with pytest.raises(InputError, match="No pair"):
        concordance_interval([1.0, 2.0], [False, False], [1.0, 2.0])
