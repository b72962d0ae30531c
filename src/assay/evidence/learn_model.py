"""A trained model: what it says of new rows; as files, and back.

Weights are kept as tensors, everything else as plain values. No pickle is read.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError, require
from assay.evidence.learn_methods import make
from assay.evidence.learn_reader import Reader
from assay.evidence.learn_source import read_new
from assay.kernels.intervals import wilson
from assay.labels.formats import files
from assay.labels.spaces import Space
from assay.labels.tables import LabelledTable

FILE, WEIGHTS = "model.json", "model.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is needed to label new rows.

    Parameters
    ----------
    methods : names of the methods; the probabilities of several are averaged.
    reader : how rows become numbers.
    space : the classes, columns of `predict_proba`.
    label, id : columns of the table that it was trained on.
    estimators : one for each method, fitted; empty before they are.
    """

    methods: tuple[str, ...]
    reader: Reader
    space: Space
    label: str
    id: str | None = None
    estimators: tuple[Any, ...] = ()

    @property
    def method(self) -> str:
        """What it was trained by, in words."""
        return self.methods[0] if len(self.methods) == 1 else f"an average of {', '.join(self.methods)}"

    def predict_proba(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Probabilities (n, k) of rows as the reader gives them."""
        said = [np.asarray(estimator.predict_proba(X), dtype=np.float64) for estimator in self.estimators]
        return np.asarray(sum(said) / len(said))


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What the model says of other rows.

    Parameters
    ----------
    table : the rows; their labels where they have some.
    ids : what names them: ids, else row numbers.
    pred_probs : (m, k).
    """

    table: LabelledTable | None
    ids: npt.NDArray[Any]
    pred_probs: npt.NDArray[np.float64]

    @property
    def accuracy(self) -> tuple[float, float, float, int] | None:
        """Agreement with the labels of these rows, its 95 % bounds, and how many there are; None without labels."""
        if self.table is None or not self.table.labels.present.any():
            return None
        labels = self.table.labels
        right = (self.pred_probs.argmax(axis=1) == labels.y)[labels.present]
        low, high = wilson(int(right.sum()), len(right))
        return float(right.mean()), float(low), float(high), len(right)


def read_test(
    path: Path | None, model: Model, embeddings: npt.ArrayLike | Path | None
) -> tuple[LabelledTable | None, npt.NDArray[Any]]:
    """Other rows as the network reads them, and their table."""
    reader = model.reader
    text, image = (reader.column if reader.media == media else None for media in ("text", "image"))
    rows = None if path is None else read_new(path, model.space, model.label, text, image, model.id)
    return rows, reader.read(rows, embeddings)


def predicted(model: Model, table: LabelledTable | None, X: npt.NDArray[Any]) -> Predicted:
    """What a model says of rows."""
    ids = None if table is None or table.ids is None else table.ids.to_pylist()
    return Predicted(
        table=table, ids=np.arange(len(X)) if ids is None else np.array(ids), pred_probs=model.predict_proba(X)
    )


def save_model(model: Model, folder: Path) -> None:
    """Write `model.json`, `model.pt`, `reader.json` and `reader.npz`, each beside and renamed."""
    from assay.training.deep import torch
    from assay.training.deep.run import snapshot

    members, kept = [], []
    for method, fitted in zip(model.methods, model.estimators, strict=True):
        members.append(
            {
                "method": method,
                "recipe": (fitted.recipe or fitted.default_recipe).to_dict(),
                "counts": [int((fitted.evidence()["given"] == name).sum()) for name in fitted.classes_],
                "n_networks": int(fitted.objective_.n_models),
            }
        )
        scale = {"mean": torch.from_numpy(fitted.mean_), "scale": torch.from_numpy(fitted.scale_)}
        kept.append({**snapshot(fitted.network_, fitted.objective_), **scale})
    told = {
        "members": members,
        "classes": list(model.space.names),
        "label": model.label,
        "id": model.id,
        "n_features": int(model.estimators[0].n_features_in_),
    }
    with files.replacing(folder / WEIGHTS) as out:
        torch.save(kept, out)
    model.reader.save(folder)
    files.write_bytes(folder / FILE, json.dumps(told, indent=1).encode())


def load_model(folder: Path) -> Model:
    """Read what `save_model` wrote; raises InputError where there is none or it is damaged."""
    torch = require("torch", "deep", "Predicting")
    if not (folder / FILE).exists():
        raise InputError(f"{folder} holds no model: name the folder that `assay learn` wrote.")
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        kept = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        return Model(
            methods=tuple(member["method"] for member in told["members"]),
            estimators=tuple(
                _restored(member, values, told["classes"], told["n_features"])
                for member, values in zip(told["members"], kept, strict=True)
            ),
            reader=Reader.load(folder),
            space=Space(tuple(told["classes"])),
            label=told["label"],
            id=told["id"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The model in {folder} can't be read ({type(error).__name__}): train it again.") from error


def _restored(member: dict[str, Any], kept: dict[str, Any], classes: list[str], n_features: int) -> Any:
    """A fitted estimator from what `save_model` kept of it."""
    from assay.training.deep import nn, torch
    from assay.training.deep.backbones import mlp
    from assay.training.deep.batches import Data
    from assay.training.deep.recipe import Recipe
    from assay.training.deep.run import restore

    recipe = Recipe(**{**member["recipe"], "milestones": tuple(member["recipe"]["milestones"])})
    fitted = make(member["method"]).set_params(recipe=recipe)
    k = len(classes)
    networks = [mlp((n_features,), k) for _ in range(member["n_networks"])]
    network = networks[0] if len(networks) == 1 else nn.ModuleList(networks)
    objective = fitted.make_objective()
    # Some objectives shape the network by the sizes of the classes; no row itself is needed to predict.
    given = torch.arange(k).repeat_interleave(torch.tensor(member["counts"]))
    rows = Data(torch.zeros(1, n_features).expand(len(given), -1), given, k)
    objective.begin(len(given), k, rows, network)
    restore(network, objective, {"model": kept["model"], "objective": kept["objective"]})
    fitted.network_, fitted.objective_ = network.eval(), objective.eval()
    fitted.mean_, fitted.scale_ = kept["mean"].numpy(), kept["scale"].numpy()
    fitted.n_features_in_, fitted.classes_ = n_features, np.array(classes)
    return fitted
