import itertools
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV

from assay.errors import InputError
from assay.kernels.censoring import bandwidth_scores, beran
from assay.kernels.censoring_weights import CensoringLaw, censoring_score, own_weights
from assay.kernels.survival_scores import brier, concordance, weighted_mean
from assay.kernels.timeline import Timeline
from assay.labels import Censored
from assay.labels.formats.survival import as_structured, read_survival
from assay.learn.censored import CensoredRegressor, brier_score, ipcw, restricted


def rows(n=300, seed=0, ticks=None):
    """Features (n, 2), labels (n,), times and events; `ticks` ties the times."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    Y = np.exp(0.3 + 1.2 * X[:, 0] - 0.6 * X[:, 1] + 0.25 * rng.normal(size=n))
    C = rng.exponential(1 / (0.08 + 0.55 * X[:, 0]))
    if ticks is not None:
        Y, C = np.ceil(Y * ticks), np.ceil(C * ticks)
    return X, Y, np.minimum(Y, C), Y <= C


def risk_set(time, event, t):
    """Rows at risk of being censored at t: later, or censored then; tied events have left."""
    return (time > t) | ((time == t) & ~event)


def law_by_hand(time, event, i, kernel):
    """P(C >= T_i) from the definition: one factor for every instant of censoring before T_i."""
    g = 1.0
    for t in np.unique(time[~event & (time < time[i])]):
        mass = kernel[risk_set(time, event, t)].sum()
        if mass > 0:
            g *= 1 - kernel[~event & (time == t)].sum() / mass
    return g


def label_jumps(time, event):
    """Jumps of the Kaplan-Meier curve of the label at each row's event, shared by tied rows."""
    out, s = np.zeros(len(time)), 1.0
    for t in np.unique(time[event]):
        here = event & (time == t)
        share = here.sum() / (time >= t).sum()
        out[here] = s * share / here.sum()
        s *= 1 - share
    return out


# By hand ------------------------------------------------------------------------------------------------------------


def test_ties_by_hand():
    time, event = np.array([1.0, 2, 2, 3, 3, 4]), np.array([1, 0, 1, 0, 1, 1]) == 1
    weights = ipcw(Censored.from_time_event(time, event), floor=0).weights
    assert np.allclose(weights, [1, 0, 1, 0, 4 / 3, 8 / 3])
    assert np.isclose(weights.sum(), 6)
    assert np.allclose(weights, 6 * label_jumps(time, event))


def test_every_pattern_of_ties_is_the_definition_and_the_jump_of_the_labels_curve():
    for time in ([1, 1, 2, 2, 2, 3], [1, 2, 2, 2, 3, 3], [0, 0, 0, 1, 1, 1], [2, 2, 2, 2, 2, 2]):
        t = np.array(time, dtype=float)
        for flags in itertools.product([False, True], repeat=6):
            e = np.array(flags)
            if not e.any():
                continue
            got = ipcw(Censored.from_time_event(t, e), floor=0).weights
            hand = [1 / law_by_hand(t, e, i, np.ones(6)) if e[i] else 0 for i in range(6)]
            assert np.allclose(got, hand)
            assert np.allclose(got, 6 * label_jumps(t, e))


@pytest.mark.parametrize("n", [1, 2, 50, 3000])
def test_rows_are_in_the_order_of_time_and_events_first_whatever_the_times(n):
    """Times that fill the key, that lose bits in it, that collide in it, a few and all of them."""
    rng = np.random.default_rng(n)
    some, event = rng.random(n) < 0.5, rng.random(n) < 0.5
    times = {
        "plain": rng.exponential(size=n),
        "denormal": rng.exponential(size=n) * 1e-310,
        "of all sizes": np.exp(rng.normal(size=n) * 100),
        "far from zero": 1e15 + rng.random(n),
        "whole": np.floor(rng.exponential(size=n) * 10),
        "tenths": np.round(rng.exponential(size=n), 1),
        "zeros of both signs": np.where(some, -0.0, rng.random(n)),
        "pairs in one key": np.where(some, 1e-300, 1 + np.arange(n) // 2 + np.arange(n) % 2 * 2.3e-16),
        "all but one in one key": np.r_[1e-300, 1 + rng.permutation(n - 1) * 2.3e-16],
    }
    for name, time in times.items():
        order, expected = Timeline(time, event).order, np.lexsort((~event, time))
        assert np.array_equal(np.sort(order), np.arange(n)), name
        assert np.array_equal(time[order], time[expected]), name
        assert np.array_equal(event[order], event[expected]), name


@pytest.mark.parametrize("ticks", [None, 2])
def test_beran_is_the_definition_with_each_row_left_out(ticks):
    X, _, time, event = rows(90, 1, ticks)
    law = CensoringLaw(time, event, X, bandwidth=0.5)
    z = (X - X.mean(0)) / X.std(0) / 0.5
    got, _ = law.own()
    for i in np.flatnonzero(event):
        kernel = np.exp(-0.5 * ((z - z[i]) ** 2).sum(1))
        kernel[i] = 0
        assert np.isclose(got[i], law_by_hand(time, event, i, kernel), rtol=1e-9, atol=1e-12)
    others = np.array([[0.2, 0.9], [0.7, 0.1]])
    for x, t in zip(others, (2.0, 3.0), strict=True):
        kernel = np.exp(-0.5 * (((x - X.mean(0)) / X.std(0) / 0.5 - z) ** 2).sum(1))
        seen = np.append(time, t)
        hand = law_by_hand(seen, np.append(event, True), len(time), np.append(kernel, 0))
        assert np.isclose(law.at([t], x[None])[0], hand, rtol=1e-9)


def test_rates_scale_every_step_of_beran():
    """By hand: rows at risk count as their rate, and each step as the query's; ties leave one by one."""
    X, _, time, event = rows(60, 1)
    line = Timeline(time, event)
    points, rate = X[line.order] / 0.2, np.exp(X[line.order, 0])
    at = np.flatnonzero(~line.censored)
    got = beran(line, points, points[at], at, at, rates=(rate, rate[at]))[0]
    for place, found in zip(at, got, strict=True):
        kernel = np.exp(-0.5 * ((points - points[place]) ** 2).sum(1))
        kernel[place], g = 0, 1.0
        for j in np.flatnonzero(line.censored[:place]):
            g *= max(0, 1 - kernel[j] * rate[place] / (kernel * rate)[j:].sum())
        assert np.isclose(found, g, rtol=1e-9, atol=1e-12)
    ones = np.ones(60)
    plain = beran(line, points, points[at], at, at)[0]
    assert np.array_equal(plain, beran(line, points, points[at], at, at, rates=(ones, ones[at]))[0])


def test_the_score_is_coxs_model_of_the_censorings():
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(4000, 6)), rng.exponential(size=4000)
    C = rng.exponential(np.exp(-X @ np.array([1.0, -0.5, 0, 0, 0, 0])))
    time, event = np.minimum(Y, C), Y <= C
    for change in (lambda t: t, lambda t: t**3):
        line = Timeline(change(time), event)
        found, own = censoring_score(line, X[line.order])
        assert np.allclose(own, X[line.order] @ found)
        assert np.allclose(found, [1, -0.5, 0, 0, 0, 0], atol=0.06)
    lifelines = pytest.importorskip("lifelines")
    table = dict(enumerate(X.T)) | {"time": time, "cut": ~event}
    rival = lifelines.CoxPHFitter().fit(pytest.importorskip("pandas").DataFrame(table), "time", "cut")
    assert np.allclose(found, rival.params_, atol=0.003)


def test_a_hundred_features_do_not_tell_the_rows_apart():
    """Of 300 rows with 98 columns of noise: weights that count every row once, and a better estimate than without."""
    means, errors = [], {"score": [], "kaplan_meier": []}
    for seed in range(6):
        X, Y, time, event = rows(300, seed)
        wide = np.column_stack([X, np.random.default_rng(seed).normal(size=(300, 98))])
        short = restricted(Censored.from_time_event(time, event), 4.0)
        for law in errors:
            found = ipcw(short, None if law == "kaplan_meier" else wide, score=law == "score").weights
            errors[law].append(weighted_mean(short.time**2, found).value / np.mean(np.minimum(Y, 4) ** 2) - 1)
            means.append(found.mean())
    assert np.abs(np.subtract(means, 1)).max() < 0.15
    assert abs(np.mean(errors["score"])) < abs(np.mean(errors["kaplan_meier"]))


def test_beran_from_one_place_to_another_is_the_ratio():
    X, _, time, event = rows(200, 2)
    line = Timeline(time, event)
    points, near = X[line.order] / 0.1, X[:70] / 0.1
    until, then = np.full(70, 40), np.full(70, 120)
    first, ratio, _ = beran(line, points, near, until, then=then)
    assert np.allclose(first * ratio, beran(line, points, near, then)[0])


def test_the_law_at_a_time_and_after_it():
    # Censored at 2 with four at risk once the tied event has left: 3/4; at 3 with two: 1/2.
    law = CensoringLaw([1, 2, 2, 3, 3, 4], np.array([1, 0, 1, 0, 1, 1]) == 1)
    assert np.allclose(law.at([2, 3, 4, 9]), [1, 0.75, 0.375, 0.375])
    assert np.allclose(law.at([1, 2, 2.5, 3], after=True), [1, 0.75, 0.75, 0.375])


def test_published_remission_times():
    """6-MP arm of Freireich et al. (1963), with the Kaplan-Meier table of the textbooks."""
    time = np.array([6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35], dtype=float)
    event = np.arange(21) < 9
    w = ipcw(Censored.from_time_event(time, event), floor=0).weights
    table = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for t, survival in table.items():
        assert abs(1 - w[time <= t].sum() / 21 - survival) < 5e-4


@pytest.mark.parametrize("ticks", [None, 1])
def test_concordance_is_the_loop_over_pairs(ticks):
    X, _, time, event = rows(80, 3, ticks)
    predicted = np.round(X[:, 0], 1)
    weights = np.random.default_rng(0).random(80)
    right = pairs = 0.0
    for i, j in itertools.permutations(range(80), 2):
        if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
            pairs += weights[i]
            right += weights[i] * (0.5 if predicted[i] == predicted[j] else predicted[i] < predicted[j])
    assert np.isclose(concordance(time, event, predicted, weights), right / pairs)
    assert concordance(time, event, time + 0.5 * ~event) == 1
    assert concordance(time, event, np.zeros(80)) == 0.5


def test_brier_by_hand():
    # Known before 2: (0.4 - 0)^2 * 1; still there: (0.8 - 1)^2 / 0.5; censored before 2: nothing.
    assert np.isclose(brier([1, 3, 1.5], [0.4, 0.8, 0.1], [1, 0, 0], 2.0, 0.5), (0.16 + 0.08) / 3)


def test_mean_by_hand():
    w, psi = np.array([1.0, 0, 2, 1]), np.array([1.0, 99, 3, 5])
    assert weighted_mean(psi, w).value == 3
    assert weighted_mean(psi, w, "weights").value == 3
    assert weighted_mean(psi, [*w[:3].tolist(), 0.0]).value == 7 / 4
    half = stats.norm.ppf(0.975) * np.std([1, 0, 6, 5], ddof=1) / 2
    assert np.isclose(weighted_mean(psi, w).high - 3, half)


# Limits -------------------------------------------------------------------------------------------------------------


def test_nothing_censored_is_plain_regression():
    X, Y, _, _ = rows()
    seen = np.ones(len(Y), dtype=bool)
    for law in ("kaplan_meier", "beran", "score"):
        model = CensoredRegressor(law=law).fit(X, Y, seen)
        assert (model.weights_.weights == 1).all()
        assert np.array_equal(model.predict(X), LinearRegression().fit(X, Y).predict(X))
        assert np.isclose(model.risk(X, Y, seen).value, np.mean((model.predict(X) - Y) ** 2))


def test_a_flat_kernel_is_kaplan_meier():
    X, _, time, event = rows(400, 4)
    line = Timeline(time, event)
    flat = beran(line, X[line.order] / 1e6, X / 1e6, line.places(time))[0]
    assert np.allclose(flat[event], CensoringLaw(time, event).own()[0][event], rtol=1e-9)


def test_only_the_order_of_times_matters():
    X, _, time, event = rows(200, 5, ticks=4)
    for points, score in ((None, False), (X, False), (X, True)):
        one, other = (CensoringLaw(t, event, points, 0.4, score).own()[0] for t in (time, np.exp(time)))
        assert np.array_equal(one, other, equal_nan=True)


def test_a_row_out_of_reach_takes_the_marginal_law():
    X, _, time, event = rows(100, 6)
    X[7] = 1e6
    event[7] = True
    line = Timeline(time, event)
    points = X[line.order] / 0.5
    at = np.flatnonzero(line.order == 7)
    g, _, alone = beran(line, points, points[at], line.places(line.time[at]), at)
    assert alone.all()
    assert g[0] == line.left[line.places(line.time[at])][0]


def test_unbiased_with_the_true_law():
    X, Y, time, event = rows(200_000, 7)
    w = event / np.exp(-(0.08 + 0.55 * X[:, 0]) * time)
    for psi, truth in ((time, Y), (time**2, Y**2), (X[:, 0] * time, X[:, 0] * Y)):
        found = weighted_mean(psi, w)
        assert abs(found.value - truth.mean()) < 4 * (found.high - found.low) / 3.92


def test_tau_makes_late_rows_known():
    labels = restricted(Censored.from_time_event([1.0, 5, 5, 2], np.array([1, 0, 1, 0]) == 1), 4.0)
    assert labels.time.tolist() == [1, 4, 4, 2]
    assert labels.event.tolist() == [True, True, True, False]


def test_the_bandwidth_follows_the_dependence():
    """Where censoring ignores X the widest kernel scores best, and a narrow one where it depends on X."""
    rng = np.random.default_rng(8)
    X, Y, grid = rng.random((800, 1)), rng.exponential(size=800), np.array([0.1, 0.3, 1.0, 10.0])
    picked = []
    for C in (rng.exponential(size=800), rng.exponential(np.where(X[:, 0] > 0.5, 0.2, 5.0))):
        line = Timeline(np.minimum(Y, C), Y <= C)
        points = (X - X.mean()) / X.std()
        picked.append(grid[np.argmax(bandwidth_scores(line, points[line.order], grid))])
    assert picked[0] == 10
    assert picked[1] <= 0.3


# Rivals -------------------------------------------------------------------------------------------------------------


def test_scikit_survival_has_the_same_weights_where_times_are_continuous():
    """And other ones where they are tied: it reads the curve at T, which counts the censorings of that very time."""
    rival = pytest.importorskip("sksurv.nonparametric").ipc_weights
    for ticks in (None, 2):
        _, _, time, event = rows(500, 20, ticks)
        line = Timeline(time, event)
        seen = event & (line.left[line.places(time, after=True)] > 0)
        weights = ipcw(Censored.from_time_event(time, event), floor=0).weights
        at_it = np.where(seen, 1 / line.left[line.places(time, after=True)], 0)
        theirs = rival(event, time)
        np.testing.assert_allclose(theirs[seen], at_it[seen], rtol=1e-10)
        if ticks is None:
            np.testing.assert_allclose(weights[seen], theirs[seen], rtol=1e-10)
        else:
            assert (weights[seen] <= theirs[seen] * (1 + 1e-12)).all()
            assert (weights[seen] < theirs[seen] * 0.98).any()
    tied = np.array([1.0, 2, 2, 3, 3, 4]), np.array([1, 0, 1, 0, 1, 1]) == 1
    assert np.allclose(rival(tied[1], tied[0]), [1, 0, 4 / 3, 0, 8 / 3, 8 / 3])
    assert np.allclose(ipcw(Censored.from_time_event(*tied), floor=0).weights, [1, 0, 1, 0, 4 / 3, 8 / 3])


@pytest.mark.parametrize("ticks", [None, 3])
def test_scikit_survival_and_lifelines_have_the_same_concordance(ticks):
    harrell = pytest.importorskip("sksurv.metrics").concordance_index_censored
    X, _, time, event = rows(300, 21, ticks)
    predicted = np.round(X[:, 0], 2)
    ours = concordance(time, event, predicted)
    assert np.isclose(ours, harrell(event, time, -predicted)[0], rtol=1e-12)
    if ticks is None:  # of rows tied in time lifelines compares pairs of events too
        theirs = pytest.importorskip("lifelines.utils").concordance_index(time, predicted, event)
        assert np.isclose(ours, theirs, rtol=1e-12)


def test_scikit_survival_has_the_same_concordance_of_uno_and_brier_score():
    """On rows whose law of censoring comes from others, below a horizon, with continuous times."""
    metrics = pytest.importorskip("sksurv.metrics")
    X, _, time, event = rows(400, 22)
    more, _, later, seen = rows(200, 23)
    horizon = 2.5
    train, test = (as_structured(Censored.from_time_event(*each)) for each in ((time, event), (later, seen)))
    law = CensoringLaw(time, event)
    weights = np.where(seen & (later < horizon), 1 / law.at(later), 0)
    theirs = metrics.concordance_index_ipcw(train, test, -more[:, 0], tau=horizon)[0]
    assert np.isclose(concordance(later, seen, more[:, 0], weights**2), theirs, rtol=1e-10)
    survival = np.clip(more[:, 0], 0.05, 0.95)
    model = CensoredRegressor(law="kaplan_meier", floor=0).fit(X, time, event)
    ours = brier_score(model, more, later, survival, horizon, seen)
    assert np.isclose(ours, metrics.brier_score(train, test, survival, horizon)[1][0], rtol=1e-10)


# State --------------------------------------------------------------------------------------------------------------


def test_permuted_rows_give_the_same_weights():
    X, _, time, event = rows(300, 9, ticks=5)
    order = np.random.default_rng(0).permutation(300)
    for points, moved in ((None, None), (X, X[order])):
        one = ipcw(Censored.from_time_event(time, event), points).weights
        other = ipcw(Censored.from_time_event(time[order], event[order]), moved).weights
        assert np.allclose(one[order], other, rtol=1e-9)


def test_forms_of_other_packages_are_the_same_rows():
    X, _, time, event = rows()
    labels = Censored.from_time_event(time, event)
    table = as_structured(labels)
    assert table.dtype.names == ("event", "time")
    pd = pytest.importorskip("pandas")
    forms = [labels, table, np.column_stack([time, event]), pd.DataFrame({"duration": time, "observed": event})]
    expected = CensoredRegressor(law="kaplan_meier").fit(X, time, event.astype(int)).predict(X)
    for form in forms:
        read = read_survival(form)
        assert np.array_equal(read.time, time)
        assert np.array_equal(read.event, event)
        assert np.array_equal(CensoredRegressor(law="kaplan_meier").fit(X, form).predict(X), expected)


def test_searches_of_scikit_learn_split_times_and_events_together():
    X, _, time, event = rows(400)
    model = CensoredRegressor(Ridge(), law="kaplan_meier")
    search = GridSearchCV(model, {"regressor__alpha": [0.01, 1e4]}, cv=3)
    search.fit(X, as_structured(Censored.from_time_event(time, event)))
    assert search.best_params_ == {"regressor__alpha": 0.01}
    assert clone(search.best_estimator_).get_params()["law"] == "kaplan_meier"


def test_other_rows_are_weighed_by_the_law_of_the_training_rows():
    X, _, time, event = rows(400, 10)
    model = CensoredRegressor(law="beran", bandwidth=0.5).fit(X, time, event)
    more, _, later, seen = rows(50, 11)
    weights = model.weigh(more, later, seen)
    assert np.allclose(
        weights.weights[seen], 1 / np.maximum(model.law_.at(later[seen], more[seen]), model.weights_.floor)
    )
    assert (weights.weights[~seen] == 0).all()
    assert 0.5 < model.concordance(more, later, seen) <= 1
    assert model.score(more, later, seen) == -model.risk(more, later, seen).value
    assert 0 < brier_score(model, more, later, np.full(50, 0.5), 2.0, seen) < 0.4
    assert set(model.evidence()) == {"weight", "chance_seen", "cut", "isolated"}


def test_what_censoring_depends_on_may_be_given():
    X, _, time, event = rows(300, 12)
    rng = np.random.default_rng(0)
    wide = np.column_stack([X, rng.normal(size=(300, 6))])
    model = CensoredRegressor(bandwidth=0.6).fit(wide, time, event, covariates=X)
    assert np.array_equal(model.weights_.weights, CensoredRegressor(bandwidth=0.6).fit(X, time, event).weights_.weights)
    assert np.isfinite(model.risk(wide, time, event, covariates=X).value)
    with pytest.raises(InputError, match="was given covariates"):
        model.score(wide, time, event)
    with pytest.raises(InputError, match="fitted on 2 features"):
        model.concordance(wide, time, event, covariates=wide)


def test_alarms_speak_when_follow_up_ends_too_early_and_tau_silences_them():
    rng = np.random.default_rng(13)
    Y = rng.exponential(size=500)
    time, event, X = np.minimum(Y, 1.0), Y <= 1, rng.random((500, 1))
    with pytest.warns(UserWarning, match=r"average 0\.6.*Set tau"):
        CensoredRegressor(law="kaplan_meier").fit(X, time, event)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CensoredRegressor(law="kaplan_meier", tau=1.0).fit(X, time, event)


BAD = [
    (([-1.0, 2.0], [True, True]), "cannot be negative.*row: 0"),
    (([np.nan, 2.0], [True, True]), "finite"),
    (([1.0, 2.0], [False, False]), "Every row is censored"),
    (([1.0, 2.0], [True, 2]), "true or false, 1 or 0"),
    (([1.0, 2.0], None), "without events"),
    (([1.0, 2.0, 3.0], [True, True, False]), "same rows"),
    (([1.0, 2.0], [True, True]), "fewer than 10"),
]


@pytest.mark.parametrize(("given", "sentence"), BAD)
def test_bad_labels_are_told_in_a_sentence(given, sentence):
    with pytest.raises(InputError, match=sentence):
        CensoredRegressor(law="kaplan_meier").fit([[0.0], [1.0]], *given)


def test_bad_settings_are_told_in_a_sentence():
    X, _, time, event = rows(50)
    for settings, sentence in (
        ({"law": "cox"}, "kaplan_meier"),
        ({"floor": 2}, "floor is 2"),
        ({"tau": -1}, "tau is -1"),
        ({"bandwidth": 0}, "bandwidth is 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            CensoredRegressor(**settings).fit(X, time, event)
    with pytest.raises(InputError, match="one boolean and one numeric"):
        read_survival(np.zeros(3, dtype=[("a", float), ("b", float)]))
    with pytest.raises(InputError, match="No pair"):
        concordance(time, np.zeros(50, dtype=bool), time)


# Claim --------------------------------------------------------------------------------------------------------------


@pytest.mark.claim
def test_weights_remove_the_excess_error_and_beran_estimates_the_risk():
    """Half censored by X, n=2000, eight seeds; second moments against those of all labels, intervals over seeds.

    With eight columns of noise more, Beran's curves see no near rows, and those along the score do.
    """
    removed, errors = [], {law: [] for law in ("kaplan_meier", "beran", "beran of 10", "score of 10")}
    for seed in range(100, 108):
        X, Y, time, event = rows(2000, seed)
        test, truth, _, _ = rows(5000, 1000 + seed)

        def mse(model, test=test, truth=truth):
            return np.mean((model.predict(test) - truth) ** 2)

        labels = Censored.from_time_event(time, event)
        for make in (LinearRegression(), RandomForestRegressor(100, min_samples_leaf=10, random_state=0)):
            naive, bound = mse(clone(make).fit(X, time)), mse(clone(make).fit(X, Y))
            ours = mse(CensoredRegressor(make).fit(X, labels))
            removed.append((naive - ours) / (naive - bound))
        short = restricted(labels, 4.0)  # up to there every row had a chance to be seen
        for law, points in (("kaplan_meier", None), ("beran", X)):
            found = weighted_mean(short.time**2, ipcw(short, points).weights).value
            errors[law].append(found / np.mean(np.minimum(Y, 4) ** 2) - 1)
        wide = np.column_stack([X, np.random.default_rng(seed).normal(size=(2000, 8))])
        for law in ("beran", "score"):
            made = CensoringLaw(short.time, short.event, wide, score=law == "score")
            found = weighted_mean(short.time**2, own_weights(made, short.event).weights).value
            errors[f"{law} of 10"].append(found / np.mean(np.minimum(Y, 4) ** 2) - 1)
    assert min(removed) > 0.9
    assert np.mean(removed) > 0.95
    half = {law: stats.t.ppf(0.975, 7) * stats.sem(each) for law, each in errors.items()}
    assert np.mean(errors["kaplan_meier"]) + half["kaplan_meier"] < -0.03
    assert abs(np.mean(errors["beran"])) < max(half["beran"], 0.02)
    assert np.mean(errors["beran of 10"]) + half["beran of 10"] < -0.03
    assert abs(np.mean(errors["score of 10"])) < 0.05 < abs(np.mean(errors["beran of 10"]))


@pytest.mark.claim
@pytest.mark.parametrize("study", ["metabric", "gbsg", "whas"])
def test_planted_censoring_on_real_durations(shared_data, study):
    """Patients who died, censored anew by the feature that tells most: the fit comes back to that of all labels."""
    h5py = pytest.importorskip("h5py", reason="the studies are HDF5 files: pip install h5py")
    with h5py.File(shared_data(f"deepsurv/{study}.h5")) as file:
        X, t, e = (np.concatenate([file[part][name][:] for part in ("train", "test")]) for name in "xte")
    X, Y = X[e == 1].astype(float), t[e == 1] / t[e == 1].mean(dtype=float)
    told = np.array([np.corrcoef(x, Y)[0, 1] if x.std() > 0 else 0 for x in X.T])
    best = np.argmax(abs(told))
    z = (X[:, best] - X[:, best].mean()) / X[:, best].std() * np.sign(told[best])
    full = LinearRegression().fit(X, Y).predict(X)
    removed, bias = {"kaplan_meier": [], "beran": [], "score": []}, {"kaplan_meier": [], "beran": [], "score": []}
    for seed in range(5):
        C = np.random.default_rng(seed).exponential(1.5 * np.exp(-0.6 * z))
        time, event = np.minimum(Y, C), Y <= C
        naive = np.mean((LinearRegression().fit(X, time).predict(X) - full) ** 2)
        for law in removed:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                told = {"beran": {"covariates": z[:, None]}}.get(law, {})  # the score has to find that feature
                model = CensoredRegressor(law=law).fit(X, time, event, **told)
            removed[law].append(1 - np.mean((model.predict(X) - full) ** 2) / naive)
            bias[law].append(weighted_mean(time, model.weights_.weights).value - 1)
    for law in ("beran", "score"):
        assert np.mean(removed[law]) > 0.85
        assert np.mean(removed[law]) > np.mean(removed["kaplan_meier"])
        half = stats.t.ppf(0.975, 4) * stats.sem(bias[law])
        assert abs(np.mean(bias[law])) < max(half, 0.03)
