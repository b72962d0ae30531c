"""A second prompt for the answer that transformers' own `generate` writes: a logits processor with a cache of its own.

For methods that compare two prompts and must work with any model of transformers, image-text models too.
`assay.language.decoding.generate` runs both prompts in one batch and is the faster way for models of text.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from assay.errors import InputError
from assay.language import Tensor, torch
from assay.language.chain import require_numbers


class SecondBranch:
    """The logits of another prompt, followed by the tokens chosen so far, combined with those of `generate`.

    `model.generate(**inputs, logits_processor=[SecondBranch(model, combine, **other_inputs)])`. transformers calls it
    before temperature and top-p, and after penalties, which should be off. For one call of `generate`, greedy or
    sampling; rows must not be reordered, so no beams. The cache takes as much memory as that of `generate` itself.

    Parameters
    ----------
    model : a model of transformers that writes text, whatever else it sees.
    combine : called as `combine(logits, logits_of_second, step)` with logits (n, V) and the number of tokens written.
    input_ids : (b, t) the second prompts, padded on the left; `generate` may write several answers for each.
    attention_mask : (b, t) 0 where padded; None for no padding.
    inputs : what else the first pass needs, such as `pixel_values`.

    Raises
    ------
    InputError : rows that do not continue those of the step before; combined scores that are no numbers.
    """

    def __init__(
        self,
        model: Any,
        combine: Callable[[Tensor, Tensor, int], Tensor],
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        **inputs: Any,
    ) -> None:
        self.model, self.combine, self.inputs = model, combine, inputs
        self.input_ids = input_ids
        self.mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        self.cache: Any = None
        self.seen: Tensor | None = None
        self.step = 0
        accepted = inspect.signature(model.forward).parameters
        # Models with positions in several dimensions work them out themselves.
        self.positions = "position_ids" in accepted and not hasattr(model.base_model, "get_rope_index")
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Combined scores (n, V), where `generate` stands at `input_ids` (n, t): its prompts and answers."""
        if self.seen is None:
            second = self._begin(len(input_ids))
        elif len(input_ids) == len(self.seen) and torch.equal(input_ids[:, :-1], self.seen):
            second = self._forward(input_ids[:, -1:])
        else:
            raise InputError(
                "The rows do not continue those of the step before: make a new processor for every call of generate, "
                "and use greedy decoding or sampling, since beams reorder rows."
            )
        combined = self.combine(scores, second, self.step)
        require_numbers(combined, torch.arange(len(combined)), self.step)
        self.seen, self.step = input_ids.clone(), self.step + 1
        return combined

    def _begin(self, n_rows: int) -> Tensor:
        n_prompts = len(self.input_ids)
        if n_rows % n_prompts:
            raise InputError(f"There are {n_rows} rows and {n_prompts} second prompts: give one for each row.")
        logits, several = self._forward(self.input_ids, **self.inputs), n_rows // n_prompts
        if several > 1:
            self.cache.batch_repeat_interleave(several)
            self.mask = self.mask.repeat_interleave(several, 0)
            logits = logits.repeat_interleave(several, 0)
        return logits

    def _forward(self, ids: Tensor, **inputs: Any) -> Tensor:
        if self.cache is not None:
            self.mask = torch.cat([self.mask, torch.ones_like(ids)], 1)
        if self.positions:
            inputs["position_ids"] = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.no_grad():
            out = self.model(
                input_ids=ids,
                attention_mask=self.mask,
                past_key_values=self.cache,
                use_cache=True,
                **self.last_only,
                **inputs,
            )
        self.cache = out.past_key_values
        logits: Tensor = out.logits[:, -1]
        return logits
