"""Meta rescaling: its two gradients against autograd and differences, limits, state, claim."""

import copy

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import estimator_checks_generator

from assay.errors import InputError
from assay.learn.meta_rescaling import MetaRescaling, MetaRescalingClassifier, Rescaler
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch, Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import interval, make_case, measure
from assay.training.deep.recipe import Recipe
from assay.training.deep.virtual import virtual_step
from assay.training.noise import symmetric

X, Y = load_digits(return_X_y=True)
DATA = Data(X[:300] / 16, Y[:300], 10)
CROSS_ENTROPY = torch.nn.functional.cross_entropy


def made(path="both", hidden=(7,), dropout=0.0, per_class=True, **options):
    """An objective, a network and a batch of 12 rows of 3 classes that can draw another, all in double precision."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 5, dtype=torch.float64), torch.randint(3, (40,))
    model = mlp((5,), 3, hidden=hidden, dropout=dropout).double()
    objective = MetaRescaling(path, 0.3, per_class=per_class, **options)
    objective.begin(40, 3)
    other = torch.arange(20, 32)

    def draw(n):
        assert n == 12
        return Batch(x[other], y[other], other)

    rows = torch.arange(12)
    return objective.double(), model, Batch(x[rows], y[rows], rows, draw=draw)


def gradients(objective, model, batch):
    """Those of network and rescaler, without a change of any state."""
    objective, model = copy.deepcopy(objective), copy.deepcopy(model)
    torch.manual_seed(1)
    objective(batch, model).backward()
    return [p.grad for p in model.parameters()], [p.grad for p in objective.parameters()]


def meta_loss(objective, model, batch, outer=True, features=None):
    """M(omega) with the second-order graph, written as in the paper; `features` holds those of the second batch."""
    first = model(batch.inputs)
    weights = objective.weigh(objective.behaviour, first[None], batch.targets)
    after = virtual_step((weights * CROSS_ENTROPY(first, batch.targets, reduction="none")).mean(), model, 0.3)
    second = batch.draw(len(batch.rows))
    said = torch.func.functional_call(model, after, (second.inputs,))
    if features is None:
        features = objective.second_behaviour(said.detach()[None], second.targets, second.targets)
    factor = objective.rescaler(features, second.targets) if outer else 1.0
    return (factor * CROSS_ENTROPY(said, second.targets, reduction="none")).mean(), features


@pytest.mark.parametrize("path", ["both", "meta"])
@pytest.mark.parametrize("hidden", [(), (7,), (6, 4)])
def test_without_the_graph_the_gradients_are_those_through_it(path, hidden):
    """Zeroing the outer factor is plain one-step meta reweighting; with it, both paths are summed."""
    objective, model, batch = made(path, hidden, passes=1)
    told = gradients(objective, model, batch)
    again = copy.deepcopy(objective)
    meta_loss(again, copy.deepcopy(model), batch, outer=path == "both")[0].backward()
    for mine, theirs in zip(told[1], again.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad, atol=1e-12, rtol=1e-8)
        assert mine.abs().max() > 1e-6


def test_the_network_moves_along_its_weighted_loss():
    objective, model, batch = made(passes=1)
    told = gradients(objective, model, batch)[0]
    logits = model(batch.inputs)
    weights = objective.weigh(objective.behaviour, logits[None], batch.targets).detach()
    expected = torch.autograd.grad(
        (weights * CROSS_ENTROPY(logits, batch.targets, reduction="none")).mean(), list(model.parameters())
    )
    for mine, theirs in zip(told, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_meta_part_in_closed_form():
    """A linear network: dM / dw_i = -lr / b <grad M(theta'), grad l_i(theta)>, with the gradients by hand."""
    objective, model, batch = made(hidden=())
    one_hot = torch.nn.functional.one_hot(batch.targets, 3)
    error = model(batch.inputs).softmax(1) - one_hot  # (b, k); grad l_i is error_i x_i' and error_i
    pulls = [torch.randn(3, 5, dtype=torch.float64), torch.randn(3, dtype=torch.float64)]
    found = objective._along(model, dict(model.named_parameters()), pulls, batch, 0)
    torch.testing.assert_close(found, ((error @ pulls[0]) * batch.inputs).sum(1) + error @ pulls[1])


def test_finite_differences_agree_with_the_sum_of_both_parts():
    objective, model, batch = made(passes=1)
    found = gradients(objective, model, batch)[1]
    features = meta_loss(copy.deepcopy(objective), copy.deepcopy(model), batch)[1]  # no gradient goes through them
    for which, at in ((0, (1, 2, 3)), (1, (2, 4, 0)), (1, (0, 3, 1))):
        sides = []
        for step in (1e-5, -1e-5):
            moved = copy.deepcopy(objective)
            with torch.no_grad():
                list(moved.parameters())[which][at] += step
            sides.append(meta_loss(moved, copy.deepcopy(model), batch, features=features)[0].item())
        assert float(found[which][at]) == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-6, rel=1e-5)


def test_the_slope_is_under_the_dropout_of_the_step():
    objective, model, batch = made(dropout=0.5)
    pulls = [torch.randn_like(p) for p in model.parameters()]
    found = objective._along(model, dict(model.named_parameters()), pulls, batch, 5)
    torch.manual_seed(5)
    losses = CROSS_ENTROPY(model(batch.inputs), batch.targets, reduction="none")
    for i, loss in enumerate(losses):
        slopes = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        assert float(found[i]) == pytest.approx(sum(float((g * v).sum()) for g, v in zip(slopes, pulls, strict=True)))


def test_path_outer_is_the_gradient_of_its_own_weighted_loss_also_in_a_loop_of_ones_own():
    objective, model, batch = made("outer", passes=1)
    told = gradients(objective, model, batch)
    again, twin = copy.deepcopy(objective), copy.deepcopy(model)
    again.loss(twin(batch.inputs), batch.targets, batch.rows).mean().backward()
    logits = model(batch.inputs)
    factor = objective.weigh(objective.behaviour, logits[None], batch.targets)
    (factor * CROSS_ENTROPY(logits, batch.targets, reduction="none").detach()).mean().backward()
    for mine, own_loop, by_hand in zip(told[1], again.parameters(), objective.parameters(), strict=True):
        torch.testing.assert_close(mine, by_hand.grad)
        torch.testing.assert_close(mine, own_loop.grad)
    assert torch.equal(again.suspects(batch.targets)[:12], 1 - again.weight[:12])


def test_signs_leave_no_meta_part_and_step_by_one():
    objective, model, batch = made("signs", passes=1)
    network, rescaler = gradients(objective, model, batch)
    assert all(set(g.unique().tolist()) <= {-1.0, 0.0, 1.0} for g in network)
    assert all(g.abs().max() > 0 for g in rescaler)  # the outer part alone


def test_weights_are_standardised_over_the_batch_and_do_not_feel_the_scale():
    torch.manual_seed(0)
    rescaler, features = Rescaler(19, 4).double(), torch.randn(64, 19, dtype=torch.float64)
    groups = torch.randint(4, (64,))
    out = rescaler.standardised(features)
    torch.testing.assert_close(out.mean(0), torch.zeros(4, 2, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(out.var(0, correction=0), torch.ones(4, 2, dtype=torch.float64), atol=1e-3, rtol=0)
    weights = rescaler(features, groups)
    for row, c in enumerate(groups):  # the rescaler of a row's own class, alone
        alone = Rescaler(19, 1).double()
        alone.load_state_dict({name: value[c : c + 1] for name, value in rescaler.state_dict().items()})
        torch.testing.assert_close(alone(features, torch.zeros(64, dtype=torch.int64))[row], weights[row])
    with torch.no_grad():
        rescaler.out *= 1000
    torch.testing.assert_close(rescaler(features, groups), weights, atol=1e-3, rtol=0)  # up to the normaliser's epsilon


def test_a_rescaler_that_says_nothing_is_cross_entropy():
    """Equal outputs weigh every row a half: half the learning rate, or with `normalise` cross-entropy itself."""

    class Indifferent(MetaRescaling):
        own_lr = 0.0

        def begin(self, *arguments):
            super().begin(*arguments)
            torch.nn.init.zeros_(self.rescaler.out)

    recipe = {"epochs": 2, "momentum": 0.0, "weight_decay": 0.0}
    plain = fit(Objective(), lambda: mlp((64,), 10), DATA, Recipe(lr=0.1, **recipe))
    for options, lr in (({}, 0.2), ({"normalise": True}, 0.1), ({"path": "outer"}, 0.2)):
        run = fit(Indifferent(**options), lambda: mlp((64,), 10), DATA, Recipe(lr=lr, **recipe))
        for name, mine in run.model.state_dict().items():  # running statistics too: the extra passes leave them alone
            torch.testing.assert_close(mine, plain.model.state_dict()[name], atol=1e-5, rtol=1e-4)
        assert (run.objective.weight == 0.5).all()


def test_one_hot_beliefs_are_hard_labels():
    hard, soft = (fit(MetaRescaling(), lambda: mlp((64,), 10), data, Recipe(epochs=2)) for data in (DATA, sure_data()))
    torch.testing.assert_close(hard.objective.weight, soft.objective.weight, atol=1e-4, rtol=1e-3)


def sure_data():
    return Data(DATA.inputs, torch.nn.functional.one_hot(DATA.targets, 10).float(), 10)


def test_state_is_saved_and_resumed(tmp_path):
    once = fit(MetaRescaling(), lambda: mlp((64,), 10), DATA, Recipe(epochs=2))

    class Stop(Exception):
        pass

    def stop(done, _):
        if done == 7:
            raise Stop

    arguments = {"checkpoint": tmp_path / "run.ckpt", "checkpoint_steps": 1}
    with pytest.raises(Stop):
        fit(MetaRescaling(), lambda: mlp((64,), 10), DATA, Recipe(epochs=2), on_step=stop, **arguments)
    again = fit(MetaRescaling(), lambda: mlp((64,), 10), DATA, Recipe(epochs=2), **arguments)
    for name, value in once.objective.state_dict().items():
        assert torch.equal(value, again.objective.state_dict()[name]), name
    assert torch.equal(once.model.head.weight, again.model.head.weight)


@pytest.mark.parametrize(
    "options", [{"features": "loss"}, {"binary": True}, {"per_class": True}, {"path": "signs"}, {"passes": 1}]
)
def test_variants_train(options):
    recipe = Recipe(epochs=2, lr=0.001 if options.get("path") == "signs" else 0.02)
    run = fit(MetaRescaling(**options), lambda: mlp((64,), 10, dropout=0.1), DATA, recipe)
    assert torch.isfinite(run.objective.weight).all()
    assert run.history[1]["loss"] < run.history[0]["loss"]


def test_attention_and_half_precision():
    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = torch.nn.Linear(8, 10)

        def forward(self, x):
            return self.head(self.layer(x.view(-1, 8, 8)).mean(1))

    for precision in ("no", "bf16"):
        run = fit(MetaRescaling(), Reader, DATA, Recipe(epochs=1, precision=precision))
        assert torch.isfinite(run.objective.weight).all()


def test_contract_of_scikit_learn():
    kept = {"check_estimators_pickle", "check_fit_idempotent", "check_estimators_nan_inf", "check_classifiers_classes"}
    for model, check in estimator_checks_generator(MetaRescalingClassifier(recipe=Recipe(epochs=8, lr=0.1))):
        if getattr(check, "func", check).__name__ in kept:
            check(model)


def test_bad_arguments():
    for options in (
        {"path": "inner"},
        {"features": "kl"},
        {"passes": 0},
        {"memory": 1},
        {"dropout": 1.0},
        {"inner_lr": 0},
    ):
        with pytest.raises(InputError, match="expected"):
            MetaRescaling(**options)
    objective, model, batch = made()
    batch.draw = None
    with pytest.raises(InputError, match="second batch"):
        objective(batch, model)


def case(seed):
    return make_case(X / 16, Y, 10, lambda truth: symmetric(truth, 10, 0.3, seed=seed).labels, test=0.4, seed=seed)


@pytest.mark.claim
def test_claim():
    """Five seeds: the lower bounds of the gain in the last epoch and of the AUC of the weights."""
    recipe = Recipe(epochs=30, weight_decay=0.0)
    plain, ours = (measure(o, lambda: mlp((64,), 10), case, recipe, range(5)) for o in (Objective, MetaRescaling))
    assert interval([a.last - b.last for a, b in zip(ours, plain, strict=True)])["low"] > 0.05
    assert interval([a.suspect_auc for a in ours])["low"] > 0.85
    kept = interval([a.memorised / b.memorised for a, b in zip(ours, plain, strict=True)])
    assert kept["high"] < 0.5


@pytest.mark.claim
def test_weights_find_wrong_labels():
    noisy = symmetric(Y, 10, 0.3, seed=0)
    told = MetaRescalingClassifier(validation=0, recipe=Recipe(epochs=30)).fit(X, noisy.labels).evidence()
    assert roc_auc_score(noisy.wrong, told["suspect"]) > 0.85
