"""Beside TRL: its tokens, its DPO loss on the same batch, a training of its trainer with learned masks."""

import copy

import pytest
import torch

from assay.errors import InputError
from assay.language.models import tiny_language_model
from assay.language.pair_data import tokenise
from assay.language.policy import adapted
from assay.language.token_preference import Weighing, preference_loss, reference_log_probs
from assay.language.trl_trainer import paired, trl_trainer

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

TEXTS = [
    {"prompt": "Q: how?", "chosen": " so", "rejected": " no idea"},
    {"prompt": "A", "chosen": " good answer", "rejected": " bad"},
    {"prompt": "Say more", "chosen": " yes", "rejected": " never, ever"},
    {"prompt": "x y z", "chosen": " abc", "rejected": " abd"},
]
TALKS = [
    {name: [{"role": "user" if name == "prompt" else "assistant", "content": pair[name]}] for name in pair}
    for pair in TEXTS
]


def settings(folder, **more):
    return trl.DPOConfig(
        output_dir=str(folder), per_device_train_batch_size=4, max_steps=3, learning_rate=1e-2, beta=0.3, report_to=[],
        logging_steps=1, use_cpu=True, bf16=False, max_length=512, disable_tqdm=True, save_strategy="no",
        gradient_checkpointing=False, **more,
    )  # fmt: skip


def plain(folder, pairs, lm, reference, **more):
    return trl.DPOTrainer(
        model=lm.model,
        ref_model=reference,
        args=settings(folder, **more),
        train_dataset=datasets.Dataset.from_list(pairs),
        processing_class=lm.tokenizer,
    )


@pytest.mark.parametrize("pairs", [TEXTS, TALKS], ids=["texts", "talks"])
def test_tokens_and_loss_are_those_of_trl(tmp_path, pairs):
    lm = tiny_language_model()
    policy = adapted(lm.model, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += 0.05 * torch.randn_like(weight)
    mine = tokenise(pairs, lm.tokenizer, lm.pad)
    changed = type(lm)(policy.model, lm.tokenizer)
    theirs = plain(tmp_path, pairs, changed, lm.model)
    for at, row in enumerate(theirs.train_dataset):
        assert row["prompt_ids"] == mine.prompt[at]
        assert row["chosen_ids"] == mine.chosen[at]
        assert row["rejected_ids"] == mine.rejected[at]
    batch = theirs.data_collator(list(theirs.train_dataset))
    ours = mine[torch.arange(4)]
    for name, column in paired(batch).items():
        assert torch.equal(column, ours[name])
    expected = theirs.compute_loss(theirs.model, batch)
    weighing = Weighing("none")
    for inputs in (ours, ours | {"reference": reference_log_probs(ours, policy)}):
        loss = preference_loss(weighing.scores(weighing(inputs, policy)), 0.3).mean()
        torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
        weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
        gradients = [torch.autograd.grad(each, weights, retain_graph=True) for each in (loss, expected)]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("adapters", [False, True])
def test_a_training_of_trl_with_this_loss_is_its_own(tmp_path, adapters):
    """DPO through our loss, step by step, ends at the weights of TRL's DPO."""
    ended = []
    for ours in (False, True):
        lm = tiny_language_model()
        more = {"model": lm.model, "train_dataset": datasets.Dataset.from_list(TEXTS), "args": settings(tmp_path)}
        if adapters:
            import peft

            more["peft_config"] = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
        else:
            more["ref_model"] = copy.deepcopy(lm.model)
        more["processing_class"] = lm.tokenizer
        trainer = trl_trainer(Weighing("none"), **more) if ours else trl.DPOTrainer(**more)
        trainer.train()
        ended.append([weight.detach() for weight in trainer.model.parameters()])
        assert trainer.state.log_history[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    for one, other in zip(*ended, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)


def test_learned_masks_train_beside_the_adapters(tmp_path):
    import peft
    from safetensors.torch import load_file

    lm, weighing = tiny_language_model(), Weighing("independent")
    trainer = trl_trainer(
        weighing,
        mask_lr=1e-2,
        l1=0.01,
        model=lm.model,
        args=settings(tmp_path, eval_strategy="steps", eval_steps=3),
        train_dataset=datasets.Dataset.from_list(TEXTS),
        eval_dataset=datasets.Dataset.from_list(TEXTS),
        processing_class=lm.tokenizer,
        peft_config=peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    before = copy.deepcopy(weighing.state_dict())
    trainer.train()
    assert any(not torch.equal(before[name], weight) for name, weight in weighing.state_dict().items())
    logged = trainer.state.log_history
    assert 0 < logged[0]["mask/mean"] < 3
    assert logged[1]["kl"] > 0
    assert any("eval_loss" in entry for entry in logged)
    trainer.save_model(str(tmp_path / "out"))
    masks = load_file(tmp_path / "out" / "masks.safetensors")
    assert torch.equal(masks["learned.0.gates"], weighing.learned[0].gates)


def test_another_loss_of_trl_is_refused(tmp_path):
    lm = tiny_language_model()
    with pytest.raises(InputError, match="loss_type is"):
        trl_trainer(
            Weighing("none"),
            model=lm.model,
            ref_model=copy.deepcopy(lm.model),
            args=settings(tmp_path, loss_type=["hinge"]),
            train_dataset=datasets.Dataset.from_list(TEXTS),
            processing_class=lm.tokenizer,
        )
