"""Asking a model which items its answer rests on: the baseline of information flow, and no security.

A reply is read strictly; one that cannot be read counts as all items. A model may also name too few: then the label is
too low, and nothing shows it. So this is for comparing, not for use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.models import LanguageModel

SYSTEM = "You say from which notes an answer was taken. Reply with the numbers of these notes only, or with none."
EXAMPLE = """Notes:
1. The library opens at nine.
2. The cook is called Ada.
3. The bus stops at the mill.

Question: Who is the cook?
Answer: Ada

From which notes was the answer taken?
Notes: 2

"""
_REPLY = re.compile(r"\s*(?:none|[0-9]{1,6}(?:\s*(?:,|and)\s*[0-9]{1,6})*)\s*\.?\s*", re.IGNORECASE)


def introspect(lm: LanguageModel, query: str, items: Sequence[str], answer: str, *, max_new_tokens: int = 12) -> str:
    """The line that the model says, after one example, when it is asked which notes it used."""
    notes = "\n".join(f"{at}. {item}" for at, item in enumerate(items, start=1))
    asked = f"Notes:\n{notes}\n\nQuestion: {query}\nAnswer: {answer}\n\nFrom which notes was the answer taken?"
    ids = lm.chat(EXAMPLE + asked, SYSTEM, assistant="Notes:")
    ((tokens,),) = generate(lm, [ids], chain=LogitsChain(temperature=0), max_new_tokens=max_new_tokens)
    return lm.decode(tokens).partition("\n")[0]


def used_items(reply: str, n_items: int) -> tuple[int, ...] | None:
    """Positions of the items that a reply names, () for none of them; None when it cannot be read strictly.

    >>> used_items("2, 3 and 3.", 3), used_items("None", 3), used_items("Note 2", 3), used_items("4", 3)
    ((1, 2), (), None, None)
    """
    if _REPLY.fullmatch(reply) is None:
        return None
    numbers = {int(number) for number in re.findall("[0-9]+", reply)}
    if not all(1 <= number <= n_items for number in numbers):
        return None
    return tuple(sorted(number - 1 for number in numbers))
