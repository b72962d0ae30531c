"""Keyed randomness: vectors by hand, the same bits everywhere, uniform, and streams that do not meet."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from assay.kernels import keyed_hash
from assay.language import randomness

MASK = 2**32 - 1
KEYS = st.integers(0, 2**64 - 1)
COUNTERS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5)


def by_hand(key: int, *counters: int) -> int:
    """The definition once more, in integers of any size."""
    state = 0
    for counter in (key % 2**32, key // 2**32, *counters):
        x = ((state ^ (counter * 0x9E3779B1) % 2**32) + 0x7F4A7C15) % 2**32
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        state = x ^ x >> 16
    return state


def test_known_values():
    """The bits are a format: text marked today is detected in years, so these numbers may never change."""
    assert keyed_hash.mix32(0) == by_hand(0) == KNOWN[0]
    assert keyed_hash.mix32(1, 2, 3) == by_hand(1, 2, 3) == KNOWN[1]
    assert keyed_hash.mix32(2**64 - 1, MASK, 0) == by_hand(2**64 - 1, MASK, 0) == KNOWN[2]
    assert randomness.separate(0, "sampling") == KNOWN[3]


KNOWN = (414692984, 1017498323, 2730718948, 16802272988119507140)


@settings(deadline=None)
@given(KEYS, COUNTERS)
def test_torch_numpy_and_compiled_loops_agree(key: int, counters: list[int]):
    expected = by_hand(key, *counters)
    assert keyed_hash.mix32(key, *counters) == expected
    for dtype in (np.int64, np.uint64):
        columns = [np.array([counter, counter], dtype=dtype) for counter in counters]
        assert keyed_hash.mix32(key, *columns).tolist() == [expected] * 2
    tensors = torch.tensor(counters)
    assert randomness.mix32(key, *tensors).item() == expected
    assert randomness.mix32(key, *counters).item() == expected
    assert randomness.states(key, tensors).item() == expected
    assert randomness.uniform(key, *tensors).item() == keyed_hash.uniform(key, *counters) == (expected + 0.5) / 2**32
    start = np.uint32(keyed_hash.key_state(key))
    assert keyed_hash.window_states(np.array([*counters, 0]), len(counters), start).tolist() == [expected]


def test_a_value_does_not_depend_on_its_batch():
    tokens = torch.randint(0, 50_000, (7, 3), generator=torch.Generator().manual_seed(0))
    whole = randomness.mix32(5, randomness.states(5, tokens)[:, None], torch.arange(100))
    for row in range(7):
        alone = randomness.mix32(5, randomness.states(5, tokens[row : row + 1])[:, None], torch.arange(100)[40:50])
        assert torch.equal(alone[0], whole[row, 40:50])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_uniform_whichever_counter_runs(axis: int):
    n = 1 << 16
    counters: list[object] = [3, 4, 5]
    counters[axis] = np.arange(n)
    drawn = keyed_hash.uniform(1234, *counters)
    assert kstest(drawn, "uniform").pvalue > 1e-3
    for shift in (0, 8, 16, 24):  # no byte of a value is favoured
        counts = np.bincount(keyed_hash.mix32(1234, *counters) >> shift & 255, minlength=256)
        assert chisquare(counts).pvalue > 1e-4


def test_uniform_over_keys():
    drawn = [keyed_hash.uniform(key, 0, 0) for key in range(4096)]
    assert kstest(drawn, "uniform").pvalue > 1e-3


def test_neighbours_are_independent():
    """Pairs of values whose keys, contexts or tokens differ by one fill the square evenly."""
    at = np.arange(1 << 15)
    for first, second in (
        ((1, at), (2, at)),
        ((1, at), (1, at + 1)),
        ((1, at, 7), (1, at, 8)),
        ((1, 7, at), (1, 8, at)),
    ):
        cells = (keyed_hash.mix32(*first) >> 28) * 16 + (keyed_hash.mix32(*second) >> 28)
        assert chisquare(np.bincount(cells, minlength=256)).pvalue > 1e-4


def test_every_bit_of_input_flips_half_of_the_output():
    at = np.arange(4096) * 104729
    base = keyed_hash.mix32(99, at)
    for bit in range(32):
        flipped = base ^ keyed_hash.mix32(99, at ^ (1 << bit))
        share = np.array([(flipped >> out & 1).mean() for out in range(32)])
        assert np.abs(share - 0.5).max() < 0.05


def test_separate_streams():
    names = ["mark", "sampling", "second", "rows"]
    keys = {name: randomness.separate(17, name) for name in names}
    assert len(set(keys.values())) == 4
    at = np.arange(1 << 14)
    for one, other in combinations(names, 2):
        assert abs(np.corrcoef(keyed_hash.uniform(keys[one], at), keyed_hash.uniform(keys[other], at))[0, 1]) < 0.03


def test_gumbel_is_the_transform_of_uniform():
    at = torch.arange(1 << 15)
    drawn = randomness.gumbel(1, at)
    assert torch.equal(drawn, -torch.log(-torch.log(randomness.uniform(1, at))))
    assert kstest(drawn.numpy(), "gumbel_r").pvalue > 1e-3
    assert torch.isfinite(randomness.gumbel(1, torch.arange(1 << 20))).all()
