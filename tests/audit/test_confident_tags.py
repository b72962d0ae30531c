"""Confident learning over tags: by hand, at its limits, in blocks, beside cleanlab."""

from __future__ import annotations

import functools
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.internal.multilabel_utils import onehot2int
from cleanlab.multilabel_classification.filter import find_label_issues, find_multilabel_issues_per_class
from cleanlab.multilabel_classification.rank import get_label_quality_scores, get_label_quality_scores_per_class
from sklearn.base import clone

from assay.audit.confident_tags import ConfidentTags, row_scores
from assay.kernels.confident_passes import FILTERS
from assay.labels.spaces import Kind, Space
from assay.labels.tags import Tags

Arrays = tuple[np.ndarray, np.ndarray]


def noisy(seed: int, n: int = 300, l: int = 6, flips: float = 0.1) -> Arrays:  # noqa: E741
    """Tags of very different frequency with flips, and the probabilities of a fair model."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, l)) < rng.uniform(0.05, 0.7, l)
    truth[:2] = [[True], [False]]
    logits = np.where(truth, 1.5, -1.5) + rng.normal(0, 1.2, (n, l))
    return (truth ^ (rng.random((n, l)) < flips)).astype(np.int8), 1 / (1 + np.exp(-logits))


def some_known(seed: int, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng([seed, 1]).random(shape) < 0.7


def quietly(function: Any, *arguments: Any, **named: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **named)


def same(a: ConfidentTags, b: ConfidentTags) -> None:
    for name, value in vars(a).items():
        if name.endswith("_"):
            np.testing.assert_array_equal(value, getattr(b, name), name)


# By hand


def test_thresholds_joint_and_rates_by_a_plain_loop() -> None:
    y, p = noisy(0)
    known = some_known(0, y.shape)
    found = ConfidentTags(filter_by="confident_learning").fit(y, p, known)
    for j in range(y.shape[1]):
        cells = [(int(y[i, j]), float(p[i, j])) for i in range(len(y)) if known[i, j]]
        absent = float(np.mean([1 - chance for tag, chance in cells if not tag]))
        present = float(np.mean([chance for tag, chance in cells if tag]))
        np.testing.assert_allclose(found.thresholds_[j], [absent, present], rtol=1e-12)
        joint = np.zeros((2, 2), int)
        for tag, chance in cells:
            candidates = [1 - chance >= absent - 1e-6, chance >= present - 1e-6]
            if any(candidates):
                joint[tag, int(chance > 0.5) if all(candidates) else candidates.index(True)] += 1
        np.testing.assert_array_equal(found.confident_joint_[j], joint)
        q = found.calibrated_joint_[j]
        assert q.sum() == len(cells) == found.rates()["known"][j]
        assert found.noise_matrix_[j, 0, 1] == found.rates()["forgotten"][j] == q[0, 1] / (q[0, 1] + q[1, 1])
        assert found.noise_matrix_[j, 1, 0] == found.rates()["spurious"][j] == q[1, 0] / (q[0, 0] + q[1, 0])
        assert found.error_rate_[j] == pytest.approx((q[0, 1] + q[1, 0]) / len(cells))
        assert found.prior_[j] == pytest.approx((q[0, 1] + q[1, 1]) / len(cells))


def test_row_scores_by_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    scores = np.where(rng.random((200, 5)) < 0.3, np.nan, rng.random((200, 5)))
    moving = row_scores(scores, alpha=0.7)
    soft = row_scores(scores, "softmin", temperature=0.2)
    for row, average, mean in zip(scores, moving, soft, strict=True):
        known = sorted((s for s in row if not np.isnan(s)), reverse=True)
        if not known:
            assert np.isnan(average)
            assert np.isnan(mean)
            continue
        expected = known[0]
        for s in known[1:]:
            expected = 0.7 * s + 0.3 * expected
        assert average == pytest.approx(expected)
        weights = np.exp((1 - np.array(known)) / 0.2)
        assert mean == pytest.approx(np.sum(weights * known) / weights.sum())


def test_evidence_lists_flips_of_flagged_cells_by_score() -> None:
    y, p = noisy(1)
    space = Space(("dog", "cat", "bird", "cow", "hen", "fox"), Kind.MULTILABEL)
    found = ConfidentTags().fit(Tags(space, y), p)
    evidence = found.evidence()
    assert len(evidence["row"]) == found.is_issue_.sum() > 0
    assert (np.diff(evidence["score"]) >= 0).all()
    for row, tag, given, suggested, score in zip(*evidence.values(), strict=True):
        j = space.names.index(tag)
        assert found.is_issue_[row, j]
        assert given == y[row, j] != suggested == int(p[row, j] > 0.5)
        assert score == found.scores_[row, j] == (p[row, j] if given else 1 - p[row, j])


# Limits


def test_a_certain_and_right_model_finds_nothing() -> None:
    y, _ = noisy(0)
    found = ConfidentTags().fit(y, y.astype(float))
    assert not found.is_issue_.any()
    assert (found.error_rate_ == 0).all()
    assert (found.row_scores_ == 1).all()


def test_aggregators_meet_the_minimum_and_the_mean() -> None:
    scores = np.random.default_rng(0).random((50, 7))
    np.testing.assert_array_equal(row_scores(scores, alpha=1), scores.min(axis=1))
    np.testing.assert_allclose(row_scores(scores, "softmin", temperature=1e-9), scores.min(axis=1))
    np.testing.assert_allclose(row_scores(scores, "softmin", temperature=1e9), scores.mean(axis=1))


def test_unknown_cells_leave_no_trace() -> None:
    """A tag audited with a mask is the tag audited over its known rows alone."""
    y, p = noisy(2)
    known = some_known(2, y.shape)
    spoiled = np.where(known, y, -7)
    for name in FILTERS:
        found = ConfidentTags(filter_by=name).fit(spoiled, p, known)  # type: ignore[arg-type]
        assert not found.is_issue_[~known].any()
        assert np.isnan(found.scores_[~known]).all()
        for j in range(y.shape[1]):
            rows = np.flatnonzero(known[:, j])
            alone = ConfidentTags(filter_by=name).fit(y[rows][:, [j]], p[rows][:, [j]])  # type: ignore[arg-type]
            np.testing.assert_array_equal(found.is_issue_[rows, j], alone.is_issue_[:, 0])
            np.testing.assert_array_equal(found.calibrated_joint_[j], alone.calibrated_joint_[0])


def test_a_tag_nobody_knows_and_a_tag_nobody_has() -> None:
    y, p = noisy(3)
    known = np.ones(y.shape, bool)
    known[:, 0] = False
    y[:, 1] = 0
    found = ConfidentTags().fit(y, p, known)
    assert not found.is_issue_[:, :2].any()
    assert np.isnan(found.error_rate_[0])
    assert np.isnan(found.prior_[0])
    assert found.thresholds_[1, 1] == 2
    assert found.error_rate_[1] == 0
    only_first = ConfidentTags().fit(y[:, 1:], p[:, 1:], None)
    np.testing.assert_array_equal(found.row_scores_, only_first.row_scores_)


def test_float16_and_float32_are_read() -> None:
    y, p = noisy(4)
    for dtype in (np.float16, np.float32):
        low = p.astype(dtype)
        found = ConfidentTags().fit(y, low)
        assert found.scores_.dtype == np.float32
        wide = ConfidentTags().fit(y, low.astype(np.float64))
        np.testing.assert_array_equal(found.is_issue_, wide.is_issue_)
        np.testing.assert_allclose(found.row_scores_, wide.row_scores_, rtol=1e-5)


# State


@pytest.mark.parametrize("name", FILTERS)
def test_blocks_give_what_the_whole_gives(name: Any) -> None:
    y, p = noisy(5)
    known = some_known(5, y.shape)
    whole = ConfidentTags(filter_by=name).fit(y, p, known)
    cuts = [0, 1, 130, 130, 300]
    blocks = [(y[a:b], p[a:b], known[a:b]) for a, b in pairwise(cuts)]
    same(whole, ConfidentTags(filter_by=name).fit_blocks(lambda: blocks))


def test_small_slices_and_strange_layouts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    y, p = noisy(6)
    whole = ConfidentTags().fit(y, p)
    same(whole, ConfidentTags().fit(np.asfortranarray(y).astype(bool), np.repeat(p, 2, axis=1)[:, ::2]))
    monkeypatch.setattr("assay.audit.confident_tags.SLICE", 60)
    monkeypatch.setattr("assay.audit.confident_tags.ROWS", 7)
    same(whole, ConfidentTags().fit(y, p))


def test_permuting_rows_and_tags_permutes_results() -> None:
    y, p = noisy(7)
    rng = np.random.default_rng(0)
    rows, tags = rng.permutation(len(y)), rng.permutation(y.shape[1])
    plain = ConfidentTags().fit(y, p)
    moved = ConfidentTags().fit(y[rows][:, tags], p[rows][:, tags])
    np.testing.assert_array_equal(moved.is_issue_, plain.is_issue_[rows][:, tags])
    np.testing.assert_array_equal(moved.calibrated_joint_, plain.calibrated_joint_[tags])
    np.testing.assert_array_equal(moved.row_scores_, plain.row_scores_[rows])
    np.testing.assert_array_equal(rows[moved.ranking_], plain.ranking_)


def test_it_is_an_estimator() -> None:
    model = ConfidentTags(filter_by="both", alpha=0.5)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_ray_gives_what_one_process_gives() -> None:
    y, p = noisy(8)
    blocks = [(y[a : a + 80], p[a : a + 80]) for a in range(0, 300, 80)]
    same(ConfidentTags().fit(y, p), ConfidentTags().fit_blocks(lambda: blocks, backend="ray"))


# Beside cleanlab


@pytest.fixture
def ties_fall_to_earlier_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """cleanlab cuts ties by an unstable sort; only a stable one leaves a single right answer."""
    monkeypatch.setattr(np, "argsort", functools.partial(np.argsort, kind="stable"))


@pytest.mark.usefixtures("ties_fall_to_earlier_rows")
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("digits", [2, 15])
def test_flags_and_joints_are_those_of_cleanlab(name: Any, digits: int) -> None:
    for seed in range(6):
        y, p = noisy(seed, flips=0.02 * seed)
        p = np.floor(p * 2.0**digits) / 2.0**digits  # exact complements, and with few digits many ties
        lists = onehot2int(y)
        found = ConfidentTags(filter_by=name).fit(y, p)
        theirs = quietly(find_multilabel_issues_per_class, lists, p, filter_by=name, n_jobs=1)
        np.testing.assert_array_equal(found.is_issue_, theirs)
        np.testing.assert_array_equal(
            found.row_is_issue_, quietly(find_label_issues, lists, p, filter_by=name, n_jobs=1)
        )
        np.testing.assert_array_equal(found.calibrated_joint_, compute_confident_joint(lists, p, multi_label=True))
        counted = compute_confident_joint(lists, p, multi_label=True, calibrate=False)
        np.testing.assert_array_equal(found.confident_joint_, counted)


@pytest.mark.parametrize(("keep", "share"), [(1, 0.5), (20, 1.0), (0, 1.0)])
@pytest.mark.parametrize("name", ["prune_by_noise_rate", "prune_by_class", "both"])
def test_prune_options_are_those_of_cleanlab(name: Any, keep: int, share: float) -> None:
    y, p = noisy(9)
    found = ConfidentTags(filter_by=name, min_examples_per_class=keep, frac_noise=share).fit(y, p)
    options = {"min_examples_per_class": keep, "frac_noise": share, "filter_by": name, "n_jobs": 1}
    np.testing.assert_array_equal(
        found.is_issue_, quietly(find_multilabel_issues_per_class, onehot2int(y), p, **options)
    )


@pytest.mark.parametrize(
    ("score", "adjust"),
    [
        ("self_confidence", False),
        ("self_confidence", True),
        ("normalized_margin", False),
        ("normalized_margin", True),
        ("confidence_weighted_entropy", False),
    ],
)
@pytest.mark.parametrize(
    "how",
    [{"method": "exponential_moving_average", "alpha": 0.8}, {"method": "softmin", "temperature": 0.1}],
    ids=["average", "softmin"],
)
def test_scores_are_those_of_cleanlab(score: Any, adjust: bool, how: dict[str, Any]) -> None:
    y, p = noisy(10)
    p = np.clip(p, 0.02, 0.98)  # beyond, cleanlab's entropy score turns round
    lists = onehot2int(y)
    options = {key: value for key, value in how.items() if key != "method"}
    found = ConfidentTags(score=score, adjust=adjust, aggregator=how["method"], **options).fit(y, p)
    cells = get_label_quality_scores_per_class(lists, p, method=score, adjust_pred_probs=adjust)
    np.testing.assert_allclose(found.scores_, cells, rtol=1e-9)
    rows = get_label_quality_scores(lists, p, method=score, adjust_pred_probs=adjust, aggregator_kwargs=how)
    np.testing.assert_allclose(found.row_scores_, rows, rtol=1e-9)
    if not adjust and how["method"] != "softmin":  # cleanlab ranks by the average whatever the aggregator
        ranked = quietly(find_label_issues, lists, p, return_indices_ranked_by=score, n_jobs=1)
        np.testing.assert_array_equal(found.ranking_, ranked)


# Claim


@pytest.mark.claim
def test_pruning_beats_disagreement_on_digits() -> None:
    """Ten seeds, 5 % of cells flipped: the mean F1 is higher by more than two standard errors."""
    from bench.audit.confident_tags import planted

    runs = [planted(seed, 0.05, 1.0) for seed in range(10)]
    gain = np.array([run["prune_by_noise_rate"].f1 - run["predicted_neq_given"].f1 for run in runs])
    assert gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain))
