"""Co-teaching by hand, at its limits, in its state, and its claim."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import estimator_checks_generator

from assay.errors import InputError
from assay.learn.co_teaching import CoTeaching, CoTeachingClassifier
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch, Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import interval, make_case, measure
from assay.training.deep.recipe import Recipe
from assay.training.deep.targets import cross_entropy
from assay.training.noise import symmetric

X, Y = load_digits(return_X_y=True)
CARD = Recipe(epochs=60, batch_size=64, lr=0.05, momentum=0.0, weight_decay=0.0)


def network():
    return mlp((64,), 10, hidden=(32,))


def two(norm=False):
    torch.manual_seed(0)
    return [mlp((5,), 3, hidden=(8,), norm=norm) for _ in range(2)]


def test_each_learns_from_what_the_other_finds_easy():
    models = two()
    objective = CoTeaching(noise_rate=0.5, ramp=0)
    objective.begin(9, 3)
    batch = Batch(torch.randn(7, 5), torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.tensor([8, 1, 2, 3, 4, 5, 6]))
    found = objective(batch, models)
    found.backward()
    losses = [cross_entropy(model(batch.inputs), batch.targets) for model in models]
    easy = [sorted(range(7), key=lambda i, one=one: float(one[i].detach()))[:3] for one in losses]  # of 3.5
    assert easy[0] != easy[1]
    assert float(found) == pytest.approx(float(losses[0][easy[1]].mean() + losses[1][easy[0]].mean()), rel=1e-6)
    for k, model in enumerate(models):
        slopes = torch.autograd.grad(losses[k][easy[1 - k]].mean(), list(model.parameters()))
        for parameter, slope in zip(model.parameters(), slopes, strict=True):
            torch.testing.assert_close(parameter.grad, slope)
    for i, row in enumerate(batch.rows):
        assert float(objective.selected[row]) == ((i in easy[0]) + (i in easy[1])) / 2
    assert objective.selected[[0, 7]].isnan().all()


def test_without_noise_it_is_two_networks_by_cross_entropy_to_the_bits():
    data = Data(X[:300] / 16, Y[:300], 10)

    class Two(Objective):
        n_models = 2

        def forward(self, batch, model):
            return sum(batch.mean(self.loss(one(batch.inputs), batch.targets, batch.rows)) for one in model)

    ours, plain = (fit(o, network, data, Recipe(epochs=2)).model for o in (CoTeaching(0.0), Two()))
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_two_identical_networks_pick_for_themselves_and_stay_identical():
    one, other = two()
    other.load_state_dict(one.state_dict())
    objective = CoTeaching(0.4, ramp=0)
    objective.begin(10, 3)
    optimizer = torch.optim.SGD([*one.parameters(), *other.parameters()], 0.1)
    batch = Batch(torch.randn(10, 5), torch.arange(10) % 3, torch.arange(10))
    for _ in range(3):
        alone = cross_entropy(one(batch.inputs), batch.targets).sort().values[:6].mean()
        loss = objective(batch, [one, other])
        torch.testing.assert_close(loss, 2 * alone)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert set(objective.selected.tolist()) == {0.0, 1.0}
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_who_knows_the_truth_selects_the_right_labels():
    class Knows(torch.nn.Module):
        def forward(self, truth):
            return 9 * torch.nn.functional.one_hot(truth, 4).float().requires_grad_()

    truth = torch.arange(40) % 4
    given = torch.where(torch.arange(40) % 5 < 2, (truth + 1) % 4, truth)  # 40 % wrong
    objective = CoTeaching(0.4, ramp=0)
    objective.begin(40, 4)
    objective(Batch(truth, given, torch.arange(40)), [Knows(), Knows()])
    assert torch.equal(objective.selected == 1, given == truth)


def test_more_is_left_out_epoch_by_epoch():
    objective = CoTeaching(0.5, ramp=2)
    objective.begin(8, 3)
    x, y = torch.randn(8, 5), torch.arange(8) % 3
    kept = []
    for epoch in range(4):
        objective(Batch(x, y, torch.arange(8), epoch=epoch), two())
        kept.append(float(objective.selected.sum()))
    assert kept == [8, 6, 4, 4]


def test_state_is_saved_and_a_resume_goes_on(tmp_path):
    data = Data(X[:300] / 16, Y[:300], 10)
    recipe = Recipe(epochs=3)
    whole = fit(CoTeaching(0.3, ramp=2), network, data, recipe)

    class Kill(Exception):
        pass

    def killed(done, _):
        if done == 8:
            raise Kill

    path = tmp_path / "run.ckpt"
    with pytest.raises(Kill):
        fit(CoTeaching(0.3, ramp=2), network, data, recipe, checkpoint=path, checkpoint_steps=1, on_step=killed)
    again = fit(CoTeaching(0.3, ramp=2), network, data, recipe, checkpoint=path)
    assert torch.equal(again.objective.selected, whole.objective.selected)
    for mine, theirs in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    told = whole.objective.evidence(data.targets)
    assert np.array_equal(told["selected"], whole.objective.selected.numpy())


def test_contract_of_scikit_learn():
    quick = CoTeachingClassifier(recipe=Recipe(epochs=4, lr=0.1))
    kept = {"check_estimators_pickle", "check_fit_idempotent", "check_estimators_nan_inf", "check_classifiers_classes"}
    for model, check in estimator_checks_generator(quick):
        if getattr(check, "func", check).__name__ in kept:
            check(model)


def test_bad_arguments():
    for noise_rate in (-0.1, 1.0, math.nan):
        with pytest.raises(InputError, match="noise_rate is"):
            CoTeaching(noise_rate)


@pytest.mark.claim
def test_claim():
    """Five seeds: the lower bounds of the gain in the last epoch and of the precision of the selection."""

    def case(seed):
        return make_case(X / 16, Y, 10, lambda truth: symmetric(truth, 10, 0.4, seed=seed).labels, seed=seed)

    made = []

    def make():
        made.append(CoTeaching(0.4))
        return made[-1]

    plain, ours = (measure(o, lambda: mlp((64,), 10), case, CARD, range(5)) for o in (Objective, make))
    assert interval([a.last - b.last for a, b in zip(ours, plain, strict=True)])["low"] > 0.15
    right = [(~case(seed).wrong)[objective.selected.numpy() == 1].mean() for seed, objective in enumerate(made)]
    assert interval(right)["low"] > 0.9
