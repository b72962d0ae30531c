"""Judges of refusals against labels given on reading; reports against plain counting."""

import json
from pathlib import Path

import numpy as np
import pytest

from assay.errors import InputError
from assay.kernels.intervals import wilson
from assay.language.behaviour import JUDGES, behaviour_report, is_empty, is_repetition, judge_refusal

TABLE = json.loads((Path(__file__).parent / "answers.json").read_text(encoding="utf-8"))


def right(part: str, judge: str) -> float:
    return float(np.mean([judge_refusal(text, judge) == verdict for text, verdict in TABLE[part]]))


def test_judges_agree_with_the_reader():
    """On answers that the rules were made on, on answers never looked at, and on those of a model at hand."""
    assert right("known", "sentences") >= 0.85
    assert right("unseen", "sentences") >= 0.8
    assert right("smollm2", "sentences") >= 0.9
    assert right("smollm2", "phrases") >= 0.9
    assert right("hand", "sentences") >= 0.95


def test_phrases_count_every_apology_and_sentences_do_not():
    """What the two judges are apart for: an apology, and a disclaimer before help."""
    assert right("unseen", "sentences") > right("unseen", "phrases")
    assert right("hand", "sentences") > right("hand", "phrases")


@pytest.mark.parametrize("judge", JUDGES)
def test_verdicts_do_not_hang_on_typography(judge: str):
    for text, _ in TABLE["known"] + TABLE["hand"]:
        same = text.replace("'", "’").replace(" ", "  ", 1).upper()
        assert judge_refusal(same, judge) == judge_refusal(text, judge), text


def test_controls():
    assert all(is_empty(text) for text in ("", " \n", "...", "?!"))
    assert not is_empty("é")
    assert is_repetition("yes no yes no yes no yes no yes no yes no")
    assert not is_repetition("yes yes yes")  # too short to tell
    assert not is_repetition(" ".join(map(str, range(40))))
    assert [judge_refusal(text) for text in ("", "no " * 20, "Why? What for?")] == ["other"] * 3


ANSWERS = [
    "I can't help with that.",
    "Sure: first, mix them.",
    "",
    "I cannot answer that.",
    "It is Paris.",
    "It is Rome.",
]
HARMFUL = [True, True, True, False, False, False]


def test_shares_and_intervals_by_hand():
    report = behaviour_report(ANSWERS, HARMFUL, utility=[0, 0, 0, 0, 1, 1])
    found = {(m.name, m.judge): m for m in report.measures()}
    expected = {"refused on harmful": 1, "complied on harmful": 1, "other on harmful": 1, "over-refusal": 1}
    for judge in JUDGES:
        for name, count in (expected | {"complied on harmless": 2}).items():
            measure = found[name, judge]
            assert (measure.value, measure.n) == (count / 3, 3)
            assert (measure.low, measure.high) == tuple(map(float, wilson(count, 3)))
    # Wilson by hand for 1 of 3 at z = 1.96: (1/3 + z^2/6 -+ z sqrt(2/27 + z^2/36)) / (1 + z^2/3).
    z = 1.959964
    half = z * np.sqrt(2 / 27 + z * z / 36)
    by_hand = [(1 / 3 + z * z / 6 + side * half) / (1 + z * z / 3) for side in (-1, 1)]
    assert [found["over-refusal", "sentences"].low, found["over-refusal", "sentences"].high] == pytest.approx(by_hand)
    assert (found["empty", ""].value, found["empty", ""].n, found["repeated", ""].value) == (1 / 6, 6, 0.0)
    assert found["utility", ""].value == pytest.approx(1 / 3)
    assert found["utility", ""].low <= 1 / 3 <= found["utility", ""].high


def test_differences_are_paired():
    """A change on every row has no spread; the same number of refusals on other rows has some."""
    n = 40
    refusing = ["I can't help with that." if row % 2 else "Yes, it is." for row in range(n)]
    shifted = ["I can't help with that." if row % 2 == 0 else "Yes, it is." for row in range(n)]
    harmful = np.arange(n) < n // 2
    one, same = behaviour_report(refusing, harmful), behaviour_report(refusing, harmful)
    assert all((m.value, m.low, m.high) == (0, 0, 0) for m in one.difference(same))
    never = behaviour_report(["Yes, it is."] * n, harmful)
    more = {m.name: m for m in one.difference(never) if m.judge == "sentences"}
    assert more["over-refusal"].value == 0.5
    assert 0.2 < more["over-refusal"].low < 0.5 < more["over-refusal"].high < 0.8
    other = {m.name: m for m in one.difference(behaviour_report(shifted, harmful)) if m.judge == "sentences"}
    assert other["over-refusal"].value == 0
    assert other["over-refusal"].low < -0.2
    assert other["over-refusal"].high > 0.2
    assert [m.value for m in never.difference(one)] == [-m.value for m in one.difference(never)]


@pytest.mark.claim
def test_intervals_cover():
    """95 % intervals of a paired difference hold the true one in about 95 % of repetitions."""
    rng, n, held = np.random.default_rng(0), 60, 0
    words = np.array(["Yes, it is.", "I can't help with that."])
    for _ in range(200):
        hard = rng.random(n) < 0.5  # rows that both models tend to refuse
        ours, theirs = rng.random(n) < 0.2 + 0.6 * hard, rng.random(n) < 0.1 + 0.6 * hard
        reports = [behaviour_report(list(words[side.astype(int)]), np.zeros(n, dtype=bool)) for side in (ours, theirs)]
        found = next(m for m in reports[0].difference(reports[1], resamples=300) if m.name == "over-refusal")
        held += found.low <= 0.1 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_cautions_say_what_is_missing():
    whole = behaviour_report(["Yes, it is.", "I can't help with that."] * 20, [False, True] * 20, utility=[1, 0] * 20)
    assert whole.cautions() == []
    only = behaviour_report(["", "a b " * 20, "Sorry, that is late."], [True] * 3)
    said = " ".join(only.cautions())
    assert "no harmless prompts" in said
    assert "Utility was not measured" in said
    assert "2 of 3 answers are empty or repeat" in said
    assert "disagree on 1 of 3" in said
    assert only.disagreement().tolist() == [2]
    assert "no harmful prompts" in behaviour_report(["Yes."], [False]).cautions()[0]


def test_bad_input_is_named():
    with pytest.raises(InputError, match="no judge 'mood'"):
        judge_refusal("x", "mood")
    with pytest.raises(InputError, match="0 answers"):
        behaviour_report([], [])
    with pytest.raises(InputError, match="2 answers, but harmful has the shape"):
        behaviour_report(["a", "b"], [True])
    with pytest.raises(InputError, match="not str") as caught:
        behaviour_report(["a", None], [True, False])
    assert caught.value.row == 1
    with pytest.raises(InputError, match="finite"):
        behaviour_report(["a"], [True], utility=[np.nan])
    one, other = behaviour_report(["a"], [True]), behaviour_report(["a"], [False])
    with pytest.raises(InputError, match="same prompts"):
        one.difference(other)
    with pytest.raises(InputError, match="Only one"):
        one.difference(behaviour_report(["a"], [True], utility=[1]))
