import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_expit

from assay.errors import InputError
from assay.kernels.bag_class_messages import bag_class_messages
from assay.kernels.bag_messages import CAP, bag_messages, count_law
from assay.kernels.bag_propagation import count_factors
from assay.kernels.edge_messages import copy_chances, edge_messages
from assay.kernels.neighbour_graph import Graph


def by_definition(odds, table):
    """Messages of one bag: the law of the others by convolution, in long doubles."""
    p, q = (1 / (1 + np.exp(sign * odds.astype(np.longdouble))) for sign in (-1, 1))
    phi = np.exp(table.astype(np.longdouble) - table.max())
    out = []
    for i in range(len(odds)):
        law = np.ones(1, dtype=np.longdouble)
        for j in range(len(odds)):
            if j != i:
                law = np.convolve(law, [q[j], p[j]])
        out.append(np.log(law @ phi[1:]) - np.log(law @ phi[:-1]))
    return np.array(out, dtype=np.float64)


def by_dp(odds, table):
    """Forward and backward sums over counts, all in logarithms."""
    size = len(odds)
    p, q = log_expit(odds), log_expit(-odds)
    prefix = np.full((size + 1, size + 1), -np.inf)
    prefix[0, 0] = 0
    suffix = np.empty((size + 1, size + 1))  # [i, c]: members i.. with c ones before them, times phi
    suffix[size] = table
    for i in range(size):
        prefix[i + 1] = np.logaddexp(prefix[i] + q[i], np.r_[-np.inf, prefix[i, :-1] + p[i]])
    for i in range(size - 1, -1, -1):
        suffix[i] = np.logaddexp(suffix[i + 1] + q[i], np.r_[suffix[i + 1, 1:], -np.inf] + p[i])
    one = [np.logaddexp.reduce(prefix[i, :-1] + suffix[i + 1, 1:]) for i in range(size)]
    zero = [np.logaddexp.reduce(prefix[i] + suffix[i + 1]) for i in range(size)]
    return np.array(one) - np.array(zero)


def law_by_fft(p):
    """Law of the count by divide and conquer, products of polynomials by Fourier transforms."""
    if len(p) == 1:
        return np.array([1 - p[0], p[0]])
    a, b = law_by_fft(p[: len(p) // 2]), law_by_fft(p[len(p) // 2 :])
    n = len(a) + len(b) - 1
    return np.fft.irfft(np.fft.rfft(a, n) * np.fft.rfft(b, n), n)


def parabola(size, count, strength):
    return -strength * (np.arange(size + 1.0) - count) ** 2


@pytest.mark.parametrize("size", [1, 2, 3, 8, 40, 130])
def test_messages_are_the_definition(size):
    rng = np.random.default_rng(size)
    for strength in (0.01, 1, 10, 100):
        for scale in (0.1, 1, 5, 20):
            odds = scale * (rng.normal(size=size) + rng.normal())
            table = parabola(size, rng.integers(size + 1), strength)
            assert np.allclose(bag_messages(np.array([0, size]), odds, table), by_definition(odds, table), rtol=1e-10)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([-900.0, -40.0, -3.0, -0.1, 0.0, 0.7, 2.0, 40.0, 900.0]), min_size=1, max_size=9),
    st.integers(0, 9),
    st.sampled_from([0.0, 0.1, 3.0, 200.0, 1e4]),
)
def test_certain_members_and_sharp_counts(odds, count, strength):
    """Where members or counts are certain, numbers of any size meet: the beliefs still come out right."""
    odds, table = np.array(odds), parabola(len(odds), min(count, len(odds)), strength)
    got, wanted = bag_messages(np.array([0, len(odds)]), odds, table), np.clip(by_dp(odds, table), -CAP, CAP)
    assert np.allclose(expit(odds + got), expit(odds + wanted), atol=1e-12)


def test_a_bag_of_two_thousand_is_the_fft_of_the_others():
    rng = np.random.default_rng(0)
    odds, table = rng.normal(size=2048) - 1, parabola(2048, 700, 10.0)
    got = bag_messages(np.array([0, 2048]), odds, table)
    shift = 0.4  # brings the mean count to 700, so that rounding of the transforms does not matter
    for i in (0, 17, 2047):
        law = law_by_fft(expit(np.delete(odds, i) + shift))
        near = np.arange(690, 710)
        phi = np.exp(table - shift * (np.arange(2049) - 700))
        assert abs(got[i] - shift - np.log(law[near] @ phi[near + 1] / (law[near] @ phi[near]))) < 1e-9


def test_law_of_a_count_is_repeated_convolution():
    p = np.random.default_rng(1).random(60)
    law = np.ones(1)
    for each in p:
        law = np.convolve(law, [1 - each, each])
    assert np.allclose(count_law(p), law, rtol=1e-12, atol=1e-17)
    assert np.allclose(law_by_fft(p), law, atol=1e-15)


def test_bags_do_not_hear_each_other_and_threads_do_not_matter():
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 40, 2000)
    ptr = np.r_[0, np.cumsum(sizes)]
    odds = rng.normal(size=ptr[-1])
    factors = count_factors(sizes, np.stack([1 - (s := rng.random(2000)), s], axis=1))[0]
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = bag_messages(ptr, odds, factors)
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(one, bag_messages(ptr, odds, factors))
    for b in (0, 999, 1999):
        mine = slice(ptr[b], ptr[b + 1])
        table = factors[ptr[b] + b : ptr[b + 1] + b + 1]
        assert np.allclose(one[mine], bag_messages(np.array([0, sizes[b]]), odds[mine], table), atol=1e-12)


def test_a_warm_start_changes_nothing():
    odds, table = np.random.default_rng(3).normal(size=30) * 4, parabola(30, 4, 10.0)
    cold = bag_messages(np.array([0, 30]), odds, table)
    for start in (-80.0, 3.0, 500.0):
        assert np.allclose(bag_messages(np.array([0, 30]), odds, table, np.array([start])), cold, atol=1e-9)


def test_survey_factor_is_the_binomial_likelihood():
    factor = count_factors(np.array([4]), np.array([[0.7, 0.3]]), survey=10)[0]
    chance = np.arange(1, 4) / 4
    assert np.allclose(factor[1:4], 3 * np.log(chance) + 7 * np.log(1 - chance))
    assert factor[0] < factor[1] - 1000
    assert factor[4] < factor[3] - 1000
    none = count_factors(np.array([4]), np.array([[1.0, 0.0]]), survey=10)[0]
    assert np.allclose(none[:4], 10 * np.log(1 - np.arange(4) / 4))


def test_two_classes_told_as_classes_are_told_as_odds():
    rng = np.random.default_rng(4)
    scores, sizes = rng.normal(size=(12, 2)) * 2, np.array([12])
    shares = np.array([[7 / 12, 5 / 12]])
    binary = bag_messages(np.array([0, 12]), scores[:, 1] - scores[:, 0], count_factors(sizes, shares, np.inf)[0])
    both = -1e4 * (np.arange(13.0) - np.array([[7], [5]])) ** 2
    told = bag_class_messages(np.array([0, 12]), scores, both, np.zeros((1, 2)))
    assert np.allclose(told[:, 1] - told[:, 0], binary, atol=1e-6)


def test_edge_messages_by_hand():
    graph = Graph.of_edges([[0, 1], [1, 2]], np.zeros((3, 1)))
    odds, said = np.array([0.3, -2.0, 1.0]), np.array([0.1, 0.2, 0.3, 0.4])
    strong = np.where(np.isin(np.arange(4), [0, graph.twin[0]]), 0.5, 1.0)
    at, half = (graph.ptr, graph.other, graph.twin, copy_chances(strong, 2)), np.array([0.5, 0.5])
    change, new, heard = edge_messages(*at, half, odds, said, 0.5)
    told = []
    for e in range(4):
        cavity = odds[graph.other[e]] - said[graph.twin[e]]
        told.append(np.logaddexp(-strong[e], cavity) - np.logaddexp(0, cavity - strong[e]))
    assert np.allclose(new, (said + told) / 2)
    assert np.isclose(change, np.abs(told - said).max())
    assert np.allclose(heard, [new[0], new[1] + new[2], new[3]])
    scores, split = np.stack([0 * odds, odds], axis=1), np.stack([0 * said, said], axis=1)
    for rate in (half, np.array([0.8, 0.2])):
        _, binary, _ = edge_messages(*at, rate, odds, said, 0.0)
        _, of_classes, _ = edge_messages(*at, rate, scores, split, 0.0)
        assert np.allclose(of_classes[:, 1] - of_classes[:, 0], binary)


def test_a_row_that_knows_only_the_base_rate_says_nothing():
    graph, rate = Graph.of_edges([[0, 1], [1, 2]], np.zeros((3, 1))), np.array([0.9, 0.1])
    at = graph.ptr, graph.other, graph.twin, np.full(4, 0.7), rate
    assert np.allclose(edge_messages(*at, np.full(3, np.log(0.1 / 0.9)), np.zeros(4), 0.0)[1], 0)
    three = np.array([0.7, 0.2, 0.1])
    told = edge_messages(*at[:4], three, np.tile(np.log(three), (3, 1)), np.zeros((4, 3)), 0.0)[1]
    assert np.allclose(told, 0)
    potts = copy_chances(np.array([1.3]), 3)[0]
    factor = 1 - potts + potts * 3 * np.eye(3)
    assert np.allclose(factor / factor[0, 0], np.exp(-1.3 * (1 - np.eye(3))))


def test_neighbours_are_those_of_the_angle_and_pairs_come_once():
    rng = np.random.default_rng(5)
    points = rng.normal(size=(60, 4)) * rng.uniform(0.1, 10, (60, 1))
    points[50:] = points[:10]  # equal rows
    graph = Graph.nearest(points, 3)
    turned = points / np.linalg.norm(points, axis=1, keepdims=True)
    near = np.argsort(-(turned @ turned.T) + 9 * np.eye(60), axis=1, kind="stable")[:, :3]
    to = np.repeat(np.arange(60), np.diff(graph.ptr))
    pairs = set(zip(to.tolist(), graph.other.tolist(), strict=True))
    assert len(pairs) == len(to)
    assert all((j, i) in pairs and i != j for i, j in pairs)
    distinct = np.arange(10, 50)
    assert {(i, int(j)) for i in distinct for j in near[i] if j in distinct} <= pairs
    assert np.array_equal(to[graph.twin], graph.other)
    assert np.array_equal(graph.twin[graph.twin], np.arange(len(to)))
    assert np.allclose(graph.length, np.linalg.norm(points[to] - points[graph.other], axis=1))
    assert np.allclose(graph.couplings(2.0), 2 * np.exp(-graph.length / np.median(graph.length)))
    assert np.allclose(Graph.of_edges([[0], [1]], np.zeros((2, 2))).couplings(2.0), 2)
    assert len(Graph.nearest(points[:2], 10).other) == 2
    for edges, sentence in (([[0], [60]], "outside 0..59"), ([0, 1], "row numbers"), ([[0.5], [1.0]], "row numbers")):
        with pytest.raises(InputError, match=sentence):
            Graph.of_edges(edges, points)
