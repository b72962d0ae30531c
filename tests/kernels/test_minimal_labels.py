"""The search for minimal labels: equal to brute force, within its budget, the same every time."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.kernels.minimal_labels import SEARCHES as EVERY
from assay.kernels.minimal_labels import children, kept, lowest_or_highest, minimal_labels

LAM = 0.1
SEARCHES = [search for search in EVERY if search != "conservative"]


def joins(items, bottom=0):
    """Every join of a subset, by brute force."""
    found = {bottom}
    for size in range(1, len(items) + 1):
        for chosen in itertools.combinations(items, size):
            found.add(np.bitwise_or.reduce([bottom, *chosen]))
    return {int(label) for label in found}


def minimal(labels):
    return sorted(a for a in labels if not any(b != a and b & ~a == 0 for b in labels))


def by_the_card(items, similar, bottom):
    """The recursion as the paper's description has it."""
    memo, asked = {}, set()

    def walk(label):
        if label not in memo:
            below = set()
            for child in children(items, label, bottom):
                asked.add(child)
                if similar(child):
                    below |= walk(child)
            memo[label] = below or {label}
        return memo[label]

    top = max(joins(items, bottom), key=int.bit_count)
    return sorted(walk(top)), len(asked)


@st.composite
def monotone(draw):
    """Labels of up to six items, and a loss that never falls when items are taken away."""
    items = draw(st.lists(st.integers(0, 31), min_size=0, max_size=6))
    bottom = draw(st.sampled_from([0, 0, 1, 6]))
    every = sorted(joins(items, bottom), key=int.bit_count)
    raw = {label: draw(st.floats(0, 1)) for label in every}
    loss = {label: max(raw[above] for above in every if label & ~above == 0) for label in every}
    loss[every[-1]] = 0.0
    return items, bottom, loss


@settings(max_examples=300, deadline=None)
@given(monotone(), st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.sampled_from([1, 4, 1000]))
def test_equal_to_brute_force(drawn, lam, batch):
    items, bottom, loss = drawn
    expected = minimal([label for label, lost in loss.items() if lost <= lam])

    def run(search):
        return minimal_labels(
            items, lambda m: [loss[x] for x in m], lam, bottom=bottom, search=search, max_calls=99, batch=batch
        )

    tried = run("exact")
    assert tried.minimal == expected
    assert (tried.minimal, tried.calls) == by_the_card(items, lambda label: loss[label] <= lam, bottom)
    assert run("exhaustive").minimal == expected
    fewest = min(label.bit_count() for label in expected)
    assert run("upward").minimal == [label for label in expected if label.bit_count() == fewest]
    for search in ("greedy", "leave-one-out"):
        (found,) = run(search).minimal
        assert found in expected


@given(st.lists(st.integers(0, 63), max_size=7), st.sampled_from([0, 3]))
def test_children_are_the_highest_joins_below(items, bottom):
    every = joins(items, bottom)
    for label in every:
        below = [other for other in every if other != label and other & ~label == 0]
        highest = sorted(a for a in below if not any(b != a and a & ~b == 0 for b in below))
        assert children(items, label, bottom) == highest
        assert lowest_or_highest(below, highest=True) == highest
        assert lowest_or_highest(below) == minimal(below)


def needs(*sources):
    wanted = sum(1 << s for s in sources)
    return lambda labels: [0.0 if wanted & ~label == 0 else 3.0 for label in labels]


@pytest.mark.parametrize(("n", "reported"), [(4, 14), (6, 59), (8, 234), (10, 972)])
def test_calls_on_sets_of_sources(n, reported):
    """Of r needed sources among n, the exact search scores what lacks at most one: (r + 1) 2^(n - r) - 1 labels.

    The card's runs, in which an answer needed one source or two, lie between the two.
    """
    items = [1 << at for at in range(n)]

    def calls(search, *sources):
        tried = minimal_labels(items, needs(*sources), LAM, search=search, max_calls=2000)
        assert tried.minimal == [sum(1 << s for s in sources)]
        return tried.calls

    assert [calls("exact", *range(r)) for r in (1, 2, 3)] == [(r + 1) * 2 ** (n - r) - 1 for r in (1, 2, 3)]
    assert calls("exact", 0, 1) <= reported <= calls("exact", 0)
    assert calls("greedy", 0) == n * (n + 1) // 2
    assert [calls("leave-one-out", *range(r)) for r in (1, 2)] == [n + 1 + r for r in (1, 2)]
    assert calls("upward", 0) == n + 1


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("needed", range(8))
def test_chains_take_at_most_n_calls(search, needed):
    levels = [(1 << at) - 1 for at in range(8)]
    tried = minimal_labels(levels[::-1], lambda m: [0.0 if x >= levels[needed] else 1.0 for x in m], LAM, search=search)
    assert tried.minimal == [levels[needed]]
    assert tried.calls <= 8


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("budget", [0, 1, 5, 8, 9, 20, 40, 100])
def test_a_spent_budget_leaves_a_label_that_suffices(search, budget):
    asked = []

    def score(labels):
        asked.extend(labels)
        return needs(2, 5)(labels)

    items = [1 << at for at in range(8)]
    tried = minimal_labels(items, score, LAM, search=search, max_calls=budget, batch=1)
    assert len(asked) == len(set(asked)) == tried.calls <= budget
    assert all(label & 0b100100 == 0b100100 for label in tried.minimal)
    if not tried.spent:
        assert tried.minimal == [0b100100]
    if search == "exact" and budget >= 36:
        assert tried.minimal == [0b100100]  # straight down first, as greedy goes


def test_rounds_hold_many_labels():
    items = [1 << at for at in range(8)]
    rounds = [minimal_labels(items, needs(0), LAM, max_calls=999, batch=batch).rounds for batch in (1, 16, 999)]
    assert rounds[0] > 4 * rounds[1] > 4 * rounds[2]


def test_a_distractor_hides_a_lower_label_from_the_way_down():
    """Without item 0 item 1 misleads; without both all is well. Downward search stops early: higher, and enough."""
    loss = {0b11: 0.0, 0b10: 3.0, 0b01: 3.0, 0b00: 0.0}

    def run(search):
        return minimal_labels([1, 2], lambda m: [loss[x] for x in m], LAM, search=search).minimal

    assert run("exact") == run("greedy") == [0b11]
    assert run("leave-one-out") == [0b11]
    assert run("exhaustive") == run("upward") == [0b00]  # asked for, and as safe: it is scored


def test_two_copies_of_a_fact_are_two_labels():
    def either(labels):
        return [0.0 if label & 0b011 else 3.0 for label in labels]

    assert minimal_labels([1, 2, 4], either, LAM).minimal == [0b001, 0b010]
    assert minimal_labels([1, 2, 4], either, LAM, search="leave-one-out").minimal == [0b001]  # its shortcut fails


@pytest.mark.parametrize("search", SEARCHES)
def test_what_is_no_number_is_rejected(search):
    for bad in (math.nan, math.inf):
        tried = minimal_labels([1, 2], lambda m, bad=bad: [bad] * len(m), math.inf, search=search)
        assert tried.minimal == [0b11]
        assert set(tried.losses.values()) == {math.inf}


@pytest.mark.parametrize("search", SEARCHES)
def test_nothing_to_search(search):
    none = minimal_labels([], needs(0), LAM, search=search)
    assert (none.minimal, none.calls) == ([0], 0)
    free = minimal_labels([1, 3], needs(0), LAM, search=search, bottom=0b111)
    assert (free.minimal, free.calls) == ([0b111], 0)
    alike = minimal_labels([1, 1, 1], needs(0), LAM, search=search)
    assert (alike.minimal, alike.calls) == ([1], 1)  # one node, and the bottom
    assert minimal_labels([1, 2], lambda m: [0.0] * len(m), 0.0, search=search).minimal == [0]


@pytest.mark.parametrize("search", SEARCHES)
def test_ties_and_order_of_items_change_nothing(search):
    rng = np.random.default_rng(0)
    items = [1 << at for at in range(6)]

    def either(labels):
        return [0.0 if label & 0b010110 else 3.0 for label in labels]

    first = minimal_labels(items, either, LAM, search=search)
    for _ in range(5):
        again = minimal_labels(rng.permutation(items).tolist(), either, LAM, search=search)
        assert again.minimal == first.minimal
        assert list(again.losses) == list(first.losses)


def test_kept_items_grow_with_the_label():
    items = [0b01, 0b10, 0b11, 0b00]
    assert [kept(items, label) for label in range(4)] == [(3,), (0, 3), (1, 3), (0, 1, 2, 3)]


def test_the_conservative_label_is_the_join():
    tried = minimal_labels([1, 4, 4], needs(0), LAM, search="conservative", bottom=8)
    assert (tried.minimal, tried.calls) == ([13], 0)
