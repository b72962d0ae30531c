"""Duplicates against a plain quadratic loop, planted copies, and data that has none."""

from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from assay.audit.duplicates import Duplicates, chance_radius, exact_groups, normalised
from assay.errors import InputError


def loop(rows, labels, present):
    """Groups and verdicts by comparing every row with every other."""
    group = [next(j for j in range(len(rows)) if rows[j] == row) for row in rows]
    majority, share, conflict, suspect = [], [], [], []
    for i, g in enumerate(group):
        votes = Counter(labels[j] for j in range(len(rows)) if group[j] == g and present[j])
        best = max(votes.values(), default=0)
        modes = sorted(label for label, count in votes.items() if count == best)
        majority.append(modes[0] if modes else None)
        share.append(votes[labels[i]] / sum(votes.values()) if present[i] else 0)
        conflict.append(len(votes) > 1)
        suspect.append(present[i] and len(votes) > 1 and not (len(modes) == 1 and modes[0] == labels[i]))
    return group, majority, share, conflict, suspect


# By hand


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_rows_equals_the_loop(seed):
    rng = np.random.default_rng(seed)
    n = 120
    first, second = rng.integers(0, 4, n), rng.integers(0, 5, n) / 4
    labels, present = rng.integers(0, 3, n), rng.random(n) < 0.8
    rows = list(zip(first.tolist(), second.tolist(), strict=True))
    group, majority, share, conflict, suspect = loop(rows, labels.tolist(), present.tolist())
    columns = {"first": first.astype(str), "second": second}
    for kind in (
        np.column_stack([first, second]),
        np.column_stack([first, second])[:, :, None],
        columns,
        pa.table(columns),
        pa.table({"first": pa.array(first.astype(str)).dictionary_encode(), "second": second}),
        pd.DataFrame(columns),
        pl.DataFrame(columns),
        sparse.csr_array(np.column_stack([first, second])),
        [f"Row {a}  {b}" for a, b in rows],
        [f"{a} {b}".encode() for a, b in rows],
    ):
        found = Duplicates().fit(kind, labels, present)
        assert found.group_.tolist() == group
        said = np.array([m is not None for m in majority])
        assert found.majority_[said].tolist() == [m for m in majority if m is not None]
        assert found.share_ == pytest.approx(np.array(share))
        assert found.conflict_.tolist() == conflict
        assert found.suspect_.tolist() == suspect
        assert found.size_.tolist() == [group.count(g) for g in group]
        assert found.n_conflicts_ == len({g for g, c in zip(group, conflict, strict=True) if c})


def test_the_worked_example():
    found = Duplicates().fit([[1, 2], [1, 2], [1, 2], [3, 4], [3, 4], [5, 6]], [0, 0, 1, 1, 0, 1])
    assert found.suspect_.tolist() == [False, False, True, True, True, False]  # a tie suspects both
    assert (found.n_groups_, found.n_conflicts_) == (2, 2)
    evidence = found.evidence()
    assert evidence["row"].tolist() == [0, 1, 2, 3, 4]
    assert len({len(column) for column in evidence.values()}) == 1


# Limits


def test_missing_values_zeros_and_nans_are_equal_to_themselves():
    table = pa.table({"a": pa.array([None, None, 1.0, float("nan"), -float("nan"), 0.0, -0.0])})
    assert Duplicates().fit(table, np.zeros(7, dtype=int)).group_.tolist() == [0, 0, 2, 3, 3, 5, 5]
    array = np.array([np.nan, -np.nan, 0.0, -0.0])[:, None]
    assert Duplicates().fit(array, np.zeros(4, dtype=int)).group_.tolist() == [0, 0, 2, 2]


def test_text_is_compared_as_a_reader_does():
    assert normalised("ＦＵＬＬ\u00a0width ") == "full width"
    found = Duplicates().fit(["Straße ", "STRASSE", "strasse!"], [0, 1, 0])
    assert found.group_.tolist() == [0, 0, 2]


def test_no_copies_no_groups():
    found = Duplicates().fit(np.arange(10)[:, None], np.zeros(10, dtype=int))
    assert found.n_groups_ == 0
    assert len(found.evidence()["row"]) == 0


def test_a_group_without_labels_has_no_conflict():
    found = Duplicates().fit([[1], [1], [2]], [0, 1, 0], [False, False, True])
    assert not found.conflict_.any()
    assert found.n_groups_ == 0


def test_columns_stop_early():
    """Once every row is alone, no further column is read."""

    class Unread:
        def __getitem__(self, rows):
            raise AssertionError

    assert exact_groups([np.arange(5), Unread()], 5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("dimension", [2, 5, 20])
def test_learned_dimension_and_radius(dimension):
    """In a uniform cube the dimension is that of the cube, less what the edges of the cube take."""
    rng = np.random.default_rng(0)
    points = rng.random((2000, dimension))
    distances, _ = NearestNeighbors(n_neighbors=10).fit(points).kneighbors()
    radius, found = chance_radius(distances, 0.05)
    assert found == pytest.approx(dimension, rel=0.15 if dimension < 10 else 0.4)
    # Chance in the formula: a uniform neighbour lies within the radius with probability alpha / n.
    inside = (radius / distances[:, -1]) ** found
    assert 1 - (1 - inside) ** 9 == pytest.approx(np.full(2000, 0.05 / 2000), rel=1e-6)


def test_near_with_threshold_joins_chains_and_big_groups():
    points = np.r_[np.linspace(0, 1, 50), 5.0][:, None]
    found = Duplicates("near", threshold=0.03).fit(points, np.arange(51) % 2)
    assert found.group_.tolist() == [0] * 50 + [50]


def test_near_keeps_exact_copies_beyond_k():
    rng = np.random.default_rng(0)
    points = np.r_[rng.normal(size=(500, 5)), np.tile(rng.normal(size=(1, 5)), (40, 1))]
    found = Duplicates("near").fit(points, np.zeros(540, dtype=int))
    assert found.size_[500:].tolist() == [40] * 40


# State and permutation


@pytest.mark.parametrize("method", ["exact", "near"])
def test_permutation(method):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(300, 6))
    points[:20] = points[20:40] + (1e-3 if method == "near" else 0)
    labels = rng.integers(0, 2, 300)
    order = rng.permutation(300)
    found, again = (
        Duplicates(method).fit(points, labels),
        Duplicates(method).fit(points[order], labels[order]),
    )
    assert again.suspect_.tolist() == found.suspect_[order].tolist()
    assert again.size_.tolist() == found.size_[order].tolist()
    assert found.n_groups_ == 20


@pytest.mark.parametrize(
    ("method", "rows", "labels", "says"),
    [
        ("fuzzy", [[1], [2]], [0, 1], "exact"),
        ("exact", [[1], [2]], [0, 1, 1], "3 entries, expected 2"),
        ("exact", [[1], [2]], ["a", "b"], "integer codes"),
        ("near", [[1.0], [np.nan], [2.0]], [0, 1, 1], "first offending row: 1"),
        ("near", {"a": ["x", "y"]}, [0, 1], "embed the rows first"),
        ("near", np.eye(50), np.zeros(50, dtype=int), "as on a grid"),
    ],
)
def test_bad_input_teaches(method, rows, labels, says):
    with pytest.raises(InputError, match=says):
        Duplicates(method).fit(rows, labels)


# Claim


def test_near_copies_of_texts():
    rng = np.random.default_rng(0)
    start, middle, end = (
        ("ka", "lo", "mi", "ru", "te"),
        ("bar", "den", "fis", "gol", "pum"),
        ("en", "is", "o", "ut", "y"),
    )
    words = np.array([f"{a}{b}{c}" for a in start for b in middle for c in end])
    texts = [" ".join(rng.choice(words, 20)) for _ in range(400)]
    texts += [f"{text}." for text in texts[:20]]
    found = Duplicates("near").fit(texts, np.zeros(420, dtype=int))
    assert (found.group_[400:] == np.arange(20)).all()
    assert found.n_groups_ == 20


@pytest.mark.claim
@pytest.mark.parametrize("dimension", [3, 8, 30])
def test_planted_copies_are_found_and_none_where_there_are_none(dimension):
    found, false = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(1500, dimension)) @ rng.normal(size=(dimension, dimension))
        false.append(Duplicates("near").fit(points, np.zeros(1500, dtype=int)).n_groups_ > 0)
        usual = np.median(NearestNeighbors(n_neighbors=1).fit(points).kneighbors()[0])
        copies = points[:50] + 0.01 * usual * rng.normal(size=(50, dimension)) / np.sqrt(dimension)
        near = Duplicates("near").fit(np.r_[points, copies], np.zeros(1550, dtype=int))
        found.append(np.mean(near.group_[1500:] == np.arange(50)))
    assert np.mean(found) >= 0.95
    assert np.mean(false) <= 0.05 + 1.64 * np.sqrt(0.05 * 0.95 / 40)
