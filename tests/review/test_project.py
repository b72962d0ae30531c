"""A project: what the verbs leave is read back, the data set behind it is found and checked, rows find their like."""

import json
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.review.projects import audited, ready

from assay.errors import InputError
from assay.evidence import kept_rows
from assay.evidence.aggregate_files import save as save_aggregate
from assay.evidence.aggregate_run import aggregate
from assay.evidence.aggregate_votes import VoteOptions, read_source
from assay.evidence.audit import audit
from assay.evidence.audit_files import save
from assay.evidence.audit_options import AuditOptions
from assay.labels.spaces import Space
from assay.review.project import Project, ProjectOptions


@pytest.fixture(scope="module")
def adult(tmp_path_factory, shared_data) -> Path:
    """A folder with 3000 rows of Adult and the results of their audit."""
    folder = tmp_path_factory.mktemp("adult")
    table = pyarrow.csv.read_csv(shared_data("adult/adult.csv.gz")).slice(0, 3000)
    table = table.append_column("who", pa.array([f"p{at}" for at in range(3000)]))
    pyarrow.csv.write_csv(table, folder / "adult.csv")
    audited(folder / "adult.csv", folder / "adult.assay", label="income", id="who", exclude=("split",))
    return folder


def test_what_an_audit_found_is_read_back(tmp_path):
    """Every array, the classes that never occur, and the rows without a label come back as they went."""
    rng = np.random.default_rng(0)
    given = rng.choice(["b", "a", "d"], 200).astype(object)
    given[[3, 50]] = None
    table = pa.table({"x": rng.normal(size=200), "y": pa.array(given.tolist())})
    pq.write_table(table, tmp_path / "t.parquet")
    p = rng.dirichlet(np.ones(4), 200)
    found = audit(tmp_path / "t.parquet", AuditOptions(label="y", classes=("d", "c", "b", "a")), pred_probs=p)
    save(found, tmp_path / "t.assay")
    project = Project.open(tmp_path / "t.assay")
    assert project.verb == "audit"
    assert project.classes == ("d", "c", "b", "a")
    assert np.array_equal(project.present, found.table.labels.present)
    assert np.array_equal(project.given[project.present], found.table.labels.y[project.present])
    rows = np.flatnonzero(project.present)
    assert np.array_equal(project.suggested[rows], found.suggested(rows))
    assert project.suggested[3] == p[3].argmax(), "a row without a label is suggested the likeliest class of all"
    for mine, theirs in (
        (project.p_wrong, found.probability.p_wrong_),
        (project.low, found.probability.low_),
        (project.high, found.probability.high_),
        (project.score, found.confident.scores_),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
        assert np.isnan(mine[3])
    assert np.array_equal(project.flagged, found.confident.is_issue_)
    assert project.pred_probs is not None
    np.testing.assert_allclose(project.pred_probs, p, rtol=1e-6)
    assert project.original == tmp_path / "t.assay" / "../t.parquet"
    assert project.given_name(3) is None


def test_ids_and_columns(adult):
    project = Project.open(adult / "adult.assay")
    assert project.row_id(7) == "p7"
    content = project.content(7)
    assert content["kind"] == "table"
    names = [name for name, _, _ in content["columns"]]
    assert "income" not in names, "the label is no content"
    assert "split" not in names, "nor what the model must not see"
    assert "who" not in names
    assert sorted(names) == sorted(set(project.source.names) - {"split", "who"})
    told = [why for _, _, why in content["columns"]]
    assert told == sorted(told, key=lambda why: -float(why.split()[0] if why else 0)), "the most telling first"
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    with pytest.raises(InputError, match="no row 3000"):
        project.content(3000)
    with pytest.raises(InputError, match="no row -1"):
        project.row_id(-1)


def test_telling_columns_are_those_of_the_report(adult):
    """The review shows the columns in the order and with the reasons of the report's cards."""
    report = json.loads((adult / "adult.assay" / "report.json").read_text(encoding="utf-8"))
    cards = next(block for section in report["sections"] for block in section["blocks"] if block["type"] == "Cards")
    project = Project.open(adult / "adult.assay")
    for card in cards["cards"][:5]:
        row = int(card["row"].split("row ")[1].rstrip(")"))
        assert project.content(row)["columns"] == card["content"]["values"]


def test_the_data_set_is_found_and_checked(adult, tmp_path):
    together = tmp_path / "elsewhere"
    shutil.copytree(adult, together)
    assert Project.open(together / "adult.assay").source.path.resolve() == together / "adult.csv"
    alone = tmp_path / "alone" / "adult.assay"
    shutil.copytree(adult / "adult.assay", alone)
    with pytest.raises(InputError, match="is not there: name it"):
        Project.open(alone)
    assert Project.open(alone, adult / "adult.csv").content(0) == Project.open(adult / "adult.assay").content(0)
    text = (together / "adult.csv").read_bytes()
    (together / "adult.csv").write_bytes(text.replace(b"39", b"93", 1))
    with pytest.raises(InputError, match="changed since"):
        Project.open(together / "adult.assay")


def test_no_absolute_path_is_kept(adult):
    schema = pq.read_schema(adult / "adult.assay" / "rows.parquet")
    assert json.loads(schema.metadata[kept_rows.KEY])["source"] == "../adult.csv"
    assert str(adult).encode() not in (adult / "adult.assay" / "rows.parquet").read_bytes()


def test_results_of_a_frame(tmp_path):
    table = pa.table({"x": np.arange(40.0), "y": ["no", "yes"] * 20})
    audited(table, tmp_path / "t.assay", label="y")
    bare = Project.open(tmp_path / "t.assay")
    assert bare.content(1) == {"kind": "table", "columns": []}
    assert bare.neighbours(1)[0]["by"] == "predictions"
    project = Project.open(tmp_path / "t.assay", table)
    assert project.content(1)["columns"][0][:2] == ["x", "1"]
    with pytest.raises(InputError, match="other labels"):
        Project.open(tmp_path / "t.assay", table.set_column(1, "y", pa.array(["yes", "no"] * 20))).content(0)
    with pytest.raises(InputError, match="39 rows"):
        Project.open(tmp_path / "t.assay", table.slice(1)).content(0)


def test_files_that_were_not_written_by_assay(adult, tmp_path):
    with pytest.raises(InputError, match="no folder"):
        Project.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"no rows\.parquet"):
        Project.open(tmp_path)
    pq.write_table(pa.table({"row": [1]}), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="not written by assay"):
        Project.open(tmp_path)
    whole = (adult / "adult.assay" / "rows.parquet").read_bytes()
    (tmp_path / "rows.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut off or damaged"):
        Project.open(tmp_path)
    schema = pq.read_schema(adult / "adult.assay" / "rows.parquet")
    table = pq.read_table(adult / "adult.assay" / "rows.parquet")
    for about in (b"{", b"[]", b'{"verb": "audit"}', b'{"verb": "audit", "title": "t", "label": "y", "source": 7}'):
        noted = {**schema.metadata, kept_rows.KEY: about}
        pq.write_table(table.replace_schema_metadata(noted), tmp_path / "rows.parquet")
        with pytest.raises(InputError, match="not written by assay"):
            Project.open(tmp_path)
    swapped = schema.metadata[b"assay.space"].replace(b'["<=50K", ">50K"]', b'[">50K", "<=50K"]')
    assert swapped != schema.metadata[b"assay.space"]
    pq.write_table(
        table.replace_schema_metadata({**schema.metadata, b"assay.space": swapped}), tmp_path / "rows.parquet"
    )
    with pytest.raises(InputError, match="fingerprint"):
        Project.open(tmp_path)
    with pytest.raises(InputError, match=r"no column 'nmae'.*"):
        Project.open(adult / "adult.assay", options=ProjectOptions(text="nmae"))


def test_probabilities_of_another_run_do_not_stay(adult, tmp_path):
    """A run with the user's own probabilities leaves those, not the ones that an earlier run fitted."""
    folder = tmp_path / "adult.assay"
    for seed in (1, 2):
        audited(adult / "adult.csv", folder, label="income", seed=seed)
        kept = np.load(folder / "pred_probs.npy")
    assert not np.array_equal(kept, np.load(adult / "adult.assay" / "pred_probs.npy"))
    assert json.loads((folder / "predictions.json").read_text())["key"] == ""


@pytest.fixture(scope="module")
def rte(tmp_path_factory, shared_data) -> Path:
    folder = tmp_path_factory.mktemp("rte") / "rte.assay"
    options = VoteOptions(
        task="item", label="response", gold="gold", tasks=shared_data("snow2008/rte_text.tsv"), worker="worker"
    )
    read = read_source(shared_data("snow2008/rte.csv"), options)
    save_aggregate(read, aggregate(read.votes, "dawid_skene"), folder, {})
    return folder


def test_an_aggregate_with_its_texts_and_votes(rte, shared_data):
    project = Project.open(rte)
    assert project.verb == "aggregate"
    belief = pq.read_table(rte / "beliefs.parquet")
    p = np.stack([belief["0"].to_numpy(), belief["1"].to_numpy()], axis=1)
    assert np.array_equal(project.given, p.argmax(axis=1))
    assert np.array_equal(project.suggested, 1 - project.given)
    np.testing.assert_allclose(project.p_wrong, 1 - p.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(project.pred_probs, p)
    assert np.isnan(project.low).all()
    assert project.flagged.sum() == round((1 - p.max(axis=1)).sum())
    assert project.p_wrong[project.flagged].min() >= project.p_wrong[~project.flagged].max()
    content = project.content(11)
    assert content["kind"] == "text"
    assert content["text"].startswith("text: ")
    assert "\n\nhypothesis: " in content["text"]
    lines = (shared_data("snow2008/rte.csv")).read_text().splitlines()
    cast = [line.split(",") for line in lines[1:] if line.split(",")[1] == project.row_id(11)]
    assert sorted(content["votes"]) == sorted([who, said] for who, _, said, _ in cast)
    assert project.original == rte / "labelled.parquet"


def test_an_aggregate_without_a_table_of_tasks(tmp_path, shared_data):
    read = read_source(shared_data("snow2008/rte.csv"), VoteOptions(task="item", label="response"))
    save_aggregate(read, aggregate(read.votes, "majority"), tmp_path / "rte.assay", {})
    project = Project.open(tmp_path / "rte.assay")
    content = project.content(0)
    assert content["columns"] == []
    assert len(content["votes"]) == 10
    assert project.row_id(0) == "266"
    assert project.original == tmp_path / "rte.assay" / "tasks.csv"
    assert project.neighbours(0)[0]["by"] == "predictions"


def test_what_a_critic_leaves(tmp_path):
    space = Space(("cat", "dog", "cow"))
    pq.write_table(pa.table({"note": ["one", "two"], "label": ["cat", "dog"]}), tmp_path / "t.parquet")
    folder = tmp_path / "t.assay"
    folder.mkdir()
    some = np.array([0.5, 0.2], dtype=np.float32)
    kept_rows.write_rows(
        kept_rows.KeptRows(
            origin=kept_rows.Origin(verb="critic", title="t", label="label", source="../t.parquet"),
            space=space,
            given=np.array([0, 1], dtype=np.int32),
            present=np.ones(2, dtype=bool),
            suggested=np.array([1, 2], dtype=np.int32),
            p_wrong=some,
            low=some,
            high=some,
            score=some,
            flagged=some > 0.3,
        ),
        folder,
    )
    kept_rows.write_candidates([1, 0, 0, 1], ["A", "A", "B", "B"], ["dog", "cat", "dog", "cow"], folder)
    content = Project.open(folder).content(1)
    assert content["candidates"] == [{"name": "A", "label": "dog"}, {"name": "B", "label": "cow"}]
    assert [value for _, value, _ in content["columns"]] == ["two"]


def brute(distance: np.ndarray, row: int, present: np.ndarray, m: int) -> list[int]:
    order = sorted((float(one), at) for at, one in enumerate(distance) if at != row and present[at])
    return [at for _, at in order[:m]]


def test_nearest_rows_of_a_table_by_hand(tmp_path):
    """Standardised numbers and categories, in a plain loop; a row without a label is no neighbour."""
    rng = np.random.default_rng(0)
    size, colour = rng.normal(5, 3, 100), rng.choice(["red", "blue", "green"], 100).astype(object)
    label = rng.choice(["a", "b"], 100).astype(object)
    label[[4, 9]] = None
    table = pa.table({"size": size, "colour": pa.array(colour.tolist()), "y": pa.array(label.tolist())})
    pq.write_table(table, tmp_path / "t.parquet")
    project = ready(Project.open(audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y")))
    for row in (0, 4, 57):
        distance = ((size - size[row]) / size.std()) ** 2 + 2 * (colour != colour[row])
        found = project.neighbours(row, 7)
        assert [one["row"] for one in found] == brute(distance, row, project.present, 7)
        assert [one["label"] for one in found] == [label[one["row"]] for one in found]
        assert found[0]["by"] == "columns"
        assert found[0]["content"] == project.content(found[0]["row"])


def test_nearest_texts_are_those_of_scikit_learn(rte):
    """Cosine of tf-idf, against the rival's matrix."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    project = ready(Project.open(rte))
    table = project.source.table
    texts = [f"{a}\n{b}" for a, b in zip(table["text"].to_pylist(), table["hypothesis"].to_pylist(), strict=True)]
    matrix = TfidfVectorizer(token_pattern=r"[^\W_]+", sublinear_tf=True).fit_transform(texts)
    for row in (0, 100, 799):
        cosine = (matrix @ matrix[row].T).toarray().ravel()
        found = project.neighbours(row, 5)
        assert found[0]["by"] == "words"
        np.testing.assert_allclose(
            [one["distance"] for one in found], 1 - np.sort(np.delete(cosine, row))[::-1][:5], atol=2e-5
        )


def test_embeddings_and_predictions(adult, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3000, 5)).astype(np.float32)
    np.save(tmp_path / "e.npy", vectors)
    project = ready(Project.open(adult / "adult.assay", options=ProjectOptions(embeddings=tmp_path / "e.npy")))
    found = [one["row"] for one in project.neighbours(17, 4)]
    assert found == brute(np.linalg.norm(vectors - vectors[17], axis=1), 17, project.present, 4)
    assert project.neighbours(17, 0) == []
    assert len(project.neighbours(17, 5000)) == 2999
    np.save(tmp_path / "short.npy", vectors[:10])
    project = Project.open(adult / "adult.assay", options=ProjectOptions(embeddings=tmp_path / "short.npy"))
    with pytest.raises(InputError, match="for 3000 rows"):
        project.neighbours(0)


@pytest.fixture(scope="module")
def cora(tmp_path_factory, shared_data) -> tuple[Path, dict[int, list[int]]]:
    """Papers with their commonest words, and the list of papers that each cites or is cited by."""
    folder = tmp_path_factory.mktemp("cora")
    held = {}
    for name in ("allx", "ally", "graph"):
        with shared_data(f"planetoid/cora/ind.cora.{name}").open("rb") as file:
            held[name] = pickle.load(file, encoding="latin1")
    classes = held["ally"].argmax(axis=1)
    n = len(classes)
    graph = {row: sorted({one for one in held["graph"][row] if one < n and one != row}) for row in range(n)}
    table = pa.table(
        {
            "paper": [f"c{row}" for row in range(n)],
            "n_words": np.asarray(held["allx"].sum(axis=1)).ravel(),
            "cites": [[f"c{one}" for one in graph[row]] for row in range(n)],
            "field": [f"field {code}" for code in classes],
        }
    )
    pq.write_table(table, folder / "cora.parquet")
    lines = [f"c{row},c{one}" for row in graph for one in graph[row] if one > row]
    (folder / "edges.csv").write_text("from,to\n" + "\n".join(lines) + "\nc0,unknown\n")
    audited(folder / "cora.parquet", folder / "cora.assay", label="field", id="paper")
    return folder, graph


def test_nodes_and_their_neighbours(cora):
    folder, graph = cora
    options = (ProjectOptions(neighbours="cites"), ProjectOptions(edges=folder / "edges.csv"))
    for project in (Project.open(folder / "cora.assay", options=one) for one in options):
        for row in (0, 5, 1358):
            content = project.content(row)
            assert content["kind"] == "node"
            assert [one["row"] for one in content["neighbours"]] == graph[row][:50]
            assert content["n_neighbours"] == len(graph[row])
            for one in content["neighbours"]:
                assert one["label"] == project.given_name(one["row"])
                assert one["id"] == f"c{one['row']}"
            assert "n_words" in [name for name, _, _ in content["columns"]]


def test_nodes_by_row_number_and_files_without_edges(tmp_path):
    table = pa.table({"to": ["1, 2", "0 7 x -1 1", None, ""], "y": ["a", "b", "a", "b"]})
    pq.write_table(table, tmp_path / "t.parquet")
    folder = audited(tmp_path / "t.parquet", tmp_path / "t.assay", label="y")
    project = Project.open(folder, options=ProjectOptions(neighbours="to"))
    assert [[one["row"] for one in project.content(row)["neighbours"]] for row in range(4)] == [[1, 2], [0], [], []]
    (tmp_path / "edges.tsv").write_text("a\tb\n8\t9\n")
    with pytest.raises(InputError, match="No edge"):
        Project.open(folder, options=ProjectOptions(edges=tmp_path / "edges.tsv")).content(0)
    (tmp_path / "one.csv").write_text("a\n8\n")
    with pytest.raises(InputError, match="two columns"):
        Project.open(folder, options=ProjectOptions(edges=tmp_path / "one.csv")).content(0)


def test_it_opens_at_once_and_imports_nothing_heavy(adult):
    """The module needs no scikit-learn, scipy, numba or Pillow; ten thousand rows open in well under a second."""
    code = """
import sys, time
from assay.review.project import Project
heavy = {"sklearn", "scipy", "numba", "matplotlib", "PIL", "pandas"} & set(sys.modules)
start = time.perf_counter()
project = Project.open(sys.argv[1])
opened = time.perf_counter() - start
project.content(0), project.neighbours(0)
heavy |= {"sklearn", "scipy", "numba", "matplotlib"} & set(sys.modules)
print(opened, *heavy)
"""
    words = [sys.executable, "-c", code, str(adult / "adult.assay")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    opened, *heavy = done.stdout.split()
    assert not heavy
    assert float(opened) < 1.0


def test_many_threads_read_one_project(adult):
    from concurrent.futures import ThreadPoolExecutor

    rows = list(range(0, 400, 7))
    alone = ready(Project.open(adult / "adult.assay"))
    expected = [(alone.content(row), alone.neighbours(row)) for row in rows]
    shared = ready(Project.open(adult / "adult.assay"))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda row: (shared.content(row), shared.neighbours(row)), rows)) == expected


def test_an_answer_is_quick_once_the_columns_are_known(adult):
    project = Project.open(adult / "adult.assay")
    project.neighbours(0)
    start = time.perf_counter()
    for row in range(20):
        project.content(row)
    assert (time.perf_counter() - start) / 20 < 0.1
