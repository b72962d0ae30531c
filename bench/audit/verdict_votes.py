"""What five crowd workers said about each suspected label error of public test sets (Northcutt et al. 2021).

Rule of the paper: a label is wrong when fewer than 3 of 5 workers chose the given label. A wrong label is `correctable`
when at least 3 chose the guess, `multi` when at least 3 chose both, `neither` when at least 3 chose neither, else
`non-agreement`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data import shared

MAJORITY = 3
KINDS = ("correctable", "multi", "neither", "non-agreement")
AMAZON = ("negative", "neutral", "positive")


class Verdicts(NamedTuple):
    """The verdicts on m reviewed rows; unpacks as `rows, given, guessed, wrong, kind`."""

    rows: npt.NDArray[np.int64]  # (m,) row of the test set
    given: npt.NDArray[np.int64]  # (m,) given class
    guessed: npt.NDArray[np.int64]  # (m,) class that the model guessed
    wrong: npt.NDArray[np.bool_]  # (m,) whether the workers rejected the given label
    kind: npt.NDArray[np.str_]  # (m,) one of KINDS where wrong, else "right"


def load(name: str) -> Verdicts:
    """Read the verdicts of "mnist", "cifar10", "cifar100" or "amazon".

    Thirteen records of MNIST have the given label as the guess and more than five votes: all were confirmed. Amazon
    workers chose a class by name; its classes are coded in the order of `AMAZON`.
    """
    with gzip.open(shared(f"label-errors/mturk/{name}_mturk.json.gz"), "rt", encoding="utf-8") as file:
        records: list[dict[str, Any]] = json.load(file)
    given = [_code(record["given_original_label"]) for record in records]
    guessed = [_code(record["our_guessed_label"]) for record in records]
    kind = np.array([_kind(_counts(record)) for record in records])
    return Verdicts(
        rows=np.array([record["id"] for record in records], dtype=np.int64),
        given=np.array(given, dtype=np.int64),
        guessed=np.array(guessed, dtype=np.int64),
        wrong=kind != "right",
        kind=kind,
    )


def _code(label: int | str) -> int:
    return AMAZON.index(label.lower()) if isinstance(label, str) else label


def _counts(record: Mapping[str, Any]) -> Mapping[str, int]:
    """Votes by what they say: given, guessed, both, neither."""
    votes: Mapping[str, int] = record["mturk"]
    if "off-topic" not in votes:
        return votes
    given, guessed = record["given_original_label"].lower(), record["our_guessed_label"].lower()
    return {"given": votes[given], "guessed": votes[guessed], "neither": votes["off-topic"]}


def _kind(votes: Mapping[str, int]) -> str:
    if votes["given"] >= MAJORITY:
        return "right"
    for option, kind in (("guessed", "correctable"), ("both", "multi"), ("neither", "neither")):
        if votes.get(option, 0) >= MAJORITY:
            return kind
    return "non-agreement"
