"""Confident learning on a Ray cluster of two workers gives the bits that one process gives."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from assay.audit.confident_learning import FILTERS, ConfidentLearning
from assay.errors import InputError

pytestmark = pytest.mark.ray

N, K, SIZE = 3000, 6, 400


def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(0, N, SIZE):
        truth = rng.integers(0, K, SIZE)
        logits = rng.normal(size=(SIZE, K))
        logits[np.arange(SIZE), truth] += 2.5
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        yield np.where(rng.random(SIZE) < 0.2, rng.integers(0, K, SIZE), truth), probabilities.astype(np.float32)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", FILTERS)
def test_a_cluster_gives_the_same_bits(name: Any) -> None:
    alone = ConfidentLearning(filter_by=name).fit_blocks(blocks)
    together = ConfidentLearning(filter_by=name).fit_blocks(blocks, backend="ray")
    for attribute in ("thresholds_", "confident_joint_", "calibrated_joint_", "is_issue_", "scores_", "ranking_"):
        np.testing.assert_array_equal(getattr(alone, attribute), getattr(together, attribute), attribute)
    for column, values in alone.evidence().items():
        np.testing.assert_array_equal(values, together.evidence()[column])


@pytest.mark.usefixtures("cluster")
def test_an_error_on_a_worker_is_the_same_sentence() -> None:
    def spoiled() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, (labels, probabilities) in enumerate(blocks()):
            if number == 2:
                probabilities[5] = 0.5
            yield labels, probabilities

    with pytest.raises(InputError, match=f"sums to 3, not to 1.*first offending row: {2 * SIZE + 5}"):
        ConfidentLearning().fit_blocks(spoiled, backend="ray")
