"""The best of several texts: the answer nearest to all others, each weighed by how well its writer usually does.

Give it transcripts, translations, short answers or tags in order, several a task. It picks one that somebody wrote, or
with `combine` lets the words vote place by place, and says how far each worker's answers lie from the rest.

Papers: Li, Fukumoto 2019, "A dataset of crowdsourced word sequences: Collections and answer aggregation for ground
truth creation" (RASA: weights from distances); Fiscus 1997, "A post-processing system to yield reduced word error
rates: Recognizer output voting error reduction (ROVER)".

    choice[i] = the answer a with the least sum_j skill[j] * distance(a, answer[i, j])
    skill[j]  = mean distance of all workers / mean distance of j to what the others would choose (shrunk)

When to use: texts of one meaning and similar wording. When not: free prose where right answers share no words, unless
`distance` compares meanings (any function of two texts that gives 0 to 1, such as one minus the cosine of embeddings).

Departures: distances are edit distances over words or characters, so that no embedding is needed; a worker is judged
by what the others choose without them, so nobody gains by agreeing with themself; words vote along an alignment to the
chosen answer instead of ROVER's growing network, so that the order of workers does not matter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from assay.errors import InputError
from assay.kernels.text_distance import INSERTED, align, choose_answers, edit_distances
from assay.labels.votes import Column, code_ids

METHOD = {
    "name": "text_choice",
    "title": "Text and sequence choice",
    "paper": "Fiscus, 1997, A post-processing system to yield reduced word error rates: ROVER",
    "arxiv": None,
    "accepts": ["texts"],
    "gives": ["texts", "worker evidence"],
    "command": "assay aggregate ANSWERS --method text_choice",
    "claim": "Weighing writers by skill lowers the word error rate of the nearest answer; combining lowers it further.",
    "status": "stable",
}

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Distance = Callable[[str, str], float]
SHRINK = 5.0  # tasks at the mean distance that each worker is believed to have done before


class TextChoice(BaseEstimator):  # type: ignore[misc]
    """Choose among texts (n tasks, w workers, v answers).

    Parameters
    ----------
    distance : "words", "characters", or a function of two texts that gives 0 (same) to 1.
    combine : whether `combined_` is made, by a vote of the words at each place.
    max_iter : rounds of choosing and judging.

    Attributes
    ----------
    choice_ : (n,) object, the chosen text of each task, None without an answer.
    combined_ : (n,) object, texts that nobody may have written; None unless `combine`.
    distance_ : (n,) mean distance, by skill, of the answers to the choice; NaN without an answer.
    skill_ : (w,) weight of each worker, 1 for the average.
    n_iter_, converged_ : rounds done, and whether the choices came to rest.

    Examples
    --------
    >>> task = ["a"] * 3
    >>> said = ["the cat sat", "the cat sat on", "a cat sits on"]
    >>> TextChoice().fit(task, ["u", "v", "w"], said).choice_.tolist()
    ['the cat sat on']
    """

    def __init__(
        self, distance: Literal["words", "characters"] | Distance = "words", combine: bool = False, max_iter: int = 50
    ) -> None:
        self.distance = distance
        self.combine = combine
        self.max_iter = max_iter

    def fit(
        self, task: Column, worker: Column, text: Sequence[str | None], weight: npt.ArrayLike | None = None
    ) -> Self:
        """Choose for each task. Columns (v,) of task id, worker id, text; None is no answer, "" is an empty one."""
        kept, weights = self._check(task, worker, text, weight)
        self.task_ids_, tasks = code_ids(task)
        self.worker_ids_, workers = code_ids(worker)
        order = kept[np.argsort(tasks[kept], kind="stable")]
        n, w = len(self.task_ids_), len(self.worker_ids_)
        ptr = np.concatenate([[0], np.cumsum(np.bincount(tasks[order], minlength=n))]).astype(np.int64)
        texts = [str(text[row]) for row in order]
        answers, answer, first = _different(ptr, texts)
        offset, distance = self._distances(answers, first)
        who, much = workers[order], weights[order]
        skill, choice = np.ones(w), np.full(n, -2, dtype=np.int64)
        self.converged_, self.n_iter_ = False, 0
        while self.n_iter_ < self.max_iter and not self.converged_:
            before = choice
            choice, self.distance_, apart = choose_answers(ptr, who, answer, offset, distance, much, skill)
            old, skill = skill, _skills(who, much, apart, w)
            self.converged_ = bool(np.array_equal(before, choice) and np.allclose(old, skill, rtol=1e-6))
            self.n_iter_ += 1
        self.skill_ = skill
        self.choice_ = np.empty(n, dtype=object)
        self.choice_[:] = [answers[first[i] + c] if c >= 0 else None for i, c in enumerate(choice)]
        said = much * skill[who]
        row = np.repeat(np.arange(n), np.diff(ptr))
        same = answer == choice[row]
        total = np.bincount(row, said, n)
        self._task = {
            "n_votes": np.diff(ptr),
            "n_answers": np.diff(first),
            "support": np.divide(np.bincount(row, said * same, n), total, out=np.zeros(n), where=total > 0),
        }
        told = ~np.isnan(apart)
        met = np.bincount(who[told], much[told], w)
        far = np.bincount(who[told], (much * np.nan_to_num(apart))[told], w)
        mean = np.divide(far, met, out=np.full(w, np.nan), where=met > 0)
        self._worker = {"n_votes": np.bincount(who, much, w), "mean_distance": mean}
        self.combined_ = self._combine(ptr, texts, said) if self.combine else None
        return self

    def workers(self) -> dict[str, npt.NDArray[Any]]:
        """One row a worker: answers, skill, mean distance to what the others would choose."""
        return {"worker": self.worker_ids_, "skill": self.skill_, **self._worker}

    def evidence(self) -> dict[str, npt.NDArray[Any]]:
        """One row a task: answers, different answers, choice, share of skill that wrote it, mean distance to it."""
        return {"task": self.task_ids_, **self._task, "choice": self.choice_, "distance": self.distance_}

    def _check(
        self, task: Column, worker: Column, text: Sequence[str | None], weight: npt.ArrayLike | None
    ) -> tuple[Longs, Floats]:
        if not len(task) == len(worker) == len(text):
            raise InputError(f"Columns must have one length, got {len(task)}, {len(worker)} and {len(text)}.")
        weights = np.ones(len(text)) if weight is None else np.asarray(weight, dtype=np.float64)
        if weights.shape != (len(text),) or not (np.isfinite(weights) & (weights > 0)).all():
            raise InputError(f"Weights must be {len(text)} finite numbers above 0.")
        for row, value in enumerate(text):
            if value is not None and not isinstance(value, str):
                raise InputError(f"An answer must be text or None, got {type(value).__name__}.", row=row)
        kept = np.array([row for row, value in enumerate(text) if value is not None], dtype=np.int64)
        if not len(kept):
            raise InputError("There are no answers: expected at least one text.")
        if not (callable(self.distance) or self.distance in ("words", "characters")):
            raise InputError(f"distance must be 'words', 'characters' or a function, got {self.distance!r}.")
        return kept, weights

    def _distances(self, answers: list[str], first: Longs) -> tuple[Longs, Floats]:
        """Where each task's matrix of distances starts (n + 1,), and the matrices one after another."""
        if not callable(self.distance):
            split = str.split if self.distance == "words" else list
            return edit_distances(*_coded([split(answer) for answer in answers])[:2], first)
        offset = np.concatenate([[0], np.cumsum(np.diff(first) ** 2)]).astype(np.int64)
        matrices = []
        for i in range(len(first) - 1):
            here = answers[first[i] : first[i + 1]]
            matrix = np.array([[0.0 if a == b else self.distance(a, b) for b in here] for a in here])
            if not (np.isfinite(matrix) & (matrix >= 0)).all():
                raise InputError("The distance function must give finite numbers, 0 or above.", row=i)
            matrices.append(matrix.ravel())
        return offset, np.concatenate(matrices) if matrices else np.zeros(0)

    def _combine(self, ptr: Longs, texts: list[str], said: Floats) -> npt.NDArray[Any]:
        """Words that win the vote at each place of the chosen answer, and between places."""
        out = np.empty(len(ptr) - 1, dtype=object)
        for i, pivot in enumerate(self.choice_):
            if pivot is None:
                continue
            group = texts[ptr[i] : ptr[i + 1]]
            codes, start, names = _coded([pivot.split(), *(text.split() for text in group)])
            places = start[1]
            votes: dict[tuple[int, bool], Counter[tuple[int, ...]]] = defaultdict(Counter)
            for j in range(len(group)):
                at, token = align(codes[:places], codes[start[j + 1] : start[j + 2]])
                gaps: dict[int, list[int]] = {place: [] for place in range(places + 1)}
                place = 0
                for where, what in zip(at.tolist(), token.tolist(), strict=True):
                    if where == INSERTED:
                        gaps[place].append(what)
                    else:
                        votes[where, True][(what,) if what >= 0 else ()] += said[ptr[i] + j]
                        place = where + 1
                for place, inserted in gaps.items():
                    votes[place, False][tuple(inserted)] += said[ptr[i] + j]
            words: list[str] = []
            for key in sorted(votes):  # the gap before a place sorts before the place
                words += [names[code] for code in _winner(votes[key], codes[:places], key, names)]
            out[i] = " ".join(words)
        return out


def _winner(
    votes: Counter[tuple[int, ...]], pivot: npt.NDArray[np.int32], key: tuple[int, bool], names: list[str]
) -> tuple[int, ...]:
    """Most votes; a tie stays with the pivot, then goes by the alphabet."""
    place, filled = key
    mine = (int(pivot[place]),) if filled else ()
    return min(votes, key=lambda said: (-round(votes[said], 9), said != mine, [names[code] for code in said]))


def _skills(worker: Longs, weight: Floats, apart: Floats, w: int) -> Floats:
    """Mean distance of all over that of each worker (w,), both by weight; the latter shrunk to the former."""
    told = ~np.isnan(apart)
    if not told.any() or apart[told].max() == 0:
        return np.ones(w)
    mean = np.average(apart[told], weights=weight[told])
    far = np.bincount(worker[told], (weight * np.nan_to_num(apart))[told], w)
    skills: Floats = mean * (np.bincount(worker[told], weight[told], w) + SHRINK) / (far + SHRINK * mean)
    return skills


def _different(ptr: Longs, texts: list[str]) -> tuple[list[str], Longs, Longs]:
    """Different answers of each task in the order of the alphabet, which of them each vote is (v,), starts (n + 1,)."""
    answers: list[str] = []
    answer, first = np.empty(len(texts), dtype=np.int64), np.zeros(len(ptr), dtype=np.int64)
    for i in range(len(ptr) - 1):
        group = texts[ptr[i] : ptr[i + 1]]
        here = sorted(set(group))
        number = {text: c for c, text in enumerate(here)}
        answer[ptr[i] : ptr[i + 1]] = [number[text] for text in group]
        answers += here
        first[i + 1] = len(answers)
    return answers, answer, first


def _coded(sequences: list[list[str]]) -> tuple[npt.NDArray[np.int32], Longs, list[str]]:
    """Codes of all tokens one after another, where each sequence starts (q + 1,), and the names of the codes."""
    number: dict[str, int] = {}
    codes = [number.setdefault(token, len(number)) for sequence in sequences for token in sequence]
    start = np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])]).astype(np.int64)
    return np.array(codes, dtype=np.int32), start, list(number)
