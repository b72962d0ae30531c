"""Confident learning: integers equal cleanlab's, equal a plain loop's, and do not depend on how the rows arrive."""

import functools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint, estimate_latent, num_label_issues
from cleanlab.filter import find_label_issues
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from assay.audit.confident_learning import FILTERS, ConfidentLearning
from assay.errors import InputError

Data = tuple[np.ndarray, np.ndarray]


def example(n: int, k: int, dtype: Any = np.float64, seed: int = 0, noise: float = 0.2, sharp: float = 2.5) -> Data:
    """Labels with uniform flips, and probabilities of a fair model; the last class is never given."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k - 1, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), truth] += sharp
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return np.where(rng.random(n) < noise, rng.integers(0, k - 1, n), truth), probabilities.astype(dtype)


def gridded(n: int, k: int, steps: int, seed: int) -> Data:
    """Probabilities on a coarse grid of a power of two, so that ties are everywhere and float32 holds them exactly."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    shares = rng.multinomial(steps, np.full(k, 1 / k), n).astype(float)
    lucky = rng.random(n) < 0.6
    shares[lucky, labels[lucky]] += steps
    shares[lucky] //= 2
    shares[:, 0] += steps - shares.sum(axis=1)
    return labels, shares / steps


def cleanlab_says(labels: np.ndarray, probabilities: np.ndarray, **arguments: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cleanlab warns of classes with too few rows
        mask: np.ndarray = find_label_issues(labels, probabilities, n_jobs=1, **arguments)
    return mask


@pytest.fixture
def ties_fall_to_earlier_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """cleanlab cuts ties by an unstable sort; only a stable one leaves a single right answer."""
    monkeypatch.setattr(np, "argsort", functools.partial(np.argsort, kind="stable"))


def same_integers(
    labels: np.ndarray, probabilities: np.ndarray, oracle: np.ndarray | None = None, **arguments: Any
) -> None:
    oracle = probabilities if oracle is None else oracle
    for name in FILTERS:
        ours = ConfidentLearning(filter_by=name, **arguments).fit(labels, probabilities)
        np.testing.assert_array_equal(ours.confident_joint_, compute_confident_joint(labels, oracle, calibrate=False))
        np.testing.assert_array_equal(ours.calibrated_joint_, compute_confident_joint(labels, oracle, calibrate=True))
        assert ours.n_errors_ == num_label_issues(labels, oracle)
        counted = arguments if name not in ("confident_learning", "predicted_neq_given") else {}
        np.testing.assert_array_equal(ours.is_issue_, cleanlab_says(labels, oracle, filter_by=name, **counted), name)


# By hand


def test_six_rows_of_two_classes() -> None:
    labels = [0, 0, 0, 1, 1, 1]
    first = np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.9])
    fitted = ConfidentLearning().fit(labels, np.column_stack([first, 1 - first]))
    np.testing.assert_allclose(fitted.thresholds_, [(0.9 + 0.8 + 0.1) / 3, (0.8 + 0.7 + 0.1) / 3])
    np.testing.assert_array_equal(fitted.confident_joint_, [[2, 1], [1, 2]])
    np.testing.assert_array_equal(fitted.calibrated_joint_, [[2, 1], [1, 2]])
    np.testing.assert_array_equal(fitted.is_issue_, [False, False, True, False, False, True])
    np.testing.assert_array_equal(fitted.ranking_, [2, 5])
    np.testing.assert_array_equal(fitted.suggested_, [0, 0, 1, 1, 1, 0])
    np.testing.assert_allclose(fitted.noise_matrix_, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])
    assert fitted.error_rate_ == pytest.approx(1 / 3)
    assert fitted.n_errors_ == 2
    assert {name: column.tolist() for name, column in fitted.evidence().items()} == {
        "row": [2, 5],
        "given": [0, 1],
        "suggested": [1, 0],
        "score": [pytest.approx(0.1), pytest.approx(0.1)],
    }


def by_loop(labels: np.ndarray, probabilities: np.ndarray) -> set[int]:
    """Prune by noise rate, written out."""
    k = probabilities.shape[1]
    fitted = ConfidentLearning().fit(labels, probabilities)
    flagged = set()
    for i in range(k):
        mine = [row for row in range(len(labels)) if labels[row] == i]
        for j in range(k):
            if i != j:
                mine.sort(key=lambda row: (probabilities[row, i] - probabilities[row, j], row))
                flagged |= set(mine[: fitted.calibrated_joint_[i, j]])
    return {row for row in flagged if probabilities[row].argmax() != labels[row]}


def test_a_plain_loop_flags_the_same_rows() -> None:
    labels, probabilities = example(300, 4)
    assert set(ConfidentLearning().fit(labels, probabilities).ranking_.tolist()) == by_loop(labels, probabilities)


# cleanlab


@pytest.mark.parametrize(("n", "k"), [(60, 2 + 1), (800, 7), (2000, 40)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_integers_equal_cleanlab(n: int, k: int, dtype: Any) -> None:
    labels, probabilities = example(n, k, dtype, seed=n)
    same_integers(labels, probabilities)


@pytest.mark.usefixtures("ties_fall_to_earlier_rows")
def test_half_precision_equals_cleanlab_on_the_same_numbers() -> None:
    labels, probabilities = example(1000, 6, np.float16)
    same_integers(labels, probabilities, probabilities.astype(np.float32))


@pytest.mark.usefixtures("ties_fall_to_earlier_rows")
def test_log_probabilities_equal_cleanlab_on_their_exponents() -> None:
    labels, probabilities = example(1000, 6, np.float32)
    logs = np.log(probabilities)
    same = ConfidentLearning(log_probabilities=True).fit(labels, logs)
    np.testing.assert_array_equal(same.is_issue_, cleanlab_says(labels, np.exp(logs)))


@pytest.mark.usefixtures("ties_fall_to_earlier_rows")
@pytest.mark.parametrize("minimum", [0, 3, 40, 10_000])
@pytest.mark.parametrize("share", [1.0, 0.37, 0.01])
def test_fewer_flags_equal_cleanlab(minimum: int, share: float) -> None:
    labels, probabilities = example(900, 9, seed=5, noise=0.4)
    same_integers(labels, probabilities, min_examples_per_class=minimum, frac_noise=share)


@pytest.mark.usefixtures("ties_fall_to_earlier_rows")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(2, 80), k=st.integers(2, 6), steps=st.sampled_from([2, 4, 8, 16, 64]), seed=st.integers(0, 2**20))
def test_integers_equal_cleanlab_among_ties(n: int, k: int, steps: int, seed: int) -> None:
    labels, probabilities = gridded(n, k, steps, seed)
    assume(len(set(labels.tolist())) > 1)
    same_integers(labels, probabilities)
    same_integers(labels, probabilities.astype(np.float32), probabilities)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_integers_equal_cleanlab_on_real_test_sets(name: str, shared_data: Callable[[str], Path]) -> None:
    data = np.load(shared_data(f"label-errors/{name}_test.npz"))
    same_integers(data["original_label"].astype(np.int64), data["pyx"])


def test_noise_matrices_are_cleanlabs() -> None:
    labels, probabilities = example(3000, 6)
    labels[:50] = 5
    fitted = ConfidentLearning().fit(labels, probabilities)
    prior, noise, inverse = estimate_latent(fitted.calibrated_joint_, labels)
    np.testing.assert_allclose(fitted.noise_matrix_, noise, atol=1e-12)
    np.testing.assert_allclose(fitted.inverse_noise_matrix_, inverse, atol=1e-12)
    np.testing.assert_allclose(fitted.prior_, prior, atol=1e-5)  # cleanlab lifts small priors to 1e-6
    assert fitted.joint_.sum() == pytest.approx(1)


def test_rows_near_a_human_verdict_come_first(shared_data: Callable[[str], Path]) -> None:
    from bench.audit.verdict_votes import load

    data = np.load(shared_data("label-errors/cifar10_test.npz"))
    verdicts = load("cifar10")
    fitted = ConfidentLearning().fit(data["original_label"].astype(int), data["pyx"])
    assert fitted.n_errors_ == 244
    lowest = np.argsort(fitted.scores_, kind="stable")[: fitted.n_errors_]
    assert np.isin(verdicts.rows[verdicts.wrong], lowest).sum() >= 50


# Limits


def test_clean_labels_and_a_sure_model_have_no_errors() -> None:
    labels = np.arange(90) % 9
    fitted = ConfidentLearning().fit(labels, np.eye(9)[labels])
    assert fitted.n_errors_ == 0
    assert fitted.error_rate_ == 0
    assert len(fitted.ranking_) == 0
    np.testing.assert_array_equal(fitted.noise_matrix_, np.eye(9))


def test_above_two_thousand_classes_the_joint_is_sparse_and_flags_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities = example(3000, 8, noise=0.3)
    dense = {name: ConfidentLearning(filter_by=name).fit(labels, probabilities) for name in FILTERS}
    monkeypatch.setattr("assay.kernels.confident_joint.DENSE", 4)
    for name, expected in dense.items():
        sparse = ConfidentLearning(filter_by=name).fit(labels, probabilities)
        np.testing.assert_array_equal(sparse.confident_joint_.toarray(), expected.confident_joint_)
        np.testing.assert_array_equal(sparse.is_issue_, expected.is_issue_)


def test_a_million_classes_need_no_table_of_their_pairs() -> None:
    k = 1_000_000
    probabilities = np.zeros((6, k), np.float16)
    probabilities[np.arange(6), [7, 7, 7, k - 1, k - 1, 7]] = 1
    fitted = ConfidentLearning(filter_by="both").fit([7, 7, 7, k - 1, k - 1, k - 1], probabilities)
    assert fitted.ranking_.tolist() == [5]
    assert fitted.confident_joint_[k - 1, 7] == 1
    assert fitted.evidence()["suggested"].tolist() == [7]


# State: blocks, order


def blocks_of(labels: np.ndarray, probabilities: np.ndarray, size: int) -> Callable[[], Iterator[Data]]:
    def make() -> Iterator[Data]:
        for start in range(0, len(labels), size):
            yield labels[start : start + size], probabilities[start : start + size]

    return make


ARRAYS = ("thresholds_", "confident_joint_", "calibrated_joint_", "is_issue_", "scores_", "suggested_", "ranking_")


def assert_same(one: ConfidentLearning, other: ConfidentLearning) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name, column in one.evidence().items():
        np.testing.assert_array_equal(column, other.evidence()[name], name)


@pytest.mark.parametrize("size", [1, 7, 256, 999, 1000])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_blocks_of_any_size_give_the_same_bits(size: int, name: Any, dtype: Any) -> None:
    labels, probabilities = example(1000, 6, dtype)
    for score, adjust in (("normalized_margin", False), ("self_confidence", True)):
        model = ConfidentLearning(filter_by=name, score=score, adjust=adjust)
        whole = ConfidentLearning(filter_by=name, score=score, adjust=adjust).fit(labels, probabilities)
        assert_same(model.fit_blocks(blocks_of(labels, probabilities, size)), whole)


@pytest.mark.parametrize("name", FILTERS)
def test_threads_and_slices_change_nothing(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities = example(40_000, 10, np.float32)
    whole = ConfidentLearning(filter_by=name).fit(labels, probabilities)
    monkeypatch.setattr("assay.audit.confident_learning.SLICE", 200_000)
    monkeypatch.setattr("assay.kernels.blocks.SMALL", 10**9)
    assert_same(ConfidentLearning(filter_by=name).fit(labels, probabilities), whole)


@pytest.mark.parametrize("name", FILTERS)
def test_permuting_rows_permutes_results(name: Any) -> None:
    labels, probabilities = example(800, 5)
    order = np.random.default_rng(1).permutation(len(labels))
    whole = ConfidentLearning(filter_by=name).fit(labels, probabilities)
    shuffled = ConfidentLearning(filter_by=name).fit(labels[order], probabilities[order])
    np.testing.assert_array_equal(shuffled.thresholds_, whole.thresholds_)
    np.testing.assert_array_equal(shuffled.is_issue_, whole.is_issue_[order])
    np.testing.assert_array_equal(order[shuffled.ranking_], whole.ranking_)


def test_layouts_and_maps_of_the_same_numbers_give_the_same(tmp_path: Path) -> None:
    labels, probabilities = example(500, 6, np.float32)
    whole = ConfidentLearning().fit(labels, probabilities)
    np.save(tmp_path / "p.npy", probabilities)
    others = [np.asfortranarray(probabilities), np.repeat(probabilities, 2, axis=0)[::2], probabilities.astype(">f4")]
    for same in (*others, np.load(tmp_path / "p.npy", mmap_mode="r")):
        assert_same(ConfidentLearning().fit(labels, same), whole)
    for kind in (np.uint8, np.int16, np.uint64, ">i4"):
        assert_same(ConfidentLearning().fit(labels.astype(kind), probabilities), whole)


def test_rows_without_a_label_are_left_out() -> None:
    labels, probabilities = example(600, 5)
    kept = np.random.default_rng(2).random(600) < 0.7
    some = ConfidentLearning().fit(np.where(kept, labels, -7), probabilities, mask=kept)
    alone = ConfidentLearning().fit(labels[kept], probabilities[kept])
    np.testing.assert_array_equal(some.calibrated_joint_, alone.calibrated_joint_)
    np.testing.assert_array_equal(some.is_issue_[kept], alone.is_issue_)
    assert not some.is_issue_[~kept].any()
    assert np.isnan(some.scores_[~kept]).all()
    np.testing.assert_array_equal(some.suggested_, probabilities.argmax(axis=1))


def test_arguments_stay_as_given() -> None:
    model = ConfidentLearning(filter_by="both", frac_noise=0.5)
    labels, probabilities = example(50, 3)
    assert model.fit(labels, probabilities) is model
    assert (model.filter_by, model.frac_noise) == ("both", 0.5)


# Bad input


GOOD_LABELS = np.array([0, 1, 1, 0])
GOOD = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])


def changed(row: int, values: list[float]) -> np.ndarray:
    other = GOOD.copy()
    other[row] = values
    return other


@pytest.mark.parametrize(
    ("labels", "probabilities", "sentence"),
    [
        (GOOD_LABELS, changed(2, [np.nan, 0.7]), r"NaN in column 0. \(first offending row: 2\)"),
        (GOOD_LABELS, changed(2, [0.3, -np.nan]), r"NaN in column 1. \(first offending row: 2\)"),
        (GOOD_LABELS, changed(1, [-0.2, 1.2]), r"negative \(-0.2\) in column 0.*\(first offending row: 1\)"),
        (GOOD_LABELS, changed(3, [0.6, 0.5]), r"sums to 1.1, not to 1.*\(first offending row: 3\)"),
        (GOOD_LABELS, changed(3, [np.inf, 0.5]), r"sums to inf, not to 1.*\(first offending row: 3\)"),
        (np.array([0, 1, 2, 0]), GOOD, r"Label 2 is outside 0..1.*\(first offending row: 2\)"),
        (np.array([0, 1, 1, -1]), GOOD, r"Label -1 is outside 0..1.*\(first offending row: 3\)"),
        (np.array([0.0, 1, 1, 0]), GOOD, r"labels as integers 0..k-1.*got float64"),
        (np.array(["a", "b", "a", "b"]), GOOD, r"labels as integers 0..k-1.*got <U1"),
        (GOOD_LABELS[:3], GOOD, r"pred_probs of shape \(3, k\) for 3 labels, got \(4, 2\)"),
        (GOOD_LABELS[:, None], GOOD, r"labels of shape \(n,\), got \(4, 1\)"),
        (GOOD_LABELS, GOOD[:, 0], r"pred_probs of shape \(4, k\) for 4 labels, got \(4,\)"),
        (GOOD_LABELS, GOOD > 0.5, r"float16, float32 or float64, got bool"),
        (GOOD_LABELS * 0, np.ones((4, 1)), r"two or more classes, got 1"),
        (GOOD_LABELS * 0, GOOD, r"Every label is class 0"),
        (GOOD_LABELS[:1], GOOD[:1], r"at least two labelled rows, got 1 of 1"),
        (GOOD_LABELS[:0], GOOD[:0], r"The data set is empty"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_bad_input_is_one_sentence_that_names_the_row(
    labels: Any, probabilities: Any, sentence: str, dtype: Any
) -> None:
    if probabilities.dtype != bool:
        probabilities = probabilities.astype(dtype)
        sentence = sentence.replace("1.1,", r"1\.(1|10*1|09\d+),").replace("-0.2", r"-0\.(2|19\d+)")
    with pytest.raises(InputError, match=sentence):
        ConfidentLearning().fit(labels, probabilities)


def test_the_first_of_many_bad_rows_is_named_even_by_threads() -> None:
    labels, probabilities = example(100_000, 3, np.float32)
    probabilities[[40_000, 70_000, 99_999]] = 0.5
    with pytest.raises(InputError, match="first offending row: 40000"):
        ConfidentLearning().fit(labels, probabilities)


def test_bad_arguments_and_sources_are_named() -> None:
    with pytest.raises(InputError, match="Unknown filter 'all'"):
        ConfidentLearning(filter_by="all").fit(GOOD_LABELS, GOOD)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Unknown score 'margin'"):
        ConfidentLearning(score="margin").fit(GOOD_LABELS, GOOD)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="frac_noise"):
        ConfidentLearning(frac_noise=0).fit(GOOD_LABELS, GOOD)
    with pytest.raises(InputError, match="Unknown backend 'dask'"):
        ConfidentLearning().fit_blocks(lambda: [(GOOD_LABELS, GOOD)], backend="dask")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"mask \(4,\) bool, got int64"):
        ConfidentLearning().fit(GOOD_LABELS, GOOD, mask=GOOD_LABELS)
    once = iter([(GOOD_LABELS, GOOD)])
    with pytest.raises(InputError, match="4 rows when first called and 0 when called again"):
        ConfidentLearning().fit_blocks(lambda: once)
    with pytest.raises(InputError, match="the first has 2 columns of float64"):
        ConfidentLearning().fit_blocks(lambda: [(GOOD_LABELS, GOOD), (GOOD_LABELS, GOOD.astype(np.float32))])


def test_rows_that_sum_to_one_within_a_thousandth_pass() -> None:
    ConfidentLearning().fit(GOOD_LABELS, GOOD * 1.0005)
    negative_zero = np.array([[1.0, -0.0], [0.0, 1.0], [1.0, -0.0], [-0.0, 1.0]])
    assert len(ConfidentLearning().fit([0, 1, 0, 1], negative_zero).ranking_) == 0


# Claim


@pytest.mark.claim
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_claim_pruning_by_noise_rate_beats_disagreement_on_flipped_digits(rate: float) -> None:
    features, truth = load_digits(return_X_y=True)
    scores: dict[str, list[float]] = {name: [] for name in FILTERS}
    precision: dict[str, list[float]] = {name: [] for name in FILTERS}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        flipped = rng.random(len(truth)) < rate
        labels = np.where(flipped, (truth + 1) % 10, truth)
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        model = LogisticRegression(C=0.1, max_iter=300)
        probabilities = cross_val_predict(model, features / 16, labels, cv=folds, method="predict_proba")
        for name in FILTERS:
            fitted = ConfidentLearning(filter_by=name).fit(labels, probabilities)  # type: ignore[arg-type]
            scores[name].append(f1_score(flipped, fitted.is_issue_))
            precision[name].append(precision_score(flipped, fitted.is_issue_))
            assert fitted.error_rate_ == pytest.approx(flipped.mean(), abs=0.025)
    assert np.mean(scores["prune_by_noise_rate"]) > np.mean(scores["predicted_neq_given"]) + 0.05
    assert np.mean(precision["both"]) > np.mean(precision["prune_by_noise_rate"])
