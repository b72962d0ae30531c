"""Throw random tables, labels and options at `assay audit`, and say what broke.

Every run must end with exit code 0 (or 1 when `--fail-above` says so) or with 2 and one sentence on standard error; it
must not raise, must leave its source as it was and no half-written file, and must print JSON that has no NaN. A run
that ends with 2 leaves nothing at all.

    python -m bench.audit.fuzz_cli --runs 200 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

NAMES = (
    *(
        "a",
        "b",
        "c d",
        " a",
        "A",
        "é",
        "e\u0301",
        "日本",
        "🙂",
        "1",
        "1.0",
        "007",
        "-3",
        "1e5",
        "True",
        "None",
        "NA",
        "",
    ),
    *('q"q', "x,y", "l\nl", "t\tt", "=1+1", "@x", "'q", "<b>", "../a", "\u202eabc", "long" * 250, "nul\0", "\x1b[31m"),
)
CELLS: tuple[Any, ...] = (
    None,
    "",
    "x",
    "a b c",
    "ünï",
    "🙂" * 5,
    "1",
    "w " * 5000,
    "<script>",
    "\x07",
    "NaN",
    "\u202e",
)
NUMBERS = (0.0, -1.5, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 2.0**60)
INTEGERS = (0, -1, 2**53 + 1, -(2**63), 2**63 - 1)
COLUMNS = ("x", "row", "verdict", "label", "given", "p_wrong", "id", "a,b", "ü", "sampled", " ")
FORMS = ("csv", "tsv", "csv.gz", "jsonl", "parquet", "feather")


def column(rng: np.random.Generator, n: int) -> pa.Array:
    """One column of some kind, odd values among plain ones."""
    kind = rng.integers(9)
    odd = rng.random(n) < rng.choice([0.0, 0.1, 1.0])
    if kind == 0:
        plain = rng.normal(size=n)
        return pa.array(
            [float(rng.choice(NUMBERS)) if strange else value for value, strange in zip(plain, odd, strict=True)]
        )
    if kind == 1:
        return pa.array([INTEGERS[rng.integers(5)] if strange else int(rng.integers(9)) for strange in odd], pa.int64())
    if kind == 2:
        cells = [CELLS[rng.integers(len(CELLS))] if strange else f"word{rng.integers(5)} text" for strange in odd]
        return pa.array(cells, pa.string())
    if kind == 3:
        return pa.array([None if strange else bool(rng.integers(2)) for strange in odd], pa.bool_())
    if kind == 4:
        return pa.array(
            rng.integers(-(10**16), 10**16, n), pa.timestamp("us", tz=[None, "Asia/Tokyo"][rng.integers(2)])
        )
    if kind == 5:
        return pa.array(rng.choice(["u", "v"], n).tolist()).dictionary_encode()
    if kind == 6:
        return pa.array([None if strange else [1, None] for strange in odd], pa.list_(pa.int64()))
    if kind == 7:
        return pa.array([None if strange else {"k": "v", "l": [1]} for strange in odd])
    return pa.nulls(n)


def write(table: pa.Table, path: Path) -> None:
    """Write a table in the form that the suffix names; text forms take every cell as it prints."""
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path, row_group_size=17)
    elif path.suffix == ".feather":
        pa.feather.write_feather(table, str(path))
    elif path.suffix == ".jsonl":
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        lines = [json.dumps(dict(zip(table.column_names, row, strict=True)), default=str) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter="\t" if ".tsv" in path.name else ",")
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        content = text.getvalue().encode()
        if path.suffix == ".gz":
            import gzip

            content = gzip.compress(content)
        path.write_bytes(content)


def case(rng: np.random.Generator, folder: Path) -> list[str]:
    """Write one random data set into `folder`; return the words of a command that audits it."""
    n = int(rng.choice([0, 1, 2, 3, 7, 30, 60]))
    k = int(rng.integers(1, 6))
    names = [str(name) for name in rng.choice(np.array(NAMES, dtype=object), k, replace=False)]
    labels: list[Any] = [names[code] for code in rng.integers(0, k, n)]
    labels = [None if rng.random() < 0.05 else label for label in labels]
    if rng.random() < 0.2:
        labels = [None if label is None else names.index(label) for label in labels]
    chosen = rng.choice(COLUMNS, int(rng.integers(0, 4)), replace=rng.random() < 0.05).tolist()
    arrays = [column(rng, n) for _ in chosen]
    if n and rng.random() < 0.8:  # something that tells the classes apart, or most runs end early
        chosen, arrays = (
            ["signal", *chosen],
            [pa.array([len(str(label)) % 7 + rng.normal() for label in labels]), *arrays],
        )
    table = pa.Table.from_arrays([*arrays, pa.array(labels)], [*chosen, "y"])
    path = folder / f"tab le.{rng.choice(FORMS)}"
    write(table, path)
    if rng.random() < 0.05:
        path.write_bytes(path.read_bytes()[: int(rng.integers(0, path.stat().st_size + 1))])
    words = ["audit", str(path), "--json", "--out", str(folder / "out")]
    options: list[list[str]] = [
        ["--label", "y"] if rng.random() < 0.95 else ["--label", str(rng.choice(COLUMNS))],
        ["--folds", str(rng.choice([2, 3, 50]))],
        ["--seed", str(rng.choice([0, 1, 2**32 - 1]))],
        ["--classes", ",".join(names)],
        ["--exclude", str(rng.choice(COLUMNS))],
        ["--groups", str(rng.choice([*COLUMNS, "signal"]))],
        ["--id", str(rng.choice([*COLUMNS, "signal"]))],
        ["--text", str(rng.choice(COLUMNS))],
        ["--pred-probs", str(probabilities(rng, n, k, folder))],
        ["--embeddings", str(embeddings(rng, n, folder))],
        ["--verdicts", str(verdicts(rng, n, names, folder))],
        ["--filter", str(rng.choice(["both", "prune_by_class", "confident_learning", "predicted_neq_given"]))],
    ]
    chances = [1.0, 0.7, 0.3, 0.1, 0.1, 0.1, 0.2, 0.1, 0.2, 0.1, 0.3, 0.3]
    return words + [
        word for pair, chance in zip(options, chances, strict=True) if rng.random() < chance for word in pair
    ]


def probabilities(rng: np.random.Generator, n: int, k: int, folder: Path) -> Path:
    """A file of probabilities, sometimes of the wrong shape, type or range."""
    values = rng.dirichlet(np.ones(max(1, k + int(rng.integers(-1, 2) * (rng.random() < 0.2)))), n)
    if rng.random() < 0.3:
        values = [values * 3, np.log(values + 1e-9), values * np.nan, values[:-1], values.T][rng.integers(5)]
    np.save(folder / "probs.npy", values.astype(rng.choice(["f2", "f4", "f8"])))
    return folder / "probs.npy"


def embeddings(rng: np.random.Generator, n: int, folder: Path) -> Path:
    """A file of embeddings, sometimes broken."""
    values = rng.normal(size=(n, 3))
    if rng.random() < 0.4:
        values = [values[0:1], values * np.inf, values * 1e300, values.ravel(), values * 0][rng.integers(5)]
    with np.errstate(all="ignore"):
        np.save(folder / "emb.npy", values)
    return folder / "emb.npy"


def verdicts(rng: np.random.Generator, n: int, names: list[str], folder: Path) -> Path:
    """A file of verdicts, some of them impossible."""
    words = ["given", "suggested", "other", "both", "neither", "skip", "", *(["maybe"] if rng.random() < 0.1 else [])]
    m = int(rng.integers(0, n + 2))
    rows = [
        (row if rng.random() < 0.99 else "9" * 5000, rng.choice(words), rng.choice(np.array(names, dtype=object)))
        for row in range(m)
    ]
    with (folder / "verdicts.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("row", "verdict", "label"), *rows])
    return folder / "verdicts.csv"


def no_number(word: str) -> None:
    """What JSON has no word for must not be printed."""
    raise AssertionError(f"{word} is no JSON")


def broken(words: list[str], folder: Path) -> str | None:
    """Run a command in this process; what it did wrong, or None."""
    from assay.cli import main

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        return traceback.format_exc()
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if any(after.get(path) != content for path, content in before.items()):
        return "the input was changed"
    if code not in (0, 2):
        return f"exit code {code}: {err.getvalue()}"
    if code == 2 and (len(err.getvalue().strip().splitlines()) != 1 or out.getvalue()):
        return f"not one sentence: {err.getvalue()}"
    if code == 2 and (len(after) != len(before) or (folder / "out").exists()):
        return f"refused, yet wrote {sorted(path.name for path in after.keys() - before.keys())}: {err.getvalue()}"
    if code == 0:
        json.loads(out.getvalue(), parse_constant=no_number)
        hidden = [path.name for path in after if path.name[0] == "."]
        if hidden or not (folder / "out" / "report.html").exists():
            return f"half-written: {hidden}"
        if err.getvalue():
            return f"noise on standard error: {err.getvalue()}"
    return None


def fuzz(runs: int, seed: int) -> list[tuple[int, list[str], str]]:
    """Number, command and fault of every run that broke; run number `seed + i` is the same whatever came before."""
    found = []
    for number in range(seed, seed + runs):
        with tempfile.TemporaryDirectory(prefix="fuzz ü ") as name:
            folder = Path(name)
            words = case(np.random.default_rng(number), folder)
            fault = broken(words, folder)
            if fault is not None:
                found.append((number, words, fault))
    return found


def main_script() -> None:
    """Parse the options, run, print the faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = fuzz(given.runs, given.seed)
    for number, words, fault in found:
        print(f"--seed {number} --runs 1: assay {' '.join(words)}\n{fault}\n")
    print(f"{len(found)} of {given.runs} runs broke.")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main_script()
