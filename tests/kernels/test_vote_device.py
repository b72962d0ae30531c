"""The sweep on a device of torch equals the sweep of the processor; a GPU is tried where there is one."""

import numpy as np
import pytest
from tests.aggregate.crowds import crowd

from assay.aggregate.dawid_skene import DawidSkene
from assay.aggregate.one_coin import OneCoin
from assay.errors import InputError
from assay.kernels import vote_device
from assay.labels import Hard, Space, Votes

torch = pytest.importorskip("torch")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", [DawidSkene, OneCoin])
@pytest.mark.parametrize(("weight", "known"), [(False, False), (True, True), (False, True)])
def test_equal_to_the_processor(monkeypatch, device, method, weight, known):
    monkeypatch.setattr(vote_device, "CHUNK", 37)
    votes, truth = crowd(n=80, weight=weight)
    gold = Hard(votes.space, truth, np.arange(80) % 5 == 0) if known else None
    here = method(max_iter=7, tol=0).fit(votes, gold)
    there = method(max_iter=7, tol=0, device=device).fit(votes, gold)
    assert np.allclose(there.belief_.p, here.belief_.p, atol=1e-11)
    assert np.allclose(there.log_likelihood_, here.log_likelihood_, atol=1e-8)
    assert np.allclose(there.prior_, here.prior_, atol=1e-12)


@pytest.mark.parametrize("method", [DawidSkene, OneCoin])
def test_tasks_without_votes(method):
    votes = Votes(Space(("a", "b")), [1, 1, 3], [0, 1, 0], [0, 0, 1], np.arange(5), np.array(["x", "y"]))
    assert np.allclose(method(device="cpu").fit(votes).belief_.p, method().fit(votes).belief_.p, atol=1e-11)


def test_an_absent_device_is_named():
    votes, _ = crowd(n=10)
    with pytest.raises(InputError, match="There is no device 'abacus' here"):
        DawidSkene(device="abacus").fit(votes)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="There is no device 'cuda' here"):
            DawidSkene(device="cuda").fit(votes)
