"""ELR by hand, at its limits, in its state, and its claim."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import estimator_checks_generator

from assay.errors import InputError
from assay.learn.elr import ELR, ELRClassifier, ELRPlus, ELRPlusClassifier, margin_against
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch, Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import interval, make_case, measure
from assay.training.deep.recipe import Recipe
from assay.training.noise import symmetric

X, Y = load_digits(return_X_y=True)
CARD = Recipe(epochs=60, batch_size=64, lr=0.05, momentum=0.0, weight_decay=0.0)


def begun(objective, n_rows=6, n_classes=4):
    objective.begin(n_rows, n_classes)
    return objective.double()


def network():
    return mlp((64,), 10, hidden=(32,))


def test_the_gradient_is_that_of_the_paper():
    """Lemma 2: p - y + strength * p_c (<p, t> - t_c) / (1 - <p, t>), away from the clamp."""
    torch.manual_seed(0)
    objective = begun(ELR(strength=3.0, momentum=0.7))
    rows, y = torch.tensor([4, 0, 2]), torch.tensor([1, 3, 0])
    for _ in range(3):
        z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
        objective.loss(z, y, rows).sum().backward()
        p, t = z.detach().softmax(1), objective.belief[rows]
        inner = (p * t).sum(1, keepdim=True)
        expected = p - torch.nn.functional.one_hot(y, 4) + 3 * p * (inner - t) / (1 - inner)
        torch.testing.assert_close(z.grad, expected, atol=1e-10, rtol=0)


def test_beliefs_after_m_visits_of_one_answer():
    objective = begun(ELR(momentum=0.7))
    z = torch.tensor([[0.5, -1.0, 2.0, 0.1]], dtype=torch.float64)
    for m in range(1, 6):
        objective.loss(z, torch.tensor([0]), torch.tensor([3]))
        torch.testing.assert_close(objective.belief[3], (1 - 0.7**m) * z.softmax(1)[0])
    assert (objective.belief[[0, 1, 2, 4, 5]] == 0).all()
    assert not objective.belief.requires_grad


def test_losses_by_loop():
    torch.manual_seed(1)
    objective = begun(ELR(2.0, 0.6))
    table = np.zeros((6, 4))
    for rows, targets in (([1, 2], [0, 3]), ([2, 5], [3, 1]), ([1, 5], [0, 1])):
        z = torch.randn(2, 4, dtype=torch.float64) * 8
        found = objective.loss(z, torch.tensor(targets), torch.tensor(rows))
        for i, (row, y) in enumerate(zip(rows, targets, strict=True)):
            p = np.exp(z[i].numpy()) / np.exp(z[i].numpy()).sum()
            q = np.clip(p, 1e-4, 1 - 1e-4)
            table[row] = 0.6 * table[row] + 0.4 * q / q.sum()
            inner = min(sum(q[c] * table[row, c] for c in range(4)), 1 - 1e-4)
            assert float(found[i]) == pytest.approx(-np.log(p[y]) + 2 * np.log(1 - inner), abs=1e-9)
    np.testing.assert_allclose(objective.belief, table, atol=1e-12)


def test_without_strength_it_is_cross_entropy_to_the_bits():
    data = Data(X[:300] / 16, Y[:300], 10)
    one, other = (fit(o, network, data, Recipe(epochs=2)) for o in (ELR(strength=0.0), Objective()))
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_sure_beliefs_as_labels_are_hard_labels():
    z, y, rows = torch.randn(3, 4), torch.tensor([1, 3, 0]), torch.tensor([4, 0, 2])
    hard, soft = (begun(ELR()) for _ in range(2))
    one_hot = torch.nn.functional.one_hot(y, 4).float()
    torch.testing.assert_close(hard.loss(z, y, rows), soft.loss(z, one_hot, rows))


def test_rows_in_another_order_have_their_beliefs_in_that_order():
    order = np.random.default_rng(0).permutation(300)
    data = Data(X[:300] / 16, Y[:300], 10)
    recipe = Recipe(epochs=3, batch_size=300)
    one, other = ELR(), ELR()
    fit(one, network, data, recipe)
    fit(other, network, data.take(order), recipe)
    torch.testing.assert_close(one.belief[order], other.belief, atol=1e-4, rtol=1e-3)


def test_state_is_saved_and_half_precision_and_files_keep_it(tmp_path):
    data = Data(X[:300] / 16, Y[:300], 10)
    runs = [ELR(), ELR(dtype="float16"), ELR(dtype="float16", file=tmp_path / "belief.bin")]
    for objective in runs:
        fit(objective, network, data, Recipe(epochs=2))
    assert torch.equal(runs[1].belief, runs[2].belief)
    assert np.array_equal(np.fromfile(tmp_path / "belief.bin", np.float16).reshape(300, 10), runs[1].belief.numpy())
    torch.testing.assert_close(runs[1].belief.float(), runs[0].belief, atol=5e-3, rtol=0)
    again = ELR()
    again.begin(300, 10)
    again.load_state_dict(runs[0].state_dict())
    assert torch.equal(again.suspects(data.targets), runs[0].suspects(data.targets))


def test_the_margin_says_by_how_much_another_class_is_believed():
    belief = torch.tensor([[0.2, 0.1, 0.1], [0.1, 0.0, 0.1], [0.0, 0.0, 0.0]])
    found = margin_against(belief, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(found, torch.tensor([-0.25, 0.5, float("nan")]), equal_nan=True)


def test_elr_plus_without_its_additions_is_elr_without_the_clamp():
    """No mixing, no memory in the average, twice the same network: each loss is ELR's, with p unclamped in t."""
    torch.manual_seed(0)
    model = mlp((5,), 4, hidden=(8,), norm=False)
    twins = torch.nn.ModuleList([model, mlp((5,), 4, hidden=(8,), norm=False)])
    twins[1].load_state_dict(model.state_dict())
    plus = ELRPlus(3.0, 0.7, mixup=0.0, average=0.0)
    plus.begin(6, 4, model=twins)
    belief = torch.zeros(6, 4)
    for step, rows in enumerate(([0, 3], [3, 1], [3, 0])):
        at = torch.tensor(rows)
        x, y = torch.randn(2, 5), torch.tensor([1, 2])
        found = plus(Batch(x, y, at, step=step), twins)
        p = model(x).softmax(1)
        belief[at] = 0.7 * belief[at] + 0.3 * p.detach()
        inner = (p.clamp(1e-4, 1 - 1e-4) * belief[at]).sum(1)
        expected = (torch.nn.functional.cross_entropy(model(x), y) + 3 * torch.log(1 - inner).mean()) * 2
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(plus.belief, belief)
        torch.testing.assert_close(plus.belief_2, belief)
        with torch.no_grad():
            for network in twins:  # both move alike, and the averages follow at once
                for parameter in network.parameters():
                    parameter += 0.01


def test_elr_plus_keeps_two_networks_apart_and_ramps():
    data = Data(X[:300] / 16, Y[:300], 10)
    plus = ELRPlus(ramp_steps=1000, sharpen=True)
    run = fit(plus, network, data, Recipe(epochs=3))
    assert not torch.equal(plus.belief, plus.belief_2)
    assert not torch.equal(run.model[0].head.weight, run.model[1].head.weight)
    assert {name.split(".")[0] for name in plus.state_dict()} == {"past", "belief", "belief_2", "averages"}
    assert len(plus.evidence(data.targets)["suggested"]) == 300
    with pytest.raises(InputError, match="averages"):
        ELRPlus().begin(3, 2)


@pytest.mark.parametrize("estimator", [ELRClassifier, ELRPlusClassifier])
def test_contract_of_scikit_learn(estimator):
    quick = estimator(recipe=Recipe(epochs=4, lr=0.1))
    kept = {"check_estimators_pickle", "check_fit_idempotent", "check_estimators_nan_inf", "check_classifiers_classes"}
    for model, check in estimator_checks_generator(quick):
        if getattr(check, "func", check).__name__ in kept:
            check(model)


def test_bad_arguments():
    for arguments in ({"strength": -1.0}, {"momentum": 1.0}, {"momentum": float("nan")}):
        with pytest.raises(InputError, match="strength is"):
            ELR(**arguments)
    with pytest.raises(InputError, match="dtype"):
        begun(ELR(dtype="int8"))


def test_it_finds_wrong_labels_and_names_the_right_ones():
    noisy = symmetric(Y[:1000], 10, 0.3, seed=0)
    model = ELRClassifier(validation=0, recipe=Recipe(epochs=15)).fit(X[:1000], noisy.labels)
    told = model.evidence()
    assert noisy.wrong[told["suspect"] > 0].mean() > 0.95
    flagged = noisy.wrong & (told["suspect"] > 0)
    assert flagged.sum() > 0.7 * noisy.wrong.sum()
    assert (told["suggested"] == Y[:1000])[flagged].mean() > 0.9


def case(seed):
    return make_case(X / 16, Y, 10, lambda truth: symmetric(truth, 10, 0.4, seed=seed).labels, seed=seed)


@pytest.mark.claim
def test_claim():
    """Five seeds: the lower bound of the gain in the last epoch is above 15 points; memorising at least halves."""
    plain, ours = (measure(o, lambda: mlp((64,), 10), case, CARD, range(5)) for o in (Objective, ELR))
    gain = interval([a.last - b.last for a, b in zip(ours, plain, strict=True)])
    assert gain["low"] > 0.15
    kept = interval([a.memorised / b.memorised for a, b in zip(ours, plain, strict=True)])
    assert kept["high"] < 0.5
    gap = interval([(b.oracle_best - b.last) - (a.oracle_best - a.last) for a, b in zip(ours, plain, strict=True)])
    assert gap["low"] > 0
