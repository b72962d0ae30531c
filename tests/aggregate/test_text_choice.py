"""Text choice: by hand, in its limits, whatever the order, and with fewer wrong words than its rivals."""

import difflib

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import ROVER

from assay.aggregate.text_choice import TextChoice
from assay.errors import InputError
from assay.kernels.text_distance import align, edit_distances

WORDS = (
    "red",
    "green",
    "blue",
    "old",
    "new",
    "small",
    "large",
    "cat",
    "dog",
    "bird",
    "runs",
    "sits",
    "on",
    "under",
    "the",
)


def plain_edit(a, b):
    table = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            change = table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            table[i][j] = min(change, table[i - 1][j] + 1, table[i][j - 1] + 1)
    return table[-1][-1]


def transcripts(seed=0, n=60, w=8, per_task=5, error=None):
    """True texts, and columns: workers leave out, change or add words at their own rate."""
    rng = np.random.default_rng(seed)
    error = np.linspace(0.03, 0.5, w) if error is None else error
    truth = [rng.choice(WORDS, rng.integers(6, 12)).tolist() for _ in range(n)]
    task, worker, text = [], [], []
    for i in range(n):
        for j in rng.permutation(w)[:per_task]:
            said = []
            for word in truth[i]:
                u = rng.random()
                if u < error[j] * 0.3:
                    continue
                said.append(str(rng.choice(WORDS)) if u < error[j] * 0.8 else word)
                if rng.random() < error[j] * 0.2:
                    said.append(str(rng.choice(WORDS)))
            task.append(i)
            worker.append(f"w{j}")
            text.append(" ".join(said))
    return [" ".join(words) for words in truth], task, worker, text


def word_error_rate(said, truth):
    wrong = sum(plain_edit(a.split(), b.split()) for a, b in zip(said, truth, strict=True))
    return wrong / sum(len(b.split()) for b in truth)


# By hand


def test_edit_distances_are_those_of_a_plain_table():
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 4, rng.integers(0, 7)) for _ in range(9)]
    start = np.concatenate([[0], np.cumsum([len(s) for s in sequences])])
    first = np.array([0, 4, 4, 9])
    offset, distance = edit_distances(np.concatenate(sequences).astype(np.int32), start, first)
    assert offset.tolist() == [0, 16, 16, 41]
    for i in range(3):
        size = first[i + 1] - first[i]
        matrix = distance[offset[i] : offset[i + 1]].reshape(size, size)
        for x in range(size):
            for y in range(size):
                a, b = sequences[first[i] + x], sequences[first[i] + y]
                assert matrix[x, y] == pytest.approx(plain_edit(list(a), list(b)) / max(len(a), len(b), 1))


def test_alignment_costs_the_edit_distance():
    rng = np.random.default_rng(1)
    for _ in range(50):
        a, b = (rng.integers(0, 3, rng.integers(0, 8)).astype(np.int32) for _ in range(2))
        at, token = align(a, b)
        assert [t for t in token if t >= 0] == b.tolist()
        assert [p for p in at if p >= 0] == list(range(len(a)))
        assert sum(p < 0 or t != a[p] for p, t in zip(at, token, strict=True)) == plain_edit(list(a), list(b))


def test_choice_and_skill_by_a_plain_loop():
    _, task, worker, text = transcripts(n=12)
    model = TextChoice(max_iter=3).fit(task, worker, text)
    names = list(dict.fromkeys(worker))
    skill = dict.fromkeys(names, 1.0)

    def far(a, b):
        return plain_edit(a.split(), b.split()) / max(len(a.split()), len(b.split()), 1)

    def medoid(rows):
        cost = {text[r]: sum(skill[worker[s]] * far(text[r], text[s]) for s in rows) for r in rows}
        return min(sorted(cost), key=lambda a: round(cost[a], 9))

    for _ in range(model.n_iter_):
        rows_of = [[r for r in range(len(task)) if task[r] == i] for i in range(12)]
        choice = [medoid(rows) for rows in rows_of]
        apart = {r: far(text[r], medoid([s for s in rows_of[task[r]] if s != r])) for r in range(len(task))}
        mean = np.mean(list(apart.values()))
        new = {}
        for j in names:
            mine = [apart[r] for r in apart if worker[r] == j]
            new[j] = mean / ((sum(mine) + 5 * mean) / (len(mine) + 5))
        skill = new
    assert model.choice_.tolist() == choice
    np.testing.assert_allclose(model.skill_, [skill[j] for j in names])


# Limits


def test_all_agree():
    model = TextChoice(combine=True).fit([1, 1, 2, 2], ["u", "v", "u", "v"], ["a b", "a b", "", ""])
    assert model.choice_.tolist() == model.combined_.tolist() == ["a b", ""]
    assert model.skill_.tolist() == [1, 1]
    assert model.evidence()["support"].tolist() == [1, 1]


def test_one_answer_and_none():
    model = TextChoice(combine=True).fit(["x", "y"], ["u", "u"], ["only", None])
    assert model.choice_.tolist() == ["only", None]
    assert model.combined_.tolist() == ["only", None]
    assert np.isnan(model.distance_[1])
    assert model.skill_.tolist() == [1.0]


def test_words_vote_place_by_place():
    said = ["the cat sat down", "a cat sat on down", "the dog sat on down", "the cat stood on down"]
    model = TextChoice(combine=True).fit([0] * 4, list("uvwx"), said)
    assert model.combined_.tolist() == ["the cat sat on down"]


def test_distance_may_be_a_function():
    def letters(a, b):
        return 1 - difflib.SequenceMatcher(None, a, b).ratio()

    said = ["colour", "color", "colours", "xylophone"]
    for distance in ("characters", letters):
        assert TextChoice(distance).fit([0] * 4, list("uvwx"), said).choice_[0] == "colour"


# State and permutation


def test_order_of_rows_does_not_matter():
    _, task, worker, text = transcripts()
    order = np.random.default_rng(0).permutation(len(task))
    one = TextChoice(combine=True).fit(task, worker, text)
    other = TextChoice(combine=True).fit([task[r] for r in order], [worker[r] for r in order], [text[r] for r in order])
    first = dict(zip(one.task_ids_.tolist(), zip(one.choice_, one.combined_, strict=True), strict=True))
    second = dict(zip(other.task_ids_.tolist(), zip(other.choice_, other.combined_, strict=True), strict=True))
    assert first == second


def test_a_weight_of_two_is_two_answers():
    _, task, worker, text = transcripts(n=20)
    heavy = TextChoice().fit(task, worker, text, weight=np.full(len(task), 2.0))
    twice = TextChoice().fit(task * 2, worker * 2, text * 2)
    assert heavy.choice_.tolist() == twice.choice_.tolist()
    np.testing.assert_allclose(heavy.skill_, twice.skill_)


def test_tables_have_one_length():
    model = TextChoice().fit(*transcripts()[1:])
    assert {len(c) for c in model.workers().values()} == {8}
    assert {len(c) for c in model.evidence().values()} == {60}
    assert model.converged_


def test_odd_inputs():
    with pytest.raises(InputError, match="one length"):
        TextChoice().fit([0], ["u"], [])
    with pytest.raises(InputError, match="no answers"):
        TextChoice().fit([0], ["u"], [None])
    with pytest.raises(InputError, match=r"int.*row: 1"):
        TextChoice().fit([0, 0], ["u", "v"], ["a", 3])
    with pytest.raises(InputError, match="distance"):
        TextChoice("letters").fit([0], ["u"], ["a"])
    with pytest.raises(InputError, match="finite"):
        TextChoice(lambda a, b: np.nan).fit([0, 0], ["u", "v"], ["a", "b"])
    with pytest.raises(InputError, match="Weights"):
        TextChoice().fit([0], ["u"], ["a"], weight=[0.0])


# Claim


def test_good_writers_are_found():
    _, task, worker, text = transcripts(n=150)
    table = TextChoice().fit(task, worker, text).workers()
    order = [table["worker"].tolist()[j] for j in np.argsort(-table["skill"])]
    assert order[0] == "w0"
    assert set(order[-2:]) == {"w6", "w7"}


@pytest.mark.claim
def test_fewer_wrong_words_than_the_plain_nearest_answer():
    plain, skilled, combined, rover = [], [], [], []
    for seed in range(10):
        truth, task, worker, text = transcripts(seed)
        plain.append(word_error_rate(TextChoice(max_iter=1).fit(task, worker, text).choice_, truth))
        model = TextChoice(combine=True).fit(task, worker, text)
        skilled.append(word_error_rate(model.choice_, truth))
        combined.append(word_error_rate(model.combined_, truth))
        frame = pd.DataFrame({"task": task, "worker": worker, "text": text})
        theirs = ROVER(str.split, " ".join).fit_predict(frame)
        rover.append(word_error_rate(theirs.loc[range(60)], truth))
    assert np.mean(skilled) < np.mean(plain)
    assert np.mean(combined) < np.mean(skilled)
    assert np.mean(combined) < np.mean(rover)
