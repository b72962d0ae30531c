"""Votes out of tables, arrays and the files of other tools."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.errors import InputError
from assay.labels import Space, Votes
from assay.labels.formats.vote_exports import from_crowd_kit, read_argilla, read_label_studio, read_peerannot
from assay.labels.formats.vote_forms import read_votes, vote_blocks, votes_from_matrix

TASK, WORKER, LABEL = ["t1", "t1", "t2", "t3"], ["ann", "bob", "ann", "bob"], ["cat", "dog", None, "cat"]
EXPECTED = Votes.from_long(TASK, WORKER, LABEL)


def test_every_source_gives_the_same_votes(tmp_path: Path):
    columns = {"task": TASK, "worker": WORKER, "label": LABEL}
    frame = pd.DataFrame(columns)
    frame.to_csv(tmp_path / "v.csv", index=False)
    frame.to_json(tmp_path / "v.jsonl", orient="records", lines=True)
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    sources = [tmp_path / "v.csv", tmp_path / "v.jsonl", str(tmp_path / "v.parquet"), frame, pl.DataFrame(columns)]
    for source in (*sources, pa.table(columns), frame.astype("category")):
        votes, gold = read_votes(source)
        assert votes == EXPECTED
        assert gold is None
    assert votes.present.tolist() == [True, False, True]  # the abstention made its task known


def test_columns_by_name_with_gold_weight_time_and_cost():
    frame = pd.DataFrame(
        {
            "item": [7, 7, 9],
            "who": [1, 2, 1],
            "said": [0, 1, 1],
            "truth": [1, 1, None],
            "w": [1, 2, 3],
            "t": [5.0, 6, 7],
        }
    )
    votes, gold = read_votes(
        frame, task="item", worker="who", label="said", gold="truth", weight="w", time="t", cost="w"
    )
    assert votes.task_ids.tolist() == [7, 9]
    assert votes.worker_ids.tolist() == [1, 2]
    assert votes.space.names == ("0", "1")
    assert votes.weight.tolist() == [1, 2, 3]
    assert votes.time.tolist() == [5, 6, 7]
    assert gold.names() == ["1", None]


def test_class_order_is_kept():
    kind = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    frame = pd.DataFrame({"task": [1, 2], "worker": [1, 1], "label": pd.Series(["high", "low"], dtype=kind)})
    assert read_votes(frame).votes.space.names == ("low", "mid", "high")
    assert read_votes(frame, space=Space(("high", "low"))).votes.label.tolist() == [0, 1]


def test_leading_zeros_of_ids_survive(tmp_path: Path):
    (tmp_path / "v.csv").write_text("task,worker,label\n007,1,a\n7,1,b\n")
    assert read_votes(tmp_path / "v.csv").votes.task_ids.tolist() == ["007", "7"]


def test_malformed_rows_are_named(tmp_path: Path):
    good = {"task": ["a", "b"], "worker": ["x", "y"], "label": ["p", "q"]}
    with pytest.raises(InputError, match="worker"):
        read_votes(pd.DataFrame({"task": ["a"], "label": ["p"]}))
    with pytest.raises(InputError, match="no rows"):
        read_votes(pd.DataFrame({name: pd.Series([], dtype=str) for name in good}))
    with pytest.raises(InputError, match="empty cell") as error:
        read_votes(pd.DataFrame({**good, "worker": ["x", None]}))
    assert error.value.row == 1
    with pytest.raises(InputError, match="Unknown class 'q'") as error:
        read_votes(pd.DataFrame(good), space=Space(("p", "r")))
    assert error.value.row == 1
    with pytest.raises(InputError, match="finite") as error:
        read_votes(pd.DataFrame({**good, "w": [1.0, np.nan]}), weight="w")
    assert error.value.row == 1
    with pytest.raises(InputError, match="numbers"):
        read_votes(pd.DataFrame({**good, "w": ["one", "two"]}), weight="w")
    with pytest.raises(InputError, match="two different gold") as error:
        read_votes(pd.DataFrame({**good, "task": ["a", "a"], "g": ["p", "q"]}), gold="g")
    assert error.value.row == 0
    with pytest.raises(InputError, match="no table of votes"):
        read_votes(3)


def test_blocks_read_one_file_at_a_time(tmp_path: Path):
    for part in range(3):
        table = pa.table({"task": [part * 2, part * 2 + 1], "worker": ["x", "y"], "label": ["p", "q"]})
        pq.write_table(table, tmp_path / f"{part}.parquet")
    paths = sorted(tmp_path.glob("*.parquet"))
    make = vote_blocks(paths, Space(("p", "q")))
    for _ in range(2):
        assert [block.votes.task_ids.tolist() for block in make()] == [[0, 1], [2, 3], [4, 5]]
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    with pytest.raises(InputError, match=r"1\.parquet"):
        list(make())
    with pytest.raises(InputError, match="nowhere"):
        vote_blocks([tmp_path / "nowhere.parquet"], Space(("p",)))


@pytest.mark.parametrize("missing", ["nan", -1])
def test_matrix_with_gaps(missing):
    gap = np.nan if missing == "nan" else -1
    matrix = np.array([[0, gap, 1], [gap, gap, gap], [1, 1, gap]])
    votes = votes_from_matrix(matrix, Space(("0", "1", "2")), missing=missing, worker_ids=["a", "b", "c"])
    assert votes.counts().tolist() == [[1, 1, 0], [0, 0, 0], [0, 2, 0]]
    assert votes.worker_ids.tolist() == ["a", "b", "c"]
    if missing == -1:
        with pytest.raises(InputError, match="Unknown class '-1'"):
            votes_from_matrix(matrix, Space(("0", "1")), missing="nan")  # the mask is never guessed
    with pytest.raises(InputError, match="2 worker_ids"):
        votes_from_matrix(matrix, missing=missing, worker_ids=["a", "b"])
    with pytest.raises(InputError, match="shape"):
        votes_from_matrix([1, 2], missing=missing)


def test_matrix_of_names():
    matrix = np.array([["cat", None], ["dog", "cat"]], dtype=object)
    assert votes_from_matrix(matrix, missing="nan").counts().tolist() == [[1, 0], [1, 1]]


def test_crowd_kit_frames():
    frame = pd.DataFrame(
        {"task": TASK, "worker": WORKER, "label": ["cat", "dog", "dog", "cat"], "weight": [1, 1, 2, 1]}
    )
    votes, gold = from_crowd_kit(frame, pd.Series(["bird", "cat"], index=["t1", "t3"]))
    assert votes.space.names == ("bird", "cat", "dog")
    assert votes.weight.tolist() == [1, 1, 2, 1]
    assert gold.names() == ["bird", None, "cat"]
    assert from_crowd_kit(frame[["task", "worker", "label"]]).gold is None


def test_peerannot(tmp_path: Path):
    (tmp_path / "answers.json").write_text(json.dumps({"0": {"0": 1, "1": 0}, "1": {"2": 2}, "2": {}}))
    (tmp_path / "metadata.json").write_text(json.dumps({"name": "toy", "n_classes": 4, "n_workers": 3}))
    votes, _ = read_peerannot(tmp_path / "answers.json")
    assert votes.space.names == ("0", "1", "2", "3")
    assert votes.counts().tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    (tmp_path / "metadata.json").unlink()
    assert read_peerannot(tmp_path / "answers.json").votes.space.names == ("0", "1", "2")
    (tmp_path / "answers.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="must hold"):
        read_peerannot(tmp_path / "answers.json")
    (tmp_path / "answers.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_peerannot(tmp_path / "answers.json")


def annotation(who, choices, **more):
    result = [{"from_name": "kind", "to_name": "img", "type": "choices", "value": {"choices": choices}}]
    return {"completed_by": who, "result": result, "was_cancelled": False, "ground_truth": False, **more}


def test_label_studio(tmp_path: Path):
    tasks = [
        {"id": 11, "annotations": [annotation(1, ["cat"], lead_time=2.5), annotation(2, ["dog"], lead_time=4)]},
        {"id": 12, "annotations": [annotation(1, ["dog"], was_cancelled=True, lead_time=1)]},
        {
            "id": 13,
            "annotations": [
                annotation({"id": 3, "email": "eve@x.org"}, ["cat"], lead_time=1),
                annotation(9, ["bird"], ground_truth=True),
            ],
        },
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    votes, gold = read_label_studio(tmp_path / "export.json")
    assert votes.space.names == ("bird", "cat", "dog")
    assert votes.task_ids.tolist() == [11, 12, 13]
    assert votes.worker_ids.tolist() == ["1", "2", "eve@x.org"]
    assert votes.counts().tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0]]
    assert votes.cost.tolist() == [2.5, 4, 1]
    assert gold.names() == [None, None, "bird"]
    with pytest.raises(InputError, match="2 classes at once") as error:
        read_label_studio([{"id": 1, "annotations": [annotation(1, ["a", "b"])]}])
    assert error.value.row == 0
    other = annotation(1, ["a"])
    other["result"].append({"from_name": "stars", "type": "rating", "value": {"rating": 4}})
    with pytest.raises(InputError, match="several questions"):
        read_label_studio([{"id": 1, "annotations": [other]}])
    stars = read_label_studio([{"id": 1, "annotations": [other]}], question="stars").votes
    assert stars.space.names == ("4",)
    assert stars.cost is None


def test_argilla():
    api = [
        {
            "id": "r1",
            "responses": [
                {"user_id": "u1", "status": "submitted", "values": {"kind": {"value": "cat"}}},
                {"user_id": "u2", "status": "draft", "values": {"kind": {"value": "dog"}}},
                {"user_id": "u3", "status": "discarded", "values": None},
            ],
        },
        {"id": "r2", "responses": [{"user_id": "u2", "status": "submitted", "values": {"kind": {"value": "dog"}}}]},
        {"id": "r3", "responses": None},
    ]
    votes, _ = read_argilla(api, "kind")
    assert votes.task_ids.tolist() == ["r1", "r2", "r3"]
    assert votes.counts().tolist() == [[1, 0], [0, 1], [0, 0]]
    export = [{"id": "r1", "responses": {"kind": [{"value": "cat", "user_id": "u1"}]}}]
    with pytest.raises(InputError, match="no status"):
        read_argilla(export, "kind")
    assert read_argilla(export, "kind", no_status="submitted").votes.n_votes == 1
    many = [{"id": "r1", "responses": {"kind": [{"value": ["a", "b"], "user_id": "u", "status": "submitted"}]}}]
    with pytest.raises(InputError, match="no single class"):
        read_argilla(many, "kind")


def test_real_votes(shared_data):
    path = shared_data("snow2008/rte.csv")
    votes, gold = read_votes(path, task="item", label="response", gold="gold")
    assert (votes.n_rows, votes.n_workers, votes.n_votes) == (800, 164, 8000)
    assert gold.counts().tolist() == [400, 400]
