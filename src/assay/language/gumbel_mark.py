"""The choice itself made by keyed numbers: the mark of Aaronson (2022), and its randomised form.

    standard     argmax_v u_v^(1/p_v)  =  argmax_v [log p_v - log(-log u_v)]
    randomised   a token drawn with weights u_v^(1/p_v), by numbers that are not keyed

Over contexts and keys the standard form has the distribution p exactly, but says the same whenever a prompt comes
again, so there is nothing to choose from. The randomised form, which alignment resampling needs, distorts a little and
keeps about nine tenths of the excess score. Both are blind where p is certain, and have nothing to do at temperature
0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.kernels import marked_logits, marked_texts
from assay.kernels.keyed_hash import absorb, key_state
from assay.language import Tensor, torch
from assay.language.chain import draw
from assay.language.mark_tests import gumbel_p_values, gumbel_z
from assay.language.marks import Floats, Ints, Mark, Tokens, as_float32
from assay.language.randomness import separate, states


@dataclass(frozen=True)
class GumbelMark(Mark):
    """Aaronson: the choice itself is made by the keyed numbers.

    Parameters
    ----------
    randomised : draw with weights `u^(1/p)`; False takes the largest, and every answer to a prompt is alike.
    seed : of the draws that are not keyed: the randomised choice, and tokens that get no mark.
    """

    randomised: bool = True
    seed: int = 0

    def choose(self, ids: Tensor, log_probs: Tensor, rows: Tensor, step: int) -> Tensor:
        """Next ids (b,) after ids (b, t) for the rows (b,) at a step; log_probs (b, V) are those after top-p."""
        self._check_width(log_probs)
        marked = self._marked(ids)
        if not bool(marked.any()):
            return draw(log_probs, rows, step, self.seed)
        state = states(self.key, ids[:, -self.width :])
        other = absorb(absorb(key_state(separate(self.seed, "second")), rows.to(state)), step)
        if log_probs.device.type == "cpu":
            logs, keyed = as_float32(log_probs), state.numpy().astype(np.uint32)
            if self.randomised:
                chosen = marked_logits.gumbel_draw(logs, keyed, other.numpy().astype(np.uint32))
            else:
                chosen = marked_logits.gumbel_argmax(logs, keyed)
            found = torch.from_numpy(chosen)
        else:
            found = self.choose_by_tensors(log_probs, state, other)
        return found if bool(marked.all()) else torch.where(marked, found, draw(log_probs, rows, step, self.seed))

    def choose_by_tensors(self, log_probs: Tensor, state: Tensor, other: Tensor) -> Tensor:
        """The same choice in tensor operations, on the device of `log_probs` (b, V); `state` and `other` (b,)."""
        tokens = torch.arange(self.n_vocabulary, device=log_probs.device)
        keyed, logs = _log_u(absorb(state[:, None], tokens)), log_probs.double()
        if not self.randomised:
            return (logs - torch.log(-keyed)).argmax(-1)
        noise = -torch.log(-_log_u(absorb(other[:, None], tokens)))
        return (keyed / logs.exp() + noise).argmax(-1)

    def count(self, tokens: Tokens, offsets: Ints, unique: bool | str = True) -> tuple[Ints, Floats]:
        """Of each text: tokens scored (n,), the sum of their scores `-log(1 - u)` (n,)."""
        keep = self.keep(tokens, offsets, True) if unique else np.zeros(0, dtype=bool)
        scored, score = marked_texts.gumbel_sums(tokens, offsets, self.width, self.start, keep)
        return scored, score

    def p_values(self, scored: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
        """Exact chance of so high a score without the mark (n,); 1 where nothing was scored."""
        return gumbel_p_values(scored, score)

    def z(self, scored: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
        """Standard deviations above what text without the mark is expected to have (n,); 0 where nothing was scored."""
        return gumbel_z(scored, score)


def _log_u(values: Tensor) -> Tensor:
    return torch.log((values.double() + 0.5) * 2.0**-32)
