"""Losses, weights and heads for long tails, and pretraining: by hand, at their limits, and in what they change."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from assay.errors import InputError
from assay.training.deep.backbones import mlp, small_cnn
from assay.training.deep.batches import Batch, Data, epoch_batches
from assay.training.deep.class_counts import CosineHead, balanced_sampling, class_weights
from assay.training.deep.long_tail import LongTail, retrain_head
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.pretext import Masking, Rotation, pretrain
from assay.training.deep.recipe import Recipe

X, Y = load_digits(return_X_y=True)
COUNTS = [8.0, 4.0, 1.0]
LOGITS, TARGETS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 2])


def begun(**arguments):
    objective = LongTail(counts=COUNTS, **arguments)
    objective.begin(5, 3)
    return objective


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "ldam"])
def test_losses_by_loop(loss):
    found = begun(loss=loss).loss(LOGITS, TARGETS, torch.arange(5))
    margins = [0.5 * n**-0.25 for n in COUNTS]  # the largest is that of the class with one row
    for i, y in enumerate(TARGETS.tolist()):
        z = LOGITS[i].clone()
        if loss == "ldam":
            z[y] -= margins[y]
            z *= 30
        p = float(z.softmax(0)[y])
        expected = -np.log(p) * (1 - p if loss == "focal" else 1)
        assert float(found[i]) == pytest.approx(expected, rel=1e-4)


def test_weights_have_mean_one_over_the_rows_and_come_late():
    objective = begun(weights="deferred", beta=1.0)
    network = mlp((2,), 3, norm=False)
    batch = Batch(torch.randn(5, 2), TARGETS, torch.arange(5), n_steps=10)
    plain = functional.cross_entropy(network(batch.inputs), TARGETS, reduction="none")
    for step in (0, 7):
        batch.step = step
        torch.testing.assert_close(objective(batch, network), plain.mean())
    batch.step = 8
    weights = torch.tensor([1 / n for n in COUNTS]) * 13 / 3  # 13 rows; each class weighs 13 / 3
    torch.testing.assert_close(objective(batch, network), (plain * weights[TARGETS]).mean())
    assert float((objective.weights_now * torch.tensor(COUNTS)).sum()) == pytest.approx(13, rel=1e-6)
    torch.testing.assert_close(objective.past[:, 0], plain.detach() * 3)  # remembered without weights
    again = begun(weights="deferred", beta=1.0)
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.weights_now, objective.weights_now)


def test_equal_classes_without_weights_are_cross_entropy():
    data = Data(X[:200] / 16, np.arange(200) % 10, 10)
    runs = [fit(o, partial(mlp, (64,), 10), data, Recipe(epochs=2)) for o in (Objective(), LongTail())]
    for mine, theirs in zip(*(run.model.parameters() for run in runs), strict=True):
        assert torch.equal(mine, theirs)
    for weights in ("all", "deferred"):
        objective = LongTail(weights=weights)
        objective.begin(200, 10, data)
        torch.testing.assert_close(objective._weights_of(1.0), torch.ones(10))


def test_suspicion_is_beside_the_rows_of_the_class():
    objective = begun()
    objective.remember(torch.tensor([0, 1, 3, 4]), torch.tensor([1.0, 2.0, 3.0, 9.0]))
    found = objective.suspects(TARGETS)
    torch.testing.assert_close(found, torch.tensor([-1.0, 0, np.nan, 1, 0]).double(), equal_nan=True)


def test_balanced_draws_are_balanced():
    targets = torch.tensor([0] * 80 + [1] * 15 + [2] * 5)
    chances = balanced_sampling(targets, class_weights(torch.tensor([80.0, 15, 5]), beta=1.0))
    many = np.concatenate([np.concatenate(epoch_batches(np.arange(100), 100, 0, e, chances)) for e in range(60)])
    share = np.bincount(targets[many], minlength=3) / len(many)
    assert np.abs(share - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(many))


def test_a_new_head_leaves_the_features_and_learns_the_rare_class():
    torch.manual_seed(0)
    y = np.array([0] * 190 + [1] * 10)
    data = Data(torch.randn(200, 5) + torch.from_numpy(y)[:, None] * 1.2, y, 2)
    run = fit(LongTail(), partial(mlp, (5,), 2, hidden=(8,), norm=False), data, Recipe(epochs=5))
    before = {name: value.clone() for name, value in run.model.encoder.state_dict().items()}
    recalled = float((run.logits(data.inputs).argmax(1) == 1)[190:].double().mean())
    retrain_head(run.model, data, Recipe(epochs=10))
    assert all(torch.equal(value, before[name]) for name, value in run.model.encoder.state_dict().items())
    assert float((run.logits(data.inputs).argmax(1) == 1)[190:].double().mean()) > recalled + 0.5


def test_ldam_gives_the_network_cosines_and_resumes(tmp_path):
    data = Data(X[:100] / 16, Y[:100], 10)
    runs = [
        fit(LongTail("ldam", "deferred"), partial(mlp, (64,), 10), data, Recipe(epochs=n), checkpoint=path)
        for n, path in ((3, None), (3, tmp_path / "a.ckpt"), (3, tmp_path / "a.ckpt"))
    ]
    assert isinstance(runs[0].model.head, CosineHead)
    said = [run.logits(data.inputs) for run in runs]
    assert torch.equal(said[0], said[1])
    assert torch.equal(said[1], said[2])
    assert 1 < said[0].abs().max() <= 30


def test_turns_by_hand():
    pictures = torch.arange(8 * 9).reshape(8, 1, 3, 3).float()
    seen = []

    def network(turned):
        seen.append(turned)
        return torch.zeros(len(turned), 4, requires_grad=True)

    objective = Rotation()
    objective.begin(8, 4)
    loss = objective(Batch(pictures, torch.zeros(8), torch.arange(8), generator=torch.Generator()), network)
    assert loss.item() == pytest.approx(np.log(4))
    turns = []
    for before, after in zip(pictures, seen[0], strict=True):
        (turn,) = [t for t in range(4) if np.array_equal(np.rot90(before[0].numpy(), t), after[0].numpy())]
        turns.append(turn)
    assert sorted(turns) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_only_what_was_replaced_is_asked_for():
    """The answer x + 1 is wrong by one everywhere; the answer "what I see" is right where nothing was replaced."""
    x = torch.randn(6, 4)
    objective = Masking(0.5)
    objective.begin(6, 4)
    batch = Batch(x, torch.zeros(6), torch.arange(6))
    torch.manual_seed(3)
    assert float(objective(batch, lambda _: x + 1)) == pytest.approx(1, rel=1e-5)
    objective.share = 1e-9
    assert float(objective(batch, lambda seen: seen)) == 0


@pytest.mark.parametrize("pretext", ["rotation", "masking"])
def test_pretraining_changes_all_features_and_no_head(pretext):
    pictures = torch.from_numpy(X[:256].reshape(-1, 1, 8, 8) / 16).float()
    network = small_cnn((1, 8, 8), 10, width=4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    history = pretrain(network, pictures, Recipe(epochs=5), pretext)
    assert history[-1]["loss"] < history[0]["loss"]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("head."), name


def test_bad_arguments():
    for arguments in ({"loss": "hinge"}, {"weights": "late"}, {"start": 2.0}):
        with pytest.raises(InputError):
            LongTail(**arguments)
    with pytest.raises(InputError, match="How many rows"):
        LongTail().begin(5, 3)
    with pytest.raises(InputError, match="it has none"):
        LongTail("ldam", counts=COUNTS).begin(5, 3, model=torch.nn.Linear(2, 3))
    with pytest.raises(InputError, match="one count a class"):
        LongTail(counts=[1.0]).begin(5, 3)
    with pytest.raises(InputError, match="square"):
        pretrain(mlp((3,), 2), torch.zeros(4, 3), Recipe(), "rotation")
    with pytest.raises(InputError, match="pretext is"):
        pretrain(mlp((3,), 2), torch.zeros(4, 3), Recipe(), "jigsaw")
    with pytest.raises(InputError, match="floats"):
        pretrain(mlp((3,), 2), torch.zeros(4, 3, dtype=torch.int64), Recipe(), "masking")
    with pytest.raises(InputError, match="share"):
        Masking(0)
