"""The passes of confident learning: by a plain loop, exact under any cut or order, down to half precision."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.kernels.confident_joint import DISAGREES, OFF_DIAGONAL, RowSweep, floors_of
from assay.kernels.label_filters import calibrate, latent, prune_counts, round_to_total
from assay.kernels.probabilities import UNLABELLED, Rows, bits_of, floats_of
from assay.kernels.self_confidence import SelfConfidence
from assay.kernels.top_rows import TopRows

DTYPES = (np.float16, np.float32, np.float64)


def example(n: int, k: int, dtype: type, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), truth] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.where(rng.random(n) < 0.2, rng.integers(0, k, n), truth), probabilities.astype(dtype)


def swept(labels: np.ndarray, probabilities: np.ndarray) -> tuple[SelfConfidence, RowSweep]:
    block = Rows(0, labels, bits_of(probabilities))
    first = SelfConfidence(probabilities.shape[1])
    first.update(block)
    sweep = RowSweep(first.thresholds(), len(labels), block.bits.dtype, "normalized_margin", False)
    sweep.update(block)
    return first, sweep


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_plain_loop_counts_the_same(dtype: type) -> None:
    labels, halves = example(400, 4, dtype)
    probabilities = halves.astype(np.float64)
    k = 4
    thresholds = [
        sum(p[y] for y, p in zip(labels, probabilities, strict=True) if y == j) / sum(labels == j) for j in range(k)
    ]
    joint = np.zeros((k, k), int)
    for y, p in zip(labels, probabilities, strict=True):
        candidates = [j for j in range(k) if p[j] >= thresholds[j] - 1e-6]
        if len(candidates) == 1:
            joint[y, candidates[0]] += 1
        elif candidates:
            joint[y, max(range(k), key=lambda j: p[j])] += 1
    first, sweep = swept(labels, halves)
    np.testing.assert_allclose(first.thresholds(), thresholds, rtol=1e-14)
    np.testing.assert_array_equal(sweep.joint(), joint)


def test_every_half_is_read_as_the_number_it_is() -> None:
    halves = np.arange(0x3C01, dtype=np.uint16).view(np.float16)  # all of 0..1, subnormals included
    probabilities = np.column_stack([halves, (1 - halves.astype(np.float32)).astype(np.float16)])
    _, sweep = swept(np.zeros(len(halves), int), probabilities)
    other = probabilities[:, 1].astype(np.float32)
    expected = (halves.astype(np.float32) - other + np.float32(1)) / np.float32(2)
    assert sweep.results is not None
    np.testing.assert_array_equal(sweep.results.scores, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_floors_are_the_smallest_numbers_that_pass(dtype: type) -> None:
    thresholds = np.random.default_rng(0).random(1000)
    floors = floats_of(floors_of(thresholds, bits_of(np.zeros((1, 1), dtype)).dtype)[None])[0]
    below = np.nextafter(floors, dtype(0))
    assert np.all(floors.astype(np.float64) >= thresholds - 1e-6)
    assert np.all(below.astype(np.float64) < thresholds - 1e-6)


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.floats(0, 1, width=64), min_size=1, max_size=60),
    seed=st.integers(0, 99),
    cut=st.integers(0, 60),
)
def test_thresholds_forget_order_and_cuts_to_the_last_bit(values: list[float], seed: int, cut: int) -> None:
    def rows(numbers: np.ndarray) -> Rows:
        return Rows(0, np.zeros(len(numbers), np.int64), bits_of(np.column_stack([numbers, 1 - numbers])))

    numbers = np.array(values)
    whole, parts = SelfConfidence(2), SelfConfidence(2)
    whole.update(rows(numbers))
    shuffled = np.random.default_rng(seed).permutation(numbers)
    for piece in (shuffled[cut:], shuffled[:cut]):
        share = parts.fresh()
        share.update(rows(piece))
        parts.merge(share)
    assert whole.thresholds()[0] == parts.thresholds()[0]
    assert whole.thresholds()[0] == pytest.approx(max(numbers.mean(), 2e-6), abs=1e-15)


def test_an_unlabelled_row_counts_nowhere_but_is_read() -> None:
    labels, probabilities = example(50, 3, np.float64)
    first, sweep = swept(labels, probabilities)
    extra_first, extra = swept(np.append(labels, UNLABELLED), np.vstack([probabilities, [[0.2, 0.7, 0.1]]]))
    np.testing.assert_array_equal(extra_first.thresholds(), first.thresholds())
    np.testing.assert_array_equal(extra.joint(), sweep.joint())
    assert extra.results is not None
    assert extra.results.suggested[-1] == 1
    assert np.isnan(extra.results.scores[-1])


def test_ties_go_as_numpy_argmax_sends_them_but_in_favour_of_the_given_label() -> None:
    probabilities = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [1.0, -0.0, -0.0]])
    labels = np.array([0, 1, 2, 1])
    _, sweep = swept(labels, probabilities)
    assert sweep.results is not None
    np.testing.assert_array_equal(sweep.results.suggested, probabilities.argmax(axis=1))
    np.testing.assert_array_equal((sweep.results.status & DISAGREES) > 0, [False, False, False, True])


def test_sparse_counts_are_the_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities = example(2000, 12, np.float32)
    first, sweep = swept(labels, probabilities)
    dense = sweep.joint()
    monkeypatch.setattr("assay.kernels.confident_joint.DENSE", 2)
    sparse = swept(labels, probabilities)[1].joint()
    np.testing.assert_array_equal(sparse.toarray(), dense)
    np.testing.assert_array_equal(
        calibrate(sparse, first.counts).sum(axis=1), calibrate(dense, first.counts).sum(axis=1)
    )
    for ours, theirs in zip(latent(sparse), latent(dense), strict=True):
        np.testing.assert_allclose(ours.toarray() if ours.ndim == 2 else ours, theirs)
    calibrated = calibrate(dense, first.counts)
    removed, keep = prune_counts(calibrated, 30, 0.7)
    np.testing.assert_array_equal(keep + np.asarray(removed.sum(axis=1)) <= first.counts + 12, True)


def test_calibrated_rows_sum_to_the_label_counts() -> None:
    rng = np.random.default_rng(0)
    joint = rng.poisson(3, (9, 9)) + np.eye(9, dtype=int)
    counts = rng.integers(0, 500, 9)
    np.testing.assert_array_equal(calibrate(joint, counts).sum(axis=1), counts)


def test_rounding_gives_the_missing_unit_to_an_entry_that_loses_most() -> None:
    rounded = round_to_total(np.array([0.4, 0.4, 0.2]))
    assert rounded.sum() == 1
    assert rounded[2] == 0
    np.testing.assert_array_equal(round_to_total(np.array([1.6, 1.8, 1.6])).sum(), 5)
    np.testing.assert_array_equal(round_to_total(np.array([1.6, 1.8, 2.7, 0.9])), [1, 2, 3, 1])


@pytest.mark.parametrize("margins", [True, False])
@pytest.mark.parametrize("cuts", [(), (100,), (7, 8, 300, 301)])
def test_top_rows_are_those_of_a_full_sort_whatever_the_cuts_and_order(margins: bool, cuts: tuple[int, ...]) -> None:
    labels, probabilities = example(600, 5, np.float32, seed=3)
    probabilities = np.round(probabilities * 16) / 16  # many ties
    probabilities[:, 0] += 1 - probabilities.sum(axis=1)
    probabilities = np.abs(probabilities)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    first, sweep = swept(labels, probabilities)
    removed, keep = prune_counts(calibrate(sweep.joint(), first.counts), 1, 1.0)
    room = removed if margins else first.counts - keep
    expected = set()
    for i in range(5):
        mine = np.flatnonzero(labels == i)
        own = probabilities[mine, i]
        for j in range(5):
            if margins and j != i:
                key, take = -(probabilities[mine, j] - own), removed.toarray()[i, j]
            elif not margins and j == i:
                key, take = own, room[i]
            else:
                continue
            expected |= set(mine[np.argsort(key, kind="stable")[:take]].tolist())
    edges = [0, *cuts, 600]
    block = Rows(0, labels, bits_of(probabilities))
    whole = next(iter(sweep.annotate([block])))
    assert whole.status is not None
    assert whole.gap is not None
    pieces = [
        Rows(a, labels[a:b], whole.bits[a:b], whole.status[a:b], whole.gap[a:b]) for a, b in itertools.pairwise(edges)
    ]
    for order in (pieces, pieces[::-1]):
        top = TopRows(room, np.float32)
        for piece in order:
            share = pickle.loads(pickle.dumps(top.fresh()))
            share.update(piece)
            top.merge(pickle.loads(pickle.dumps(share)))
        assert set(top.chosen().tolist()) == expected
        straight = TopRows(room, np.float32)
        for piece in order:
            straight.update(piece)
        assert set(straight.chosen().tolist()) == expected


def test_off_diagonal_status_is_the_joint() -> None:
    labels, probabilities = example(3000, 6, np.float32)
    _, sweep = swept(labels, probabilities)
    assert sweep.results is not None
    joint = sweep.joint()
    assert ((sweep.results.status & OFF_DIAGONAL) > 0).sum() == joint.sum() - np.trace(joint)
