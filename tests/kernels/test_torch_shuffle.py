"""torch's permutation without torch: the same entries, for seeds and sizes at every edge."""

import numpy as np
import pytest
import torch

from assay.kernels.torch_shuffle import first_of_permutation, in_permutation_heads, permutation_heads


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


@pytest.mark.parametrize(("n", "k"), [(64, 16), (65, 65), (1000, 250), (1000, 0), (1, 1)])
def test_masks_and_single_questions(n: int, k: int):
    seeds = np.array([3, 99, 3], dtype=np.uint32)
    masks = permutation_heads(seeds, n, k)
    everyone = np.arange(n)
    for row, seed in enumerate(seeds.tolist()):
        green = np.isin(everyone, of_torch(seed, n)[:k])
        assert masks[row].tolist() == green.tolist()
        assert in_permutation_heads(np.full(n, seed, dtype=np.uint32), everyone, n, k).tolist() == green.tolist()
        alone = [
            in_permutation_heads(np.array([seed], dtype=np.uint32), everyone[i : i + 1], n, k)[0] for i in range(n)
        ]
        assert alone == green.tolist()


def test_runs_of_seeds():
    seeds = np.array([1, 1, 2, 7, 7, 7, 1, 1], dtype=np.uint32)
    elements = np.array([5, 6, 5, 5, 6, 7, 6, 5])
    expected = [element in of_torch(seed, 50)[:20] for seed, element in zip(seeds.tolist(), elements, strict=True)]
    assert in_permutation_heads(seeds, elements, 50, 20).tolist() == expected
