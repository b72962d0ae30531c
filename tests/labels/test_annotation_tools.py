"""Label Studio and Argilla: what is written is read again, what their own documents show is read, damage says so."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import InputError
from assay.labels import Boxes, Hard, Masks, Space, Votes
from assay.labels.formats import argilla, label_studio
from assay.labels.formats.argilla import span_records, vote_records, write_argilla
from assay.labels.formats.label_studio import read_boxes, read_predictions
from assay.labels.formats.label_studio_tasks import box_tasks, span_tasks, vote_tasks, write_label_studio
from assay.labels.formats.suggested import Suggested
from assay.labels.formats.vote_exports import read_argilla, read_label_studio

CLASSES = Space(("z", "猫", 'a"\n', "", "never"))
PLAIN = Space(("z", "猫", 'a"\n', "never"))


@st.composite
def votes_of(draw: st.DrawFn, priced: bool) -> Votes:
    """Votes in the order of their tasks, workers in the order of their first vote, as a file can hold them."""
    counts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    who = [str(name) for name in draw(st.permutations(["ann", "7", "007", "bo@x.org", "é"]))]
    task = np.repeat(np.arange(len(counts)), counts)
    names = [who[draw(st.integers(0, 4))] for _ in task]
    ids = list(dict.fromkeys(names))
    return Votes(
        PLAIN,
        task,
        [ids.index(name) for name in names],
        [draw(st.integers(0, 3)) for _ in task],
        np.array([f"t{row}" for row in range(len(counts))], np.str_),
        np.array(ids, np.str_),
        cost=np.array([draw(st.floats(0, 9, width=32)) for _ in task], np.float32) if priced and len(task) else None,
    )


@st.composite
def suggested_for(draw: st.DrawFn, votes: Votes) -> Suggested:
    n = votes.n_rows
    there = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    scored = there.any() and draw(st.booleans())
    return Suggested(
        tuple(votes.task_ids.tolist()),
        Hard(PLAIN, draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), there),
        np.array([draw(st.floats(0, 1)) if one else 0.0 for one in there]) if scored else None,
        tuple("model 1" if one else None for one in there),
    )


def same(one: Suggested, other: Suggested) -> bool:
    scores = (
        np.array_equal(one.score, other.score)
        if one.score is not None and other.score is not None
        else one.score is other.score
    )
    return (one.ids, one.labels, one.agent) == (other.ids, other.labels, other.agent) and scores


@given(st.data())
def test_label_studio_votes_round_trip(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    votes = data.draw(votes_of(priced=True))
    suggested = data.draw(suggested_for(votes))
    there = np.array(data.draw(st.lists(st.booleans(), min_size=votes.n_rows, max_size=votes.n_rows)))
    gold = Hard(PLAIN, np.zeros(votes.n_rows, int), there)
    path = tmp_path_factory.mktemp("ls") / "t.json"
    write_label_studio(path, vote_tasks(votes, gold=gold, suggested=suggested))
    read = read_label_studio(path, space=PLAIN)
    assert read.votes == votes
    assert read.gold == (gold if there.any() else None)
    assert same(read_predictions(path, space=PLAIN), suggested)


@given(st.data())
def test_argilla_votes_round_trip(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    votes = data.draw(votes_of(priced=False))
    suggested = data.draw(suggested_for(votes))
    path = tmp_path_factory.mktemp("argilla") / "r.json"
    write_argilla(path, vote_records(votes, suggested=suggested))
    assert read_argilla(path, "label", space=PLAIN).votes == votes
    assert same(argilla.read_suggestions(path, "label", space=PLAIN), suggested)


EDGE = st.integers(0, 640 * 8).map(lambda eighth: eighth / 8)


@given(st.data())
def test_label_studio_boxes_round_trip(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    total = sum(counts)
    pair = st.lists(EDGE, min_size=2, max_size=2, unique=True).map(sorted)
    corners = []
    for _ in range(total):
        (left, right), (top, bottom) = data.draw(pair), data.draw(pair)
        corners.append([left, top, right, bottom])
    scored = total > 0 and data.draw(st.booleans())
    texts = tuple(data.draw(st.lists(st.none() | st.text(max_size=3), min_size=total, max_size=total)))
    boxes = Boxes(
        CLASSES,
        data.draw(st.lists(st.integers(0, 4), min_size=total, max_size=total)),
        corners,
        np.concatenate([[0], np.cumsum(counts)]).astype(int),
        tuple(f"{row}.png" for row in range(len(counts))),
        [[640, 640]] * len(counts),
        data.draw(st.lists(st.floats(0, 1, width=32), min_size=total, max_size=total)) if scored else None,
        texts if any(text is not None for text in texts) else None,
    )
    path = tmp_path_factory.mktemp("ls") / "t.json"
    where = data.draw(st.sampled_from(["annotations", "predictions"]))
    write_label_studio(path, box_tasks(boxes, where=where))
    assert read_boxes(path, where=where, space=CLASSES) == boxes


@given(st.lists(st.lists(st.sampled_from("aé💩 "), max_size=6), min_size=1, max_size=3), st.data())
def test_spans_round_trip(tmp_path_factory: pytest.TempPathFactory, letters: list, data: st.DataObject) -> None:
    texts = ["".join(row) for row in letters]
    space = Space(("O", "b", "a"))
    masks = Masks.from_rows(space, [[data.draw(st.integers(0, 2)) for _ in text] for text in texts])
    folder = tmp_path_factory.mktemp("spans")
    write_label_studio(folder / "t.json", span_tasks(masks, texts))
    assert label_studio.read_spans(folder / "t.json", space=space) == (masks, texts)
    write_argilla(folder / "r.json", span_records(masks, texts, "ann"))
    assert argilla.read_spans(folder / "r.json", "label", space=space) == (masks, texts)


def test_the_example_of_the_guide(tmp_path: Path) -> None:
    """The task of Label Studio's page "task format", with two models; per cent of an image of 200 x 100 pixels."""
    size = {"original_width": 200, "original_height": 100, "to_name": "img", "from_name": "tag", "source": "$image"}
    box = {"x": 50, "y": 10, "width": 12.5, "height": 10, "rotation": 0, "rectanglelabels": ["Moonwalker"]}
    part = {"id": "Dx_aB91ISN", "type": "rectanglelabels", "value": box, **size}
    made = {
        "id": 1,
        "data": {"image": "https://example.com/1.jpg"},
        "annotations": [
            {"id": "1001", "result": [part], "was_cancelled": False, "ground_truth": False, "completed_by": 10},
            {"id": "1002", "result": [], "was_cancelled": True, "completed_by": 11},
        ],
        "predictions": [
            {"model_version": "model 1", "result": [{**part, "score": 0.25}]},
            {"model_version": "model 2", "result": []},
        ],
    }
    (tmp_path / "t.json").write_text(json.dumps([made]))
    read = read_boxes(tmp_path / "t.json")
    assert (read.names(), read.corners.tolist(), read.sizes.tolist()) == (
        ["Moonwalker"],
        [[100, 10, 125, 20]],
        [[200, 100]],
    )
    with pytest.raises(InputError, match="2 predictions, which are not mixed"):
        read_boxes([made], where="predictions")
    assert read_boxes([made], where="predictions", by="model 1").score.tolist() == [0.25]
    assert read_boxes([made], where="predictions", by="model 2").n_boxes == 0
    other = {"completed_by": 12, "result": []}
    two = {**made, "annotations": [made["annotations"][0], other]}
    with pytest.raises(InputError, match="2 annotations"):
        read_boxes([two])
    assert read_boxes([two], by="12").n_boxes == 0
    true = {**made, "annotations": [made["annotations"][0], {**other, "ground_truth": True}]}
    assert read_boxes([true]).n_boxes == 0
    turned = {**part, "value": {**box, "rotation": 30}}
    with pytest.raises(InputError, match="rotated"):
        read_boxes([{**made, "annotations": [{"result": [turned]}]}])


def test_offsets_in_utf16_units_are_mended() -> None:
    """The text of Label Studio's issue 1347: an emoji counted twice; 12 to 22 are the code points."""
    text = "💩This is an annotation."

    def spans(start: int, end: int, said: str) -> list[tuple[int, int, str]]:
        value = {"start": start, "end": end, "text": said, "labels": ["x"]}
        made = {"data": {"text": text}, "annotations": [{"result": [{"type": "labels", "value": value}]}]}
        return label_studio.read_spans([made])[0].spans(0)

    assert spans(13, 23, "annotation") == spans(12, 22, "annotation")
    assert spans(12, 22, "annotation")[1] == (12, 22, "x")
    with pytest.raises(InputError, match="is not 'banana'"):
        spans(12, 22, "banana")


def test_argilla_of_its_api_and_its_file() -> None:
    api = [{"id": "r", "suggestions": [{"question_name": "kind", "value": "cat", "score": 0.5, "agent": "m"}]}]
    file = [{"id": "r", "suggestions": {"kind": {"value": "cat", "score": 0.5, "agent": "m"}}}]
    assert same(argilla.read_suggestions(api, "kind"), argilla.read_suggestions(file, "kind"))
    assert argilla.read_suggestions(file, "other", space=PLAIN).labels.names() == [None]
    votes = Votes.from_long(["t"], ["ann"], ["cat"])
    (made,) = vote_records(votes, users={"ann": "0d1f"})
    assert made["responses"] == {"label": [{"value": "cat", "user_id": "0d1f", "status": "submitted"}]}
    said = [{"fields": {"text": "ab"}, "responses": {"label": [{"value": [], "user_id": u}] * 1}} for u in "ab"]
    said[1]["responses"]["label"] *= 2
    assert argilla.read_spans(said[:1], "label", no_status="submitted")[0].n_rows == 1
    with pytest.raises(InputError, match=r"2 responses.*row: 1"):
        argilla.read_spans(said, "label", no_status="submitted")


def test_what_has_no_place_is_refused() -> None:
    masks = Masks(Space(("O", "x")), [0, 1], [0, 2], np.array([True, False]))
    for made in (span_tasks(masks, ["ab"]), span_records(masks, ["ab"], "ann")):
        with pytest.raises(InputError, match="ignored"):
            list(made)
    for made in (span_tasks(replace(masks, mask=None), ["a"]), span_records(replace(masks, mask=None), ["a"], "ann")):
        with pytest.raises(InputError, match="1 characters, its labels are 2"):
            list(made)
    with pytest.raises(InputError, match="sizes of the images"):
        list(box_tasks(Boxes(Space(("x",)), [], [], [0, 0], ("a",))))
    with pytest.raises(InputError, match="does not fit into JSON"):
        write_label_studio(Path("never.json"), [{"data": {"x": float("nan")}}])
    assert not Path("never.json").exists()


CHOICE = {"from_name": "label", "to_name": "t", "type": "choices", "value": {"choices": ["cat"]}}
RECTANGLE = {
    "id": "a",
    "type": "rectanglelabels",
    "original_width": 4,
    "original_height": 4,
    "value": {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["cat"]},
}
SPAN = {"type": "labels", "value": {"start": 0, "end": 1, "text": "a", "labels": ["x"]}}
RESULT = [CHOICE, RECTANGLE, SPAN]
TASK = {
    "id": 1,
    "data": {"text": "ab", "image": "a.png"},
    "annotations": [{"completed_by": {"email": "a@b"}, "lead_time": 2.5, "was_cancelled": False, "result": RESULT}],
    "predictions": [{"model_version": "m", "score": 0.5, "result": RESULT}],
}
RECORD = {
    "id": "r",
    "fields": {"text": "ab"},
    "responses": {"label": [{"value": [{"start": 0, "end": 1, "label": "x"}], "user_id": "u", "status": "submitted"}]},
    "suggestions": {"label": {"value": "cat", "score": 0.5, "agent": "m"}},
}
READERS: list[Callable[[Any], Any]] = [
    read_label_studio,
    read_predictions,
    read_boxes,
    lambda path: read_boxes(path, where="predictions"),
    label_studio.read_spans,
    lambda path: read_argilla(path, "label"),
    lambda path: argilla.read_suggestions(path, "label"),
    lambda path: argilla.read_spans(path, "label"),
]


def replaced(value: Any, at: int, by: Any) -> tuple[Any, int]:
    """The value with its inner value number `at` replaced, and how many inner values were passed."""
    if at == 0:
        return by, 1
    passed = 1
    if isinstance(value, dict | list):
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        made = dict(pairs) if isinstance(value, dict) else list(value)
        for key, inner in pairs:
            made[key], more = replaced(inner, at - passed, by) if at - passed >= 0 else (inner, 0)
            passed += more
        return made, passed
    return value, passed


@pytest.mark.parametrize("reader", READERS)
def test_any_value_may_be_of_any_type(reader: Callable[[Any], Any]) -> None:
    """Every value of a whole file, replaced by every type in turn: read, or refused by one sentence."""
    for whole in (TASK, RECORD):
        at, refused = 0, 0
        while True:
            for by in (None, [], {}, "x", -1, 10**400, 1e308, True, [None], [[]], [{}], {"x": None}):
                made, passed = replaced([whole], at, by)
                if not isinstance(made, list):
                    continue
                try:
                    reader(made)
                except InputError:
                    refused += 1
            if passed <= at:
                break
            at += 1
        assert refused > 20


@given(st.data())
@settings(max_examples=100)
def test_cut_and_spoilt_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    raw = json.dumps([TASK]).encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 30)))
    path = tmp_path_factory.mktemp("fuzz") / "a.json"
    path.write_bytes(raw[:start] + data.draw(st.binary(max_size=4)) + raw[end:] or b"\n")
    try:
        data.draw(st.sampled_from(READERS))(path)
    except InputError:
        return
