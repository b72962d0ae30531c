"""Preference training that counts only the tokens which matter, and says which.

Preference losses of the DPO family treat all tokens of an answer alike, though a preference often hangs on a few. Here
each token has two weights: one for its part in the reward, one for its part in the penalty for leaving the reference
model. The weights come from what the reference computes: by rule (MaPO) or from a small network trained along.

Paper: Christopoulou, Cardenas, Lampouras, Bou-Ammar, Wang, "SparsePO: Controlling Preference Alignment of LLMs via
Sparse Token Masks", Findings of EMNLP 2025, arXiv 2410.05102.

    loss = -log sigmoid(beta (R(chosen) - R(rejected))) + l1 (|m|_1 + |n|_1),   R(y) = sum_t m_t r_t + sum_t n_t k_t

with r_t the log-ratio of policy and reference, k_t = KL(reference || policy), and the masks m for the reward and n for
the divergence (`assay.language.token_preference` has the functions and the cases). The sign of k is TDPO's: divergence
on the rejected answer costs, on the chosen one it counts towards it.

When to use: pairs whose preference hangs on few tokens, or a policy that drifts too far for what it gains. When not:
answers that differ everywhere, such as code. Read the mean mask: a mask without bounds is a larger beta.

Departures: the learned mask begins alive (positive mixer and bias, tried on real states) and with mean one; its weights
have an Adam of their own, without weight decay, which at the paper's rates takes off less than a thousandth; rotated
queries and keys, which no hook sees, are left out of MaPO. Rewards reported are those of the loss: the paper's code
logs a difference where its loss has a sum.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError, require
from assay.labels.formats import files
from assay.language import Tensor, torch
from assay.language.models import LanguageModel, load_language_model
from assay.language.pair_data import Pair, PairTokens, read_pairs, tokenise
from assay.language.policy import adapted
from assay.language.smollm2 import quiet
from assay.language.token_masks import KINDS
from assay.language.token_preference import AT_ONCE, Mask, Tokens, Weighing, reference_log_probs
from assay.training.deep.batches import Batch, Data, to_device
from assay.training.deep.loop import fit
from assay.training.deep.objective import Objective
from assay.training.deep.recipe import Recipe
from assay.training.deep.run import Run, evaluating
from assay.training.deep.targets import codes

METHOD = {
    "name": "sparse_po",
    "title": "Sparse preference optimisation",
    "paper": "Christopoulou, Cardenas, Lampouras, Bou-Ammar, Wang, 2025, SparsePO: Controlling Preference Alignment of "
    "LLMs via Sparse Token Masks",
    "arxiv": "2410.05102",
    "accepts": ["preferences"],
    "gives": ["aligned model", "token masks"],
    "command": "assay align sparse-po PAIRS --model MODEL --mask common",
    "claim": "Where a cue token decides the preference, the learned reward mask after the cue is at least twice that "
    "elsewhere.",
    "status": "experimental",
}

RECIPE = Recipe(epochs=1, batch_size=16, optimizer="adamw", lr=1e-4, schedule="cosine", weight_decay=0.0, clip=1.0)
"""One pass at the paper's rate for low-rank adapters."""

Column = npt.NDArray[Any]


class TokenPreference(Objective):
    """The loss of SparsePO, and with other masks that of MaPO, TDPO and DPO.

    The logits of a pair are beta times the rewards of its two answers, so that target 0 says that the first is better,
    1 that the second is, beliefs (b, 2) how sure one is, and the accuracy of validation is that of the loss.

    Parameters
    ----------
    mask, clamp, mask_dropout, kinds, seed : see `Weighing`.
    beta : how strongly rewards count; the smaller beta is, the less the reference holds the policy back.
    l1 : weight of the sums of the learned masks.
    mask_lr : step size of the learned masks.
    """

    def __init__(
        self,
        mask: Mask = "common",
        beta: float = 0.1,
        l1: float = 0.0,
        clamp: float | None = None,
        mask_lr: float = 1e-3,
        mask_dropout: float = 0.01,
        kinds: tuple[str, ...] = KINDS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not beta > 0 or not l1 >= 0 or not mask_lr > 0:
            raise InputError(f"beta is {beta}, l1 {l1}, mask_lr {mask_lr}: none may be negative, and only l1 zero.")
        self.weighing = Weighing(mask, clamp, mask_dropout, kinds, seed)
        self.beta, self.l1 = beta, l1
        self.own_lr = mask_lr  # type: ignore[misc]  # the loop reads it of the instance

    def begin(self, n_rows: int, n_classes: int, data: Data | None = None, model: Any = None) -> None:
        """Make the learned masks, alive on the first rows of the data."""
        super().begin(n_rows, n_classes, data, model)
        if self.weighing.n_learned:
            if data is None or model is None:
                raise InputError("Learned masks look at hidden states: call begin(n, 2, data=..., model=policy).")
            self.weighing.begin(data.inputs[torch.arange(min(n_rows, AT_ONCE))], model)

    def forward(self, batch: Batch, model: Any) -> Tensor:
        """The loss of a batch of pairs."""
        found = self.weighing(batch.inputs, model)
        scores = self.weighing.scores(found, codes(batch.targets))
        losses = self.loss(self.beta * scores, batch.targets, batch.rows)  # cross-entropy of two is -log sigmoid
        self.remember(batch.rows, losses)
        return batch.mean(losses + self.l1 * self.weighing.sizes(found))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def logits(self, model: Any, inputs: Any) -> Tensor:
        """Beta times the rewards of both answers (b, 2)."""
        n = len(inputs["ids"])
        parts = [{name: column[at] for name, column in inputs.items()} for at in torch.arange(n).split(AT_ONCE)]
        return self.beta * torch.cat([self.weighing.scores(self.weighing(part, model)) for part in parts])


class SparsePO(BaseEstimator):  # type: ignore[misc]
    """A language model aligned with preference pairs.

    Parameters
    ----------
    model : a `LanguageModel`, a folder, or a name that `load_language_model` knows. It stays as it is.
    mask : "common", "independent", "mapo", "ones" (TDPO1), "tdpo2" or "none" (DPO); see `Weighing`.
    beta, l1, clamp, mask_lr : see `TokenPreference`.
    rank : of low-rank adapters (needs peft); 0 trains all weights.
    recipe : of the training; None for one pass by AdamW at 1e-4, which falls along a cosine.
    max_length : most tokens of prompt and answer together.
    random_state : seed of adapters, masks, order and dropout; it replaces the recipe's.

    Attributes
    ----------
    policy_ : the trained model and its reference; `policy_.model` is a model of transformers.
    objective_, run_ : the loss with its masks, and how the training went.
    pairs_ : the pairs that were trained on, as tokens; `pairs_.dropped` has those left out, by reason.
    lm_ : the language model it began with.
    """

    def __init__(
        self,
        model: LanguageModel | str | Path = "smollm2",
        mask: Mask = "common",
        beta: float = 0.1,
        l1: float = 0.0,
        clamp: float | None = None,
        mask_lr: float = 1e-3,
        rank: int = 8,
        recipe: Recipe | None = None,
        max_length: int = 1024,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.mask = mask
        self.beta = beta
        self.l1 = l1
        self.clamp = clamp
        self.mask_lr = mask_lr
        self.rank = rank
        self.recipe = recipe
        self.max_length = max_length
        self.random_state = random_state

    def fit(
        self,
        pairs: Path | str | Iterable[Pair],
        y: Any = None,
        *,
        validation: Path | str | Iterable[Pair] | None = None,
        checkpoint: str | Path | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Train.

        Parameters
        ----------
        pairs : see `read_pairs`.
        y : which answer is better: codes (n,), 0 for the chosen one, 1 for the rejected one, or beliefs (n, 2); None
            believes the pairs.
        validation : pairs whose share ranked as given is taken after each epoch.
        checkpoint : a file to go on from, where it exists, and to write after each epoch.
        on_step : called as `on_step(done, all)`.
        """
        objective = TokenPreference(
            self.mask, self.beta, self.l1, self.clamp, self.mask_lr, seed=self.random_state
        )  # refuses bad arguments before a model is loaded
        read = read_pairs(pairs)
        self.lm_ = self.model if isinstance(self.model, LanguageModel) else load_language_model(self.model)
        self.pairs_ = self.tokens(read)
        self.policy_ = adapted(self.lm_.model, self.rank, self.random_state)
        held = None if validation is None else self._data(self.tokens(read_pairs(validation)))
        self.run_: Run = fit(
            objective,
            self.policy_,
            self._data(self.pairs_, None if y is None else np.asarray(y)[self.pairs_.rows]),
            replace(self.recipe or RECIPE, seed=self.random_state),
            validation=held,
            checkpoint=checkpoint,
            on_step=on_step,
            device=str(self.lm_.device),
        )
        self.objective_ = self.run_.objective
        return self

    def tokens(self, pairs: Path | str | Iterable[Pair]) -> PairTokens:
        """Pairs as tokens of the model."""
        longest = min(self.max_length, self.lm_.context_length)
        return tokenise(read_pairs(pairs), self.lm_.tokenizer, self.lm_.pad, longest)

    def _data(self, pairs: PairTokens, y: Any = None) -> Data:
        if self.mask == "none":  # the reference is run once for all epochs
            at = torch.arange(len(pairs)).split(AT_ONCE)
            pairs.known["reference"] = torch.cat([reference_log_probs(pairs[rows], self.policy_).cpu() for rows in at])
        return Data(pairs, np.zeros(len(pairs), np.int64) if y is None else y, 2)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def told(self, pairs: PairTokens) -> Iterable[tuple[Tensor, Tokens]]:
        """What the trained model says of the tokens of pairs, a few at a time: their places (b,), numbers of tokens."""
        bare = PairTokens(pairs.prompt, pairs.chosen, pairs.rejected, pairs.rows, pairs.pad)
        with evaluating(self.objective_):
            for rows in torch.arange(len(bare)).split(AT_ONCE):
                yield rows, self.objective_.weighing(to_device(bare[rows], self.lm_.device), self.policy_)

    def evidence(self, pairs: PairTokens | None = None) -> dict[str, Column]:
        """What became of each pair, by default of those trained on.

        Returns
        -------
        Columns (n,): row; margin, beta times the difference of rewards as the loss has it, above 0 where the pair is
        ranked as given; for each answer its tokens, the divergence from the reference over the answer before masking
        (`kl_`) and after it (`masked_kl_`), the mean reward mask (`mask_`) and the share of exact zeros in it
        (`zeros_`), the same of the KL mask (`kl_mask_`, `kl_zeros_`).
        """
        pairs = self.pairs_ if pairs is None else pairs
        table = torch.cat([self._numbers(found) for _, found in self.told(pairs)]).double().cpu().numpy()
        columns: dict[str, Column] = {"row": pairs.rows, "margin": self.beta * (table[:, 0, 0] - table[:, 1, 0])}
        names = ("tokens", "kl", "masked_kl", "mask", "zeros", "kl_mask", "kl_zeros")
        for at, name in enumerate(names, start=1):
            for place, answer in enumerate(("chosen", "rejected")):
                columns[f"{name}_{answer}"] = table[:, place, at]
        return columns

    def _numbers(self, found: Tokens) -> Tensor:
        """Reward and the numbers of `evidence` of both answers (b, 2, 8)."""
        n = found.answer.sum(1)
        of_masks = []
        for mask in (found.reward_mask, found.kl_mask):
            of_masks += [mask.sum(1) / n, ((mask == 0) & found.answer).sum(1) / n]
        score = self.objective_.weighing.scores(found).flatten()
        return torch.stack([score, n, found.kl.sum(1), (found.kl_mask * found.kl).sum(1), *of_masks], 1).view(-1, 2, 8)

    def score(self, pairs: Path | str | Iterable[Pair], y: Any = None) -> float:
        """Share of pairs that the loss's own rewards rank as given."""
        del y
        return float((self.evidence(self.tokens(pairs))["margin"] > 0).mean())

    def save(self, folder: str | Path, *, merged: bool = True) -> Path:
        """Write the trained model (safetensors), its tokenizer and its masks; no pickle.

        Parameters
        ----------
        folder : `AutoModelForCausalLM.from_pretrained(folder)` reads it.
        merged : adapters are added to the weights; False writes the adapters alone, for peft.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        model = self.policy_.merged() if merged else self.policy_.model
        with quiet(require("transformers", "language", "Saving a model")):
            model.save_pretrained(path)
        self.lm_.tokenizer.save_pretrained(path)
        masks = {name: weight.cpu().contiguous() for name, weight in self.objective_.weighing.state_dict().items()}
        if masks:
            files.write_bytes(path / "masks.safetensors", require("safetensors.torch", "language", "Masks").save(masks))
        told = {name: self.get_params()[name] for name in ("mask", "beta", "l1", "clamp", "mask_lr", "rank")}
        files.write_bytes(path / "sparse_po.json", json.dumps(told, indent=1).encode())
        return path
