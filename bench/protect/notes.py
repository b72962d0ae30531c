"""Notes of one fact each, asked for by the beginning of the sentence: questions on SmolLM2 with known needed notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assay.language.models import LanguageModel
from assay.language.prompted_answers import PromptedAnswers

FIRST = ("Anna", "Tom", "Maria", "Ivan", "Lucy", "Omar", "Eva", "John", "Nina", "Paul", "Rosa", "Karl")
LAST = ("Berg", "Hill", "Lopez", "Petrov", "Chen", "Haddad", "Novak", "Miller", "Fischer", "Rossi")
CITIES = ("Lisbon", "Oslo", "Vienna", "Cairo", "Toronto", "Madrid", "Dublin", "Athens", "Prague", "Lima")
DOGS = ("Rex", "Bella", "Luna", "Milo", "Coco", "Max", "Ruby", "Oscar")
DISHES = ("lasagna", "sushi", "goulash", "paella", "curry", "risotto", "tacos", "pizza")
MONTHS = ("March", "April", "June", "July", "August", "October", "November", "January")


def _one(values: Sequence[str]) -> Callable[[np.random.Generator], str]:
    return lambda rng: str(rng.choice(list(values)))


FACTS: tuple[tuple[str, Callable[[np.random.Generator], str]], ...] = (
    ("The password of the printer is", lambda rng: str(rng.integers(1000, 9999))),
    ("The head of the sales team is", lambda rng: f"{rng.choice(FIRST)} {rng.choice(LAST)}"),
    ("The summer party takes place in", _one(CITIES)),
    ("The new office dog is called", _one(DOGS)),
    ("The train to the airport leaves at", lambda rng: f"{rng.integers(5, 12)}:{rng.integers(10, 59)}"),
    ("The budget for the new kitchen is", lambda rng: f"{rng.integers(10, 99)}00 euros"),
    ("The favourite dish of the director is", _one(DISHES)),
    ("The contract with the bakery ends in", _one(MONTHS)),
)


@dataclass(frozen=True)
class Noted:
    """A question: its query, the notes, the true value, and the positions of the notes that hold it."""

    query: str
    items: list[str]
    value: str
    holders: tuple[int, ...]


def question(rng: np.random.Generator, n: int, copies: int = 1) -> Noted:
    """One of `n` notes is asked for; with two copies another one says the same in other words."""
    facts = [FACTS[at] for at in rng.permutation(len(FACTS))[: n - copies + 1]]
    values = [draw(rng) for _, draw in facts]
    items = [f"{begin} {value}." for (begin, _), value in zip(facts, values, strict=True)]
    if copies == 2:
        items.append(f"As everybody knows, {facts[0][0][0].lower()}{facts[0][0][1:]} {values[0]}.")
    order = rng.permutation(n).tolist()
    holders = tuple(sorted(order.index(at) for at in ([0] if copies == 1 else [0, n - 1])))
    return Noted(facts[0][0], [items[at] for at in order], values[0], holders)


def answers(lm: LanguageModel, **options: object) -> PromptedAnswers:
    """SmolLM2 completes the sentence from the notes; the answer ends with it."""

    def prompt(query: str, items: Sequence[str]) -> list[int]:
        notes = "\n".join(f"- {item}" for item in items)
        asked = f"Complete from the notes: {query} ...\n\nNotes:\n{notes}"
        return lm.chat(asked, "You complete the sentence from the notes.", query)

    return PromptedAnswers(lm, prompt=prompt, max_new_tokens=8, stop=".,\n", **options)  # type: ignore[arg-type]
