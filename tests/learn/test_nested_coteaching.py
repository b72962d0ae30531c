"""Nested dropout and Co-teaching by hand, at their limits, in their state, and their claim."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import estimator_checks_generator

from assay.errors import InputError
from assay.learn.nested_coteaching import (
    NestedCoTeaching,
    NestedCoTeachingClassifier,
    NestedDropout,
    frozen_norms,
)
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch, Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.prefixes import best_width, prefix, width_chances
from assay.training.deep.protocol import interval, make_case, measure
from assay.training.deep.recipe import Recipe
from assay.training.deep.targets import cross_entropy
from assay.training.noise import symmetric

X, Y = load_digits(return_X_y=True)
CARD = Recipe(epochs=60, batch_size=64, lr=0.05, momentum=0.0, weight_decay=0.0)
DATA, HELD = Data(X[:300] / 16, Y[:300], 10), Data(X[300:500] / 16, Y[300:500], 10)


def network():
    return mlp((64,), 10, hidden=(32,))


def two(norm=True):
    torch.manual_seed(0)
    return torch.nn.ModuleList(mlp((5,), 3, hidden=(8,), norm=norm) for _ in range(2))


def some(n=9, **more):
    torch.manual_seed(1)
    return Batch(torch.randn(n, 5), torch.arange(n) % 3, torch.arange(n), **more)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_loss_is_that_of_the_drawn_prefix():
    model = two()[0]
    objective = NestedDropout(sigma=4.0)
    objective.begin(9, 3)
    for seed in range(5):
        drawn = torch.multinomial(width_chances(8, 4.0), 1, generator=torch.Generator().manual_seed(seed))
        batch = some(generator=torch.Generator().manual_seed(seed))
        expected = cross_entropy(model.head(prefix(model.features(batch.inputs), int(drawn) + 1)), batch.targets)
        torch.testing.assert_close(objective(batch, model), expected.mean())


def test_drawn_widths_are_as_long_as_expected():
    objective = NestedDropout()
    objective.begin(9, 3)
    assert objective.scale == 10  # never below the least of the paper
    batch, model = some(generator=torch.Generator().manual_seed(0)), mlp((5,), 3, hidden=(64,))
    drawn = np.array([objective.draw(batch, model) for _ in range(4000)])
    assert drawn.mean() == pytest.approx(5.97, abs=0.3)
    assert (drawn > 20).mean() < 0.01


def test_with_all_features_it_is_cross_entropy_to_the_bits():
    """No dropout at all; and a mask that keeps everything."""

    class Whole(NestedDropout):
        def draw(self, batch, network):
            return network.head.in_features

    plain, *ours = (
        fit(o, network, DATA, Recipe(epochs=2)).model for o in (Objective(), NestedDropout(dropout=0.0), Whole())
    )
    assert all(same(one, plain) for one in ours)
    objective = Whole()
    objective.begin(300, 10)
    objective.width.fill_(32)
    assert torch.equal(objective.logits(plain, DATA.inputs), plain(DATA.inputs))


def test_the_width_is_chosen_on_held_out_rows_and_used():
    objective = NestedDropout()
    run = fit(objective, network, DATA, Recipe(epochs=4), validation=HELD)
    right = []
    with torch.no_grad():
        z = run.model.features(HELD.inputs)
        for width in range(1, 33):
            logits = run.model.head(prefix(z, width))
            right.append((logits.argmax(1) == HELD.targets).float().mean())
    assert int(objective.width) == best_width(torch.stack(right))[0]
    kept = run.model.head(prefix(z, int(objective.width)))
    torch.testing.assert_close(run.logits(HELD.inputs), kept.detach())
    masked = Data(HELD.inputs, HELD.targets, 10, labelled=np.arange(200) < 50)
    found = objective.accuracies(run.model, masked)
    torch.testing.assert_close(found, objective.accuracies(run.model, HELD.take(range(50))))
    assert found.shape == (2, 32)
    without = NestedDropout(sigma=7.5)
    fit(without, network, DATA, Recipe(epochs=1))
    assert int(without.width) == 8


def test_the_best_epoch_comes_with_its_width():
    widths = []

    class Watched(NestedDropout):
        def end_epoch(self, epoch, model, validation):
            super().end_epoch(epoch, model, validation)
            widths.append(int(self.width))

    run = fit(Watched(), network, DATA, Recipe(epochs=8), validation=HELD)
    assert len(set(widths)) > 1
    assert int(run.use("best").objective.width) == widths[run.best_epoch]


def test_each_network_learns_from_the_half_that_the_other_judged():
    models = two()
    models.train()
    objective = NestedCoTeaching(noise_rate=0.5, sigma=4.0, alone=0)
    objective.begin(9, 3, model=models)
    batch = some(generator=torch.Generator().manual_seed(3))
    width = int(torch.multinomial(width_chances(8, 4.0), 1, generator=torch.Generator().manual_seed(3))) + 1
    before = [{name: b.clone() for name, b in model.named_buffers()} for model in models]
    found = objective(batch, models)
    found.backward()
    for model, held in zip(models, before, strict=True):
        assert all(torch.equal(b, held[name]) for name, b in model.named_buffers())  # statistics are frozen
        assert model.training
    models.eval()
    expected, halves, chosen = 0, [range(5), range(5, 9)], []
    for model, half in zip(models, halves, strict=True):  # judged with the width that was chosen, 4
        losses = cross_entropy(model.head(prefix(model.features(batch.inputs), 4)), batch.targets)
        chosen.append(sorted(half, key=lambda i, losses=losses: float(losses[i]))[:2])
    for k, model in enumerate(models):
        at = chosen[1 - k]
        losses = cross_entropy(model.head(prefix(model.features(batch.inputs[at]), width)), batch.targets[at])
        expected += losses.mean()
        slopes = torch.autograd.grad(losses.mean(), list(model.parameters()))
        for (name, parameter), slope in zip(model.named_parameters(), slopes, strict=True):
            if name in {"encoder.2.weight", "encoder.2.bias"}:  # of the normalisation
                assert parameter.grad is None
            else:
                torch.testing.assert_close(parameter.grad, slope)
    torch.testing.assert_close(found, expected)
    assert objective.selected.nonzero().squeeze(1).tolist() == sorted(chosen[0] + chosen[1])


def test_without_noise_all_rows_teach():
    objective = NestedCoTeaching(noise_rate=0.0, dropout=0.0, alone=0)
    models = two(norm=False)
    objective.begin(9, 3, model=models)
    batch = some()
    found = objective(batch, models)
    assert (objective.selected == 1).all()
    losses = [cross_entropy(model(batch.inputs), batch.targets) for model in models]
    torch.testing.assert_close(found, losses[0][5:].mean() + losses[1][:5].mean())


def test_two_identical_networks_pick_for_themselves():
    """Which half a network judges makes no difference then: together they learn from one network's choice."""
    models = two()
    models[1].load_state_dict(models[0].state_dict())
    objective = NestedCoTeaching(0.5, dropout=0.0, alone=0)
    objective.begin(8, 3, model=models)
    batch = some(8)
    found = objective(batch, models)
    with torch.no_grad(), frozen_norms(models):
        losses = cross_entropy(models[0](batch.inputs), batch.targets)
    expected = sum(half.sort().values[:2].mean() for half in losses.split(4))
    torch.testing.assert_close(found, expected)


def test_a_batch_of_one_row_and_beliefs_as_labels():
    objective, models = NestedCoTeaching(0.2, sigma=4.0, alone=0), two(norm=False)
    objective.begin(9, 3, model=models)
    assert torch.isfinite(objective(some(1), models))
    hard, soft = some(generator=torch.Generator().manual_seed(3)), some(generator=torch.Generator().manual_seed(3))
    soft.targets = torch.nn.functional.one_hot(soft.targets, 3).float()
    torch.testing.assert_close(objective(hard, models), objective(soft, models))


def test_before_they_teach_each_goes_back_to_its_best_epoch():
    seen, kept = [], []

    class Watched(NestedCoTeaching):
        def end_epoch(self, epoch, model, validation):
            if epoch == 5:  # the last epoch alone is spoilt
                for one in model:
                    torch.nn.init.zeros_(one.head.weight)
            worth = [best_width(accuracy)[1] for accuracy in self.accuracies(model, validation)[:2]]
            seen.append((worth, [{name: value.clone() for name, value in one.state_dict().items()} for one in model]))
            super().end_epoch(epoch, model, validation)
            if epoch == 5:
                kept.extend({name: value.clone() for name, value in one.state_dict().items()} for one in model)

    run = fit(Watched(0.2, alone=6), network, DATA, Recipe(epochs=7, lr=0.1), validation=HELD)
    for k in (0, 1):
        best = max(range(6), key=lambda epoch, k=k: seen[epoch][0][k])
        assert best < 5
        assert all(torch.equal(value, seen[best][1][k][name]) for name, value in kept[k].items())
    assert not torch.equal(run.model[0].head.weight, run.model[1].head.weight)
    assert np.nanmean(run.objective.selected.numpy()) == pytest.approx(0.8, abs=0.02)


def test_state_is_saved_and_a_resume_goes_on(tmp_path):
    recipe, path = Recipe(epochs=5), tmp_path / "run.ckpt"
    whole = fit(NestedCoTeaching(0.3, alone=3), network, DATA, recipe, validation=HELD)

    class Kill(Exception):
        pass

    for stop in (7, 18):  # alone, and while teaching

        def killed(done, _, stop=stop):
            if done == stop:
                raise Kill

        with pytest.raises(Kill):
            fit(
                NestedCoTeaching(0.3, alone=3), network, DATA, recipe,
                validation=HELD, checkpoint=path, checkpoint_steps=1, on_step=killed,
            )  # fmt: skip
    again = fit(NestedCoTeaching(0.3, alone=3), network, DATA, recipe, validation=HELD, checkpoint=path)
    assert same(again.model, whole.model)
    for name, value in whole.objective.state_dict().items():
        assert torch.equal(again.objective.state_dict()[name], value), name
    assert {name.split(".")[0] for name in whole.objective.state_dict()} == {
        "past", "width", "selected", "best_worth", "best",
    }  # fmt: skip


def test_contract_of_scikit_learn():
    quick = NestedCoTeachingClassifier(recipe=Recipe(epochs=6, lr=0.1))
    kept = {"check_estimators_pickle", "check_fit_idempotent", "check_estimators_nan_inf", "check_classifiers_classes"}
    for model, check in estimator_checks_generator(quick):
        if getattr(check, "func", check).__name__ in kept:
            check(model)


def test_bad_arguments():
    for arguments in ({"sigma": 0.0}, {"sigma": float("nan")}, {"dropout": 1.0}, {"dropout": -0.1}):
        with pytest.raises(InputError, match="sigma is"):
            NestedDropout(**arguments)
    with pytest.raises(InputError, match="noise_rate is"):
        NestedCoTeaching(1.0)
    with pytest.raises(InputError, match="model="):
        NestedCoTeaching().begin(3, 2)
    with pytest.raises(InputError, match="Linear has no features"):
        fit(NestedDropout(), lambda: torch.nn.Linear(64, 10), DATA, Recipe(epochs=1))


@pytest.mark.claim
def test_claim():
    """Five seeds, 40 % symmetric noise: the last epoch beats cross-entropy's, selects well and does not collapse."""

    def case(seed):
        return make_case(X / 16, Y, 10, lambda truth: symmetric(truth, 10, 0.4, seed=seed).labels, seed=seed)

    made = []

    def make():
        made.append(NestedCoTeaching(0.4))
        return made[-1]

    falling = Recipe(**{**CARD.to_dict(), "schedule": "step", "milestones": (30,)})
    plain = measure(Objective, lambda: mlp((64,), 10), case, CARD, range(5))
    ours = measure(make, lambda: mlp((64,), 10), case, falling, range(5))
    assert interval([a.last - b.last for a, b in zip(ours, plain, strict=True)])["low"] > 0.15
    right = [(~case(seed).wrong)[objective.selected.numpy() == 1].mean() for seed, objective in enumerate(made)]
    assert interval(right)["low"] > 0.9
    nested = measure(lambda: NestedDropout(8.0), lambda: mlp((64,), 10), case, CARD, range(5))
    kept = interval([a.memorised / b.memorised for a, b in zip(nested, plain, strict=True)])
    assert kept["high"] < 0.5
