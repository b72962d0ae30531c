"""Reading a table: what is found, and every fault in one sentence before any work."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assay.errors import InputError
from assay.labels.spaces import Space
from assay.labels.tables import read_table, write_table


def put(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "said", "row"),
    [
        ("", "t.csv is empty: 0 bytes", None),
        ("\n\n", "holds blank lines only", None),
        ("x,y\n", "has columns but no rows", None),
        ("x,y", "has columns but no rows", None),
        ("x,y\n1,a\n", "has one row", None),
        ("x,y\n1,a\n2,a\n3,\n", "one class only, 'a'", None),
        ("x,y\n1,\n2,NA\n", "No row has a label", None),
        ("x,y,y\n1,a,b\n2,b,a\n", "two columns named 'y'", None),
        ("x,y\n1,a\n2,b\n3\n4,a\n", "ragged row: 1 cells where the header has 2", 2),
        ("x,y\n\n1,a\n2,b,c\n", "ragged row: 3 cells where the header has 2", 1),
        ('x,y\n1,a\n2,"b\n3,a\n', "A quote is opened and never closed", None),
        (b"x,y\n1,a\n2,caf\xe9\n", "not UTF-8: byte 0xe9 at offset 13", None),
        (b"x\xff,y\n1,a\n2,b\n", "not UTF-8: byte 0xff at offset 1", None),
    ],
)
def test_faulty_csv(tmp_path, text, said, row):
    with pytest.raises(InputError, match=said) as caught:
        read_table(put(tmp_path, text), label="y")
    assert caught.value.row == row


@pytest.mark.parametrize(
    ("text", "said", "row"),
    [
        ('{"y": 1}\n{"y": \n', "a line that is not JSON", 1),
        ('{"y": 1}\n[1]\n', "a line that is a list", 1),
        ('{"y": 1}\n{"y": "a"}\n', "'y' mix types, int and str", 1),
        (b'{"y": "a"}\n{"y": "\xe9"}\n', "not UTF-8: byte 0xe9 at offset 18", None),
        ('{"y": [1, 2]}\n{"y": [1]}\n', "expected one class a row", None),
        ('{"y": "a"}\n{"y": "\\ud800"}\n', "half a character", 1),
        ("{}\n" + "[" * 100_000, "that is not JSON: maximum recursion", 1),
        ('{"x": 1}\n{"x": 2}\n', "has no column 'y'; it has 'x'", None),
    ],
)
def test_faulty_json_lines(tmp_path, text, said, row):
    with pytest.raises(InputError, match=said) as caught:
        read_table(put(tmp_path, text, "t.jsonl"), label="y")
    assert caught.value.row == row


def test_wrong_and_forgotten_label(tmp_path):
    path = put(tmp_path, "size,colour,label\n1.5,red,a\n2.5,red,b\n3.5,blue,a\n4.5,blue,b\n")
    with pytest.raises(
        InputError, match=r"no column 'lable'; it has 'size', 'colour', 'label'. Did you mean 'label'\?"
    ):
        read_table(path, label="lable")
    with pytest.raises(
        InputError, match=r"Which column of t.csv is the label\? Columns that look like labels are 'colour', 'label'"
    ):
        read_table(path)
    with pytest.raises(InputError, match="'label' is the label; it cannot be"):
        read_table(path, label="label", id="label")
    with pytest.raises(InputError, match="no column 'nr'"):
        read_table(path, label="label", id="nr")


def test_unknown_class_names_its_row():
    table = pa.table({"y": ["a", "b", None, "c"]})
    with pytest.raises(InputError, match="Unknown class 'c' in column 'y': the space holds 'b', 'a'") as caught:
        read_table(table, label="y", space=Space(("b", "a")))
    assert caught.value.row == 3


def test_a_million_classes():
    n = 1_000_000
    table = pa.table({"key": np.arange(n), "price": np.linspace(0.5, 99.5, n), "kind": np.arange(n) % 3})
    with pytest.raises(InputError, match=r"1000000 different values .* looks like an id.* 'kind'"):
        read_table(table, label="key")
    with pytest.raises(InputError, match="looks like a number"):
        read_table(table, label="price")


def test_ids_must_be_there_and_differ(tmp_path):
    path = put(tmp_path, "id,y\n7,a\n8,b\n7,a\n")
    with pytest.raises(InputError, match="'7' in column 'id' stands at row 0 too") as caught:
        read_table(path, label="y", id="id")
    assert caught.value.row == 2
    with pytest.raises(InputError, match="has no id") as caught:
        read_table(put(tmp_path, "id,y\n7,a\n,b\n9,a\n"), label="y", id="id")
    assert caught.value.row == 1
    read = read_table(put(tmp_path, "id,x,y\n7,1,a\n8,2,b\n07,3,a\n"), label="y", id="id", exclude=["x"])
    assert read.ids.to_pylist() == ["7", "8", "07"]
    assert read.columns.schema.names == ["id", "x"]
    assert read.features.schema.names == []
    assert read_table(put(tmp_path, "id,y\n7,a\n8,b\n"), label="y", id="id").ids.to_pylist() == [7, 8]


def test_unsupported_sources(tmp_path):
    with pytest.raises(InputError, match=r"t.xlsx has no supported suffix; supported are .csv, .tsv"):
        read_table(put(tmp_path, "x", "t.xlsx"), label="y")
    with pytest.raises(InputError, match="There is no file"):
        read_table(tmp_path / "none.csv", label="y")
    with pytest.raises(InputError, match="holds no images"):
        read_table(tmp_path)
    (tmp_path / "s" / "train").mkdir(parents=True)
    (tmp_path / "s" / "test").mkdir()
    with pytest.raises(InputError, match="holds the splits test, train"):
        read_table(tmp_path / "s")
    with pytest.raises(InputError, match="A list is no table"):
        read_table([1, 2], label="y")
    with pytest.raises(InputError, match="use one type a column"):
        read_table(pd.DataFrame({"x": [1, "a"], "y": [0, 1]}), label="y")


def test_missing_cells_are_masked_unless_they_are_classes(tmp_path):
    path = put(tmp_path, "x,y\n1,NA\n2,b\n3,\n4,c\n5,None\n")
    assert read_table(path, label="y").labels.names() == [None, "b", None, "c", "None"]
    space = Space(("c", "NA", "b", "None"))
    assert read_table(path, label="y", space=space).labels.names() == ["NA", "b", None, "c", "None"]
    assert read_table(path, label="y", missing=["b", "c"]).labels.names() == ["NA", None, None, None, "None"]
    floats = pa.table({"y": [1.0, float("nan"), 2.0, None]})
    assert read_table(floats, label="y").labels.names() == ["1", None, "2", None]


def test_text_is_found_only_where_it_is_alone(tmp_path):
    lines = "".join(f"this is the long text number {i},{'ab'[i % 2]},{i}\n" for i in range(6))
    path = put(tmp_path, "t,y,z\n" + lines)
    assert read_table(path, label="y").media == "table"
    assert read_table(path, label="y", exclude=["z"]).text == "t"
    assert read_table(path, label="y", id="z").text == "t"
    assert read_table(path, label="y", text="t").media == "text"
    with pytest.raises(InputError, match="text was expected"):
        read_table(path, label="y", text="z")


def test_edited_class_order_is_noticed(tmp_path):
    path = tmp_path / "t.arrow"
    write_table(read_table(pa.table({"x": [1, 2], "y": ["aa", "bb"]}), label="y"), path)
    with pa.OSFile(str(path)) as stream:
        table = pa.ipc.open_file(stream).read_all()
    noted = table.schema.metadata[b"assay.space"].replace(b'["aa", "bb"]', b'["bb", "aa"]')
    with pytest.raises(InputError, match="do not fit their fingerprint"):
        read_table(table.replace_schema_metadata({b"assay.space": noted}))


@pytest.mark.parametrize(
    ("column", "name", "said"),
    [
        (pa.array([[1], [2]]), "t.csv", "does not fit into delimited text"),
        (pa.array([b"\xff", b"x"]), "t.jsonl", "does not fit into JSON"),
        (pa.array([1, None]), "t.npz", "missing cells"),
    ],
)
def test_what_a_form_cannot_hold_leaves_no_file(tmp_path, column, name, said):
    read = read_table(pa.table({"x": column, "y": ["a", "b"]}), label="y")
    with pytest.raises(InputError, match=said):
        write_table(read, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_permuted_rows_give_permuted_labels():
    rng = np.random.default_rng(0)
    table = pa.table({"x": np.arange(50), "y": [["b", "a", None][i % 3] for i in range(50)]})
    order = rng.permutation(50)
    whole, mixed = read_table(table, label="y"), read_table(table.take(pa.array(order)), label="y")
    assert mixed.labels == whole.labels.take(order)
