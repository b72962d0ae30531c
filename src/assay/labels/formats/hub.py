"""Hugging Face `datasets`: `ClassLabel` order is the space, its hidden label -1 is a missing one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from assay.errors import InputError, require
from assay.labels.formats import columnar
from assay.labels.spaces import Space


def is_dataset(source: object) -> bool:
    """Whether this is an object of the package `datasets`; the package is not imported to find out."""
    return type(source).__module__.split(".")[0] == "datasets"


def is_saved(folder: Path) -> bool:
    """Whether `Dataset.save_to_disk` or `DatasetDict.save_to_disk` made this folder."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def load(folder: Path) -> Any:
    """The data set saved in a folder."""
    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        raise InputError(
            f"{folder} holds the splits {', '.join(splits)}: give one of them, such as {folder / splits[0]}."
        )
    return require("datasets", "hub", "A saved Hugging Face data set").load_from_disk(str(folder))


def read(dataset: Any) -> pa.Table:
    """The data set as an Arrow table, `ClassLabel` codes as names, in the order of its own selection and shuffling."""
    if not hasattr(dataset, "features") or not hasattr(dataset, "with_format"):
        kind = type(dataset).__name__
        splits = list(dataset) if isinstance(dataset, dict) else []
        hint = f"choose one of its splits {splits}" if splits else "give a Dataset"
        raise InputError(f"A datasets.{kind} is not one table: {hint}.")
    if not hasattr(dataset, "__len__"):
        raise InputError("A streamed data set is not one table: load it, or save it as Parquet and give the file.")
    table: pa.Table = dataset.with_format("arrow")[:]
    features = {name: feature._type for name, feature in dataset.features.items() if hasattr(feature, "_type")}
    noted = {
        name: {"_type": "ClassLabel", "names": dataset.features[name].names}
        for name, kind in features.items()
        if kind == "ClassLabel"
    }
    return columnar.named(
        table.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": noted}}).encode()})
    )


def to_dataset(table: pa.Table, label: str, codes: pa.Array, space: Space) -> Any:
    """A `Dataset` whose label column, null where there is none, is a `ClassLabel` in the order of the space."""
    datasets = require("datasets", "hub", "A Hugging Face data set")
    whole = datasets.Dataset(table.append_column(label, codes).replace_schema_metadata(None))
    return whole.cast_column(label, datasets.ClassLabel(names=list(space.names)))
