"""A training that is killed and started again ends in the very bits of one that was not; two processes equal one."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.deep.trainings import train, train_and_die, train_apart, train_in_two

from assay.errors import InputError
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe


def same(a: object, b: object) -> bool:
    """Equal to the bits, however nested."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("kind", ["one network", "two networks"])
def test_kill_and_resume_is_one_run_to_the_bits(tmp_path: Path, kind: str):
    for kill_at in (7, 23):  # in the first epoch, after a checkpoint at step 4; in the last, after one at step 20
        assert train_and_die(kind, tmp_path / "check.pt", kill_at) == -signal.SIGKILL
    found, expected = train_apart(kind, tmp_path / "check.pt"), train_apart(kind, tmp_path / "whole.pt")
    assert int(expected["objective"]["epochs"]) == 3
    assert same(expected, found)


def test_two_processes_give_the_result_of_one(tmp_path: Path):
    expected = train("plain")
    for found in train_in_two("plain", tmp_path):
        for part in ("model", "objective"):
            for name, value in expected[part].items():
                torch.testing.assert_close(found[part][name], value, atol=2e-5, rtol=1e-4, msg=f"{part}.{name}")
        for mine, theirs in zip(found["history"], expected["history"], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-4)
    assert (expected["objective"]["past"][:, 1] == 2).all()  # each row was visited once an epoch


def small(recipe: Recipe, checkpoint: Path, targets: object = (0, 1) * 20):
    data = Data(torch.arange(40.0)[:, None] % 2, list(targets), 2)
    return fit(
        Objective(), lambda: mlp((1,), 2, hidden=(4,)), data, recipe, checkpoint=checkpoint,
        on_epoch=lambda epoch, _: {"half": np.float64(epoch / 2)},  # what is told may be numbers of numpy
    )  # fmt: skip


def test_a_finished_run_is_returned_at_once(tmp_path: Path):
    first = small(Recipe(epochs=2), tmp_path / "check.pt")
    stamp = (tmp_path / "check.pt").stat().st_mtime_ns
    again = small(Recipe(epochs=2), tmp_path / "check.pt")
    assert (tmp_path / "check.pt").stat().st_mtime_ns == stamp
    assert again.history == first.history
    assert same(again.model.state_dict(), first.model.state_dict())


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path):
    small(Recipe(epochs=1), tmp_path / "check.pt")
    with pytest.raises(InputError, match="another recipe"):
        small(Recipe(epochs=2), tmp_path / "check.pt")
    with pytest.raises(InputError, match="another labels"):
        small(Recipe(epochs=1), tmp_path / "check.pt", (1, 0) * 20)
    data = Data(torch.arange(40.0)[:, None] % 2, [0, 1] * 20, 2)
    with pytest.raises(InputError, match="another network or objective"):
        fit(Objective(), lambda: mlp((1,), 2, hidden=(5,)), data, Recipe(epochs=1), checkpoint=tmp_path / "check.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_torn_checkpoint_is_one_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "check.pt").write_bytes(content)
    with pytest.raises(InputError, match="no whole checkpoint"):
        small(Recipe(epochs=1), tmp_path / "check.pt")


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"version": 1, "trap": Trap()}, tmp_path / "check.pt")
    with pytest.raises(InputError, match="no whole checkpoint"):
        small(Recipe(epochs=1), tmp_path / "check.pt")
    assert not (tmp_path / "sprung").exists()
