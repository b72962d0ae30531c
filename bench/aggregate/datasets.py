"""Votes of people with a truth beside them, for every comparison of aggregators.

A truth is hard (`gold`: one class a task), soft (`shares`: what many other people answered), or both. Votes without
worker ids are votes of one pooled worker, "anyone": several votes by one worker on a task all count.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.labels.hard import Hard
from assay.labels.spaces import Kind, Space
from assay.labels.votes import Votes
from bench.data import shared

EMOTIONS = ("anger", "disgust", "fear", "joy", "sadness", "surprise")
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CrowdSet:
    """Votes and what is known of the truth.

    Parameters
    ----------
    name : what the tables call it.
    votes : n tasks, k classes.
    gold : hard truth of the n tasks, or None; masked where there is none.
    shares : share of each class among held-out answers of other people `(n, k)`, or None.
    """

    name: str
    votes: Votes
    gold: Hard | None = None
    shares: npt.NDArray[np.float64] | None = None


def rte() -> CrowdSet:
    """Textual entailment, 800 pairs, 10 votes each by 164 workers, gold by experts (Snow et al., 2008)."""
    rows = _snow("rte")
    return _crowd("rte", rows, [row["response"] for row in rows], {row["item"]: row["gold"] for row in rows}, "01")


def wordsim() -> CrowdSet:
    """Whether two words are similar: ratings 0..10 and gold 0..4, cut in the middle; 30 pairs, 10 votes each."""
    rows = _snow("wordsim")
    said = ["01"[float(row["response"]) >= 5] for row in rows]
    return _crowd("wordsim", rows, said, {row["item"]: "01"[float(row["gold"]) >= 2] for row in rows}, "01")


def affect(emotion: str) -> CrowdSet:
    """Emotion of 100 headlines, cut as the task's authors do (0..49 no, 50..100 yes); valence in three."""
    rows = _snow(emotion)
    low = [-50.0] if emotion == "valence" else []

    def cut(value: str) -> str:
        return str(sum(float(value) > edge for edge in low) + (float(value) >= 50))

    gold = {row["item"]: cut(row["gold"]) for row in rows}
    names = "012"[: 2 + len(low)]
    return _crowd(f"affect {emotion}", rows, [cut(row["response"]) for row in rows], gold, names)


def affect_ordinal(emotion: str) -> CrowdSet:
    """Strength of an emotion in four steps, cut at 10, 30 and 60: an ordinal space; valence by its size."""
    rows = _snow(emotion)

    def cut(value: str) -> str:
        return str(int(np.searchsorted([10, 30, 60], abs(float(value)), side="right")))

    gold = {row["item"]: cut(row["gold"]) for row in rows}
    said = [cut(row["response"]) for row in rows]
    return _crowd(f"affect {emotion}, 4 steps", rows, said, gold, "0123", Kind.ORDINAL)


def cifar_n(n: int | None = None) -> CrowdSet:
    """CIFAR-10N: three votes on each of 50,000 images (the first `n`); gold is the clean label.

    The released worker ids follow an order of images that is not released with them: as they stand, workers differ in
    accuracy no more than by chance. So the votes are anonymous.
    """
    with np.load(shared("cifar-n/cifar10n.npz")) as file:
        labels = np.stack([file[f"random_label{i}"] for i in (1, 2, 3)], axis=1).astype(np.int64)[:n]
        clean = file["clean_label"].astype(np.int32)[:n]
    space = Space(tuple("0123456789"))
    counts = (labels[:, :, None] == np.arange(10)).sum(axis=1)
    return CrowdSet("cifar-10n", anonymous(space, counts), Hard(space, clean))


def cifar_10h(n_votes: int, n: int | None = None, random_state: int = 0) -> CrowdSet:
    """`n_votes` of about 51 on each CIFAR-10 test image; the others are the soft truth, the label the hard one."""
    with np.load(shared("cifar-10h/cifar10h.npz")) as file:
        counts, label = file["counts"].astype(np.int64)[:n], file["label"].astype(np.int32)[:n]
    space = Space(tuple("0123456789"))
    drawn = _draw(counts, np.full(len(counts), n_votes), random_state)
    rest = counts - drawn
    return CrowdSet(f"cifar-10h, {n_votes} votes", anonymous(space, drawn), Hard(space, label), _shares(rest))


def chaosnli(part: str) -> CrowdSet:
    """The five old votes on each pair; the truth is the 100 new votes and, hard, their majority."""
    space = Space(("entailment", "neutral", "contradiction"))
    old, new = [], []
    with gzip.open(shared(f"chaosnli/chaosNLI_{part}.jsonl.gz"), "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            said = Counter(row["old_labels"])
            old.append([said[name] for name in space.names])
            new.append([row["label_counter"].get(name[0], 0) for name in space.names])
    counts = np.array(new)
    return CrowdSet(f"chaosnli {part}", anonymous(space, np.array(old)), _majority(space, counts), _shares(counts))


def davidson(random_state: int = 0) -> CrowdSet:
    """Hate speech: 2 to 8 votes on each tweet; the soft truth is one more vote, held out; there is no gold."""
    space = Space(("hate", "offensive", "neither"))
    with gzip.open(shared("davidson-hate-offensive/labeled_data.csv.gz"), "rt", encoding="utf-8") as lines:
        columns = ("hate_speech", "offensive_language", "neither")
        counts = np.array([[int(row[c]) for c in columns] for row in csv.DictReader(lines)])
    held = _draw(counts, np.ones(len(counts), dtype=np.int64), random_state)
    return CrowdSet("davidson", anonymous(space, counts - held), None, _shares(held))


def every_set(small: bool = False, random_state: int = 0) -> Iterator[CrowdSet]:
    """All sets, in the order of the tables; `small` takes fewer images and fewer sets."""
    n = 3_000 if small else None
    yield rte()
    yield wordsim()
    yield from (affect(emotion) for emotion in (("joy",) if small else (*EMOTIONS, "valence")))
    yield from (affect_ordinal(emotion) for emotion in (("joy",) if small else (*EMOTIONS, "valence")))
    yield cifar_n(n)
    yield from (cifar_10h(votes, n, random_state) for votes in ((3,) if small else (3, 5, 10)))
    yield from (chaosnli(part) for part in ("snli", "mnli_m"))
    yield davidson(random_state)


def anonymous(space: Space, counts: Counts) -> Votes:
    """Votes of the pooled worker "anyone" from counts `(n, k)`."""
    n, k = counts.shape
    cell = np.repeat(np.arange(n * k), counts.ravel())
    worker = np.zeros(len(cell), dtype=np.int32)
    return Votes(space, cell // k, worker, (cell % k).astype(np.int32), np.arange(n), np.array(["anyone"]))


def _snow(task: str) -> list[dict[str, Any]]:
    with shared(f"snow2008/{task}.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _crowd(
    name: str,
    rows: list[dict[str, Any]],
    said: list[str],
    gold: dict[str, str],
    classes: str,
    kind: Kind = Kind.CATEGORICAL,
) -> CrowdSet:
    space = Space(tuple(classes), kind)
    votes = Votes.from_long([row["item"] for row in rows], [row["worker"] for row in rows], said, space)
    return CrowdSet(name, votes, Hard.from_values([gold[str(item)] for item in votes.task_ids], space))


def _draw(counts: Counts, wanted: Counts, random_state: int) -> Counts:
    """Draw `wanted` (n,) votes of `counts` (n, k) in each row without replacement."""
    rng = np.random.default_rng(random_state)
    return np.stack([rng.multivariate_hypergeometric(row, m) for row, m in zip(counts, wanted, strict=True)])


def _majority(space: Space, counts: Counts) -> Hard:
    """The class with most votes; masked where two tie."""
    top = counts.max(axis=1, keepdims=True)
    return Hard(space, counts.argmax(axis=1).astype(np.int32), (counts == top).sum(axis=1) == 1)


def _shares(counts: Counts) -> npt.NDArray[np.float64]:
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))
