import numpy as np
import pytest
from scipy.special import expit, logit

from assay.audit.error_probability import ErrorProbability
from assay.errors import InputError
from assay.kernels.calibration import auroc, nll
from assay.kernels.error_odds import confident_counts, fit_logistic, match_mean, noise_matrix, temperature


def noisy(n=3_000, k=4, rate=0.1, seed=0):
    """Probabilities of a fair classifier, given labels, and whether they are wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    scores = rng.normal(size=(n, k)) + 3.0 * np.eye(k)[truth]
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    wrong = rng.random(n) < rate * np.array([0.2, 0.6, 1.2, 2.0])[truth % 4]
    return probs, np.where(wrong, (truth + 1) % k, truth), wrong


# By hand ------------------------------------------------------------------------------------------------------------


def test_confident_counts_equal_a_plain_loop():
    probs, given, _ = noisy(200)
    floors = [np.mean([p[j] for p, y in zip(probs, given, strict=True) if y == j]) for j in range(4)]
    joint = np.zeros((4, 4))
    for p, y in zip(probs, given, strict=True):
        candidates = [j for j in range(4) if p[j] >= floors[j] - 1e-6]
        if candidates:
            joint[y, max(candidates, key=lambda j: p[j])] += 1
    for i in range(4):
        joint[i, i] = max(joint[i, i], 1)
        joint[i] *= np.sum(given == i) / joint[i].sum()
    assert np.allclose(confident_counts(probs, given), joint)


def test_prior_equals_bayes_rule_by_hand():
    probs, given, _ = noisy(300)
    joint = confident_counts(probs, given)
    noise, power = noise_matrix(joint), temperature(probs, given)
    logits = []
    for p, y in zip(probs, given, strict=True):
        q = p**power
        q = q / q.sum()
        right = noise[y, y] * q[y]
        logits.append(np.log(sum(noise[y, j] * q[j] for j in range(4) if j != y) / right))
    expected = expit(match_mean(np.array(logits), 1 - joint.trace() / 300))
    assert np.allclose(ErrorProbability().fit(probs, given).p_wrong_, expected, atol=1e-6)


def test_one_verdict_equals_a_grid_search():
    # One coefficient, spread 2, offset -1, outcome 1: maximise log sigmoid(b - 1) - b^2 / 8.
    beta, covariance = fit_logistic(np.ones((1, 1)), np.array([-1.0]), np.ones(1), np.ones(1), np.array([2.0]))
    grid = np.linspace(-5, 5, 200_001)
    assert abs(beta[0] - grid[np.argmax(np.log(expit(grid - 1)) - grid**2 / 8)]) < 1e-4
    chance = expit(beta[0] - 1)
    assert np.isclose(covariance[0, 0], 1 / (chance * (1 - chance) + 0.25))


@pytest.mark.parametrize("columns", [4, 1])
def test_an_update_equals_a_new_fit(columns):
    probs, given, wrong = noisy()
    table = probs if columns == 4 else probs[np.arange(len(given)), given]
    mask = np.arange(len(given)) % 7 > 0
    model = ErrorProbability().fit(table, given, [1, 2], [True, False], mask=mask)
    before = model.p_wrong_
    for count in (0, 10, 200):
        rows = np.flatnonzero(mask)[:count]
        weights = np.linspace(1, 2, count)
        model.update(rows, wrong[rows], weights)
        fresh = ErrorProbability().fit(table, given, rows, wrong[rows], weights, mask=mask)
        for name in ("p_wrong_", "low_", "high_", "prior_", "guess_"):
            assert np.array_equal(getattr(model, name), getattr(fresh, name), equal_nan=True)
        assert model.n_verdicts_ == count
        assert model.coefficients_.keys() == fresh.coefficients_.keys()
    assert model.p_wrong_ is not before
    with pytest.raises(InputError, match="no label"):
        model.update([0], [True])


# Limits -------------------------------------------------------------------------------------------------------------


def test_without_verdicts_the_mean_is_the_estimated_error_rate():
    probs, given, wrong = noisy()
    model = ErrorProbability().fit(probs, given)
    joint = confident_counts(probs, given)
    assert np.isclose(model.p_wrong_.mean(), 1 - joint.trace() / len(given), atol=1e-9)
    assert np.array_equal(model.p_wrong_, model.prior_)
    assert auroc(model.p_wrong_, wrong) > 0.95
    assert np.isclose(ErrorProbability(error_rate=0.02).fit(probs, given).p_wrong_.mean(), 0.02, atol=1e-9)
    assert np.allclose(ErrorProbability(confident_joint=joint).fit(probs, given).p_wrong_, model.p_wrong_)


@pytest.mark.parametrize("count", [1, 5, 50, 3_000])
@pytest.mark.parametrize("verdict", [0, 1])
def test_one_sided_verdicts_move_the_chance_without_breaking_it(count, verdict):
    probs, given, _ = noisy()
    before = ErrorProbability().fit(probs, given)
    rows = np.argsort(-before.p_wrong_)[:count]
    after = ErrorProbability().fit(probs, given, rows, np.full(count, verdict, dtype=float))
    for column in (after.p_wrong_, after.low_, after.high_):
        assert np.isfinite(column).all()
        assert column.min() >= 0
        assert column.max() <= 1
    assert np.all(after.low_ <= after.p_wrong_)
    assert np.all(after.p_wrong_ <= after.high_)
    moved = after.p_wrong_[rows].mean() - before.p_wrong_[rows].mean()
    assert moved > 0 if verdict else moved < 0


def test_verdicts_narrow_the_interval_where_they_fell():
    probs, given, wrong = noisy()
    before = ErrorProbability().fit(probs, given)
    rows = np.argsort(-before.p_wrong_)[:100]
    after = ErrorProbability().fit(probs, given, rows, wrong[rows])
    width = lambda model, at: np.mean(logit(model.high_[at]) - logit(model.low_[at]))  # noqa: E731
    assert width(after, rows) < 0.6 * width(before, rows)
    far = np.argsort(before.p_wrong_)[:100]
    assert width(after, far) > width(after, rows)


def test_verdicts_on_flags_say_little_about_the_others():
    probs, given, _ = noisy()
    before = ErrorProbability().fit(probs, given)
    rows = np.argsort(-before.p_wrong_)[:200]
    after = ErrorProbability().fit(probs, given, rows, np.zeros(200))
    calm = np.argsort(before.p_wrong_)[:1_000]
    assert np.isclose(after.p_wrong_[calm].mean(), before.p_wrong_[calm].mean(), atol=0.005)
    assert after.p_wrong_[rows].mean() < 0.1


def test_a_column_of_chances_is_enough_and_a_telling_feature_is_used():
    probs, given, wrong = noisy()
    own = probs[np.arange(len(given)), given]
    assert auroc(ErrorProbability().fit(own, given).p_wrong_, wrong) > 0.9
    rng = np.random.default_rng(1)
    hint = wrong + 0.5 * rng.normal(size=len(wrong))
    rows, flat = rng.permutation(len(given))[:300], np.full(len(given), 0.9)
    model = ErrorProbability().fit(flat, given, rows, wrong[rows], features=hint[:, None])
    assert auroc(model.p_wrong_, wrong) > 0.85


# State --------------------------------------------------------------------------------------------------------------


def test_rows_may_be_permuted_and_unlabelled_rows_stay_out():
    probs, given, wrong = noisy(800)
    rows = np.arange(0, 800, 9)
    model = ErrorProbability().fit(probs, given, rows, wrong[rows])
    order = np.random.default_rng(3).permutation(800)
    place = np.argsort(order)
    moved = ErrorProbability().fit(probs[order], given[order], place[rows], wrong[rows])
    assert np.allclose(moved.p_wrong_, model.p_wrong_[order], atol=1e-6)
    mask = np.r_[np.ones(800, dtype=bool), False]
    more = ErrorProbability().fit(np.vstack([probs, probs[:1]]), np.r_[given, 0], rows, wrong[rows], mask=mask)
    assert np.allclose(more.p_wrong_[:800], model.p_wrong_, atol=1e-9)
    assert np.isnan(more.p_wrong_[800])
    assert more.guess_[800] == -1
    table = more.evidence()
    assert list(table) == ["row", "p_wrong", "low", "high"]
    assert len(table["row"]) == 800


def test_verdict_order_and_equal_weights_change_nothing():
    probs, given, wrong = noisy(800)
    rows = np.arange(0, 800, 9)
    model = ErrorProbability().fit(probs, given, rows, wrong[rows])
    other = ErrorProbability().fit(probs, given, rows[::-1], wrong[rows][::-1], np.full(len(rows), 7.0))
    assert np.allclose(model.p_wrong_, other.p_wrong_, atol=1e-9)


def test_a_class_nobody_was_given():
    probs, given, wrong = noisy(400)
    wide = np.column_stack([probs, np.full(400, 1e-15)])
    assert np.isfinite(ErrorProbability().fit(wide, given, [3, 5], wrong[[3, 5]]).p_wrong_).all()


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (lambda p, y: (np.where(np.arange(4) == 2, np.nan, p[:, :1]).T[:4], y), None),
        (lambda p, y: (np.r_[p[:5], [[0.5, 0.9, 0, 0]]], y[:6]), 5),
        (lambda p, y: (p, np.where(np.arange(len(y)) == 7, 4, y)), 7),
        (lambda p, y: (p, y, [1, 900], [True, True]), 900),
        (lambda p, y: (p, y, [1, 2], [True, 3]), 2),
        (lambda p, y: (p, y, [1, 2]), None),
        (lambda p, y: (p, y, None, None, None, np.full((len(y), 1), np.inf)), 0),
        (lambda p, y: (p, y, None, None, None, None, np.zeros(len(y), dtype=bool)), None),
    ],
)
def test_bad_input_names_the_row(change, row):
    probs, given, _ = noisy(50)
    with pytest.raises(InputError) as caught:
        ErrorProbability().fit(*change(probs, given))
    assert caught.value.row == row


# Claim --------------------------------------------------------------------------------------------------------------


@pytest.mark.claim
def test_verdicts_help_on_average():
    losses = []
    for seed in range(10):
        probs, given, wrong = noisy(seed=seed)
        sharp = probs**3 / np.sum(probs**3, axis=1, keepdims=True)
        first = ErrorProbability().fit(sharp, given)
        order = np.random.default_rng(seed).permutation(np.argsort(-first.p_wrong_)[:600])
        held, pool = order[:200], order[200:]
        losses.append(
            [
                nll(ErrorProbability().fit(sharp, given, pool[:v], wrong[pool[:v]]).p_wrong_[held], wrong[held])
                for v in (0, 25, 100, 400)
            ]
        )
    mean = np.mean(losses, axis=0)
    assert mean[1] < mean[0]
    assert mean[3] <= mean[2] <= mean[1]


@pytest.mark.claim
@pytest.mark.parametrize(("name", "rival"), [("cifar10", 0.591), ("mnist", 0.727)])
def test_beats_self_confidence_on_rows_that_people_checked(shared_data, name, rival):
    shared_data(f"label-errors/{name}_test.npz")
    from bench.audit.error_probability import out_of_fold, read

    probs, given, rows, wrong = read(name)
    values = [auroc(out_of_fold(probs, given, rows, wrong, folds=10, seed=seed), wrong) for seed in range(5)]
    assert np.mean(values) > rival
