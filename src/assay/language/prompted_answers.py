"""Answers from items put into a prompt, and how well subsets of the items explain them.

The question stands before the items, so that all subsets of a question share a beginning whose keys and values are made
once, and again after them, where small models look. Items bear no numbers: the number of one would tell how many before
it were left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.flow import Generated
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.models import LanguageModel
from assay.language.scoring import Prefix, remember, score_answers

SYSTEM = "You answer questions from the notes that you are given, in as few words as possible."


class PromptedAnswers:
    """An answerer (`assay.labels.flow.Answerer`) that gives a model the query and the items as text.

    Parameters
    ----------
    lm : the model; decoding is greedy.
    prompt : ids of a query (text) and items (texts); None for the model's chat template with `question_and_notes`. Ids
        that stand before the first item should not depend on the items.
    max_new_tokens : where an answer is cut off.
    stop : characters that end an answer, such as "." and a line's end; the token that holds one is not part of it.
    batch_size : subsets scored at a time.
    reuse : run what all prompts of a question begin with only once.

    Attributes
    ----------
    n_scored : tokens run through the model by `score` so far.
    """

    def __init__(
        self,
        lm: LanguageModel,
        *,
        prompt: Callable[[str, Sequence[str]], list[int]] | None = None,
        max_new_tokens: int = 32,
        stop: str = "",
        batch_size: int = 16,
        reuse: bool = True,
    ) -> None:
        self.lm = lm
        self.prompt = prompt or (lambda query, items: lm.chat(question_and_notes(query, items), SYSTEM))
        self.max_new_tokens = max_new_tokens
        self.stop = set(stop)
        self.batch_size = batch_size
        self.reuse = reuse
        self.n_scored = 0
        self._begun: Prefix | None = None

    def generate(self, query: str, items: Sequence[str]) -> Generated:
        """Answer, greedily and alone in its batch, so that it depends on these arguments to the last bit."""
        ids = self._ids(query, items)
        chain = LogitsChain(temperature=0)
        ((tokens,),) = generate(self.lm, [ids], chain=chain, max_new_tokens=self.max_new_tokens)
        tokens = list(takewhile(lambda token: not self.stop & set(self.lm.decode([token])), tokens))
        return Generated(self.lm.decode(tokens).strip(), tuple(tokens))

    def score(
        self, query: str, items: Sequence[str], subsets: Sequence[Sequence[int]], answer: Generated
    ) -> npt.NDArray[np.float64]:
        """Mean log-likelihood of a token of the answer after each subset (m,) of the items."""
        assert answer.tokens is not None
        contexts = [self._ids(query, [items[at] for at in subset]) for subset in subsets]
        prefix = self._prefix(query, contexts) if self.reuse else None
        start = 0 if prefix is None else len(prefix.ids)
        self.n_scored += sum(len(context) - start + len(answer.tokens) for context in contexts)
        return score_answers(
            self.lm,
            [context[start:] for context in contexts],
            [answer.tokens] * len(contexts),
            prefix=prefix or (),
            batch_size=self.batch_size,
        ).mean

    def _ids(self, query: str, items: Sequence[str]) -> list[int]:
        ids = self.prompt(query, items)
        if len(ids) + self.max_new_tokens > self.lm.context_length:
            raise InputError(
                f"A query with {len(items)} items makes {len(ids)} tokens and may get {self.max_new_tokens} more, but "
                f"{self.lm.name} was made for {self.lm.context_length}: give fewer or shorter items."
            )
        return ids

    def _prefix(self, query: str, contexts: list[list[int]]) -> Prefix | None:
        """What every prompt of this query begins with; kept until another query comes."""
        common = _common([self._ids(query, []), *contexts])[:-1]
        if not common:
            return None
        if self._begun is None or self._begun.ids != tuple(common):
            self._begun = remember(self.lm, common)
            self.n_scored += len(common)
        return self._begun


def question_and_notes(query: str, items: Sequence[str]) -> str:
    """What the user says: the question, the items, the question.

    >>> print(question_and_notes("Who?", ["Ann did."]))
    Question: Who?
    <BLANKLINE>
    Notes:
    - Ann did.
    <BLANKLINE>
    Who?
    """
    notes = "\n".join(f"- {item}" for item in items)
    return f"Question: {query}\n\nNotes:\n{notes}\n\n{query}"


def _common(rows: list[list[int]]) -> list[int]:
    """What all rows begin with."""
    return [at[0] for at in takewhile(lambda at: len(set(at)) == 1, zip(*rows, strict=False))]
