"""Rewriting label cells: the changed cells change, every other byte stays."""

import csv
import gzip
import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.labels.hard import Hard
from assay.labels.rewrite import rewrite_labels
from assay.labels.spaces import Space
from assay.labels.tables import LabelledTable, read_table, write_table

CELL = st.text(st.sampled_from('ab01é猫 ,;"\n\r\t'), max_size=8)
PLAIN = st.text(st.sampled_from("ab01é猫"), min_size=1, max_size=4)


def table_text(rows: list[list[str]], always: bool, end: str) -> bytes:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if always or set(text) & set(',"\r\n') else text

    return "".join(",".join(map(cell, row)) + end for row in rows).encode()


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, list[str], str]:
    labels = draw(st.lists(CELL, min_size=1, max_size=6))
    others = [draw(st.tuples(CELL, CELL)) for _ in labels]
    rows = [["a", "label", "b"], *([x, y, z] for (x, z), y in zip(others, labels, strict=True))]
    raw = table_text(rows, draw(st.booleans()), draw(st.sampled_from(["\n", "\r\n", "\r"])))
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return bom + raw, labels, draw(CELL)


@given(tables())
def test_csv_changed_and_changed_back_is_the_same_file(tmp_path_factory, made):
    raw, labels, new = made
    folder = tmp_path_factory.mktemp("csv")
    source, there, back = (folder / f"{name}.csv" for name in ("source", "there", "back"))
    source.write_bytes(raw)
    rows = range(0, len(labels), 2)
    rewrite_labels(source, there, "label", dict.fromkeys(rows, new))
    rewrite_labels(there, back, "label", {row: labels[row] for row in rows})
    assert back.read_bytes() == raw
    expected = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    for row in rows:
        expected[row + 1][1] = new
    assert list(csv.reader(io.StringIO(there.read_bytes().decode("utf-8-sig"), newline=""))) == expected


@given(st.binary(max_size=60))
def test_no_changes_copy_any_bytes(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("same")
    (folder / "a.csv").write_bytes(b"x" + raw)
    rewrite_labels(folder / "a.csv", folder / "b.csv", "label", {})
    assert (folder / "b.csv").read_bytes() == b"x" + raw


def test_odd_csv_keeps_its_oddities(tmp_path):
    raw = b'\xef\xbb\xbfid;"label";t\r\n\r\n1;cat;"a;""b""\nc"\n2;"dog"x;y\r3;cat;z'
    (tmp_path / "a.csv").write_bytes(raw)
    rewrite_labels(tmp_path / "a.csv", tmp_path / "a.csv", "label", {0: "k;z", 2: "ü"})
    assert (tmp_path / "a.csv").read_bytes() == raw.replace(b"1;cat", b'1;"k;z"').replace(b"3;cat", "3;ü".encode())


def test_missing_cell_in_one_column_stays_a_row(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"label\na\nb\n")
    rewrite_labels(tmp_path / "a.csv", tmp_path / "b.csv", "label", {0: None})
    assert (tmp_path / "b.csv").read_bytes() == b'label\n""\nb\n'


def test_gzip_is_rewritten_inside_and_twice_the_same(tmp_path):
    source = tmp_path / "a.tsv.gz"
    source.write_bytes(gzip.compress(b"x\tlabel\n1\ta\n2\tb\n"))
    for name in ("b", "c"):
        rewrite_labels(source, tmp_path / f"{name}.tsv.gz", "label", {1: "a"})
    assert gzip.decompress((tmp_path / "b.tsv.gz").read_bytes()) == b"x\tlabel\n1\ta\n2\ta\n"
    assert (tmp_path / "b.tsv.gz").read_bytes() == (tmp_path / "c.tsv.gz").read_bytes()


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=5), PLAIN, st.booleans())
def test_json_lines_changed_and_changed_back(tmp_path_factory, pairs, new, spaced):
    folder = tmp_path_factory.mktemp("jsonl")
    lines = [{"a": {"label": a}, "label": b, "z": [a, None, 1.50]} for a, b in pairs]
    separators = (" , ", " : ") if spaced else (",", ":")
    raw = "".join(json.dumps(line, ensure_ascii=False, separators=separators) + "\n" for line in lines).encode()
    source, there, back = (folder / f"{name}.jsonl" for name in ("source", "there", "back"))
    source.write_bytes(raw)
    rewrite_labels(source, there, "label", {0: new})
    changed = [json.loads(line) for line in there.read_bytes().split(b"\n") if line]
    assert changed == [{**lines[0], "label": new}, *lines[1:]]
    rewrite_labels(there, back, "label", {0: pairs[0][1]})
    assert back.read_bytes() == raw


def test_json_values_keep_their_type(tmp_path):
    raw = b'{"label": 1, "x": 1.50}\n\n{"x":"\\u00e9", "label" :null}\n{"x": 2}\n'
    (tmp_path / "a.jsonl").write_bytes(raw)
    rewrite_labels(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "label", {0: "7", 1: "8", 2: "9"})
    expected = b'{"label": 7, "x": 1.50}\n\n{"x":"\\u00e9", "label" :8}\n{"x": 2, "label": 9}\n'
    assert (tmp_path / "b.jsonl").read_bytes() == expected
    with pytest.raises(InputError, match="does not fit a column of type int"):
        rewrite_labels(tmp_path / "a.jsonl", tmp_path / "c.jsonl", "label", {0: "cat"})
    assert not (tmp_path / "c.jsonl").exists()


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "feather"])
@pytest.mark.parametrize(
    ("values", "kind", "new", "cell"),
    [
        (["a", "é", None, "b"], pa.string(), "猫", "猫"),
        (["a", "é", None, "b"], pa.dictionary(pa.int8(), pa.string()), "猫", "猫"),
        ([1, 2, None, 3], pa.int16(), "9", 9),
        ([True, False, None, True], pa.bool_(), "True", True),
        ([0.5, 1.0, None, 2.0], pa.float32(), "0.25", 0.25),
    ],
)
def test_columnar_keeps_schema_and_values(tmp_path, suffix, values, kind, new, cell):
    schema = pa.schema([("x", pa.list_(pa.int8())), ("label", kind)], metadata={b"who": b"me"})
    table = pa.table({"x": [[1], [], None, [2]], "label": pa.array(values).cast(kind)}, schema=schema)
    source, target, again = (tmp_path / f"{name}.{suffix}" for name in "abc")
    if suffix == "parquet":
        pq.write_table(table, source, row_group_size=3)
    else:
        with pa.ipc.new_file(source, schema) as writer:
            writer.write_table(table, max_chunksize=3)
    for path in (target, again):
        rewrite_labels(source, path, "label", {1: new, 2: new, 3: None})
    assert target.read_bytes() == again.read_bytes()
    read = pq.read_table(target) if suffix == "parquet" else pa.ipc.open_file(target).read_all()
    assert read.schema.equals(schema, check_metadata=False)
    assert read.schema.metadata[b"who"] == b"me"
    assert read["label"].to_pylist() == [values[0], cell, cell, None]
    assert read["x"].equals(table["x"])


def test_class_labels_are_written_as_codes(tmp_path):
    features = datasets.Features({"label": datasets.ClassLabel(names=["dog", "cat"]), "x": datasets.Value("int64")})
    made = datasets.Dataset.from_dict({"label": [0, 1], "x": [1, 2]}, features=features)
    made.to_parquet(tmp_path / "a.parquet")
    rewrite_labels(tmp_path / "a.parquet", tmp_path / "b.parquet", "label", {1: "dog"})
    read = datasets.Dataset.from_parquet(str(tmp_path / "b.parquet"), cache_dir=str(tmp_path / "cache"))
    assert read["label"][:] == [0, 0]
    assert read.features == features


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_faults_leave_the_target_alone(tmp_path, suffix):
    source, target = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"label": ["a", "b"]}), source)
    else:
        source.write_text("label\na\nb\n" if suffix == "csv" else '{"label": "a"}\n{"label": "b"}\n')
    target.write_bytes(b"before")
    with pytest.raises(InputError, match="has 2 rows; row 2 was to be changed"):
        rewrite_labels(source, target, "label", {0: "b", 2: "a"})
    with pytest.raises(InputError, match="'lable'"):
        rewrite_labels(source, target, "lable", {0: "b"})
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, target.name]


def test_forms_that_cannot_be_rewritten(tmp_path):
    with pytest.raises(InputError, match="cannot be rewritten"):
        rewrite_labels(tmp_path / "a.npz", tmp_path / "b.npz", "label", {0: "a"})
    with pytest.raises(InputError, match="its own form"):
        rewrite_labels(tmp_path / "a.csv", tmp_path / "b.parquet", "label", {0: "a"})
    (tmp_path / "a.csv").write_text('label,x\na,"b\n')
    with pytest.raises(InputError, match="never closed"):
        rewrite_labels(tmp_path / "a.csv", tmp_path / "b.csv", "label", {0: "a"})


@pytest.mark.parametrize("suffix", ["csv", "tsv.gz", "jsonl", "parquet", "feather"])
@pytest.mark.parametrize("seed", range(5))
def test_rows_are_counted_as_the_reader_counts_them(tmp_path, suffix, seed):
    rng = np.random.default_rng(seed)
    words = ["plain", 'q"uote', "line\nend", "tab\t,", "", "猫"]
    columns = pa.table({"text": [words[i] for i in rng.integers(0, 6, 40)], "x": rng.integers(0, 9, 40)})
    names = [[None, "a", 'b,"', "c\nd"][i] for i in rng.integers(0, 4, 40)]
    space = Space(("a", 'b,"', "c\nd", "new"))
    made = LabelledTable(columns, Hard.from_values(names, space), "label", pa.string())
    source, target = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    write_table(made, source)
    if suffix in ("csv", "jsonl"):  # lines without anything are no rows, wherever they stand
        source.write_bytes(b"\n\r\n" + source.read_bytes() + b"\n")
    rows = {int(row): str(rng.choice(space.names)) for row in rng.choice(40, 7, replace=False)}
    rewrite_labels(source, target, "label", rows)
    read = read_table(target, label="label", space=space)
    assert read.labels.names() == [rows.get(row, name) for row, name in enumerate(names)]
    assert read.columns.equals(columns)
