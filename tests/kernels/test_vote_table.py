"""The vote store: a stable sort by task, a second index by worker, bad codes named."""

import numpy as np
import pytest

from assay.errors import InputError
from assay.kernels.vote_table import WIDE, task_parts, vote_table


def random_votes(v: int, n: int, w: int, k: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(size, size=v).astype(np.int32) for size in (n, w, k))


@pytest.mark.parametrize("v", [0, 1, 50, 40_000])  # the last is placed by two threads
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_a_stable_sort(v: int, weighted: bool):
    task, worker, label = random_votes(v, 70, 9, 4)
    weight = np.random.default_rng(1).random(v).astype(np.float32) if weighted else None
    table = vote_table(task, worker, label, 70, 9, 4, weight)
    order = np.argsort(task, kind="stable")
    assert np.array_equal(table.worker, worker[order])
    assert np.array_equal(table.label, label[order])
    assert np.array_equal(table.task(), task[order])
    assert np.array_equal(table.per_task(), np.bincount(task, minlength=70))
    if weight is not None:
        assert np.array_equal(table.weights, weight[order])
    else:
        assert table.weight is None
        assert len(table.weights) == 0


def test_by_worker_by_hand():
    table = vote_table(np.array([1, 0, 1, 2]), np.array([1, 1, 0, 1]), np.array([0, 1, 0, 1]), 4, 3, 2)
    wptr, order = table.by_worker()
    assert wptr.tolist() == [0, 1, 4, 4]
    assert table.task()[order].tolist() == [1, 0, 1, 2]
    assert table.by_worker()[1] is order
    assert table.per_worker().tolist() == [1, 3, 0]
    assert table.weight_per_worker().tolist() == [1, 3, 0]
    weighed = vote_table(np.array([1, 0]), np.array([1, 1]), np.array([0, 0]), 2, 3, 1, np.array([0.5, 2.0]))
    assert weighed.weight_per_worker().tolist() == [0, 2.5, 0]


def test_columns_in_order_are_not_copied():
    task, worker, label = np.array([0, 0, 2]), np.array([1, 0, 1], np.int32), np.array([1, 1, 0], np.int16)
    table = vote_table(task, worker, label, 3, 2, 2)
    assert np.shares_memory(table.worker, worker)
    assert np.shares_memory(table.label, label)
    assert not table.worker.flags.writeable
    assert worker.flags.writeable  # the caller's own array stays his
    assert table.ptr.tolist() == [0, 2, 2, 3]


def test_six_bytes_a_vote_until_there_are_many_classes():
    task, worker, label = random_votes(100, 10, 5, 3)
    assert vote_table(task, worker, label, 10, 5, WIDE).label.dtype == np.int16
    wide = vote_table(task, worker, label + WIDE, 10, 5, WIDE + 3)
    assert wide.label.dtype == np.int32
    assert np.array_equal(np.sort(wide.label), np.sort(label + WIDE))


def test_parts_cover_every_task_once():
    task, worker, label = random_votes(100_000, 1000, 5, 3)
    edges = task_parts(vote_table(task, worker, label, 1000, 5, 3).ptr)
    assert edges[0] == 0
    assert edges[-1] == 1000
    assert np.all(np.diff(edges) >= 0)


@pytest.mark.parametrize(("column", "bad"), [("task", 3), ("worker", -1), ("label", 2)])
def test_bad_codes_are_named(column: str, bad: int):
    columns = {"task": np.array([0, 1, 2, 0]), "worker": np.array([0, 1, 1, 0]), "label": np.array([0, 1, 1, 0])}
    columns[column][2] = bad
    with pytest.raises(InputError, match="out of range") as error:
        vote_table(**columns, n_tasks=3, n_workers=2, n_classes=2)
    assert error.value.row == 2


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_weights_are_named(bad: float):
    with pytest.raises(InputError, match="weight") as error:
        vote_table(*[np.array([0, 0])] * 3, 1, 1, 1, np.array([1.0, bad]))
    assert error.value.row == 1


def test_lengths_must_agree():
    with pytest.raises(InputError, match="one length"):
        vote_table(np.array([0]), np.array([0, 0]), np.array([0]), 1, 1, 1)
