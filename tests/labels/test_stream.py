"""Blocks of rows: the same rows as the whole, in bounded memory; probabilities matched by name."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from assay.errors import InputError
from assay.labels.probabilities import probability_blocks, read_probabilities
from assay.labels.spaces import Space
from assay.labels.stream import row_blocks
from assay.labels.tables import read_table

SPACE = Space(("b", "c", "a"))


def table(n: int) -> pa.Table:
    names = np.array(["a", "b", "c"])[np.arange(n) % 3]
    words = [f"words of row {i}" for i in range(n)]
    return pa.table({"y": names, "x": np.arange(n), "r": np.arange(n) + 0.5, "words": words})


def put(made: pa.Table, folder, suffix: str):
    path = folder / f"t.{suffix}"
    if suffix.startswith("csv"):
        sink = pa.BufferOutputStream()
        pa.csv.write_csv(made, sink)
        raw = sink.getvalue().to_pybytes()
        path.write_bytes(gzip.compress(raw, 1) if suffix.endswith("gz") else raw)
    elif suffix == "jsonl":
        path.write_text(
            "".join(
                f'{{"y": "{y}", "x": {x}, "r": {r}, "words": "{w}"}}\n'
                for y, x, r, w in zip(*made.to_pydict().values(), strict=True)
            )
        )
    elif suffix == "parquet":
        pq.write_table(made, path, row_group_size=10_000)
    else:
        with pa.ipc.new_file(path, made.schema) as writer:
            writer.write_table(made, max_chunksize=10_000)
    return path


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "parquet", "arrow"])
def test_blocks_are_the_whole_file(tmp_path, suffix):
    made = table(1000)
    path = put(made, tmp_path, suffix)
    seen = []
    blocks = list(row_blocks(path, block_rows=300, progress=seen.append))
    assert [block.num_rows for block in blocks] == [300, 300, 300, 100]
    assert seen == [300, 600, 900, 1000]
    assert pa.concat_tables(blocks).equals(made)
    some = pa.concat_tables(row_blocks(path, ["words", "x"], block_rows=999))
    assert some.equals(made.select(["words", "x"]))
    assert pa.concat_tables(blocks).drop_columns(["y"]).equals(read_table(path, label="y").columns)


def test_types_come_from_the_whole_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "1,1,1\n" * 400_000 + "2.5,x,NA\n")
    first = next(iter(row_blocks(path, block_rows=10)))
    assert [str(field.type) for field in first.schema] == ["double", "string", "int64"]
    kept = next(iter(row_blocks(path, ["c"], block_rows=10, as_text=["c"])))
    assert kept["c"].to_pylist() == ["1"] * 10


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "parquet", "arrow"])
def test_memory_is_bounded(tmp_path, suffix):
    n = 50_000 if suffix == "jsonl" else 200_000
    made = table(n)
    made = made.set_column(3, "words", pa.array([f"{i:>400}" for i in range(n)]))
    size = made.nbytes
    path = put(made, tmp_path, suffix)
    del made
    before, most, rows, total = pa.total_allocated_bytes(), 0, 0, 0
    for block in row_blocks(path, block_rows=2000):
        rows, total = rows + block.num_rows, total + pa.compute.sum(block["x"]).as_py()
        most = max(most, pa.total_allocated_bytes() - before)
    assert (rows, total) == (n, n * (n - 1) // 2)
    assert most < size * 0.6, f"{most / 1e6:.1f} MB held of {size / 1e6:.1f} MB"


def test_faults_of_blocks(tmp_path):
    path = put(table(10), tmp_path, "parquet")
    with pytest.raises(InputError, match="no column 'xx'"):
        list(row_blocks(path, ["xx"]))
    with pytest.raises(InputError, match="at least one row"):
        list(row_blocks(path, block_rows=0))
    np.savez(tmp_path / "t.npz", x=np.arange(3))
    with pytest.raises(InputError, match="not read in blocks"):
        list(row_blocks(tmp_path / "t.npz"))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("form", ["lists", "columns", "permuted", "npy"])
def test_probability_blocks(tmp_path, kind, form):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 1000).astype(kind)
    y = rng.integers(0, 3, 1000)
    if form == "npy":
        np.save(tmp_path / "y.npy", y)
        np.save(tmp_path / "p.npy", p)
        blocks = probability_blocks(tmp_path / "p.npy", SPACE, label=tmp_path / "y.npy", block_rows=300)
    else:
        names = np.array(SPACE.names)[y].tolist()
        names[7] = None
        if form == "lists":
            cells = {"pred_probs": pa.FixedSizeListArray.from_arrays(pa.array(p.ravel()), 3)}
            columns = "pred_probs"
        else:
            columns = list(SPACE.names) if form == "columns" else ["a", "b", "c"]
            cells = {name: p[:, SPACE.names.index(name)] for name in columns}
        pq.write_table(pa.table({"y": names, **cells}), tmp_path / "t.parquet")
        blocks = probability_blocks(tmp_path / "t.parquet", SPACE, label="y", columns=columns, block_rows=300)
    for _ in range(2):  # as often as needed
        got = list(blocks)
        assert [len(labels) for labels, _, _ in got] == [300, 300, 300, 100]
        whole = np.concatenate([probabilities for _, probabilities, _ in got])
        assert whole.dtype == kind
        assert np.array_equal(whole, p)
        codes = np.concatenate([labels for labels, _, _ in got])
        present = np.concatenate([mask for _, _, mask in got])
        assert np.array_equal(codes[present], y[present])
        assert (~present).sum() == (0 if form == "npy" else 1)


def test_probability_blocks_name_the_row_of_the_file(tmp_path):
    y = np.arange(1000) % 3
    y[777] = 9
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "p.npy", np.full((1000, 3), 1 / 3))
    with pytest.raises(InputError, match=r"0\.\.2") as caught:
        list(probability_blocks(tmp_path / "p.npy", SPACE, label=tmp_path / "y.npy", block_rows=300))
    assert caught.value.row == 777
    with pytest.raises(InputError, match=r"got \(1000, 3\) and \(1000, 3\)"):
        list(probability_blocks(tmp_path / "p.npy", SPACE, label=tmp_path / "p.npy"))


P = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])  # in the order of SPACE


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "arrow"])
def test_named_columns_are_matched_by_name(tmp_path, suffix):
    made = pa.table({"a": P[:, 2], "b": P[:, 0], "c": P[:, 1]})
    path = tmp_path / f"p.{suffix}"
    if suffix == "csv":
        pa.csv.write_csv(made, path)
    elif suffix == "jsonl":
        path.write_text('{"a": 0.7, "b": 0.1, "c": 0.2}\n{"c": 0.25, "b": 0.5, "a": 0.25}\n')
    elif suffix == "parquet":
        pq.write_table(made, path)
    else:
        with pa.ipc.new_file(path, made.schema) as writer:
            writer.write_table(made)
    assert np.array_equal(read_probabilities(path, SPACE), P)


def test_unnamed_columns_keep_their_order(tmp_path):
    for kind in (np.float16, np.float32, np.float64):
        np.save(tmp_path / "p.npy", P.astype(kind))
        read = read_probabilities(tmp_path / "p.npy", SPACE)
        assert read.dtype == kind
        assert np.array_equal(read, P.astype(kind))
    np.savez(tmp_path / "p.npz", pred_probs=P[:, [2, 0, 1]], names=np.array(["a", "b", "c"]))
    assert np.array_equal(read_probabilities(tmp_path / "p.npz", SPACE), P)
    (tmp_path / "p.csv").write_text("0,1,2\n0.1,0.2,0.7\n0.5,0.25,0.25\n")
    assert np.array_equal(read_probabilities(tmp_path / "p.csv", SPACE), P)
    pq.write_table(pa.table({"p": P.tolist()}), tmp_path / "p.parquet")
    assert np.array_equal(read_probabilities(tmp_path / "p.parquet", SPACE), P)


def test_faulty_probabilities(tmp_path):
    (tmp_path / "p.csv").write_text("a,b,d\n0.1,0.2,0.7\n")
    with pytest.raises(InputError, match=r"only here \['c'\], only there \['d'\]"):
        read_probabilities(tmp_path / "p.csv", SPACE)
    (tmp_path / "p.csv").write_text("a,b,c\n0.1,0.2,0.7\n0.1,,0.7\n")
    with pytest.raises(InputError, match="class 'b' is missing") as caught:
        read_probabilities(tmp_path / "p.csv", SPACE)
    assert caught.value.row == 1
    np.save(tmp_path / "p.npy", np.array([[0, 1, 0], [0, np.nan, 1]]))
    with pytest.raises(InputError, match="not a number") as caught:
        read_probabilities(tmp_path / "p.npy", SPACE)
    assert caught.value.row == 1
    np.save(tmp_path / "p.npy", np.ones((4, 2)))
    with pytest.raises(InputError, match="has 2 columns of probabilities; the label space has 3"):
        read_probabilities(tmp_path / "p.npy", SPACE)
    pq.write_table(pa.table({"p": [[0.5, 0.5, 0.0], [1.0]]}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="1 probabilities; expected 3") as caught:
        read_probabilities(tmp_path / "p.parquet", SPACE)
    assert caught.value.row == 1
