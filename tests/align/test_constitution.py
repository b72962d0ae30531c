"""Constitutional calibration by hand, at its limits, beside transformers' guidance, and its claim on digits."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from tests.language.tiny_image_text import pictures, tiny_image_text_model

from assay.align.constitution import Combine, Constitution, FirstTokens, calibrate
from assay.errors import InputError
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.image_text import Turn
from assay.language.models import tiny_language_model
from assay.training.deep.protocol import interval
from bench.align.digit_answers import Digits, behaviour, trained


def pair(b=3, v=11, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(b, v, generator=generator, dtype=dtype) * 3 for _ in range(2)]


def test_by_loop():
    with_, without = pair()
    found = calibrate(with_, without, 2.5, 0.2)
    for row in range(3):
        p = [math.exp(x) for x in with_[row].tolist()]
        for token in range(11):
            w, o = float(with_[row, token]), float(without[row, token])
            expected = w + 2.5 * (w - o) if p[token] >= 0.2 * max(p) else -math.inf
            assert float(found.logits[row, token]) == pytest.approx(expected)
        free = int((with_ + 2.5 * (with_ - without))[row].argmax())
        assert bool(found.guarded[row]) == (p[free] < 0.2 * max(p))


def test_closed_form():
    """0.6 * 6 / (0.6 * 6 + 0.4 * 0.4444)."""
    found = calibrate(torch.tensor([[0.6, 0.4]]).log(), torch.tensor([[0.1, 0.9]]).log())
    assert float(found.logits.softmax(1)[0, 0]) == pytest.approx(3.6 / (3.6 + 0.4 * 4 / 9), abs=1e-6)
    assert float(found.logits.softmax(1)[0, 0]) == pytest.approx(0.953, abs=5e-4)


def test_alpha_0_is_the_principle_alone_and_minus_1_the_plain_model():
    with_, without = pair(dtype=torch.float32)
    assert torch.equal(calibrate(with_, without, 0.0).logits, with_)
    torch.testing.assert_close(calibrate(with_, without, -1.0).logits, without)


def test_logits_and_log_probabilities_and_shifts_are_the_same():
    with_, without = pair()
    expected = calibrate(with_, without, 4.0, 0.1).logits.softmax(1)
    for a, b in (
        (with_.log_softmax(1), without.log_softmax(1)),
        (with_ + torch.randn(3, 1, dtype=torch.float64), without - 7.0),
    ):
        torch.testing.assert_close(calibrate(a, b, 4.0, 0.1).logits.softmax(1), expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("alpha", [-1.0, -0.5, 0.0, 0.5, 1.0, 4.0])
def test_it_is_the_guidance_of_transformers(alpha):
    """guidance_scale = 1 + alpha, with the plain prompt as the negative one."""
    from transformers import UnbatchedClassifierFreeGuidanceLogitsProcessor

    with_, without = pair(dtype=torch.float32)
    peer = UnbatchedClassifierFreeGuidanceLogitsProcessor(1 + alpha, model=None)
    peer.get_unconditional_logits = lambda ids: without[:, None]
    theirs = peer(torch.zeros(3, 1, dtype=torch.long), with_)
    torch.testing.assert_close(calibrate(with_, without, alpha).logits.softmax(1), theirs.softmax(1))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_no_other_distribution_is_better(alpha):
    """It maximises alpha E_d[log p_with / p_without] - KL(d || p_with)."""
    with_, without = (x.log_softmax(1) for x in pair(b=1))

    def objective(log_d):
        d = log_d.exp()
        return float((d * (alpha * (with_ - without) - (log_d - with_))).sum())

    best = calibrate(with_, without, alpha).logits.log_softmax(1)
    generator = torch.Generator().manual_seed(1)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(200):
            other = (best + size * torch.randn(best.shape, generator=generator, dtype=torch.float64)).log_softmax(1)
            assert objective(other) <= objective(best) + 1e-12


def test_forbidden_tokens_stay_forbidden_and_nan_is_not_hidden():
    with_, without = pair(dtype=torch.float32)
    with_[0, :3], without[0, 2:5] = -math.inf, -math.inf
    without[1] = -math.inf
    with_[2, 0] = math.nan
    for plausibility in (0.0, 1.0):
        found = calibrate(with_, without, 4.0, plausibility).logits
        assert (found[0, :5] == -math.inf).all()
        assert not found[0].isnan().any()
        assert (found[1] == -math.inf).all()
        assert found[2].isnan().any()
    assert int(calibrate(with_, without, 4.0, 1.0).logits[0].isfinite().sum()) == 1


def test_half_floats_are_subtracted_in_float32():
    with_, without = (x.half() for x in pair(v=1000, dtype=torch.float32))
    found = calibrate(with_, without, 8.0).logits
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, calibrate(with_.double(), without.double(), 8.0).logits.float())


def test_rows_alone_are_rows_together_and_may_have_their_own_alpha():
    with_, without = pair()
    alphas = torch.tensor([[0.0], [1.0], [8.0]], dtype=torch.float64)
    together = calibrate(with_, without, alphas, 0.1)
    for row in range(3):
        one = slice(row, row + 1)
        alone = calibrate(with_[one], without[one], float(alphas[row]), 0.1)
        assert torch.equal(alone.logits, together.logits[one])
        assert torch.equal(alone.guarded, together.guarded[one])


def test_the_guard_is_silent_where_the_likeliest_token_is_plausible():
    with_, without = pair()
    assert not calibrate(with_, without, 0.0, 0.5).guarded.any()
    without[0] = with_[0]
    without[0, with_[0].argmin()] -= 100.0  # an implausible token that the principle raised
    found = calibrate(with_, without, 1.0, 0.5)
    assert found.guarded[0]
    assert int(found.logits[0].argmax()) == int(with_[0].argmax())
    assert not calibrate(with_, without, 1.0).guarded.any()


def test_schedules_and_counts():
    with_, without = pair()
    schedule = FirstTokens(4)
    assert [schedule(step) for step in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    combine = Combine(2.0, 0.3, schedule)
    for step in range(6):
        expected = calibrate(with_, without, 2.0 * schedule(step), 0.3)
        assert torch.equal(combine(with_, without, step), expected.logits)
    assert combine.n_tokens == 18
    assert combine.n_guarded == sum(
        int(calibrate(with_, without, 2.0 * schedule(s), 0.3).guarded.sum()) for s in range(6)
    )


def test_bad_strengths():
    with_, without = pair()
    for alpha in (math.nan, math.inf):
        with pytest.raises(InputError, match="alpha is"):
            calibrate(with_, without, alpha)
    for plausibility in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="plausibility is"):
            calibrate(with_, without, 1.0, plausibility)


PROMPTS = ["How are you?", "What is a bee?", "Tell me of birds and of bees.", "Why?"]


def tiny(**settings):
    return Constitution("Be kind to all.", model=tiny_language_model(), max_new_tokens=6, **settings)


def test_answers_are_those_of_both_branches():
    model = tiny(alpha=3.0, plausibility=0.2, schedule=FirstTokens(4))
    lm = model.model
    for prompt, ids in zip(PROMPTS, model.generate(PROMPTS).ids, strict=True):
        with_, without, said = lm.chat(f"Be kind to all.\n\n{prompt}"), lm.chat(prompt), []
        while len(said) < 6 and 2 not in said:
            with torch.no_grad():
                logits = [lm.model(torch.tensor([branch + said])).logits[:, -1] for branch in (with_, without)]
            alpha = 3.0 * max(0, 1 - len(said) / 4)
            said.append(int(calibrate(*logits, alpha, 0.2).logits.argmax()))
        assert ids == said


def test_placement_in_the_system_turn():
    model = tiny(placement="system")
    assert model.turn("Why?") == Turn("Why?", system="Be kind to all.")
    assert model.generate(PROMPTS).ids != tiny().generate(PROMPTS).ids


def test_alpha_0_and_minus_1_in_answers():
    """Found by one branch alone; a hair beside them, by both."""
    lm, model = tiny_language_model(), tiny()
    for alpha, asked in ((0.0, [model.turn(p).user for p in PROMPTS]), (-1.0, PROMPTS)):
        alone = generate(lm, [lm.chat(p) for p in asked], chain=LogitsChain(temperature=0), max_new_tokens=6)
        assert model.generate(PROMPTS, alpha=alpha).ids == [samples[0] for samples in alone]
        assert model.generate(PROMPTS, alpha=alpha + 1e-6).ids == [samples[0] for samples in alone]


def test_samples_are_the_same_in_any_batch_and_other_with_another_seed():
    one, other = tiny(temperature=1.0, batch_size=1), tiny(temperature=1.0)
    assert one.generate(PROMPTS).ids == other.generate(PROMPTS).ids
    assert other.generate(PROMPTS).ids != tiny(temperature=1.0, seed=1).generate(PROMPTS).ids


def test_images_and_text():
    shown = pictures(4)
    model = Constitution("Be kind to all.", 2.0, 0.1, model=tiny_image_text_model(), max_new_tokens=5)
    found = model.generate(PROMPTS, shown)
    alone = [model.generate([prompt], [image]).ids[0] for prompt, image in zip(PROMPTS, shown, strict=True)]
    assert found.ids == alone
    assert found.ids != model.generate(PROMPTS, pictures(4, seed=1)).ids
    assert 0 <= found.guarded <= 1
    model.fit(PROMPTS, [True, True, False, False], images=shown, alphas=[0, 2])
    assert np.isnan(model.evidence()["nats"]).all()


def test_fit_takes_the_alpha_that_refuses_the_harmful_and_answers_the_others():
    """As if what alpha = -0.5 says to the harmful ones were refusals; at 4 the model writes noise."""
    model = tiny().set_params(model=tiny_language_model(1))
    lm, prompts, harmful, alphas = model.model, PROMPTS[:3], [True, True, False], (-1.0, -0.5, 4.0)
    written = {alpha: model.generate(prompts, alpha=alpha).answers for alpha in alphas}
    wanted = set(written[-0.5][:2])
    model.fit(prompts, harmful, alphas=alphas, judge=lambda answer: "refused" if answer in wanted else "complied")
    curve = model.evidence()
    assert model.alpha_ == -0.5
    assert curve["alpha"].tolist() == list(alphas)
    assert curve["refused"].tolist() == [0, 1, 0]
    assert curve["answered"].tolist() == [1, 1, 0]
    assert curve["broken"].tolist() == [0, 0, 1]
    assert model.predict(prompts) == written[-0.5]
    for at, alpha in enumerate(alphas):
        context, said = lm.chat(prompts[2]), model.written_[alpha].ids[2]
        with torch.no_grad():
            log_probs = lm.model(torch.tensor([context + said])).logits[0, len(context) - 1 : -1].log_softmax(-1)
        nats = -float(log_probs.gather(1, torch.tensor(said)[:, None]).mean())
        assert curve["nats"][at] == pytest.approx(nats, rel=1e-4)
        assert curve["n_tokens"][at] == np.mean([len(ids) for ids in model.written_[alpha].ids])
    assert clone(tiny()).get_params()["principle"] == "Be kind to all."


def test_without_harmless_prompts_there_is_a_curve_and_no_choice():
    model = tiny(alpha=0.5).fit(PROMPTS, [True] * 4, alphas=[0, 1])
    assert model.alpha_ == 0.5
    assert np.isnan(model.evidence()["answered"]).all()
    assert np.isfinite(model.evidence()["refused"]).all()


def test_bad_input_is_refused_in_a_sentence():
    for settings, message in (
        ({"principle": "  "}, "principle is empty"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"plausibility": 2.0}, "plausibility is 2"),
        ({"placement": "end"}, "placement is 'end'"),
    ):
        with pytest.raises(InputError, match=message):
            tiny().set_params(**settings).generate(PROMPTS)
    for prompts, message in (
        ([], "no prompts"),
        (["Hi", " "], "empty.*row: 1"),
        (["Hi", "a" * 600], "do not fit into the 512 tokens of tiny.*row: 1"),
    ):
        with pytest.raises(InputError, match=message):
            tiny().generate(prompts)
    for y, alphas in (([True], [1.0]), ([True] * 4, [])):
        with pytest.raises(InputError, match="mark each, try some"):
            tiny().fit(PROMPTS, y, alphas=alphas)
    with pytest.raises(InputError, match="alpha is nan"):
        tiny().fit(PROMPTS, [True] * 4, alphas=[0, math.nan])
    broken = tiny()
    broken.model.model.lm_head.weight.data[5] = math.nan
    with pytest.raises(InputError, match="no token can be chosen"):
        broken.generate(PROMPTS)
    seeing = Constitution("Be kind.", model=tiny_image_text_model(), max_new_tokens=3)
    seeing.model.model.lm_head.weight.data[5] = math.nan
    with pytest.raises(InputError, match="no token can be chosen"):
        seeing.generate(PROMPTS, pictures(4))


@pytest.mark.claim
def test_claim():
    """Five seeds: violations fall steeply from alpha 0 to 1 and 2, accuracy hardly; further on there is only damage,
    which the guard prevents."""
    alphas = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
    runs, guarded = [], []
    for seed in range(5):
        data = Digits.split(seed)
        model = trained(data, seed, steps=1200)
        runs.append({a: (behaviour(model, data, a), behaviour(model, data, a, sampled=0)) for a in alphas})
        guarded.append(behaviour(model, data, 8.0, 0.1))
    for way in range(2):  # greedy, sampled
        for alpha in (1.0, 2.0):
            fell = interval([run[0.0][way].violation - run[alpha][way].violation for run in runs])
            assert fell["low"] > 0.3
        assert interval([run[2.0][way].violation for run in runs])["high"] < 0.2
        assert interval([run[2.0][way].violation - run[8.0][way].violation for run in runs])["mean"] < 0.02
    lost = {a: interval([run[0.0][0].accuracy - run[a][0].accuracy for run in runs]) for a in alphas}
    assert lost[2.0]["high"] < 0.02
    assert lost[8.0]["low"] > lost[2.0]["high"]
    over = [interval([run[a][0].over_refusal for run in runs])["mean"] for a in alphas]
    assert over == sorted(over)
    assert over[3] < 0.06
    kept = interval([run[0.0][0].accuracy - end.accuracy for run, end in zip(runs, guarded, strict=True)])
    assert kept["high"] < 0.02
