"""Features of rows: each number by loop, KL and overlap against other implementations, and at their limits."""

import itertools
import math
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from assay.training.deep.behaviour import Behaviour, gaussian_kl, group_moments, overlap


def test_kl_and_overlap_are_those_of_two_normals():
    rng = np.random.default_rng(0)
    cases = [*rng.uniform(0.05, 3, (30, 4)), [1, 1, 1, 1], [0, 2, 1, 2], [0, 1, 0, 1 + 1e-12], [0, 1e-9, 0, 1]]
    for m, s, n, t in cases:
        given = torch.tensor([m, s, n, t], dtype=torch.float64)
        one, other = NormalDist(m, max(s, 1e-8)), NormalDist(n, max(t, 1e-8))
        assert float(overlap(*given)) == pytest.approx(one.overlap(other), abs=1e-7)

        def density(x, a=m, b=s, c=n, d=t):
            log_p = -(((x - a) / b) ** 2) / 2 - math.log(b)
            return math.exp(log_p) / math.sqrt(2 * math.pi) * (log_p + ((x - c) / d) ** 2 / 2 + math.log(d))

        if s > 1e-6:
            area = quad(density, m - 9 * s, m + 9 * s, limit=200)[0]
            assert float(gaussian_kl(*given)) == pytest.approx(area, rel=1e-6, abs=1e-9)
    zero = torch.zeros(2)
    assert gaussian_kl(torch.ones(2), zero, zero, torch.ones(2)).tolist() == [0, 0]
    assert overlap(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0)) == 1


def test_features_by_loop():
    """Three batches through a memory of five rows a class, each number worked out one row at a time."""
    torch.manual_seed(3)
    behaviour = Behaviour(3, 5).double()
    held = {c: [] for c in range(3)}
    for _ in range(3):
        logits, y = torch.randn(4, 9, 3, dtype=torch.float64) * 2, torch.randint(3, (9,))
        found = behaviour(logits, y, y)
        rows = []
        for i, c in enumerate(y.tolist()):
            p = [row.softmax(0) for row in logits[:, i]]
            losses, sure = [-math.log(q[c]) for q in p], [float(q.max()) for q in p]
            votes = sum(int(q.argmax()) == c for q in p)
            agreed = int(votes > 2 or (votes == 2 and int(p[0].argmax()) == c))
            rows.append((c, [mean(losses), stdev(losses), mean(sure), stdev(sure)], agreed))
            held[c] = [*held[c], rows[-1][1:]][-5:]
        for i, (c, own, agreed) in enumerate(rows):
            group = [values for values, side in held[c] if side == agreed]
            if not group:  # pushed out by the rows after it
                continue
            middle = [mean(column) for column in zip(*group, strict=True)]

            def beside(values, at=middle):
                one, other = NormalDist(values[0], values[1]), NormalDist(at[0], at[1])
                kl = math.log(at[1] / values[1]) + (values[1] ** 2 + (values[0] - at[0]) ** 2) / (2 * at[1] ** 2) - 0.5
                return [kl, one.overlap(other)]

            columns = list(zip(*[[*values, *beside(values)] for values in group], strict=True))
            spread = [stdev(column) if len(group) > 1 else 1e-8 for column in columns]
            six = zip([*own, *beside(own)], map(mean, columns), spread, strict=True)
            expected = [*itertools.chain(*six), agreed]
            np.testing.assert_allclose(found[i], expected, rtol=1e-6, atol=1e-7)
    behaviour.forget()
    assert behaviour.filled.sum() == 0


def test_a_group_of_one_and_of_none():
    member = torch.tensor([[1.0, 0.0], [0.0, 0.0]])[..., None, None]
    means, stds = group_moments(torch.full((2, 2, 1, 1), 3.0), member)
    assert means.flatten().tolist() == [3, 0]
    assert stds.flatten().tolist() == [pytest.approx(1e-8), 0]


def test_one_pass_has_no_deviation_and_beliefs_are_judged_by_their_best_class():
    logits, y = torch.randn(1, 6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    hard, soft = (Behaviour(3, 5)(logits, t, y) for t in (y, torch.nn.functional.one_hot(y, 3).float()))
    torch.testing.assert_close(hard, soft)
    assert (hard[:, [3, 9, 12]] == 0).all()  # deviations, and KL
    assert torch.isfinite(hard).all()
