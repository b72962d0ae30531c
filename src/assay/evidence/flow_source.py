"""What `assay protect flow` reads: questions with labelled items, or a folder of labelled documents and questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import InputError
from assay.labels.formats import files, jsonlines
from assay.labels.lattices import Lattice, Readers, Sources, lattice_of
from assay.labels.tables import raw_table

TEXTS = (".txt", ".md")
Found = list[tuple[str, Any]]  # items and their labels, best first


@dataclass(frozen=True, slots=True)
class Flows:
    """Questions, and what may be found for each.

    Parameters
    ----------
    path : the file or folder.
    ids, queries, query_labels : (q,) of the questions.
    found : called as `found(question, visible)`: items and labels of which `visible(label)` holds.
    lattice : of all labels.
    """

    path: Path
    ids: list[str]
    queries: list[str]
    query_labels: list[Any]
    found: Callable[[int, Callable[[Any], bool]], Found]
    lattice: Lattice


def read_flows(
    source: Path, lattice: str, labels: Path | None = None, questions: Path | None = None, n_items: int = 6
) -> Flows:
    """Read and check everything before a model is loaded.

    Parameters
    ----------
    source : JSON lines, one object a question: "query", "items" (objects with "text" and "label"), and where there are
        any "id" and "label" (of the query); or a folder of .txt and .md files, with `labels` and `questions`.
    lattice : "integrity", "confidentiality"; "sources" or "readers" for those with the names that the labels use; or a
        JSON file, see `assay.labels.lattices.lattice_of`.
    labels : table with the columns "document" (path below the folder) and "label".
    questions : text with a question a line, or JSON lines with "query", "id", "label".
    n_items : documents found for a question.
    """
    if source.is_dir():
        if labels is None or questions is None:
            raise InputError(f"{source} is a folder of documents: give their --labels and the --questions.")
        asked, documents = _read_questions(questions), _read_documents(source, labels)
        items = [documents] * len(asked)
        search: Callable[[int, Found], Found] = _Search([one["query"] for one in asked], documents, n_items)
    else:
        if labels is not None or questions is not None:
            raise InputError("--labels and --questions go with a folder of documents; a file has both inside.")
        asked = _read_questions(source)
        items = [_items_of(one, row) for row, one in enumerate(asked)]
        search = lambda _, visible: visible  # noqa: E731
    if not asked:
        raise InputError(f"{questions or source} holds no question.")
    used = [label for found in items for _, label in found]
    used += [one["label"] for one in asked if one.get("label") is not None]
    ordered = _lattice(lattice, used)
    for row, (one, found) in enumerate(zip(asked, items, strict=True)):
        if one.get("label") is not None:
            ordered.label(one["label"], row)
        for _, label in found:
            ordered.label(label, row)

    def visible_items(question: int, visible: Callable[[Any], bool]) -> Found:
        return search(question, [(item, label) for item, label in items[question] if visible(label)])

    return Flows(
        source,
        [str(one.get("id", row)) for row, one in enumerate(asked)],
        [one["query"] for one in asked],
        [one.get("label") for one in asked],
        visible_items,
        ordered,
    )


class _Search:
    """Documents by the words that they share with a question. A document's place depends on no other document."""

    def __init__(self, queries: Sequence[str], documents: Found, n_items: int) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        words = HashingVectorizer(stop_words="english", alternate_sign=False)
        self.texts, self.n_items = [text for text, _ in documents], n_items
        self.likeness = words.transform(queries) @ words.transform(self.texts).T

    def __call__(self, question: int, visible: Found) -> Found:
        like = dict(zip(self.texts, self.likeness[[question]].toarray()[0].tolist(), strict=True))
        return sorted(visible, key=lambda document: -like[document[0]])[: self.n_items]


def _read_questions(path: Path) -> list[dict[str, Any]]:
    files.require_file(path)
    if path.suffix.lower() == ".txt":
        asked: list[dict[str, Any]] = [
            {"query": line.strip()} for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    else:
        asked = [one for _, one in jsonlines.objects(path)]
    for row, one in enumerate(asked):
        if not isinstance(one.get("query"), str) or not one["query"].strip():
            raise InputError(f'{path.name} has a question without a "query", which is its text.', row=row)
    return asked


def _items_of(one: dict[str, Any], row: int) -> Found:
    items = one.get("items")
    if not isinstance(items, list):
        raise InputError('A question has no "items": a list of objects with "text" and "label".', row=row)
    for at, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("text"), str) or "label" not in item:
            raise InputError(f'Item {at} of a question is no object with a "text" and a "label".', row=row)
        if not item["text"].strip():
            raise InputError(f"Item {at} of a question is empty: leave it out.", row=row)
    return [(item["text"], item["label"]) for item in items]


def _read_documents(folder: Path, labels: Path) -> Found:
    table = raw_table(labels, as_text=("document", "label"))
    for column in ("document", "label"):
        files.require_column(column, table.column_names, labels.name)
    said = dict(zip(table["document"].to_pylist(), table["label"].to_pylist(), strict=True))
    found: Found = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in TEXTS and path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.resolve() == labels.resolve():
            continue
        if said.get(name) is None:
            raise InputError(f"{labels.name} has no label for the document {name!r}: a document needs one.")
        try:
            text = path.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise InputError(f"The document {name!r} is not UTF-8 text.") from None
        if not text:
            raise InputError(f"The document {name!r} is empty: leave it out.")
        found.append((text, said[name]))
    if not found:
        raise InputError(f"{folder} holds no documents: files that end in {' or '.join(TEXTS)}.")
    return found


def _lattice(said: str, used: Iterable[Any]) -> Lattice:
    if said in ("sources", "readers"):
        names: dict[str, None] = {}
        for label in used:
            if isinstance(label, str) and label.lstrip().startswith("["):
                try:
                    label = json.loads(label)
                except (ValueError, RecursionError):
                    continue  # told later, with its row
            if said == "readers" and label == "*":
                continue
            named = [label] if isinstance(label, str) else label if isinstance(label, list) else []
            names |= dict.fromkeys(map(str, named))
        return (Sources if said == "sources" else Readers)(tuple(sorted(names)))
    if said.endswith(".json"):
        files.require_file(Path(said))
        try:
            return lattice_of(json.loads(Path(said).read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{said} holds no lattice: {error}") from None
    return lattice_of(said)
