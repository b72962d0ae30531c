"""Token weights in TRL's trainer: its data, collator, logging and checkpoints, this loss.

    trainer = trl_trainer(Weighing("common"), model=model, args=DPOConfig(beta=0.1, ...), train_dataset=pairs,
                          processing_class=tokenizer)
    trainer.train()

`args.beta` is the loss's beta; of `args.loss_type` only the default is replaced. The reference is TRL's: the model with
adapters disabled, or a second model. The masks are beside the adapters, so that the switch does not touch them.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from assay.errors import InputError, require
from assay.labels.formats import files
from assay.language import torch
from assay.language.policy import Policy
from assay.language.token_preference import NAMES, Weighing, preference_loss

WHY = "Training beside TRL"


def paired(inputs: Any) -> dict[str, Any]:
    """A batch of TRL's collator, all chosen answers before all rejected ones (2 b, t), as pairs (b, 2, t)."""
    names = ("input_ids", "attention_mask", "completion_mask")
    return {
        ours: torch.stack(inputs[theirs].chunk(2), 1) for ours, theirs in zip(NAMES, names, strict=True)
    } | (
        {"reference": torch.stack([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]], 1)}
        if "ref_chosen_logps" in inputs
        else {}
    )  # fmt: skip


def trl_trainer(weighing: Weighing, *, l1: float = 0.0, mask_lr: float = 1e-3, **arguments: Any) -> Any:
    """A `trl.DPOTrainer` with the loss of SparsePO.

    Parameters
    ----------
    weighing : the masks; learned ones are made on the first pairs of the data.
    l1, mask_lr : weight of the learned masks' sums, and their step size.
    **arguments : of `trl.DPOTrainer`.
    """
    trl = require("trl", "trl", WHY)

    class SparsePOTrainer(trl.DPOTrainer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(**arguments)
            if self.args.loss_type != ["sigmoid"]:
                raise InputError(f"loss_type is {self.args.loss_type}: the token loss replaces the default alone.")
            first = [self.train_dataset[at] for at in range(min(8, len(self.train_dataset)))]
            weighing.to(self.accelerator.device)
            weighing.begin(paired(self.data_collator(first)), self.policy())

        def policy(self) -> Policy:
            """The model and TRL's reference."""
            model = self.accelerator.unwrap_model(self.model)
            frozen = getattr(model, "disable_adapter", nullcontext) if self.ref_model is None else nullcontext
            return Policy(model, self.ref_model, frozen)

        def create_optimizer(self, *given: Any) -> Any:
            optimizer = super().create_optimizer(*given)
            if weighing.n_learned:
                optimizer.add_param_group({"params": list(weighing.parameters()), "lr": mask_lr, "weight_decay": 0.0})
            return optimizer

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            del num_items_in_batch
            weighing.train(model.training)
            found = weighing(paired(inputs), self.policy())
            scores = weighing.scores(found, torch.zeros(len(found.answer) // 2, dtype=torch.long, device=model.device))
            losses = preference_loss(scores, self.beta) + l1 * weighing.sizes(found)
            kept = self._metrics["train" if model.training else "eval"]
            told = self.beta * scores.detach()
            numbers = {
                "rewards/chosen": told[:, 0],
                "rewards/rejected": told[:, 1],
                "rewards/accuracies": (told[:, 0] > told[:, 1]).float(),
                "rewards/margins": told[:, 0] - told[:, 1],
                "mask/mean": found.reward_mask.sum() / found.answer.sum(),
                "mask/zeros": ((found.reward_mask == 0) & found.answer).sum() / found.answer.sum(),
                "kl": found.kl.sum(1).detach(),
            }
            for name, number in numbers.items():
                kept[name].append(self.accelerator.gather_for_metrics(number.detach()).mean().item())
            return (losses.mean(), {"scores": told}) if return_outputs else losses.mean()

        def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> tuple[Any, None, None]:
            with torch.no_grad():
                return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            super()._save(output_dir, state_dict)
            masks = {name: weight.cpu().contiguous() for name, weight in weighing.state_dict().items()}
            if masks:
                save = require("safetensors.torch", "language", WHY).save
                files.write_bytes(Path(output_dir or self.args.output_dir) / "masks.safetensors", save(masks))

    return SparsePOTrainer()
