"""Benchmark stability against plain loops, a brute-force scan over prevalence, and planted crossovers."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kendalltau

from assay.audit.stability import Stability, crossing_interval, crossover, derive_status, kendall, resample
from assay.errors import InputError


def benchmark(seed, n_benign=400, n_correctable=40, n_unknown=15, n_models=5, k=4):
    """A test set whose models differ in how well they know the truth and how much they copy wrong labels."""
    rng = np.random.default_rng(seed)
    n = n_benign + n_correctable + n_unknown
    truth = rng.integers(0, k, n)
    given = truth.copy()
    wrong = np.arange(n) >= n_benign
    given[wrong] = (truth[wrong] + rng.integers(1, k, wrong.sum())) % k
    corrected = np.ma.masked_array(truth, mask=np.arange(n) >= n_benign + n_correctable)
    predictions = {}
    for model in range(n_models):
        skill, copies = rng.uniform(0.6, 0.95), rng.uniform(0.1, 0.9)
        said = np.where(rng.random(n) < skill, truth, rng.integers(0, k, n))
        predictions[f"m{model}"] = np.where(wrong & (rng.random(n) < copies), given, said)
    return given, corrected, predictions


# By hand


def test_accuracies_and_ranks_by_loop():
    given, corrected, predictions = benchmark(0)
    found = Stability(n_bootstrap=50).fit(given, corrected, predictions)
    status = derive_status(given, corrected)
    score = {}
    for name, said in predictions.items():
        right = {"b": [0, 0], "c": [0, 0], "o": [0, 0]}
        for row, s in enumerate(said):
            if status[row] == "benign":
                right["b"][0] += s == given[row]
                right["b"][1] += 1
            elif status[row] == "correctable":
                right["c"][0] += s == corrected[row]
                right["o"][0] += s == given[row]
                right["c"][1] += 1
        a, c, o = right["b"][0], right["c"][0], right["o"][0]
        score[name] = (a / right["b"][1], c / right["c"][1], o / right["c"][1], (a + o) / 440, (a + c) / 440)
    table = found.evidence()
    for row, name in enumerate(table["model"]):
        columns = ("benign", "correctable_corrected", "correctable_given", "given", "corrected")
        assert [table[column][row] for column in columns] == pytest.approx(score[name])
        for column in columns:
            assert table[f"{column}_low"][row] <= table[column][row] <= table[f"{column}_high"][row]
        for side, at in (("given", 3), ("corrected", 4)):
            assert table[f"rank_{side}"][row] == 1 + sum(other[at] > score[name][at] for other in score.values())
    assert (found.n_benign_, found.n_correctable_, found.n_unknown_) == (400, 40, 15)
    assert found.prevalence_ == pytest.approx(40 / 440)


def test_crossover_equals_brute_force_scan():
    given, corrected, predictions = benchmark(1, n_models=7)
    found = Stability(n_bootstrap=20).fit(given, corrected, predictions)
    table = found.ranking_
    where = {name: row for row, name in enumerate(table["model"])}
    grid = np.linspace(0, 1, 20_001)
    crossed = 0
    for row in range(len(found.pairs_["leader"])):
        i, j = where[found.pairs_["leader"][row]], where[found.pairs_["follower"][row]]
        line = [(1 - grid) * table["benign"][x] + grid * table["correctable_corrected"][x] for x in (i, j)]
        sign = np.sign(line[0] - line[1])
        point = found.pairs_["crossover"][row]
        if sign[0] * sign[-1] < 0:
            crossed += 1
            assert point == pytest.approx(grid[np.argmax(sign != sign[0])], abs=1e-4)
            assert found.pairs_["distance"][row] == pytest.approx(point - found.prevalence_)
        else:
            assert np.isnan(point)
    assert crossed > 0


def test_lines_hold_when_benign_rows_are_discarded():
    """Accuracy on corrected labels after discarding benign rows at random is the straight line, on average."""
    given, corrected, predictions = benchmark(2)
    found = Stability(n_bootstrap=20).fit(given, corrected, predictions)
    status = derive_status(given, corrected)
    rng = np.random.default_rng(0)
    benign, correctable = np.flatnonzero(status == "benign"), np.flatnonzero(status == "correctable")
    curves = found.curves(points=3)  # N = 0, 0.5, 1
    for row, name in enumerate(curves["model"]):
        scores = []
        for _ in range(400):
            rows = np.concatenate([rng.choice(benign, len(correctable), replace=False), correctable])
            scores.append(np.mean(predictions[name][rows] == np.ma.getdata(corrected)[rows]))
        assert curves["corrected"][row, 1] == pytest.approx(np.mean(scores), abs=0.01)
    assert (curves["corrected_low"] <= curves["corrected_high"]).all()


def test_flips_by_loop():
    given, corrected, predictions = benchmark(3, n_correctable=150)
    found = Stability(n_bootstrap=200).fit(given, corrected, predictions)
    table = found.ranking_
    flips = 0
    for i, j in combinations(range(5), 2):
        flips += (table["given"][i] - table["given"][j]) * (table["corrected"][i] - table["corrected"][j]) < 0
    assert found.pairs_["flips"].sum() == flips
    assert flips > 0
    assert ((found.pairs_["p_flip"] >= 0) & (found.pairs_["p_flip"] <= 1)).all()


def test_kendall_equals_scipy_with_ties():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (20, 8)), rng.integers(0, 5, (20, 8))
    assert kendall(x, y) == pytest.approx([kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)])


def test_crossing_interval_by_scan():
    rng = np.random.default_rng(5)
    start, end = rng.normal(0.02, 0.02, 301), rng.normal(-0.1, 0.1, 301)
    low, high = crossing_interval(np.sign(start), crossover(start, end), (0.0, 1.0), 0.05)
    grid = np.linspace(0, 1, 4001)
    share = np.array([np.mean((1 - n) * start + n * end > 0) for n in grid])
    unsure = grid[(share >= 0.025) & (share <= 0.975)]
    assert (low, high) == pytest.approx((unsure[0], unsure[-1]), abs=5e-4)


def test_crossing_interval_is_the_percentile_interval_when_every_draw_crosses():
    rng = np.random.default_rng(6)
    start, end = np.full(2000, 0.1), rng.uniform(-0.9, -0.3, 2000)
    where = crossover(start, end)
    found = crossing_interval(np.ones(2000), where, (0.0, 1.0), 0.05)
    assert found == pytest.approx(np.quantile(where, [0.025, 0.975]), rel=1e-2)


# Limits


def test_no_crossover_between_models_of_one_order():
    given = np.repeat([0, 1], 500)
    corrected = np.zeros(1000, dtype=int)
    good = np.r_[np.zeros(980, dtype=int), np.ones(20, dtype=int)]
    bad = np.r_[np.ones(200, dtype=int), np.zeros(300, dtype=int), np.zeros(200, dtype=int), np.ones(300, dtype=int)]
    pairs = Stability().fit(given, corrected, {"good": good, "bad": bad}).pairs_
    assert np.isnan(pairs["crossover"]).all()
    assert np.isnan(pairs["crossover_low"]).all()
    assert pairs["p_crossing"] == pytest.approx(0)


def test_equal_models_tie():
    given, corrected, predictions = benchmark(4)
    twin = {"a": predictions["m0"], "b": predictions["m0"]}
    found = Stability(n_bootstrap=100).fit(given, corrected, twin)
    assert found.ranking_["rank_corrected"].tolist() == [1, 1]
    assert not found.pairs_["flips"].any()
    assert np.isnan(found.kendall_)


def test_one_model_has_accuracies_and_no_pairs():
    given, corrected, predictions = benchmark(4)
    found = Stability(n_bootstrap=100).fit(given, corrected, {"only": predictions["m0"]})
    assert len(found.pairs_["leader"]) == 0
    assert found.sentence_.startswith("No: only stays first")


def test_ten_rows_that_agree_prove_nothing():
    """The plain bootstrap would be certain of the correctable rows; the imaginary rows keep the interval open."""
    outcomes = np.zeros((10, 2), dtype=np.int8)
    outcomes[:, 1] = 2
    shares = resample(outcomes, 3, 2000, np.random.default_rng(0))
    low, high = np.quantile(shares[:, 1, 2] - shares[:, 0, 2], [0.025, 0.975])
    assert low < 0.8
    assert high == 1
    assert shares.sum(axis=2) == pytest.approx(np.ones((2000, 2)))


def test_many_rows_give_the_plain_bootstrap():
    rng = np.random.default_rng(0)
    outcomes = (rng.random((5000, 3)) < [0.2, 0.5, 0.9]).astype(np.int8)
    shares = resample(outcomes, 2, 1000, rng)[:, :, 1]
    share = outcomes.mean(axis=0)
    assert shares.mean(axis=0) == pytest.approx(share, abs=2e-3)
    assert shares.std(axis=0) == pytest.approx(np.sqrt(share * (1 - share) / 5000), rel=0.1)


# State and permutation


def test_rows_models_and_codes_may_be_permuted():
    given, corrected, predictions = benchmark(7)
    found = Stability(n_bootstrap=100).fit(given, corrected, predictions)
    order = np.random.default_rng(0).permutation(len(given))
    shuffled = {name: predictions[name][order] for name in reversed(list(predictions))}
    again = Stability(n_bootstrap=100).fit(given[order], corrected[order], shuffled)
    for column, values in found.evidence().items():
        assert values.tolist() == again.evidence()[column].tolist()
    recoded = {name: 3 - said for name, said in predictions.items()}
    renamed = Stability(n_bootstrap=100).fit(3 - given, 3 - corrected, recoded)
    assert renamed.pairs_["crossover_low"] == pytest.approx(found.pairs_["crossover_low"], nan_ok=True)


def test_probabilities_and_status_say_the_same_as_codes_and_masks():
    given, corrected, predictions = benchmark(8)
    found = Stability(n_bootstrap=50).fit(given, corrected, predictions)
    soft = {name: np.eye(4)[said] * 0.7 + 0.075 for name, said in predictions.items()}
    again = Stability(n_bootstrap=50).fit(given, np.ma.getdata(corrected), soft, derive_status(given, corrected))
    assert again.ranking_["corrected"].tolist() == found.ranking_["corrected"].tolist()
    assert again.sentence_ == found.sentence_


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"given": [0.5, 1, 0]}, "integer codes"),
        ({"corrected": [0, 1]}, "2 entries, expected 3"),
        ({"predictions": {}}, "No model to compare"),
        ({"predictions": {"n": [0, 1]}}, "'n' has 2 entries, expected 3"),
        ({"predictions": {"m": [[0.5, np.nan], [1, 0], [0, 1]]}}, "first offending row: 0"),
        ({"status": ["benign", "benign", "odd"]}, "first offending row: 2"),
        ({"status": ["benign", "benign", "benign"]}, "differs from the given one"),
        ({"status": ["correctable", "correctable", "correctable"]}, "equal to the given one"),
        ({"corrected": [0, 1, 0]}, "No row is correctable"),
    ],
)
def test_bad_input_teaches(change, says):
    good = {"given": [0, 1, 0], "corrected": [0, 1, 1], "predictions": {"m": [0, 1, 1]}, "status": None}
    Stability(n_bootstrap=5).fit(**good)
    with pytest.raises(InputError, match=says):
        Stability(n_bootstrap=5).fit(**(good | change))


# Claim


@pytest.mark.claim
@pytest.mark.parametrize("n_correctable", [10, 30, 100])
def test_interval_holds_the_planted_crossover(n_correctable):
    a, c = np.array([0.95, 0.93]), np.array([0.3, 0.6])
    truth = (a[0] - a[1]) / (a[0] - a[1] + c[1] - c[0])
    n = 2000 + n_correctable
    on_c = np.arange(n) < n_correctable
    given = np.zeros(n, dtype=int)
    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        shared = rng.random(n)
        predictions = {}
        for model in range(2):
            luck = np.where(rng.random(n) < 0.7, shared, rng.random(n))
            predictions[f"m{model}"] = np.where(luck < np.where(on_c, c[model], a[model]), on_c, 1 - on_c)
        pairs = Stability(n_bootstrap=500, random_state=seed).fit(given, on_c.astype(int), predictions).pairs_
        held += bool(pairs["crossover_low"][0] <= truth <= pairs["crossover_high"][0])
    assert held / 300 >= 0.93  # 95 % less 1.6 standard errors of 300 repeats
