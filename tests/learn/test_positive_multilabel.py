"""PU-MLC by hand, at its limits, in its state, and its claim."""

import math
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score, f1_score
from tests.learn.tags_apart import gradients

from assay.errors import InputError
from assay.labels import Kind, Space, Tags
from assay.learn.positive_multilabel import (
    COLDEST,
    MILDEST,
    PU,
    PositiveMultilabel,
    consistency,
    log_target,
    pu_loss,
    pu_terms,
    rebalance,
    temperatures,
)
from assay.training.deep.backbones import mlp
from assay.training.deep.batches import Batch
from assay.training.deep.loop import fit
from assay.training.deep.protocol import interval
from assay.training.deep.recipe import Recipe
from assay.training.deep.tag_losses import EM, TagObjective, asymmetric
from assay.training.deep.tag_losses import recorded as likelihood
from assay.training.deep.tags import TagData, confirmed_sampling, hold_out
from bench.learn.positive_multilabel import Cells, mosaics, recorded

X, DIGIT = load_digits(return_X_y=True)
QUICK = Recipe(epochs=3, optimizer="adam", lr=1e-3, weight_decay=0.0)


def tagged(n: int = 200, share: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digits with three tags: even, at least five, a round one; what was recorded of them."""
    digit = DIGIT[:n]
    truth = np.stack([digit % 2 == 0, digit >= 5, np.isin(digit, (0, 6, 8, 9))], 1).astype(np.int8)
    return X[:n] / 16, truth, recorded(truth, share, seed)


def batch(b: int = 12, k: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(b, k, generator=generator, dtype=torch.float64)
    tags = (torch.rand(b, k, generator=generator) < 0.3).to(torch.int8)
    tags[0] = 1
    return z, tags


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


# By hand ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gamma", "alpha"), [(0.0, math.inf), (0.55, math.inf), (0.0, 0.2), (0.85, 0.3)])
def test_the_loss_is_that_of_the_paper_in_a_loop(gamma, alpha):
    z, tags = batch()
    found = pu_loss(z, tags > 0, gamma, alpha)
    for c in range(4):
        column = z[:, c].numpy()
        tau = 1.0 if alpha == math.inf else min(1.0, alpha * column.std())
        phi = [sigmoid(v / tau) for v in column]
        lifted = [math.log(phi[i]) for i in range(12) if tags[i, c] == 1]
        expected = np.mean(phi) ** gamma * math.log(np.mean(phi)) - np.mean(lifted)
        assert float(found[c]) == pytest.approx(expected, abs=1e-10)


def test_rows_cost_what_tags_cost():
    z, tags = batch()
    objective = PU(0.85, 2.0)
    objective.begin(12, 4)
    losses = objective.loss(z, tags, torch.arange(12))
    torch.testing.assert_close(losses.mean(), pu_loss(z, tags > 0, 0.85, 2.0).sum())


def test_the_scale_of_phi_does_not_matter():
    """Without re-balance, log phi + a in both terms is the same loss: written here for a phi that has no sigmoid."""
    z, tags = batch()
    log_phi = torch.nn.functional.logsigmoid(z)

    def loss(log_phi):
        mean = log_phi.logsumexp(0) - math.log(len(z))
        marks = (tags > 0).double()
        return mean - (log_phi * marks).sum(0) / marks.sum(0)

    torch.testing.assert_close(pu_loss(z, tags > 0, 0.0, math.inf), loss(log_phi))
    torch.testing.assert_close(loss(log_phi), loss(log_phi - 1.7))
    low = z - 30  # where the sigmoid is an exponential, a shift of the logits is such a constant
    torch.testing.assert_close(pu_loss(low, tags > 0, 0.0, math.inf), pu_loss(low - 5, tags > 0, 0.0, math.inf))


def test_the_optimum_is_proportional_to_the_chance_of_the_tag():
    """Three kinds of rows with P(tag | kind) known; the loss over the whole population is minimised by descent."""
    kinds, chance = np.array([0, 1, 2]), np.array([0.8, 0.4, 0.1])
    rows = np.repeat(kinds, [200, 300, 500])
    there = np.concatenate([np.arange(m) < round(p * m) for m, p in zip((200, 300, 500), chance, strict=True)])
    marks, at = torch.from_numpy(there)[:, None], torch.from_numpy(rows)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(500):
        loss = pu_loss(logits[at][:, None], marks, 0.0, math.inf).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    phi = logits.detach().sigmoid().numpy()
    np.testing.assert_allclose(phi / phi.max(), chance / chance.max(), rtol=2e-3)


def test_no_gradient_flows_through_the_factors():
    """The gradient is that of finite differences with w and tau frozen at what they were."""
    z, tags = batch(6, 2)
    z = (z / 4).requires_grad_()
    marks = (tags > 0).double()
    tau = temperatures(z, 0.9, torch.ones(6, dtype=torch.float64))
    w = rebalance(torch.nn.functional.logsigmoid(z / tau).exp().mean(0).log(), 0.55)
    assert (tau < 1).all()
    assert (w < 1).all()

    def frozen(v):
        log_phi = torch.nn.functional.logsigmoid(v / tau)
        return (w * log_phi.exp().mean(0).log() - (log_phi * marks).sum(0) / marks.sum(0)).sum()

    pu_loss(z, tags > 0, 0.55, 0.9).sum().backward()
    step = 1e-6
    for i in range(6):
        for c in range(2):
            nudge = torch.zeros_like(z)
            nudge[i, c] = step
            slope = (frozen(z.detach() + nudge) - frozen(z.detach() - nudge)) / (2 * step)
            assert float(z.grad[i, c]) == pytest.approx(float(slope), abs=1e-7)


def test_mixing_by_hand():
    z, tags = batch(2, 1)
    tags[0], tags[1] = 1, 0
    said = torch.tensor([[0.3]], dtype=torch.float64)
    targets = log_target(z, tags > 0)
    found = consistency(said, targets[:1], targets[1:], 0.25)
    mixed = 0.25 * 1.0 + 0.75 * sigmoid(float(z[1, 0]))
    assert float(found) == pytest.approx((math.log(mixed) - math.log(sigmoid(0.3))) ** 2)


def test_forward_is_the_loss_and_the_consistency_of_the_halves():
    z, tags = batch(8, 3)
    model = torch.nn.Linear(3, 3).double()
    objective = PU()
    objective.begin(8, 3, model=model)
    torch.manual_seed(5)
    found = objective(Batch(z[:, :3], tags[:, :3], torch.arange(8)), model)
    torch.manual_seed(5)
    share = float(torch.distributions.Beta(0.3, 0.3).sample())
    order = torch.randperm(4)
    said = model(z[:, :3])
    targets = log_target(said, tags[:, :3] > 0)
    x = share * z[:4, :3][order] + (1 - share) * z[4:, :3]
    expected = pu_loss(said, tags[:, :3] > 0).sum()
    expected = expected + consistency(model(x), targets[:4][order], targets[4:], share).sum(1).mean()
    torch.testing.assert_close(found, expected)


def test_the_asymmetric_loss_and_the_likelihood_in_a_loop():
    z, tags = batch()
    tags[1, :2] = -1
    c = np.array([0.1, 0.3, 0.5, 0.9])
    slanted, likely, hybrid = np.zeros(12), np.zeros(12), np.zeros(12)
    for i in range(12):
        for t in range(4):
            p = sigmoid(float(z[i, t]))
            rest = max(p - 0.05, 0)
            slanted[i] -= (1 - p) * math.log(p) if tags[i, t] == 1 else rest**4 * math.log(1 - rest)
            one = math.log(c[t] * p) if tags[i, t] == 1 else math.log(1 - c[t] * p)
            likely[i] -= one
            hybrid[i] -= math.log(1 - p) if tags[i, t] == -1 else one
    log_c = torch.from_numpy(np.log(c))
    np.testing.assert_allclose(asymmetric(z, tags).numpy(), slanted)
    np.testing.assert_allclose(likelihood(z, tags, log_c).numpy(), likely)
    np.testing.assert_allclose(likelihood(z, tags, log_c, use_negatives=True).numpy(), hybrid)


def test_the_likelihoods_gradient_is_that_of_expectation_maximisation():
    """Cross-entropy to the belief that an unknown tag is there, (1 - c) p / (1 - c p), held constant."""
    z, tags = batch()
    c = torch.tensor([0.1, 0.3, 0.5, 0.9], dtype=torch.float64)
    grads = []
    for em in (False, True):
        v = z.clone().requires_grad_()
        p = z.sigmoid()
        belief = torch.where(tags > 0, 1.0, (1 - c) * p / (1 - c * p))
        bce = torch.nn.functional.binary_cross_entropy_with_logits(v, belief, reduction="sum")
        (bce if em else likelihood(v, tags, c.log()).sum()).backward()
        grads.append(v.grad)
    torch.testing.assert_close(*grads)


# Limits -------------------------------------------------------------------------------------------------------------


def test_a_tag_confirmed_in_no_row_lifts_none_exactly():
    z, tags = batch()
    tags[:, 1] = 0
    z.requires_grad_()
    down, up = pu_terms(z, tags > 0)
    assert (up[:, 1] == 0).all()
    (down + up.mean(0)).sum().backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad[:, 1] > 0).all()  # descent lowers it in all rows


def test_extreme_logits_in_half_precision_stay_finite():
    z = torch.tensor([[-60000.0, 60000.0], [-60000.0, -60000.0], [0.0, 60000.0]], dtype=torch.float16)
    z.requires_grad_()
    tags = torch.tensor([[1, 0], [0, 1], [0, 0]])
    loss = pu_loss(z, tags > 0)
    assert loss.dtype == torch.float32
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(z.grad).all()


def test_recorded_absences_are_unknown_unless_asked_for():
    x, truth, tags = tagged()
    absent = np.where((truth == 0) & (np.random.default_rng(1).random(truth.shape) < 0.5), -1, tags).astype(np.int8)
    for method in ("pu", "em", "bce", "asl"):
        one, other = (PositiveMultilabel(method, recipe=QUICK).fit(x, y).predict_proba(x) for y in (tags, absent))
        assert np.array_equal(one, other)
        if method in ("pu", "em"):
            hybrid = PositiveMultilabel(method, use_negatives=True, recipe=QUICK).fit(x, absent).predict_proba(x)
            assert not np.array_equal(one, hybrid)


def test_known_absences_help_where_they_are_used():
    x, truth, tags = tagged(600, 0.05)
    known = np.where((truth == 0) & (np.random.default_rng(1).random(truth.shape) < 0.5), -1, tags).astype(np.int8)
    recipe, right = Recipe(epochs=15, optimizer="adam", lr=1e-3, weight_decay=0), []
    for use in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = PositiveMultilabel(use_negatives=use, recipe=recipe).fit(x, known)
        right.append(average_precision_score(truth, model.decision_function(x)))
    assert right[1] > right[0]


def test_the_trap_of_a_low_bias_is_closed():
    """Bunched, low logits: unguarded, tau is tiny, phi is 0 and w switches the loss off for all but confirmed rows."""
    z = -2 + 0.01 * batch(64, 4)[0]
    z.requires_grad_()
    tau = temperatures(z, 1.0, torch.ones(64, dtype=torch.float64))
    assert (tau == COLDEST).all()
    w = rebalance(torch.nn.functional.logsigmoid(z / tau).logsumexp(0) - math.log(64), 0.55)
    assert (w == MILDEST).all()
    down, _ = pu_terms(z, torch.zeros(64, 4) > 0)
    down.sum().backward()
    assert (z.grad.sum(0) > MILDEST).all()
    model = mlp((5,), 3)
    torch.nn.init.constant_(model.head.bias, -2.0)
    PU().begin(10, 3, model=model)
    assert (model.head.bias == 0).all()


def test_a_network_that_starts_low_learns_all_the_same():
    x, truth, tags = tagged(600, 0.2)
    recipe = Recipe(epochs=15, optimizer="adam", lr=1e-3, weight_decay=0)

    class Low(torch.nn.Module):  # its last bias can't be found
        def __init__(self):
            super().__init__()
            self.inner = mlp((64,), 3)

        def forward(self, inputs):
            return self.inner(inputs) - 2

    model = PositiveMultilabel(backbone=lambda shape, k: Low(), recipe=recipe).fit(x, tags)
    assert average_precision_score(truth, model.decision_function(x)) > 0.9
    assert 0.5 < model.predict_proba(x).mean() / truth.mean() < 1.5


def test_drawn_rows_mean_what_all_rows_mean():
    """Weighted by one over their chances, the loss of many drawn rows is near that of all rows."""
    z, tags = batch(400, 3)
    chances = confirmed_sampling(tags.numpy())
    assert chances.sum() == pytest.approx(1)
    drawn = torch.from_numpy(np.random.default_rng(0).choice(400, 200_000, p=chances))
    objective = PU(mixup=0, chances=chances)
    objective.begin(400, 3)
    found = objective.loss(z[drawn], tags[drawn], drawn).mean()
    torch.testing.assert_close(found, pu_loss(z, tags > 0).sum(), atol=0.01, rtol=0)


def test_one_tag_is_enough():
    x, truth, tags = tagged(300, 0.4)
    model = PositiveMultilabel().fit(x, tags[:, :1])
    assert average_precision_score(truth[:, :1], model.predict_proba(x)) > 0.9


# State --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [PU, EM, TagObjective])
def test_a_resumed_training_is_one_training_to_the_bits(tmp_path, make):
    x, _, tags = tagged()
    data = TagData(torch.from_numpy(x).float(), tags, 3)

    class Stop(Exception):
        pass

    def stop(done, _):
        if done == 7:
            raise Stop

    def train(**options):
        return fit(make(), lambda: mlp((64,), 3, dropout=0.2), data, QUICK, **options)

    with pytest.raises(Stop):
        train(checkpoint=tmp_path / "c.pt", checkpoint_steps=1, on_step=stop)
    resumed, whole = train(checkpoint=tmp_path / "c.pt"), train()
    for one, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(resumed.objective.past, whole.objective.past)
    with pytest.raises(InputError, match="another labels"):
        fit(
            make(),
            lambda: mlp((64,), 3),
            TagData(data.inputs, tags[::-1].copy(), 3),
            QUICK,
            checkpoint=tmp_path / "c.pt",
        )


def test_two_processes_take_the_step_of_one(tmp_path):
    """The logarithm is outside the mean, so each process must hear of the other's rows; their parts differ in size."""
    command = [sys.executable, "-m", "tests.learn.tags_apart", str(tmp_path)]
    for process in [subprocess.Popen([*command, str(rank)], cwd=Path(__file__).parents[2]) for rank in (0, 1)]:
        assert process.wait(timeout=120) == 0
    expected, parts = gradients(), [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for part in parts:
        torch.testing.assert_close(part["weight"], expected["weight"])
        torch.testing.assert_close(part["bias"], expected["bias"])
    torch.testing.assert_close((parts[0]["loss"] + parts[1]["loss"]) / 2, expected["loss"])


def test_the_contract_of_an_estimator():
    x, _, tags = tagged()
    model = PositiveMultilabel(recipe=QUICK, mixup=0.1)
    with pytest.raises(NotFittedError):
        model.predict(x)
    given = model.get_params()
    assert model.fit(x, tags, tag_names=["even", "high", "round"]) is model
    assert model.get_params() == given
    probability = model.predict_proba(x[:7])
    assert probability.shape == (7, 3)
    assert np.array_equal(model.predict(x[:7]), probability > 0.5)
    assert model.n_features_in_ == 64
    assert model.tag_names_.tolist() == model.classes_.tolist() == ["even", "high", "round"]
    again = clone(model).fit(x, tags)
    assert np.array_equal(again.predict_proba(x), model.predict_proba(x))
    assert again.tag_names_.tolist() == ["0", "1", "2"]
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict_proba(x), model.predict_proba(x))
    np.testing.assert_allclose(model.predict_proba(x[5:6]), model.predict_proba(x)[5:6], rtol=1e-5)
    with pytest.raises(ValueError, match="features"):
        model.predict(x[:, :5])


def test_tags_are_read_as_they_are_meant():
    x, truth, tags = tagged()
    space = Space(("even", "high", "round"), Kind.MULTILABEL)
    only = Tags(space, tags, positive_only=True)
    known = Tags(space, truth, np.random.default_rng(0).random(truth.shape) < 0.6)
    model = PositiveMultilabel(recipe=QUICK).fit(x, only)
    assert model.tag_names_.tolist() == ["even", "high", "round"]
    assert np.array_equal(model.predict_proba(x), PositiveMultilabel(recipe=QUICK).fit(x, tags).predict_proba(x))
    assert TagData(x, known, 3).targets.tolist() == np.where(known.present, 2 * truth - 1, 0).tolist()


def test_the_epoch_is_chosen_by_the_rows_held_out():
    """Confirmed rows are memorised in the end; what was recorded of other rows tells when to stop."""
    x, _, tags = tagged(1200, 0.1)
    test, digit = X[1200:] / 16, DIGIT[1200:]
    there = np.stack([digit % 2 == 0, digit >= 5, np.isin(digit, (0, 6, 8, 9))], 1)
    recipe = Recipe(epochs=16, optimizer="adam", lr=1e-3, weight_decay=0)
    found = {v: PositiveMultilabel(validation=v, recipe=recipe).fit(x, tags) for v in (0, 0.1)}
    precision = {v: average_precision_score(there, model.predict_proba(test)) for v, model in found.items()}
    assert precision[0.1] > precision[0] + 0.03
    assert found[0.1].best_epoch_ == np.argmin(found[0.1].objective_.scores) < 12
    assert found[0].best_epoch_ == 15
    z, given = batch()
    by_hand = sum(int((given[:, c] > 0).sum()) * float(pu_loss(z, given > 0, 0, math.inf)[c]) for c in range(4))
    assert float(PU().criterion(z, given)) == pytest.approx(by_hand / int((given > 0).sum()))


def test_rows_held_out_leave_each_tag_a_confirmed_row():
    tags = np.zeros((50, 2), dtype=np.int8)
    tags[7, 0] = tags[:, 1] = 1
    for seed in range(20):
        held = hold_out(tags, 0.3, np.random.default_rng(seed))
        assert not held[7]
        assert 14 <= held.sum() <= 15


def test_evidence_tells_of_tags_and_of_cells_that_were_missed():
    x, truth, tags = tagged(600, 0.3)
    model = PositiveMultilabel(recipe=Recipe(epochs=20, optimizer="adam", lr=1e-3)).fit(x, tags)
    told = model.evidence()
    by_tag, cells = told["tags"], told["suspects"]
    assert (by_tag["confirmed"] == (tags > 0).sum(0)).all()
    assert np.allclose(by_tag["rate"], (tags > 0).mean(0))
    assert np.allclose(by_tag["prior"], truth.mean(0), rtol=0.2)
    assert (by_tag["bound"] >= by_tag["best_bin"]).all()
    assert (by_tag["alarm"] == "").all()
    assert (by_tag["lift"] > 0.3).all()
    assert np.allclose(np.where(tags == 1, 1, model.predict_proba(x)).mean(0), model.priors_)
    assert (tags[cells["row"], cells["tag"].astype(int)] != 1).all()
    assert truth[cells["row"], cells["tag"].astype(int)][:100].mean() > 0.95
    assert (np.diff(cells["probability"]) <= 0).all()
    assert set(PositiveMultilabel("em", recipe=QUICK).fit(x, tags).evidence()["tags"]) >= {"frequency", "prior"}


def test_given_priors_are_kept_and_raw_probabilities_are_not_shifted():
    x, truth, tags = tagged()
    priors = truth.mean(0)
    for method in ("pu", "em", "bce"):
        model = PositiveMultilabel(method, priors=priors.tolist(), recipe=QUICK).fit(x, tags)
        assert np.allclose(model.predict_proba(x).mean(0), priors, atol=1e-6)
        assert np.allclose(model.priors_, priors)
    shifted = PositiveMultilabel("bce", calibrate=True, recipe=QUICK).fit(x, tags)
    assert np.allclose(shifted.predict_proba(x).mean(0), shifted.priors_, atol=1e-6)
    assert np.allclose(shifted.priors_, shifted.evidence()["tags"]["best_bin"])
    raw = PositiveMultilabel(recipe=QUICK).fit(x, tags)
    assert (raw.shift_ == 0).all()
    strict = PositiveMultilabel(recipe=QUICK, threshold=[0.5, 0.99, 0.01]).fit(x, tags)
    assert np.array_equal(strict.predict(x), raw.predict_proba(x) > [0.5, 0.99, 0.01])


def test_alarms_speak():
    x, _, tags = tagged(600, 0.3)
    few = tags.copy()
    few[np.flatnonzero(few[:, 1])[5:], 1] = 0
    with pytest.warns(UserWarning, match="'1': few confirmed rows"):
        PositiveMultilabel(recipe=QUICK).fit(x, few)
    high, first = PositiveMultilabel("bce", recipe=QUICK).fit(x, tags), np.arange(600)[:, None] < [100, 100, 100]
    with pytest.warns(UserWarning, match="predicted more often than the confirmed rows allow"):
        high._settle(np.where(first, 6.0, 2.0), first.astype(np.int8))  # told apart, yet all predicted
    with pytest.warns(UserWarning, match="hardly told from all others"):
        high._settle(np.full((600, 3), 4.0), first.astype(np.int8))  # a collapse: all rows are predicted alike


def test_bad_input_is_told_in_a_sentence_before_any_work():
    x, _, tags = tagged(40)
    never, odd, hole = tags.copy(), tags.astype(int), x.copy()
    never[:, 1] = np.minimum(never[:, 1], 0)
    odd[7, 1], hole[9, 3] = 2, np.nan
    cases = [
        (x, never, {}, "'1' is confirmed in no row"),
        (x, odd, {}, r"A tag is 2.*row: 7"),
        (x, tags + 0.5, {}, "A tag is"),
        (hole, tags, {}, r"NaN.*row: 9"),
        (x[:1], np.ones((1, 3)), {}, "a batch has 1"),
        (x, tags, {"recipe": Recipe(batch_size=1)}, "a batch has 1"),
        (x[:30], tags, {}, "30 rows and the tags 40"),
        (x, tags[:, 0], {}, "one column a tag"),
        (x, tags, {"method": "ouija"}, "expected one of pu"),
        (x, tags, {"sampling": "odd"}, "confirmed, even"),
        (x, tags, {"gamma": -1}, "gamma"),
        (x, tags, {"priors": [0.5, 0.5]}, "one or 3"),
        (x, tags, {"priors": 1e-3}, "confirmed: give the share"),
        (x, tags, {"threshold": 1.5}, "between 0 and 1"),
        (x, tags, {"validation": 0.7}, "share of the rows"),
    ]
    for rows, given, options, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            PositiveMultilabel(**options).fit(rows, given)
    with pytest.raises(InputError, match="one name a tag"):
        PositiveMultilabel().fit(x, tags, tag_names=["a"])


# Claim --------------------------------------------------------------------------------------------------------------


@pytest.mark.claim
def test_claim():
    """Five seeds, a tenth of the tags recorded; precision is no worse than that of binary cross-entropy."""
    f1: dict[str, list[float]] = {"pu": [], "bce": []}
    precision: dict[str, list[float]] = {"pu": [], "bce": []}
    for seed in range(5):
        data = mosaics(seed)
        given = recorded(data.y, 0.1, seed)
        for method in f1:
            model = PositiveMultilabel(method, backbone=Cells, random_state=seed).fit(data.x, given)
            said = model.predict_proba(data.x_test)
            f1[method].append(f1_score(data.y_test, said > 0.5, average="micro", zero_division=0))
            precision[method].append(average_precision_score(data.y_test, said))
    assert interval(f1["pu"])["low"] > 0.8
    assert max(f1["bce"]) < 0.05
    assert interval([a - b for a, b in zip(precision["pu"], precision["bce"], strict=True)])["high"] > 0
