"""LDR losses against an adversary found by brute force, at their ends, in their state, and the claim."""

import csv
import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from assay.errors import InputError
from assay.learn.ldr import (
    ALDR,
    LDR,
    ALDRClassifier,
    LDRClassifier,
    adapted,
    adversary,
    deltas,
    ldr_k,
    ldr_kl,
    normalised,
)
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Data
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.protocol import interval, make_case, measure
from assay.training.deep.recipe import Recipe
from assay.training.noise import symmetric

X, Y = load_digits(return_X_y=True)
CARD = Recipe(epochs=60, batch_size=64, lr=0.05, momentum=0.0, weight_decay=5e-3)
SCORES = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
TARGETS = torch.tensor([0, 4, 1, 1, 2, 3])
ROWS = torch.arange(6)
ONE_HOT = functional.one_hot(TARGETS, 5).double()


def network():
    return mlp((64,), 10, hidden=(32,))


def game(p, delta, temperature):
    """What the adversary gains by p."""
    return (p * delta).sum(-1) - temperature * (torch.special.xlogy(p, p).sum(-1) + math.log(delta.shape[-1]))


def test_deltas_by_loop():
    found = deltas(SCORES, TARGETS, 0.3)
    for i, y in enumerate(TARGETS.tolist()):
        for k in range(5):
            assert float(found[i, k]) == pytest.approx(float(SCORES[i, k] - SCORES[i, y]) + 0.3 * (k != y))
    torch.testing.assert_close(deltas(SCORES, ONE_HOT, 0.3), found)


@pytest.mark.parametrize("temperature", [0.5, 2.0, 10.0])
def test_it_is_the_best_that_an_adversary_can_do(temperature):
    """Mirror ascent on the simplex reaches the closed form."""
    delta = deltas(SCORES, TARGETS, 0.3)
    p = torch.full_like(delta, 0.2)
    for _ in range(300):
        p = (p.log() + 0.5 / temperature * (delta - temperature * (5 * p).log())).softmax(1)
    torch.testing.assert_close(ldr_kl(delta, temperature), game(p, delta, temperature), atol=1e-8, rtol=0)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 1e6])
def test_gradient_does_not_shrink_with_the_temperature(temperature):
    scores = SCORES.clone().requires_grad_()
    ldr_kl(deltas(scores, TARGETS, 0.3), temperature).sum().backward()
    expected = ((SCORES + 0.3 * (1 - ONE_HOT)) / temperature).softmax(1) - ONE_HOT
    torch.testing.assert_close(scores.grad, expected, atol=1e-12, rtol=0)


def test_ends():
    """Cross-entropy, cross-entropy with a temperature, the hinge of Crammer and Singer, the mean."""
    delta = deltas(SCORES, TARGETS)
    for t in (1.0, 3.0):
        plain = t * functional.cross_entropy(SCORES / t, TARGETS, reduction="none")
        torch.testing.assert_close(ldr_kl(delta, t), plain - t * math.log(5))
    torch.testing.assert_close(ldr_kl(delta, 1e-3), delta.amax(1), atol=1.001e-3 * math.log(5), rtol=0)
    torch.testing.assert_close(ldr_kl(delta, 1e8), delta.mean(1), atol=1e-6, rtol=0)
    single = ldr_kl(delta.float(), 1e8)  # logsumexp loses all digits here
    torch.testing.assert_close(single.double(), delta.mean(1), atol=1e-5, rtol=0)


def test_when_warm_it_is_symmetric():
    over_classes = sum(ldr_kl(deltas(SCORES, torch.full((6,), y)), 1e8) for y in range(5))
    torch.testing.assert_close(over_classes, torch.zeros(6, dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 10.0])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_water_filling_beats_every_feasible_adversary(temperature, k):
    delta = deltas(SCORES, TARGETS, 0.3)
    p = adversary(delta, temperature, k)
    torch.testing.assert_close(p.sum(1), torch.ones(6, dtype=torch.float64))
    assert (p <= 1 / k + 1e-12).all()
    loss = ldr_k(delta, temperature, k)
    best = torch.full((6,), -math.inf, dtype=torch.float64)
    for bound in itertools.product((False, True), repeat=5):  # every choice of classes at their bound
        if (left := 1 - sum(bound) / k) >= -1e-12 and not all(bound):
            at_bound = torch.tensor(bound)
            q = left * (delta / temperature).masked_fill(at_bound, -math.inf).softmax(1)
            q = q.masked_fill(at_bound, 1 / k)
            feasible = (q <= 1 / k + 1e-12).all(1)
            best = torch.where(feasible, best.maximum(game(q.clamp(min=0), delta, temperature)), best)
    torch.testing.assert_close(loss, best, atol=1e-10, rtol=0)
    draws = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(5), 2000))
    draws = draws[(draws <= 1 / k).all(1)]
    assert (game(draws[:, None], delta, temperature) <= loss + 1e-12).all()


def test_ends_of_the_top_k_loss():
    delta = deltas(SCORES, TARGETS, 0.3)
    torch.testing.assert_close(ldr_k(delta, 0.7, 1), ldr_kl(delta, 0.7))
    torch.testing.assert_close(ldr_k(delta, 0.7, 5), delta.mean(1))
    torch.testing.assert_close(ldr_k(delta, 1e-3, 2), delta.topk(2).values.mean(1), atol=2e-3, rtol=0)
    tied = torch.zeros(1, 5, dtype=torch.float64)
    torch.testing.assert_close(adversary(tied, 1.0, 5), torch.full_like(tied, 0.2))


def test_gradient_of_the_top_k_loss_by_differences():
    torch.autograd.gradcheck(lambda s: ldr_k(deltas(s, TARGETS, 0.3), 0.7, 2), SCORES.clone().requires_grad_())


def test_the_best_scores_rank_as_the_classes_do():
    """Of a known distribution of labels, scores / temperature are its logarithms but for a constant."""
    q = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    for t in (0.5, 4.0):
        f = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS([f], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def risk(f=f, t=t, search=search):
            search.zero_grad()
            value = sum(q[y] * ldr_kl(deltas(f, torch.tensor([y])), t)[0] for y in range(4))
            value.backward()
            return value

        search.step(risk)
        off = f.detach()[0] / t - q.log()
        torch.testing.assert_close(off, off.mean().expand(4), atol=1e-5, rtol=0)


def test_normalised_scores_are_bounded_and_keep_their_order():
    z = SCORES * 100
    for softplus in (True, False):
        scores = normalised(z, softplus)
        torch.testing.assert_close(scores.abs().mean(1), torch.ones(6, dtype=torch.float64))
        assert scores.abs().max() <= 5
    assert torch.equal(normalised(SCORES).argsort(1), SCORES.argsort(1))
    torch.testing.assert_close(normalised(SCORES, softplus=False), normalised(z, softplus=False))
    silent = torch.zeros(2, 3, requires_grad=True)  # a head of zeros, as many networks begin with
    loss = ldr_kl(deltas(normalised(silent, softplus=False), torch.tensor([0, 1])), 1.0)
    loss.sum().backward()
    assert torch.isfinite(silent.grad).all()
    assert normalised(torch.zeros(2, 3, dtype=torch.bfloat16)).dtype == torch.float32


def test_the_temperature_is_the_best_of_a_grid():
    """max over t of psi(t) - alpha log K / (2 temperature) (t - temperature)^2, by 100,000 points."""
    t0, alpha = 1.0, 2.0
    raised = SCORES + 0.3 * (1 - ONE_HOT)
    t = torch.full((6, 1), t0, dtype=torch.float64)
    for _ in range(300):
        t = adapted(raised, t, t0, alpha)
    grid = torch.linspace(0.3, 1.0, 100_000, dtype=torch.float64)[:, None]
    delta = deltas(SCORES, TARGETS, 0.3)
    for i in range(6):
        values = ldr_kl(delta[i].expand(len(grid), 5), grid)
        values = values - alpha * math.log(5) / (2 * t0) * (grid[:, 0] - t0) ** 2
        assert float(grid[values.argmax(), 0]) == pytest.approx(float(t[i, 0]), abs=1e-4)
    assert ((t0 * (1 - 1 / alpha) <= t) & (t <= t0)).all()


def test_adaptive_losses_by_loop():
    torch.manual_seed(1)
    objective = ALDR(2.0, 1.5, 0.2)
    objective.begin(6, 4)
    objective.double()
    temperature = np.full(6, 2.0)
    for rows, targets in (([1, 2], [0, 3]), ([2, 5], [3, 1]), ([1, 5], [0, 1])):
        z = torch.randn(2, 4, dtype=torch.float64)
        found = objective.loss(z, torch.tensor(targets), torch.tensor(rows))
        for i, (row, y) in enumerate(zip(rows, targets, strict=True)):
            f = z[i].numpy() / np.abs(z[i].numpy()).mean()
            p = np.exp(f / temperature[row]) / np.exp(f / temperature[row]).sum()
            kl = sum(p[k] * np.log(4 * p[k]) for k in range(4))
            t = temperature[row] = 2.0 - 2.0 * kl / (1.5 * np.log(4))
            psi = t * np.log(np.mean([np.exp((f[k] - f[y] + 0.2 * (k != y)) / t) for k in range(4)]))
            psi -= 1.5 * np.log(4) / 2.0 / 2 * (t - 2.0) ** 2
            assert float(found[i]) == pytest.approx(psi, abs=1e-10)
    np.testing.assert_allclose(objective.row_temperature[[1, 2, 5]], temperature[[1, 2, 5]])
    assert objective.row_temperature[[0, 3, 4]].isnan().all()


def test_without_adaptation_it_is_ldr_kl_of_signed_scores():
    objective = ALDR(3.0, alpha=1e9)
    objective.begin(6, 5)
    expected = ldr_kl(deltas(normalised(SCORES, softplus=False), TARGETS, 0.1), 3.0)
    torch.testing.assert_close(objective.loss(SCORES, TARGETS, ROWS), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [LDR, partial(LDR, 1.0, 0.1, 2), ALDR])
def test_sure_beliefs_are_hard_labels_and_the_order_of_rows_does_not_matter(make):
    hard, soft, turned = make(), make(), make()
    for objective in (hard, soft, turned):
        objective.begin(6, 5)
    found = hard.loss(SCORES, TARGETS, ROWS)
    torch.testing.assert_close(found, soft.loss(SCORES, ONE_HOT, ROWS))
    torch.testing.assert_close(found.flip(0), turned.loss(SCORES.flip(0), TARGETS.flip(0), ROWS.flip(0)))
    assert all(torch.equal(turned.state_dict()[name], table) for name, table in hard.state_dict().items())


def test_state_is_saved():
    data = Data(X[:300] / 16, Y[:300], 10)
    run = fit(ALDR(1.0), network, data, Recipe(epochs=2))
    again = ALDR(1.0)
    again.begin(300, 10)
    again.load_state_dict(run.objective.state_dict())
    assert torch.equal(again.row_temperature, run.objective.row_temperature)
    told = again.evidence(data.targets)
    assert (told["temperature"] < 1).all()
    assert (told["visits"] == 2).all()


def test_bad_arguments():
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="temperature is"):
            LDR(temperature)
        with pytest.raises(InputError, match="temperature is"):
            ALDR(temperature)
    for alpha in (1.0, math.nan):
        with pytest.raises(InputError, match="alpha is"):
            ALDR(alpha=alpha)
    for top_k in (0, 4):
        with pytest.raises(InputError, match="top_k is"):
            LDR(top_k=top_k).begin(5, 3)
    with pytest.raises(InputError, match="two classes"):
        ALDR().begin(5, 1)


@pytest.mark.parametrize("make", [LDRClassifier, partial(LDRClassifier, top_k=2), ALDRClassifier])
def test_it_learns_and_finds_wrong_labels(make):
    noisy = symmetric(Y[:1000], 10, 0.3, seed=0)
    model = make(validation=0, recipe=replace(CARD, epochs=12), backbone=partial(mlp, hidden=(64,)))
    model.fit(X[:1000], noisy.labels)
    assert model.score(X[1000:], Y[1000:]) > 0.8
    worst = np.argsort(-model.evidence()["suspect"])[:200]
    assert noisy.wrong[worst].mean() > 0.95
    p = model.predict_proba(X[:5])
    np.testing.assert_allclose(p.sum(1), 1)
    assert len(np.unique(model.set_params(validation=0.1).fit(X[:400, :20], Y[:400] > 4).predict(X[:400, :20]))) == 2


def case(seed):
    return make_case(X / 16, Y, 10, lambda truth: symmetric(truth, 10, 0.4, seed=seed).labels, seed=seed)


@pytest.mark.claim
def test_claim():
    """Five seeds: the last epoch gains 15 points on average, surely ten; memorising at least halves."""
    plain, ours, adaptive = (measure(o, lambda: mlp((64,), 10), case, CARD, range(5)) for o in (Objective, LDR, ALDR))
    for outcomes in (ours, adaptive):
        gain = interval([a.last - b.last for a, b in zip(outcomes, plain, strict=True)])
        assert gain["mean"] > 0.15
        assert gain["low"] > 0.10
        kept = interval([a.memorised / b.memorised for a, b in zip(outcomes, plain, strict=True)])
        assert kept["high"] < 0.5


@pytest.mark.claim
def test_claim_of_temperatures(shared_data):
    """With many classes temperatures adapt: those of wrong labels stay warmer, and so tell them from right ones."""
    rows = list(csv.DictReader(shared_data("banking77/train.csv").open(encoding="utf-8", newline="")))
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:3000]]
    truth = np.unique([row["category"] for row in rows], return_inverse=True)[1]
    terms = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit_transform(row["text"] for row in rows)
    inputs = torch.from_numpy(TruncatedSVD(128, random_state=0).fit_transform(terms)).float()
    inputs = inputs / inputs.std(0)
    apart, auc = [], []
    for seed in range(5):
        noisy = symmetric(truth, 77, 0.4, seed=seed)
        objective, recipe = ALDR(3.0), Recipe(epochs=30, lr=0.05, weight_decay=5e-4, seed=seed)
        fit(objective, lambda: mlp((128,), 77, hidden=(128,)), Data(inputs, noisy.labels, 77), recipe)
        temperature = objective.row_temperature.numpy()
        apart.append(temperature[noisy.wrong].mean() - temperature[~noisy.wrong].mean())
        auc.append(roc_auc_score(noisy.wrong, temperature))
    assert interval(apart)["low"] > 0
    assert interval(auc)["low"] > 0.8
