"""`assay new-method`: the four files of paper 36, in their places, with the anatomy of DESIGN already laid out."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

import click

from assay.errors import InputError

METHOD_FILE = '''\
"""$title: WHAT IT DOES, in a sentence that a practitioner understands.

Paper: $paper.
Equation, with the names used below:

    WRITE IT HERE

Use it when ... ; not when ...
Departures from the paper or its code, and why: none.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

METHOD = {
    "name": "$name",
    "title": "$title",
    "paper": "$paper",
    "arxiv": $arxiv,
    "accepts": ["hard"],
    "gives": ["belief"],
    "command": "assay $stage FILE --method $name",
    "claim": "WHAT IT MUST SHOW, with a number.",
    "status": "experimental",
}


def core(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """The functional core: arrays in, arrays out, shapes in trailing comments."""
    raise NotImplementedError


class $class_name(BaseEstimator):  # type: ignore[misc]
    """The public face: arguments stored untouched, fitted state with a trailing underscore."""

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, labels: npt.ArrayLike) -> Self:
        """Learn from labels `(n,)`."""
        self.belief_ = core(np.asarray(labels, dtype=np.int32))  # (n, k)
        return self

    def evidence(self) -> dict[str, npt.NDArray[np.generic]]:
        """What the method learned about the labels: columns of equal length."""
        return {"row": np.arange(len(self.belief_))}
'''

TEST_FILE = '''\
"""$title, by hand, at its limits, in its state, and its claim."""

import numpy as np
import pytest

from assay.$stage.$name import $class_name


def test_by_hand():
    """A few rows worked out in a plain loop."""
    $class_name().fit(np.array([0, 1]))
    pytest.fail("work out a few rows by hand and compare")


def test_limits():
    """Where the imperfection vanishes, the method becomes its plain baseline."""
    pytest.fail("state the limit and compare")


def test_state():
    """Permuting rows permutes results; save and load keep them."""
    pytest.fail("permute, save, load, compare")


@pytest.mark.claim
def test_claim():
    """The paper's claim on real data at small scale, over seeds, with an interval."""
    pytest.fail("run the bench at small scale and compare with the claim")
'''

BENCH_FILE = '''\
"""$title: our time, the rival's and the limit, alternating in one run, results checked equal first."""

from __future__ import annotations

import argparse

from assay.evidence.results import ResultRow, write_results
from bench.data import RESULTS


def rows(scale: str) -> list[ResultRow]:
    """Measure at a scale, "small" or "full"."""
    raise NotImplementedError(scale)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=["small", "full"], default="small")
    write_results(RESULTS / "$stage" / "$name.json", rows(parser.parse_args().scale))
'''

DOCS_PAGE = """\
# $title

What it does, in a sentence. Paper: $paper.

```python
from assay.$stage.$name import $class_name
```

## When to use it

## When not

## How sure
"""

PLACES = {
    "src/assay/$stage/$name.py": METHOD_FILE,
    "tests/$stage/test_$name.py": TEST_FILE,
    "bench/$stage/$name.py": BENCH_FILE,
    "docs/$stage/$name.md": DOCS_PAGE,
}


def scaffold(root: Path, stage: str, name: str, title: str, paper: str, arxiv: str | None) -> list[Path]:
    """Write the four files below `root`; refuse before writing any when one of them is already there."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(f"A method is named like its file, in lower case with underscores; got {name!r}.")
    if not (root / "src" / "assay").is_dir():
        raise InputError(f"{root} is not a checkout of assay: run the command in the folder that holds src/assay.")
    words = {
        "stage": stage,
        "name": name,
        "title": title,
        "paper": paper,
        "arxiv": repr(arxiv).replace("'", '"'),
        "class_name": "".join(word.capitalize() for word in name.split("_")),
    }
    files = {
        root / Template(place).substitute(words): Template(text).substitute(words) for place, text in PLACES.items()
    }
    present = [str(path.relative_to(root)) for path in files if path.exists()]
    if present:
        raise InputError(f"{present[0]} is already there: choose another name, or remove the file.")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for folder, text in {
        "src/assay": f'"""The {stage} stage."""\n',
        "bench": f'"""Benches of the {stage} stage."""\n',
    }.items():
        init = root / folder / stage / "__init__.py"
        if not init.exists():
            init.write_text(text, encoding="utf-8")
    return list(files)


@click.command(name="new-method", short_help="Scaffold a method: its file, test, bench and docs page.")
@click.argument(
    "stage", type=click.Choice(["acquire", "aggregate", "audit", "learn", "represent", "compress", "align", "protect"])
)
@click.argument("name")
@click.option("--title", help="What the docs call it. [default: the name in words]")
@click.option("--paper", required=True, help='Authors, year, title: "Doe, Roe, 2026, A title".')
@click.option("--arxiv", help="arXiv number, such as 2103.14749.")
def command(stage: str, name: str, title: str | None, paper: str, arxiv: str | None) -> None:
    """Write the four files of a new method below the current checkout.

    \b
      assay new-method learn my_method --paper "Doe, Roe, 2026, A title" --arxiv 2601.00001

    The new test fails until it is written; PAPERS.md, `assay papers` and the docs find the method by themselves.
    """
    for path in scaffold(Path.cwd(), stage, name, title or name.replace("_", " ").capitalize(), paper, arxiv):
        click.echo(path.relative_to(Path.cwd()))
