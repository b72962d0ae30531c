"""torch's permutation without torch: the same entries, for seeds and sizes at every edge."""

import numpy as np
import pytest
import torch

from assay.kernels.torch_shuffle import first_of_permutation, has_bit, in_permutation_head, permutation_heads


def of_torch(seed: int, n: int) -> np.ndarray:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy()


@pytest.mark.parametrize("n", [1, 2, 5, 623, 624, 625, 1249, 5000])
@pytest.mark.parametrize("seed", [0, 1, 15485863, 2**32 - 1, 2**32, 2**63 + 17, 2**64 - 2])
def test_first_entries_are_those_of_torch(seed: int, n: int):
    whole = of_torch(seed, n)
    for k in {0, 1, n // 4, n - 1, n}:
        order = np.empty(n, dtype=np.int32)
        first_of_permutation(np.uint32(seed % 2**32), n, k, order)
        assert order[:k].tolist() == whole[:k].tolist()


@pytest.mark.parametrize(("n", "k"), [(64, 16), (65, 65), (1000, 250), (1000, 0)])
def test_sets_as_bits_and_single_questions(n: int, k: int):
    seeds = np.array([3, 99, 3], dtype=np.uint32)
    bits = permutation_heads(seeds, n, k)
    for row, seed in enumerate(seeds.tolist()):
        green = np.isin(np.arange(n), of_torch(seed, n)[:k])
        everyone = np.arange(n)
        assert has_bit(np.repeat(bits[row : row + 1], n, axis=0), everyone).tolist() == green.tolist()
        assert in_permutation_head(np.full(n, seed, dtype=np.uint32), everyone, n, k).tolist() == green.tolist()
