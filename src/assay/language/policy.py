"""A policy in training beside its frozen reference: one tree of modules each, the frozen weights held once.

With low-rank adapters (peft) the policy is a copy of the reference's modules that shares its weights, so that the
reference is the untouched model and needs no switch; without, it is a full copy. Dropout is off in both throughout.
A training sees only the weights that are trained: its checkpoints hold no frozen ones.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from assay.errors import InputError, require
from assay.language import Tensor, nn, torch
from assay.language.token_masks import mean_logits, recorded
from assay.language.token_ratios import Head, head_of


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reference says of sequences (s, t).

    Parameters
    ----------
    final : (s, t, h) hidden states that the head takes.
    layers : those after each layer, the embedding excluded; empty unless asked for.
    means : activations averaged over their width (s, t), by kind; empty unless asked for.
    """

    final: Tensor
    layers: tuple[Tensor, ...]
    means: dict[str, list[Tensor]]


class Policy(nn.Module):  # type: ignore[misc]
    """A causal language model in training, and its reference.

    Parameters
    ----------
    model : of transformers; what of it requires a gradient is trained.
    reference : the frozen one, or None where `frozen` turns the model into it.
    frozen : makes a context in which the model is its own reference, such as peft's `disable_adapter`.
    """

    def __init__(self, model: Any, reference: Any = None, frozen: Any = nullcontext) -> None:
        super().__init__()
        trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.trained = nn.ParameterDict({name.replace(".", "/"): weight for name, weight in trained.items()})
        self._held = (model, model if reference is None else reference)  # no submodules: their weights are no state
        self._frozen = frozen

    @property
    def model(self) -> Any:
        """The model in training."""
        return self._held[0]

    @property
    def device(self) -> Any:
        """Where the weights are."""
        return self.model.device

    def head(self) -> Head:
        """The policy's head."""
        return head_of(_whole(self.model))

    def reference_head(self) -> Head:
        """The reference's head."""
        return head_of(_whole(self._held[1]))

    def merged(self) -> Any:
        """The trained model without adapters: what they learned is in its weights."""
        return copy.deepcopy(self.model).merge_and_unload() if hasattr(self.model, "merge_and_unload") else self.model

    def forward(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Final hidden states (s, t, h) of the policy."""
        found: Tensor = _body(self.model)(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
        return found

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def read(self, ids: Tensor, attention: Tensor, layers: bool = False, kinds: Sequence[str] = ()) -> Reading:
        """What the reference says, with the hidden states of its layers, and with the activations of some kinds."""
        model = self._held[1]
        body = _body(model)
        context: Any = recorded(_whole(model), kinds) if kinds else nullcontext({})
        with self._frozen(), context as means:
            said = body(input_ids=ids, attention_mask=attention, use_cache=False, output_hidden_states=layers)
            if "logits" in means:
                means["logits"].append(mean_logits(said.last_hidden_state, self.reference_head()))
        return Reading(said.last_hidden_state, tuple(said.hidden_states[1:]) if layers else (), means)


def adapted(model: Any, rank: int, seed: int = 0) -> Policy:
    """A policy of a model, which stays as it is and becomes the reference.

    Parameters
    ----------
    model : of transformers, in evaluation mode afterwards.
    rank : of low-rank adapters on all linear layers but the head, with alpha twice the rank; 0 trains every weight.
    seed : of the adapters.
    """
    model.eval()
    if rank == 0:
        policy = copy.deepcopy(model).requires_grad_(True)
        return Policy(policy.eval(), model.requires_grad_(False))
    if rank < 0:
        raise InputError(f"rank is {rank}: expected the rank of the adapters, or 0 to train every weight.")
    peft = require("peft", "language", "Low-rank adapters")
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        torch.manual_seed(seed)
        return Policy(peft.get_peft_model(twin, config).eval(), model)


def _whole(model: Any) -> Any:
    """The model of transformers, adapters inside."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _body(model: Any) -> Any:
    """It without its head."""
    whole = _whole(model)
    body = whole.base_model
    if body is whole:
        raise InputError(f"{type(whole).__name__} has no body beside its head: expected a causal language model.")
    return body
