"""Slices against plain loops, real shuffles, planted slices and noise."""

from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.stats import hypergeom

from assay.audit.slices import Histograms, Slices, chance, conditions_of
from assay.errors import InputError


def table(rng, n, d=8):
    """Half the columns categories of falling frequency, half numbers."""
    shares = np.arange(8, 0, -1) / 36
    columns = {f"c{i}": rng.choice(list("abcdefgh"), n, p=shares) for i in range(d // 2)}
    return columns | {f"x{i}": rng.normal(size=n) for i in range(d - d // 2)}


def planted(seed, n=5000):
    rng = np.random.default_rng(seed)
    columns = table(rng, n)
    pair, single = (columns["c0"] == "b") & (columns["x1"] > 0.5), columns["c2"] == "d"
    rate = np.where(pair, 0.3, np.where(single, 0.15, 0.04))
    return columns, rng.random(n) < rate, rate


# By hand


def test_every_condition_is_counted_as_a_loop_counts():
    rng = np.random.default_rng(0)
    n = 400
    columns = {"c": rng.choice(list("abc"), n), "x": rng.normal(size=n)}
    columns["x"][:30] = np.nan
    w = rng.random(n)
    arrow = pa.table(columns)
    conditions = [conditions_of(name, arrow[name], 4, 10, 5) for name in arrow.column_names]
    search = Histograms(conditions, w, 2)

    def holds(text, row):
        if text.endswith("is missing"):
            return np.isnan(columns["x"][row])
        if text.startswith("c"):
            return columns["c"][row] == text[4:]
        return eval(text, {"x": columns["x"][row]})

    for family in search.bins:
        texts = [conditions[column].texts for column in family]
        _, z, p = search.scores(family, 1, 1.0)
        for where in product(*(range(len(t)) for t in texts)):
            inside = [all(holds(t[at], row) for t, at in zip(texts, where, strict=True)) for row in range(n)]
            mask, text = search.fulfilled(family, where)
            assert mask.tolist() == inside
            assert text == " and ".join(t[at] for t, at in zip(texts, where, strict=True))
            m = sum(inside)
            if 0 < m < n and np.isfinite(z[where]):
                error = w.std() * np.sqrt((1 / m) * (1 - m / n) * n / (n - 1))
                assert z[where] == pytest.approx((w[inside].mean() - w.mean()) / error)
                assert 0 <= p[where] <= 1


@pytest.mark.parametrize("kind", ["rare", "common", "skewed"])
def test_p_is_that_of_real_shuffles(kind):
    rng = np.random.default_rng(1)
    n, m = 1000, 60
    w = {"rare": rng.random(n) < 0.02, "common": rng.random(n) < 0.4, "skewed": rng.beta(0.2, 2, n)}[kind].astype(float)
    drawn = np.array([rng.permutation(w)[:m].sum() for _ in range(40_000)])
    third = np.mean((w - w.mean()) ** 3) / w.std() ** 3
    for level in (0.5, 0.9, 0.99, 0.999):
        at = np.quantile(drawn, level)
        found = chance(np.array(m), np.array(at), n, w.mean(), w.std(), third)[1]
        # Whole counts fall in steps: the smooth p must lie between both sides of the step, give or take.
        assert np.mean(drawn > at) / 1.5 - 2e-4 <= found <= np.mean(drawn >= at) * 1.5 + 2e-4


def test_p_of_rare_suspects_is_not_that_of_a_bell():
    """4 suspects of 20 in 50 of 5000 rows: the bell says 1e-18, the exact count 3e-5."""
    n, k, m = 5000, 20, 50
    mean = k / n
    spread = np.sqrt(mean * (1 - mean))
    found = float(chance(np.array(m), np.array(4.0), n, mean, spread, (1 - 2 * mean) / spread)[1])
    exact = hypergeom.sf(3, n, k, m)
    assert exact / 20 < found < 20 * exact


def test_the_table_of_a_slice_by_loop():
    columns, wrong, _ = planted(0)
    found = Slices().fit(columns, wrong)
    assert len(found.rows_) >= 2
    for at, rows in enumerate(found.rows_):
        rest = np.setdiff1d(np.arange(5000), rows)
        assert found.slices_["rows"][at] == len(rows)
        assert found.slices_["rate"][at] == pytest.approx(wrong[rows].mean())
        assert found.slices_["rest_rate"][at] == pytest.approx(wrong[rest].mean())
        assert found.slices_["share"][at] == pytest.approx(wrong[rows].sum() / wrong.sum())
        low, high = found.slices_["effect_low"][at], found.slices_["effect_high"][at]
        assert 0 < low < wrong[rows].mean() - wrong[rest].mean() < high
    assert len({len(column) for column in found.evidence().values()}) == 1


# Limits


def test_nothing_suspected_everything_suspected_nothing_found():
    columns = table(np.random.default_rng(0), 500)
    for wrong in (np.zeros(500), np.ones(500), np.full(500, 0.3)):
        found = Slices().fit(columns, wrong)
        assert found.rows_ == []
        assert {len(column) for column in found.evidence().values()} == {0}


def test_missing_values_are_a_condition():
    rng = np.random.default_rng(0)
    age = rng.normal(40, 10, 2000)
    age[:300] = np.nan
    wrong = rng.random(2000) < np.where(np.isnan(age), 0.4, 0.05)
    found = Slices().fit({"age": age, "other": rng.random(2000)}, wrong)
    assert found.slices_["condition"].tolist() == ["age is missing"]


def test_the_same_thing_is_said_once():
    """A copy of a column, and a finer column that implies it, add nothing."""
    rng = np.random.default_rng(0)
    source = rng.choice(["web", "shop", "mail"], 3000)
    wrong = rng.random(3000) < np.where(source == "mail", 0.3, 0.05)
    columns = {"source": source, "copy": np.char.upper(source), "number": (source == "mail") * 1}
    found = Slices().fit(columns, wrong)
    assert len(found.rows_) == 1
    assert (source[found.rows_[0]] == "mail").all()


def test_a_simple_truth_gets_a_simple_slice():
    rng = np.random.default_rng(3)
    columns = table(rng, 4000)
    found = Slices().fit(columns, rng.random(4000) < np.where(columns["c1"] == "a", 0.25, 0.05))
    assert found.slices_["condition"].tolist() == ["c1 = a"]


def test_depth_one_tries_single_conditions():
    columns, wrong, _ = planted(1)
    found = Slices(max_depth=1).fit(columns, wrong)
    assert not any(" and " in text for text in found.slices_["condition"])


def test_free_text_and_ids_are_harmless():
    rng = np.random.default_rng(0)
    found = Slices().fit({"id": np.arange(500).astype(str), "flag": rng.random(500) < 0.5}, rng.random(500) < 0.1)
    assert found.rows_ == []


# State and permutation


def test_row_order_and_kind_of_table_change_nothing():
    columns, wrong, _ = planted(2)
    found = Slices().fit(columns, wrong)
    order = np.random.default_rng(0).permutation(5000)
    for kind in (pa.table(columns), pd.DataFrame(columns), pl.DataFrame(columns)):
        assert Slices().fit(kind, wrong).slices_["condition"].tolist() == found.slices_["condition"].tolist()
    shuffled = Slices().fit({name: column[order] for name, column in columns.items()}, wrong[order])
    assert shuffled.slices_["condition"].tolist() == found.slices_["condition"].tolist()
    assert [sorted(order[rows]) for rows in shuffled.rows_] == [rows.tolist() for rows in found.rows_]


@pytest.mark.parametrize(
    ("columns", "wrong", "says"),
    [
        ({"a": [1, 2]}, [0.5], "2"),
        ({"a": [1, 2]}, [0.5, 1.5], "first offending row: 1"),
        ({"a": [1, 2]}, [np.nan, 0], "first offending row: 0"),
        ({}, [], "at least one"),
        ({"a": [[1], [2]]}, [0, 1], "convert it or drop it"),
    ],
)
def test_bad_input_teaches(columns, wrong, says):
    with pytest.raises(InputError, match=says):
        Slices().fit(columns, wrong)


# Claim


def test_planted_slices_are_found():
    hits, misses = 0, 0
    for seed in range(5):
        columns, wrong, rate = planted(seed)
        found = Slices().fit(columns, wrong)
        assert any("c0 = b and x1 >" in text for text in found.slices_["condition"])
        assert "c2 = d" in found.slices_["condition"].tolist()
        for rows in found.rows_:
            hits += rate[rows].mean() > 0.08
            misses += rate[rows].mean() <= 0.08
    assert hits >= 10
    assert misses == 0


@pytest.mark.claim
@pytest.mark.parametrize("kind", ["half", "twentieth", "rare", "probability", "skewed"])
def test_noise_has_no_slices(kind):
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = 1500
        columns = table(rng, n, 6)
        share = {"half": 0.5, "twentieth": 0.05, "rare": 0.005}.get(kind)
        wrong = rng.random(n) if kind == "probability" else rng.beta(0.05, 1, n)
        found += len(Slices().fit(columns, wrong if share is None else rng.random(n) < share).rows_) > 0
    assert found / 200 <= 0.05 + 1.64 * np.sqrt(0.05 * 0.95 / 200)
