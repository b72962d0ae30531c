"""The loop beside a loop by hand, at its limits, and where rows change places."""

import numpy as np
import pytest
import torch
from tests.training.deep.trainings import Remembering
from torch.nn import functional

from assay.errors import InputError
from assay.labels import Hard, Votes
from assay.training.deep.augment import CropFlip
from assay.training.deep.averaging import WeightAverage
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import WEIGHTS, Data, epoch_batches, seeds_of
from assay.training.deep.class_counts import balanced_sampling
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.stream import Stream

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.1)


def network():
    return mlp((4,), 3, hidden=(8,))


def plain():
    return mlp((4,), 3, hidden=(8,), norm=False)


@pytest.fixture(scope="module")
def data() -> Data:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 50)
    return Data(rng.normal(size=(50, 4)) + y[:, None], y, 3)


def weights_of(run) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in run.model.parameters()])


def test_it_is_the_loop_that_one_would_write_by_hand(data):
    run = fit(Objective(), network, data, RECIPE)
    torch.manual_seed(*seeds_of(1, 0, WEIGHTS))
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-3)
    for epoch in range(3):
        for rows in epoch_batches(np.arange(50), 16, 0, epoch):
            loss = functional.cross_entropy(model(data.inputs[rows]), data.targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, theirs in zip(run.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_batches_visit_each_row_once_and_differ_by_one_row_at_most():
    seen = epoch_batches(np.arange(100, 165), 32, seed=1, epoch=4)
    assert sorted(map(len, seen)) == [21, 22, 22]
    assert sorted(np.concatenate(seen)) == list(range(100, 165))
    again = epoch_batches(np.arange(100, 165), 32, seed=1, epoch=5)
    assert not np.array_equal(np.concatenate(seen), np.concatenate(again))


def test_rows_in_another_order_give_the_same_in_that_order(data):
    order = np.random.default_rng(1).permutation(50)
    recipe = Recipe(epochs=4, batch_size=50, lr=0.1)
    one, other = Remembering(), Remembering()
    first = fit(one, plain, data, recipe)
    second = fit(other, plain, data.take(order), recipe)
    torch.testing.assert_close(weights_of(first), weights_of(second), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.belief[order], other.belief, atol=1e-5, rtol=1e-4)


def test_hard_labels_are_beliefs_that_are_sure(data):
    soft = Data(data.inputs, functional.one_hot(data.targets, 3).float(), 3)
    hard_run, soft_run = (fit(Objective(), plain, d, RECIPE) for d in (data, soft))
    torch.testing.assert_close(weights_of(hard_run), weights_of(soft_run), atol=1e-6, rtol=1e-5)


def test_a_weight_of_two_is_a_row_twice(data):
    twice = data.take([*range(50), *range(10)])
    weighted = Data(data.inputs, data.targets, 3, weights=[2.0] * 10 + [1.0] * 40)
    recipe = Recipe(epochs=5, batch_size=100, lr=0.1)
    one, other = (fit(Objective(), plain, d, recipe) for d in (twice, weighted))
    torch.testing.assert_close(weights_of(one), weights_of(other), atol=1e-5, rtol=1e-4)


def test_rows_without_a_label_are_left_out_unless_asked_for(data):
    labelled = torch.arange(50) % 5 > 0
    wild = torch.where(labelled, data.targets, 99)  # what stands there is not read
    masked = Data(data.inputs, wild, 3, labelled=labelled)
    objective = Objective()
    fit(objective, network, masked, RECIPE)
    assert torch.equal(objective.past[:, 1] > 0, labelled)
    assert torch.equal(objective.suspects(masked.targets).isnan(), ~labelled)

    class Both(Objective):
        needs_unlabelled = True

        def forward(self, batch, model):
            assert batch.labelled is not None
            return super().forward(batch, model)

    objective = Both()
    fit(objective, network, masked, RECIPE)
    assert (objective.past[:, 1] == 3).all()


def test_the_best_epoch_is_kept_and_patience_ends(data):
    accuracies = []

    class Spoiler(Objective):
        """Gets worse from the third epoch on."""

        def end_epoch(self, epoch, model, validation):
            if epoch >= 2:
                model.head.bias.data += torch.tensor([100.0, 0, 0]) * (epoch - 1)

    def watch(epoch, said):
        accuracies.append(float((said(data.inputs).argmax(1) == data.targets).double().mean()))
        return {"mine": accuracies[-1]}

    run = fit(Spoiler(), network, data, Recipe(epochs=20, batch_size=16, patience=3), validation=data, on_epoch=watch)
    best = int(np.argmax(accuracies))
    assert run.stopped
    assert run.best_epoch == best < 2
    assert len(run.history) == best + 4
    assert [entry["validation_accuracy"] for entry in run.history] == accuracies == [e["mine"] for e in run.history]
    found = (run.use("best").logits(data.inputs).argmax(1) == data.targets).double().mean()
    assert float(found) == accuracies[best]
    run.use("last")
    assert float((run.logits(data.inputs).argmax(1) == data.targets).double().mean()) == accuracies[-1]


def test_without_validation_there_is_no_best(data):
    with pytest.raises(InputError, match="best"):
        fit(Objective(), network, data, RECIPE).use("best")


def test_the_average_of_weights_by_hand(data):
    seen = []
    model = network()
    run = fit(
        Objective(),
        model,
        data,
        Recipe(epochs=3, batch_size=16, average=1.0, average_from=1),
        on_step=lambda done, _: seen.append(torch.cat([p.detach().flatten() for p in model.parameters()])),
    )
    torch.testing.assert_close(weights_of(run), torch.stack(seen[4:]).mean(0), atol=1e-6, rtol=1e-5)
    assert run.model is not model


def test_a_moving_average_forgets():
    model = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, decay=0.5)
    expected = 0.0
    for step, weight in enumerate([4.0, 8.0, 2.0, 6.0]):
        torch.nn.init.constant_(model.weight, weight)
        average.update(model)
        decay = min(0.5, step / (step + 1))
        expected = decay * expected + (1 - decay) * weight
    assert average.module.weight.item() == pytest.approx(expected)
    again = WeightAverage(model, decay=0.5)
    again.load_state_dict(average.state_dict())
    for one in (average, again):
        one.update(model)
    assert again.module.weight.item() == average.module.weight.item()


def test_mixed_rows_and_their_targets_by_hand(data):
    recipe = Recipe(epochs=1, batch_size=16, mixup=1.0)
    batch, bare = (Stream(data, r).batch(0, 0) for r in (recipe, Recipe(epochs=1, batch_size=16)))
    assert torch.equal(batch.rows, bare.rows)
    one_hot = functional.one_hot(data.targets, 3).float()
    shares = set()
    for i, row in enumerate(batch.rows):
        for other in batch.rows:
            apart = data.inputs[row] - data.inputs[other]
            share = float(((batch.inputs[i] - data.inputs[other]) @ apart) / (apart @ apart)) if row != other else 1.0
            mixed = share * data.inputs[row] + (1 - share) * data.inputs[other]
            if row != other and torch.allclose(mixed, batch.inputs[i], atol=1e-5):
                shares.add(round(share, 4))
                torch.testing.assert_close(
                    batch.targets[i], share * one_hot[row] + (1 - share) * one_hot[other], atol=1e-4, rtol=1e-4
                )
    (share,) = shares - {1.0}  # a row may be its own partner
    assert 0.5 <= share <= 1


def test_sampling_by_chance_balances_classes():
    y = np.array([0] * 90 + [1] * 10)
    chances = balanced_sampling(torch.from_numpy(y), torch.tensor([1.0, 9.0]))
    drawn = np.concatenate(epoch_batches(np.arange(100), 10, 0, 0, chances))
    assert len(drawn) == 100
    assert 35 < (y[drawn] == 1).sum() < 65
    data = Data(torch.zeros(100, 1), y, 2)
    objective = Objective()
    fit(objective, lambda: mlp((1,), 2, hidden=()), data, Recipe(epochs=20), sampling=chances)
    visits = objective.past[:, 1]
    assert visits.sum() == 2000
    assert 6 < visits[90:].mean() / visits[:90].mean() < 13


def test_crop_and_flip_by_loop():
    images = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    augment = CropFlip(pad=2)
    drawn = torch.tensor([[0, 3, 0], [4, 1, 1]])
    found = augment(images, drawn)
    for i, (down, right, mirror) in enumerate(drawn.tolist()):
        for y in range(4):
            for x in range(5):
                from_y, from_x = y + down - 2, (4 - x if mirror else x) + right - 2
                inside = 0 <= from_y < 4 and 0 <= from_x < 5
                expected = images[i, :, from_y, from_x] if inside else torch.zeros(3)
                assert torch.equal(found[i, :, y, x], expected)
    assert (CropFlip(1, flip=False).draw(50, torch.Generator())[:, 2] == 0).all()


def test_two_views_differ_and_one_network_is_not_two(data):
    images = Data(torch.rand(20, 1, 4, 4), [0, 1] * 10, 2)
    batch = Stream(images, Recipe(), n_views=2, augment=CropFlip(1)).batch(0, 0)
    assert len(batch.views) == 2
    assert not torch.equal(batch.views[0], batch.views[1])
    assert batch.inputs is batch.views[0]

    class Pair(Objective):
        n_models = 2

        def forward(self, batch, model):
            assert not torch.equal(model[0].head.weight, model[1].head.weight)
            return sum(batch.mean(self.loss(m(batch.inputs), batch.targets, batch.rows)) for m in model)

    run = fit(Pair(), network, data, RECIPE)
    halves = torch.stack([m(data.inputs) for m in run.model]).mean(0)
    torch.testing.assert_close(run.logits(data.inputs), halves)
    with pytest.raises(InputError, match="2 networks"):
        fit(Pair(), network(), data, RECIPE)


def test_half_precision_stays_close(data):
    recipe = Recipe(epochs=3, batch_size=16, lr=0.05, precision="bf16")
    half, full = (fit(Objective(), plain, data, r) for r in (recipe, Recipe(epochs=3, batch_size=16, lr=0.05)))
    torch.testing.assert_close(weights_of(half), weights_of(full), atol=0.05, rtol=0.1)
    assert not torch.equal(weights_of(half), weights_of(full))


def test_learning_rates_by_hand():
    cosine = Recipe(epochs=10, lr=1.0, schedule="cosine", cycle=4, warmup=2)
    assert [round(cosine.lr_at(e), 4) for e in (0, 1, 2, 4, 5, 6)] == [0, 0.4268, 0.5, 1, 0.8536, 0.5]
    step = Recipe(epochs=10, lr=1.0, schedule="step", milestones=(3, 6), gamma=0.5)
    assert [step.lr_at(e) for e in (0, 2.99, 3, 5, 6, 9)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_the_callers_randomness_is_left_alone(data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(Objective(), network, data, RECIPE)
    assert torch.equal(torch.rand(3), expected)


def test_labels_of_other_types_are_data():
    hard = Data.of(torch.zeros(3, 1), Hard.from_values(["b", None, "a"]))
    assert hard.targets.tolist() == [1, 0, 0]
    assert hard.labelled.tolist() == [True, False, True]
    votes = Votes.from_long(["t1", "t1", "t2", "t3"], ["x", "y", "x", "x"], ["a", "b", "b", None])
    soft = Data.of(torch.zeros(3, 1), votes)
    assert soft.targets[:2].tolist() == [[0.5, 0.5], [0, 1]]
    assert soft.labelled.tolist() == [True, True, False]


def test_a_loss_that_is_no_number_is_one_sentence(data):
    with pytest.raises(InputError, match="lower lr"):
        fit(Objective(), plain, data, Recipe(epochs=5, lr=1e18, momentum=0.9))


def test_a_batch_of_one_is_found_before_training(data):
    with pytest.raises(InputError, match="batch of one"):
        fit(Objective(), network, data, Recipe(batch_size=1))
    fit(Objective(), plain, data, Recipe(epochs=1, batch_size=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": [0, 1, 3]}, r"code 3 is outside 0\.\.2.*row: 2"),
        ({"targets": [0, 1, -1]}, r"code -1 is outside.*row: 2"),
        ({"targets": [0.0, 1.0, 2.0]}, "integer codes"),
        ({"targets": [0, 1]}, r"shape \(2,\)"),
        ({"targets": [[0.5, 0.5, 0], [0, 0, 0.5], [1, 0, 0]]}, "no distribution.*row: 1"),
        ({"targets": [0, 1, 2], "weights": [1, -1, 1]}, "weight is -1.*row: 1"),
        ({"targets": [0, 1, 2], "weights": [0, 0, 0]}, "All weights are zero"),
        ({"targets": [0, 1, 2], "labelled": [False] * 3}, "No row has a label"),
        ({"targets": [0, 1, 2], "n_classes": 1}, "at least two classes"),
    ],
)
def test_bad_data(arguments, message):
    with pytest.raises(InputError, match=message):
        Data(**{"inputs": torch.zeros(3, 2), "n_classes": 3, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"optimizer": "lion"}, {"average": 1.5}, {"mixup": -1.0},
        {"milestones": (6, 3)}, {"patience": 0}, {"precision": "fp8"}, {"momentum": float("nan")},
    ],
)  # fmt: skip
def test_bad_recipes(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Recipe(**arguments)


def test_inputs_may_be_named_and_tokens_are_not_mixed():
    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = torch.nn.Embedding(3, 4), torch.nn.Linear(4, 2)

        def forward(self, inputs):
            return self.head(self.table(inputs["ids"]) * inputs["scale"][:, None])

    ids = np.arange(60) % 3
    data = Data({"ids": ids, "scale": np.ones(60)}, ids % 2, 2)
    run = fit(Objective(), Named, data, Recipe(epochs=10, optimizer="adam", lr=0.1))
    assert (run.logits(data.inputs).argmax(1) == data.targets).all()
    with pytest.raises(InputError, match="set mixup to 0"):
        fit(Objective(), Named, data, Recipe(mixup=0.5))
