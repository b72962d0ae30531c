"""Answers of a kNN-LM: a model that sees the query alone, mixed with what followed at like places in the items.

Paper of the model: Khandelwal, Levy, Jurafsky, Zettlemoyer, Lewis, "Generalization through Memorization: Nearest
Neighbor Language Models", ICLR 2020, arXiv 1911.00172.

    p_knn(v) ~ sum over the k nearest entries j with v_j = v of exp(-|f - key_j|^2 / (temperature * d))
    p(v) = weight * p_knn(v) + (1 - weight) * p_lm(v)

Entries are the final hidden states (d wide) of each item, run alone, and the token that came next. An item is left out
by leaving out its entries, so one pass over an answer scores any number of subsets: distances are computed once, and
each subset takes its k nearest from a longer list. The constants k = 1024 and weight = 0.25 are those of the paper, for
stores of millions; the temperature is in units of d, since hidden states of models differ in size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.flow import Generated
from assay.language import Tensor, torch
from assay.language.models import LanguageModel


class NeighbourAnswers:
    """An answerer (`assay.labels.flow.Answerer`) that reads items by nearest neighbours.

    Memory: entries of every different item are kept, a float32 row of d numbers a token.

    Parameters
    ----------
    lm : the model; decoding is greedy.
    k : neighbours that vote.
    multiple : the list that subsets choose from holds k * multiple neighbours; a subset that finds too few there is
        searched whole, so that scores are exact.
    weight : of the neighbours against the model.
    temperature : of the neighbours' votes.
    max_new_tokens, stop : see `assay.language.prompted_answers.PromptedAnswers`.
    """

    def __init__(
        self,
        lm: LanguageModel,
        *,
        k: int = 16,
        multiple: int = 8,
        weight: float = 0.5,
        temperature: float = 0.1,
        max_new_tokens: int = 32,
        stop: str = "",
    ) -> None:
        if not (k >= 1 and multiple >= 1 and 0 <= weight <= 1 and temperature > 0):
            raise InputError("k and multiple are at least 1, weight lies in 0..1, and temperature is above 0.")
        self.lm = lm
        self.k = k
        self.multiple = multiple
        self.weight = weight
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.stop = set(stop)
        self._entries: dict[str, tuple[Tensor, Tensor]] = {}

    def generate(self, query: str, items: Sequence[str]) -> Generated:
        """Continue the query greedily; entries are those of these items and no others."""
        keys, values, _ = self._store(items)
        fed, tokens, cache = self._query(query, self.max_new_tokens), list[int](), None
        for _ in range(self.max_new_tokens):
            hidden, log_lm, cache = self._read(fed, cache)
            nearest, near = self._nearest(hidden[-1:], keys, self.k)
            p = (1 - self.weight * bool(len(values))) * log_lm[-1].exp()
            p.index_add_(0, values[near[0]], self.weight * self._votes(nearest)[0])
            token = int(p.argmax())
            tokens.append(token)
            fed = [token]
            if token in self.lm.eos or self.stop & set(self.lm.decode([token])):
                break
        tokens = list(takewhile(lambda token: not self.stop & set(self.lm.decode([token])), tokens))
        return Generated(self.lm.decode(tokens).strip(), tuple(tokens))

    def score(
        self, query: str, items: Sequence[str], subsets: Sequence[Sequence[int]], answer: Generated
    ) -> npt.NDArray[np.float64]:
        """Mean log-likelihood of a token of the answer by each subset (m,) of the items, from one pass."""
        assert answer.tokens is not None
        ids = self._query(query, len(answer.tokens))
        hidden, log_lm, _ = self._read([*ids, *answer.tokens[:-1]])
        hidden = hidden[len(ids) - 1 :]  # (T, d)
        said = torch.tensor(answer.tokens, device=hidden.device)
        p_lm = log_lm[len(ids) - 1 :].gather(1, said[:, None]).squeeze(1).double().exp()
        keys, values, owner = self._store(items)
        nearest, near = self._nearest(hidden, keys, self.k * self.multiple)
        scores = []
        for subset in subsets:
            chosen = torch.isin(owner, torch.tensor(subset, dtype=owner.dtype, device=owner.device))
            p_knn = self._vote(chosen, nearest, near, values, said, hidden, keys)
            share = self.weight * bool(chosen.any())
            scores.append(float((share * p_knn + (1 - share) * p_lm).log().mean()))
        return np.array(scores)

    def _vote(
        self, chosen: Tensor, nearest: Tensor, near: Tensor, values: Tensor, said: Tensor, hidden: Tensor, keys: Tensor
    ) -> Tensor:
        """Share (T,) of the votes that each token gets of the `chosen` entries (N,)."""
        kept = chosen[near]
        kept &= kept.cumsum(1) <= self.k
        votes = self._votes(nearest.masked_fill(~kept, torch.inf))
        found = (votes * (values[near] == said[:, None])).sum(1)
        short = kept.sum(1) < min(self.k, int(chosen.sum()))
        if bool(short.any()):
            again, at = self._nearest(hidden[short], keys[chosen], self.k)
            found[short] = (self._votes(again) * (values[chosen][at] == said[short, None])).sum(1)
        return found.double()

    def _votes(self, squared: Tensor) -> Tensor:
        """Weights (T, k) of neighbours at these squared distances, infinite for none; rows sum to 1, or to 0."""
        return torch.softmax(-squared / (self.temperature * self.lm.model.config.hidden_size), dim=1).nan_to_num(0.0)

    def _nearest(self, hidden: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Squared distances and places (T, k) of the nearest entries, the nearest first."""
        squared = torch.cdist(hidden, keys).square()
        found = squared.topk(min(k, squared.shape[1]), largest=False)
        return found.values, found.indices

    def _store(self, items: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Keys (N, d), values (N,) and the item (N,) of all entries."""
        for item in items:
            if item not in self._entries:
                ids = self.lm.encode(item)
                hidden = self._read(ids)[0] if len(ids) > 1 else self._read([self.lm.pad])[0]
                self._entries[item] = hidden[:-1], torch.tensor(ids[1:], dtype=torch.int64, device=self.lm.device)
        entries = [self._entries[item] for item in items]
        owner = [at for at, (_, values) in enumerate(entries) for _ in range(len(values))]
        width, device = self.lm.model.config.hidden_size, self.lm.device
        return (
            torch.cat([torch.empty(0, width, device=device), *(keys for keys, _ in entries)]),
            torch.cat([torch.empty(0, dtype=torch.int64, device=device), *(values for _, values in entries)]),
            torch.tensor(owner, dtype=torch.int64, device=device),
        )

    def _query(self, query: str, room: int) -> list[int]:
        ids = self.lm.encode(query)
        if not ids or len(ids) + room > self.lm.context_length:
            raise InputError(
                f"A query of {len(ids)} tokens and an answer of {room}: {self.lm.name} needs one token at least and "
                f"takes {self.lm.context_length} together."
            )
        return ids

    def _read(self, ids: list[int], cache: Any = None) -> tuple[Tensor, Tensor, Any]:
        """Final hidden states (t, d), log-probabilities (t, V) of the next token, and the cache to go on from."""
        if len(ids) > self.lm.context_length:
            raise InputError(f"An item has {len(ids)} tokens; {self.lm.name} was made for {self.lm.context_length}.")
        fed = torch.tensor([ids], device=self.lm.device)
        with torch.inference_mode():
            out = self.lm.model(input_ids=fed, past_key_values=cache, use_cache=True, output_hidden_states=True)
        return out.hidden_states[-1][0].float(), out.logits[0].float().log_softmax(-1), out.past_key_values
