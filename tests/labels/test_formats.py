"""Every form: what is written is read again, with its classes in their order; what cannot be read says why."""

import gzip
import io
import json

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from assay.errors import InputError
from assay.labels.formats import files, grammar, jsonlines
from assay.labels.hard import Hard
from assay.labels.spaces import Space
from assay.labels.tables import LabelledTable, read_table, write_table

NAMES = ("猫", 'a,"b"\n', "never seen", "Ünïcode", "0")
VALUES = ["0", "猫", None, 'a,"b"\n', "Ünïcode", "猫"]
SPACE = Space(NAMES)
SUFFIXES = ["csv", "tsv", "csv.gz", "jsonl", "ndjson.gz", "parquet", "arrow", "feather", "npz"]


def table(**changes: object) -> LabelledTable:
    columns = pa.table(
        {
            "ö key": pa.array(["k1", "k2", "k3", "k4", "k5", "k6"]),
            "number": pa.array([1, 2, 3, -4, 5, 6], pa.int64()),
            "real": pa.array([0.5, 1.25, -3.0, 1e300, 0.1, 2.0]),
            "words": pa.array(["x", "a\tb", 'q"q', "line\nline", "", "007"]),
        }
    )
    made = {"columns": columns, "labels": Hard.from_values(VALUES, SPACE), "label": "läbel", "label_type": pa.string()}
    return LabelledTable(**{**made, **changes})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_of_every_file_form(tmp_path, suffix):
    made, path = table(), tmp_path / f"table.{suffix}"
    write_table(made, path)
    noted = suffix in ("parquet", "arrow", "feather", "npz")
    read = read_table(path) if noted else read_table(path, label="läbel", space=SPACE)
    assert read.labels == made.labels
    assert read.labels.space.names == NAMES
    assert read.columns.equals(made.columns)
    assert read.label == "läbel"
    assert read.label_type == pa.string()
    assert read.digest == files.digest(path)
    again = tmp_path / f"again.{suffix}"
    write_table(read, again)
    if suffix != "npz":  # zip archives keep the time of writing
        assert again.read_bytes() == path.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([path.name, again.name])


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "jsonl"])
@pytest.mark.parametrize(
    "kind", [pa.int16(), pa.bool_(), pa.float32(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_label_types_come_back(tmp_path, suffix, kind):
    values = [True, None, False, True] if kind == pa.bool_() else [2, 1, None, 1]
    text = pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    column = pa.array([None if v is None else str(v) for v in values]).cast(kind) if text else pa.array(values, kind)
    read = read_table(pa.table({"x": [1, 2, 3, 4], "y": column}), label="y")
    assert read.label_type == kind
    assert read.labels.names() == [None if value is None else str(value) for value in values]
    assert read.to_arrow()["y"].cast(pa.string()).equals(pa.chunked_array([column.cast(pa.string())]))
    write_table(read, tmp_path / f"t.{suffix}")
    again = read_table(tmp_path / f"t.{suffix}", label="y", space=read.labels.space)
    assert again.labels == read.labels
    if suffix != "jsonl":
        assert again.label_type == kind


def test_pandas_frames_keep_category_order_and_are_not_changed():
    kind = pd.CategoricalDtype(["b", "z", "a"])
    frame = pd.DataFrame(
        {"x": [1.0, None, 3.0], "7": ["p", None, "q"], "y": pd.Categorical(["a", None, "b"], dtype=kind)}
    )
    frame.index = [5, 9, 5]
    before = frame.copy()
    read = read_table(frame, label="y")
    assert read.labels.space.names == ("b", "z", "a")
    assert read.labels.names() == ["a", None, "b"]
    assert read.columns.schema.names == ["x", "7"]
    pd.testing.assert_frame_equal(frame, before)
    back = read.to_frame("pandas")
    assert back["y"].cat.categories.tolist() == ["b", "z", "a"]
    assert read_table(back, label="y").labels == read.labels


def test_polars_frames_keep_enum_order():
    frame = pl.DataFrame({"x": [1, 2, 3], "y": ["a", None, "b"]}, schema_overrides={"y": pl.Enum(["b", "z", "a"])})
    for given_frame in (frame, frame.lazy()):
        read = read_table(given_frame, label="y")
        assert read.labels.space.names == ("b", "z", "a")
        assert read.labels.names() == ["a", None, "b"]
    back = read.to_frame("polars")
    assert back.schema["y"] == pl.Enum(["b", "z", "a"])
    assert read_table(back, label="y").labels == read.labels
    loose = frame.with_columns(pl.col("y").cast(pl.String).cast(pl.Categorical))
    assert read_table(loose, label="y").labels.space.names == ("a", "b")


def test_nullable_and_missing_of_pandas():
    frame = pd.DataFrame(
        {"x": [1, 2, 3, 4], "y": pd.array([1, None, 0, 1], dtype="Int64"), "z": [1.0, np.nan, 0.0, 1.0]}
    )
    assert read_table(frame, label="y").labels.names() == ["1", None, "0", "1"]
    assert read_table(frame, label="z").labels.names() == ["1", None, "0", "1"]


def test_hugging_face_class_labels_keep_order(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "y": datasets.ClassLabel(names=["b", "z", "a"])})
    made = datasets.Dataset.from_dict({"text": ["one", "two", "three"], "y": [2, -1, 0]}, features=features)
    read = read_table(made)
    assert read.label == "y"
    assert read.labels.space.names == ("b", "z", "a")
    assert read.labels.names() == ["a", None, "b"]
    assert read_table(made.select([2, 0])).labels.names() == ["b", "a"]
    back = read.to_dataset()
    assert back.features["y"].names == ["b", "z", "a"]
    assert back["y"][:] == [2, None, 0]
    assert read_table(back).labels == read.labels
    made.save_to_disk(tmp_path / "saved")
    assert read_table(tmp_path / "saved").labels == read.labels
    made.to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").labels == read.labels
    with pytest.raises(InputError, match="splits \\['train'\\]"):
        read_table(datasets.DatasetDict({"train": made}))
    with pytest.raises(InputError, match="streamed"):
        read_table(made.to_iterable_dataset())


def image(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2), shade).save(path)


def test_image_folders(tmp_path):
    root = tmp_path / "data"
    for i, name in enumerate(["10/a.png", "9/b.png", "9/deep/c.JPG", "loose.png", "9/.hidden.png"]):
        image(root / name, i)
    (root / "空").mkdir()
    (root / "9" / "notes.txt").write_text("no image")
    read = read_table(root)
    assert read.media == "image"
    assert read.columns["path"].to_pylist() == ["10/a.png", "9/b.png", "9/deep/c.JPG", "loose.png"]
    assert read.labels.names() == ["10", "9", "9", None]
    assert read.labels.space.names == ("10", "9", "空")
    assert read.root == root
    write_table(read, tmp_path / "copy")
    again = read_table(tmp_path / "copy")
    assert again.labels == read.labels
    assert again.columns.equals(read.columns)
    with pytest.raises(InputError, match="exists already"):
        write_table(read, tmp_path / "copy")


def test_images_named_in_a_table(tmp_path):
    image(tmp_path / "pics" / "a.png", 1)
    image(tmp_path / "pics" / "b.png", 2)
    (tmp_path / "t.csv").write_text("file,y\npics/a.png,cat\npics/b.png,dog\n")
    read = read_table(tmp_path / "t.csv", label="y")
    assert (read.media, read.image, read.root) == ("image", "file", tmp_path)
    write_table(read, tmp_path / "as_folder")
    assert read_table(tmp_path / "as_folder").labels == read.labels
    (tmp_path / "sub").mkdir()
    for bad, said in (
        ("../pics/a.png", "leads out"),
        (str(tmp_path / "pics/a.png"), "leads out"),
        ("x.png", "no image"),
    ):
        (tmp_path / "sub" / "t.csv").write_text(f"file,y\n{bad},cat\n{bad},dog\n")
        with pytest.raises(InputError, match=said) as caught:
            read_table(tmp_path / "sub" / "t.csv", label="y", image="file")
        assert caught.value.row == 0
    (tmp_path / "sub" / "link.png").symlink_to(tmp_path / "pics" / "a.png")
    (tmp_path / "sub" / "t.csv").write_text("file,y\nlink.png,cat\nlink.png,dog\n")
    with pytest.raises(InputError, match="leads out"):
        read_table(tmp_path / "sub" / "t.csv", label="y")


def test_numpy_pixels_are_images_and_come_back(tmp_path):
    x = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    np.savez(tmp_path / "a.npz", x=x, y=np.array([3, 1, 3]), names=np.array(["p", "q", "r"]))
    read = read_table(tmp_path / "a.npz", label="y")
    assert (read.media, read.image) == ("image", "x")
    assert read.labels.names() == ["3", "1", "3"]
    write_table(read, tmp_path / "b.npz")
    again = read_table(tmp_path / "b.npz")
    assert again.labels == read.labels
    assert np.array_equal(again.columns["x"].combine_chunks().to_numpy_ndarray(), x)
    np.save(tmp_path / "c.npy", np.array([(1.5, "a"), (2.5, "b")], dtype=[("x", "f8"), ("y", "U3")]))
    assert read_table(tmp_path / "c.npy", label="y").labels.names() == ["a", "b"]


def test_real_tables(shared_data):
    adult = read_table(shared_data("adult/adult.csv.gz"), label="income")
    assert adult.n_rows == 48842
    assert dict(zip(adult.labels.space.names, adult.labels.counts().tolist(), strict=True)) == {
        "<=50K": 37155,
        ">50K": 11687,
    }
    assert sum(pa.types.is_integer(field.type) for field in adult.columns.schema) == 6
    banking = read_table(shared_data("banking77/train.csv"), label="category")
    assert (banking.media, banking.text, banking.labels.space.n_classes, banking.n_rows) == ("text", "text", 77, 10003)


# The grammar of delimited text: Arrow reads it fast, ours cuts it; they must agree.

RAW = st.text(st.sampled_from('ab"é ,\r\n'), max_size=30)


@given(RAW)
def test_our_records_are_arrows_rows(body):
    raw = b"x,y\n" + body.encode()
    try:
        found = list(grammar.records(io.BytesIO(raw), b","))
    except InputError as error:
        assert "never closed" in error.args[0]  # noqa: PT017
        return
    assert b"".join(found) == raw
    rows = [
        [grammar.value(record[a:b], b",") for a, b in grammar.spans(record, b",")]
        for record in found
        if grammar.is_row(record)
    ][1:]
    options = pacsv.ConvertOptions(column_types={"x": pa.string(), "y": pa.string()}, strings_can_be_null=False)
    parse = pacsv.ParseOptions(newlines_in_values=True)
    if any(len(row) != 2 for row in rows):
        with pytest.raises(pa.ArrowInvalid):
            pacsv.read_csv(io.BytesIO(raw), parse_options=parse, convert_options=options)
        return
    read = pacsv.read_csv(io.BytesIO(raw), parse_options=parse, convert_options=options)
    assert [list(row.values()) for row in read.to_pylist()] == rows


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)


@given(
    st.lists(st.tuples(CELLS, st.sampled_from(["u", 'v"', "w\r\n", "01"])), min_size=2, max_size=8),
    st.sampled_from(["csv", "tsv", "jsonl"]),
)
def test_any_text_survives_text_files(tmp_path_factory, rows, suffix):
    path = tmp_path_factory.mktemp("any") / f"t.{suffix}"
    space = Space(("w\r\n", "01", "u", 'v"', "other"))
    columns = pa.table({"t": pa.array([f"#{text}" for text, _ in rows])})
    labels = Hard.from_values([name for _, name in rows], space)
    write_table(LabelledTable(columns, labels, "y", pa.string()), path)
    read = read_table(path, label="y", space=space)
    assert read.columns.equals(columns)
    assert read.labels == labels


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.one_of(st.none(), st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 4),
)
def test_json_blocks_have_one_schema(tmp_path_factory, rows, block_rows):
    path = tmp_path_factory.mktemp("json") / "t.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)))
    read = list(jsonlines.typed_batches(path, None, block_rows))
    assert len({str(batch.schema) for batch in read}) == 1
    cells = [cells for batch in read for cells in batch.to_pylist()]
    keys = read[0].schema.names
    assert not keys or cells == [{key: row.get(key) for key in keys} for row in rows]


@given(st.text(max_size=20), st.integers(0, 3))
def test_value_span_cuts_where_json_does(text, position):
    cells = {"x": text, "y": [text, {"label": 1}], "label": {"z": text}, text: None}
    line = " " * position + json.dumps(cells)
    for key, value in cells.items():
        start, end = jsonlines.value_span(line, key)
        assert json.loads(line[start:end]) == value


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", ""], pa.int64()),
        (["1", "NA", "2.5e3"], pa.float64()),
        (["007", "1", "2"], pa.string()),
        ([" 1", "2 ", "3"], pa.int64()),
        (["1", "2", "x"], pa.string()),
        (["true", "false", ""], pa.string()),
        (["99999999999999999999", "1", "2"], pa.float64()),
    ],
)
def test_types_of_text_columns(tmp_path, cells, kind):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{cell},{i % 2}\n" for i, cell in enumerate(cells)))
    read = read_table(tmp_path / "t.csv", label="y")
    assert read.columns.schema.field("x").type == kind
    assert read.label_type == pa.int64()


def test_delimiters_and_codes_with_zeros(tmp_path):
    (tmp_path / "t.csv").write_text("x;y\n1,5;01\n2;1\n3;1\n")
    read = read_table(tmp_path / "t.csv", label="y")
    assert read.labels.names() == ["01", "1", "1"]
    assert read.label_type == pa.string()
    assert read.columns["x"].to_pylist() == ["1,5", "2", "3"]


def test_damaged_archives(tmp_path):
    whole = gzip.compress(b"x,y\n1,a\n" * 5000)
    (tmp_path / "t.csv.gz").write_bytes(whole[:-20])
    with pytest.raises(InputError, match="not a whole gzip"):
        read_table(tmp_path / "t.csv.gz", label="y")
    (tmp_path / "u.csv.gz").write_bytes(b"x,y\n1,a\n")
    with pytest.raises(InputError, match="not a whole gzip"):
        read_table(tmp_path / "u.csv.gz", label="y")


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "npz", "npy"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.6, 0.95])
def test_truncated_binary_files(tmp_path, suffix, keep):
    path = tmp_path / f"t.{suffix}"
    values = np.arange(4000.0)
    if suffix == "parquet":
        pq.write_table(pa.table({"x": values, "y": ["a", "b"] * 2000}), path)
    elif suffix == "arrow":
        write_table(read_table(pa.table({"x": values, "y": ["a", "b"] * 2000}), label="y"), path)
    elif suffix == "npz":
        np.savez(path, x=values, y=np.array(["a", "b"] * 2000))
    else:
        np.save(path, np.rec.fromarrays([values, values], names="x,y"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(InputError, match=r"cut off or damaged|is empty"):
        read_table(path, label="y")


def test_pickles_are_never_loaded(tmp_path):
    for suffix in ("pkl", "pt", "joblib"):
        (tmp_path / f"t.{suffix}").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
        with pytest.raises(InputError, match="is a pickle"):
            read_table(tmp_path / f"t.{suffix}", label="y")
    np.savez(tmp_path / "t.npz", x=np.array([{}, {}], dtype=object), y=np.array([1, 2]))
    with pytest.raises(InputError, match="only a pickle can hold"):
        read_table(tmp_path / "t.npz", label="y")
